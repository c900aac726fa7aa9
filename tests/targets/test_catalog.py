"""The device catalogue: every file is valid, every typo gets a suggestion."""

from __future__ import annotations

import pytest

from prunus.compiler.errors import UsageError
from prunus.compiler.quantity import Quantity
from prunus.compiler.target import Target
from prunus.targets.catalog import device_files, parse_device, resolve


@pytest.mark.parametrize("name", sorted(device_files()))
def test_every_device_resolves_and_states_its_sources(name: str) -> None:
    target, device = resolve(name)
    assert device_files()[name].name == device.name == name
    assert isinstance(target, Target)
    for quantity in [*device.resources.values(), *(v for v in device.data.values() if isinstance(v, Quantity))]:
        assert quantity.source
        assert quantity.low <= quantity.value <= quantity.high


def test_a_typo_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="no device called 'pynq-z3'") as caught:
        resolve("pynq-z3")
    assert caught.value.code == "unknown-device"
    assert "pynq-z2" in (caught.value.hint or "")


def test_a_backend_that_the_device_lacks() -> None:
    with pytest.raises(UsageError, match="no backend 'tvm'") as caught:
        resolve("tvm:npu-16nm")
    assert "asic" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name = 'x'", "kind"),
        ("name = 'x'\nkind = 'toaster'\ntitle = 't'\nbackend = 'b'", "kind"),
        ("name = 'x'\nkind = 'cpu'\ntitle = 't'\nbackend = 'b'\n[constants.a]\nvalue = 1\nunit = 'B'", "source"),
        ("name = 'x'\nkind = 'cpu'\ntitle = 't'\nbackend = 'b'\ncolour = 'red'", "colour"),
        ("name = ", "alid"),
    ],
)
def test_a_bad_device_file_names_the_key(text: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_device(text, "x.toml")
    assert caught.value.code == "device-file"
    assert word in (caught.value.why or "")
