"""Roundings that look at the data make a layer's outputs, and a network's, err less than rounding to the nearest."""

from __future__ import annotations

import numpy as np
import pytest
from float_nets import FloatNet, residual_net

from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight, weight
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.properties import PROPERTIES
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.quantization import refine as refine_module
from prunus.compiler.quantization.rounding import ROUNDINGS, damp, nearest, output_error
from prunus.compiler.target import Formats

CAREFUL = [name for name in ROUNDINGS if name != "nearest"]
SHAPES = [(1, 16, 48), (12, 1, 9), (3, 4, 18)]  # dense, depthwise, grouped: [groups, n, k]


def _layer(groups: int, n: int, k: int, zeros: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """(weights in steps of a 4-bit grid, some of them zero; H of correlated, rectified inputs)."""
    rng = np.random.default_rng(k)
    x = np.maximum(rng.normal(size=(groups, 1000, k)) @ rng.normal(size=(groups, k, k)), 0)
    weights = rng.normal(size=(groups, n, k))
    weights *= 7 / np.abs(weights).max()
    weights[rng.random(weights.shape) < zeros] = 0
    return weights, x.transpose(0, 2, 1) @ x / 1000


@pytest.mark.parametrize("name", CAREFUL)
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_err_less(shape: tuple[int, int, int], name: str) -> None:
    weights, hessian = _layer(*shape)
    plain = output_error(nearest(weights, 7, hessian) - weights, damp(hessian))
    found = ROUNDINGS[name](weights, 7, hessian)
    careful = output_error(found - weights, damp(hessian))
    assert (careful <= plain * (1 + 1e-9)).all()  # of every output
    assert careful.sum() < 0.93 * plain.sum()
    assert np.abs(found).max() <= 7
    assert not found[weights == 0].any()


@pytest.mark.parametrize("name", CAREFUL)
def test_inputs_that_tell_nothing_leave_rounding_to_the_nearest(name: str) -> None:
    weights, _ = _layer(2, 4, 8)
    for hessian in (np.zeros((2, 8, 8)), np.stack([np.eye(8)] * 2)):
        assert np.array_equal(ROUNDINGS[name](weights, 7, hessian), nearest(weights, 7, hessian))


def test_adaround_goes_up_or_down_only() -> None:
    weights, hessian = _layer(1, 16, 48)
    found = ROUNDINGS["adaround"](weights, 7, hessian)
    assert np.abs(found - weights).max() < 1
    assert np.abs(ROUNDINGS["gptq"](weights, 7, hessian) - weights).max() > 1  # it may go further


def _mixed_net() -> FloatNet:
    """Convolutions of every kind, with and without bias, and a matrix product with its bias behind it."""
    net = FloatNet((3, 8, 8), seed=5)
    x = net.relu(net.conv(net.input, 12))
    x = net.relu(net.conv(x, 12, group=12))
    x = net.relu(net.conv(x, 12, group=3, bias=False))
    x = net.flat(net.op("GlobalAveragePool", net.relu(net.conv(x, 16, 1))))
    product = net.op("MatMul", x, net.constant(net.rng.normal(size=(16, 6)) / 4))
    net.logits = net.op("Add", product, net.constant(net.rng.normal(size=6)))  # type: ignore[attr-defined]
    return net


def _sqnr_db(net: FloatNet, model: Model, formats: Formats, **options: object) -> float:
    result = Quantize().run(model, Context(formats, Options(**options), net.data(128)))  # type: ignore[arg-type]
    x = net.data(256, seed=9).inputs
    before, after = (next(iter(run_model(each, x).values())) for each in (model, result.model))
    return float(10 * np.log10(np.square(before).sum() / np.square(before - after).sum()))


@pytest.mark.parametrize("formats", [Formats(weight_bits=4), Formats(weight_bits=4, per_channel=False)])
@pytest.mark.parametrize(("build", "gain_db"), [(residual_net, 0.5), (_mixed_net, 2.0)])
def test_logits_are_closer_with_4_bits(build: object, gain_db: float, formats: Formats) -> None:
    net: FloatNet = build()  # type: ignore[operator]
    model = net.model(net.logits)  # type: ignore[attr-defined]
    plain = _sqnr_db(net, model, formats, rounding="nearest")
    for name in CAREFUL:
        assert _sqnr_db(net, model, formats, rounding=name) > plain + gain_db, name


def test_layers_must_be_rounded_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault that a layer is rounded for activations which its predecessors no longer make shows in the logits."""
    net = _mixed_net()
    model = net.model(net.logits)  # type: ignore[attr-defined]
    good = _sqnr_db(net, model, Formats(weight_bits=4), rounding="gptq")
    layer = refine_module._layer
    monkeypatch.setattr(  # runs each layer's quantizer, and so its old weights, before it is rounded
        refine_module, "_layer", lambda stored, position, result: layer(stored, position + 3, result)
    )
    assert _sqnr_db(net, model, Formats(weight_bits=4), rounding="gptq") < good - 3


@pytest.mark.parametrize("name", [*ROUNDINGS, "auto"])
@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_survive(name: str, bits: int) -> None:
    net = _mixed_net()
    model = net.model(net.logits)  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    pruned = {}
    for node in model.graph:
        data = weight(node.inputs[1]) if node.op_type in ("Conv", "MatMul") else None
        if data is not None:
            pruned[node.name] = rng.random(data.shape) < 0.6
            set_weight(node.inputs[1], np.where(pruned[node.name], 0, data).astype(np.float32))  # type: ignore[arg-type]
    context = Context(Formats(), Options(rounding=name, weight_bits=bits), net.data(64))
    result = Quantize().run(model, context).model
    assert PROPERTIES["sparsity"](model, result) is None
    for node in result.graph:
        if node.name in pruned:
            codes = weight(node.inputs[1].producer().inputs[0])  # type: ignore[union-attr]
            assert not np.asarray(codes)[pruned[node.name]].any()
            assert np.abs(np.asarray(codes)).max() <= (1 << (bits - 1)) - 1


def test_too_wide_layers_are_rounded_to_the_nearest_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine_module, "MAX_INPUTS", 20)
    net = residual_net()
    notes = Quantize().run(net.model(net.output), Context(calibration=net.data())).notes
    layers = [note.text for note in notes if note.code == "quantized"]
    assert ["too many inputs" in text for text in layers] == [True, True, True, False]
    assert "by gptq" in layers[-1]


def test_unknown_roundings_are_refused() -> None:
    net = residual_net()
    with pytest.raises(UsageError) as caught:
        Quantize().run(net.model(net.output), Context(options=Options(rounding="up"), calibration=net.data()))
    assert caught.value.code == "rounding-unknown" and "gptq" in str(caught.value.hint)
