"""Mixed precision keeps what is sensitive wide, narrows the rest, and takes the worst layers out of quantization."""

from __future__ import annotations

import math

import numpy as np
import pytest
from float_nets import FloatNet

from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight, weight
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Note, Options
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.quantization.mixed import assign_bits
from prunus.compiler.target import Formats


def _planted(noise: dict[str, float], base: float = 1e-4):
    """A `Measure`: every layer adds its noise, 16 times less for two bits more; `base` noise is always there."""

    def measure(bits: dict[str, int], floating: tuple[str, ...], quick: bool) -> float:
        total = base
        for name, at_4 in noise.items():
            if name not in floating:
                total += at_4 / 16 ** ((bits.get(name, 8) - 4) / 2)
        return -10 * math.log10(total)

    return measure


def test_the_planted_sensitive_layer_stays_wide() -> None:
    noise = {"calm": 1e-4, "sensitive": 1e-1, "calmer": 1e-5}
    found = assign_bits(dict.fromkeys(noise, 1000), _planted(noise), 30.0, 8)
    assert found.bits == {"calm": 4, "calmer": 4}
    assert found.floating == () and found.sqnr_db >= 30.0


def test_large_layers_are_narrowed_first() -> None:
    found = assign_bits({"small": 10, "large": 10_000}, _planted({"small": 1e-2, "large": 1e-2}), 19.9, 8)
    assert found.bits.get("large", 8) < found.bits.get("small", 8)


def test_the_worst_layers_fall_back_to_floating_point() -> None:
    noise = {"a": 1e-3, "broken": 256.0, "b": 1e-3}  # 8 bits: 1 of noise
    found = assign_bits(dict.fromkeys(noise, 100), _planted(noise), 30.0, 8)
    assert found.floating == ("broken",) and found.bits == {} and found.sqnr_db >= 30.0
    hopeless = assign_bits(dict.fromkeys(noise, 100), _planted(noise, base=1.0), 30.0, 8)
    assert set(hopeless.floating) == set(noise) and hopeless.sqnr_db < 30.0


def _sensitive_net(outlier: float = 20.0) -> tuple[FloatNet, Model]:
    """In the second layer, the weights that matter are far smaller than the outliers, which meet silent inputs."""
    net = FloatNet((4, 8, 8), seed=4)
    x = net.relu(net.conv(net.input, 8))
    x = net.relu(net.conv(x, 8, 1))
    x = net.relu(net.conv(x, 8))
    net.logits = net.gemm(net.flat(net.op("GlobalAveragePool", x)), 8, 5)  # type: ignore[attr-defined]
    model = net.model(net.logits)  # type: ignore[attr-defined]
    first, second = (node for node in list(model.graph)[:3] if node.op_type == "Conv")
    silent, real = np.array(weight(first.inputs[1])), np.array(weight(second.inputs[1]))
    silent[0], real[:, 0] = 0, outlier
    bias = np.array(weight(first.inputs[2]))
    bias[0] = 0
    for value, array in ((first.inputs[1], silent), (first.inputs[2], bias), (second.inputs[1], real)):
        set_weight(value, array)  # type: ignore[arg-type]
    return net, model


def _run(net: FloatNet, model: Model, **options: object) -> tuple[float, dict[str, str], list[Note]]:
    """(SQNR of the logits, note per layer, all notes)."""
    context = Context(Formats(), Options(rounding="nearest", **options), net.data(64))  # type: ignore[arg-type]
    result = Quantize().run(model, context)
    x = net.data(128, seed=9).inputs
    before, after = (next(iter(run_model(each, x).values())) for each in (model, result.model))
    sqnr = float(10 * np.log10(np.square(before).sum() / np.square(before - after).sum()))
    return sqnr, {note.where: note.text for note in result.notes if note.code == "quantized"}, list(result.notes)


def test_a_network_keeps_the_bound_with_fewer_bits() -> None:
    net, model = _sensitive_net()
    second = [node.name for node in model.graph if node.op_type == "Conv"][1]
    sqnr, layers, notes = _run(net, model, mixed_precision=14.0)
    assert sqnr > 12.0  # on other samples than those of the bound
    assert "4-bit" not in layers[str(second)]
    assert sum("4-bit" in text for text in layers.values()) >= 2
    assert "mixed-precision" in {note.code for note in notes}
    assert _run(net, model, weight_bits=4)[0] < 11.0


def test_what_8_bits_cannot_do_is_left_in_floating_point() -> None:
    net, model = _sensitive_net(outlier=300.0)
    second = [str(node.name) for node in model.graph if node.op_type == "Conv"][1]
    assert _run(net, model)[0] < 15.0
    sqnr, layers, notes = _run(net, model, mixed_precision=25.0)
    assert second not in layers and len(layers) == 3
    assert sqnr > 24.0
    assert [note.where for note in notes if note.code == "float-fallback"] == [second]


def test_a_bound_out_of_reach_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunus.compiler.passes.quantize.logits_sqnr_db", lambda *_: 20.0)
    net, model = _sensitive_net()
    notes = _run(net, model, mixed_precision=90.0)[2]
    assert [note.code for note in notes if note.code.startswith("mixed")] == ["mixed-precision-missed"]
