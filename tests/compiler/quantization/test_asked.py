"""What the user asks of formats narrows what the device takes, and never widens it."""

from __future__ import annotations

import pytest
from float_nets import residual_net

from prunus.compiler.errors import UsageError
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.quantization.asked import asked_formats
from prunus.compiler.target import Formats

NARROW = Formats(scheme="pow2", activation="s8", per_channel=False, weight_bits=6, activation_bits=6)


def test_nothing_asked_is_the_device() -> None:
    for formats in (Formats(), NARROW, Formats(scheme="fixed", requant_bits=18)):
        assert asked_formats(formats, Options()) == formats


def test_what_is_asked_narrows() -> None:
    options = Options(scales="pow2", granularity="tensor", weight_bits=4, activation_bits=5)
    found = asked_formats(Formats(), options)
    assert (found.scheme, found.activation, found.per_channel) == ("pow2", "s8", False)
    assert (found.weight_bits, found.activation_bits) == (4, 5)


@pytest.mark.parametrize(
    "options",
    [{"weight_bits": 8}, {"activation_bits": 7}, {"granularity": "channel"}, {"scales": "any"}],
)
def test_the_device_has_the_last_word(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        asked_formats(NARROW, Options(**options))  # type: ignore[arg-type]
    assert caught.value.code == "beyond-the-device" and next(iter(options)).replace("_", "-") in str(caught.value.hint)


def test_unknown_names_are_refused() -> None:
    for options in (Options(granularity="row"), Options(scales="log")):
        with pytest.raises(UsageError, match="There is no"):
            asked_formats(Formats(), options)


def test_powers_of_two_are_asked_of_any_device() -> None:
    net = residual_net()
    model = Quantize().run(net.model(net.output), Context(options=Options(scales="pow2"), calibration=net.data())).model
    assert read_qdq(model, Formats(scheme="pow2", activation="s8")).ops
