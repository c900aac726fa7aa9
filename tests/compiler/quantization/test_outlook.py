"""What a float model will cost once it is quantized: bits, zeros and digits as the quantized model has them."""

from __future__ import annotations

import pytest
from search_target import half_redundant, samples

from prunus.compiler.model.workload import workload
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.quantization.asked import asked_formats
from prunus.compiler.quantization.outlook import quantized_workload
from prunus.compiler.target import Formats, quantized_like

POW2 = Formats(scheme="pow2", activation="s8", zero_point="zero")


@pytest.mark.parametrize(("bits", "formats"), [(8, Formats()), (6, POW2), (4, POW2), (4, Formats())])
def test_predicts_what_the_quantized_model_has(bits: int, formats: Formats) -> None:
    """Rounded to the nearest, exactly; with data, nearly. The layers' bits alone say nothing of digits."""
    model, options = half_redundant(), Options(weight_bits=bits, activation_bits=bits, rounding="nearest")
    asked = asked_formats(formats, options)
    before = quantized_workload(model, asked)
    after = workload(Quantize().run(model, Context(formats, options, samples(64))).model)
    refined = Options(weight_bits=bits, activation_bits=bits)
    better = workload(Quantize().run(model, Context(formats, refined, samples(64))).model)
    found = {layer.name: layer for layer in after.layers} | {layer.name: layer for layer in better.layers}
    for layer in before.layers:
        if not layer.weights:
            continue
        exact = next(each for each in after.layers if each.name == layer.name)
        assert (layer.weight_bits, layer.weight_digits) == (exact.weight_bits, pytest.approx(exact.weight_digits))
        assert layer.zero_fraction == pytest.approx(exact.zero_fraction)
        assert layer.weight_digits == pytest.approx(found[layer.name].weight_digits, rel=0.1)
    unknown = quantized_like(workload(model), asked)
    assert all(layer.weight_digits is None for layer in unknown.layers if layer.weights)


def test_the_ends_of_a_network_keep_the_bits_that_the_device_gives_them() -> None:
    formats = Formats(activation_bits=6, border_bits=8)
    first, *_, last = quantized_workload(half_redundant(), formats).layers
    assert (first.input_bits, first.output_bits) == (8, 6)
    assert (last.input_bits, last.output_bits) == (6, 8)
