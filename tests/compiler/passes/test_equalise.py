"""Cross-layer equalisation: the same function, ranges made equal, kept only where quantization gains."""

from __future__ import annotations

import numpy as np
import pytest
from float_nets import FloatNet, residual_net

from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import fresh_name, make_initializer, weight
from prunus.compiler.model.model import Model
from prunus.compiler.model.workload import workload
from prunus.compiler.passes import equalise as module
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.equalise import Equalise
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.quantization.equalise import equalise
from prunus.compiler.quantization.pairs import find_pairs, rescale
from prunus.compiler.quantization.plan import plan
from prunus.compiler.target import Formats

PER_TENSOR = Formats(per_channel=False)


def scaled_net() -> FloatNet:
    """Layers whose channels differ by four orders of magnitude, which the next layer undoes."""
    net = FloatNet((3, 8, 8), seed=2)
    x = net.input
    scales = [np.logspace(-2, 2, 12)[net.rng.permutation(12)] for _ in range(3)]
    x = net.relu(net.conv(x, 12, scale=scales[0]))
    _divide(net, scales[0])
    depthwise = net.conv(x, 12, group=12, scale=scales[1] / scales[0])
    x = net.op("MaxPool", net.relu(depthwise), kernel_shape=[2, 2], strides=[2, 2])
    wide = net.rng.normal(size=(12, 12, 1, 1)) / 3 / scales[1].reshape(1, 12, 1, 1) * scales[2].reshape(12, 1, 1, 1)
    x = net.relu(net.op("Conv", x, net.constant(wide), channels=12, kernel_shape=[1, 1]))
    x = net.flat(net.op("GlobalAveragePool", x))
    last = net.constant(net.rng.normal(size=(5, 12)) / 3 / scales[2])
    net.output = net.op("Gemm", x, last, transB=1)  # type: ignore[attr-defined]
    return net


def _divide(net: FloatNet, scale: np.ndarray) -> None:
    """Gives the biases of the last layer the size of its weights."""
    bias = net.weights[-1]
    array = np.frombuffer(bias.raw_data, np.float32) * scale
    bias.raw_data = array.astype(np.float32).tobytes()


def _linears(model: Model) -> tuple:
    return plan(model.graph, Formats()).linears


def _outputs(model: Model, net: FloatNet) -> np.ndarray:
    return next(iter(run_model(model, net.data(32, seed=7).inputs).values()))


def _error(reference: np.ndarray, found: np.ndarray) -> float:
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def test_the_function_stays_and_the_ranges_become_equal() -> None:
    net = scaled_net()
    model = net.model(net.output)  # type: ignore[attr-defined]
    balanced = model.clone()
    assert len(equalise(balanced.graph, _linears(balanced))) == 3
    assert _error(_outputs(model, net), _outputs(balanced, net)) < 1e-5
    for pair in find_pairs(_linears(balanced)):
        first = np.abs(weight(pair.first.weight)).reshape(12, -1).max(axis=1)
        second = np.asarray(weight(pair.second.weight))
        rows = second if second.shape[1] == 1 else np.moveaxis(second, 1, 0)
        assert np.allclose(first, np.abs(rows).reshape(12, -1).max(axis=1), rtol=1e-3)
    assert not np.allclose(
        np.asarray(weight(model.graph[0].inputs[1])), np.asarray(weight(balanced.graph[0].inputs[1]))
    )


@pytest.mark.parametrize("between", ["none", "relu", "clip", "sigmoid", "branch"])
def test_only_homogeneous_functions_may_stand_between(between: str) -> None:
    net = FloatNet((3, 8, 8))
    x = first = net.conv(net.input, 4)
    if between == "clip":
        x = net.op("Clip", x, net.constant(0.0), net.constant(6.0))
    elif between != "none":
        x = net.op({"relu": "Relu", "sigmoid": "Sigmoid", "branch": "Relu"}[between], x)
    outputs = [net.conv(x, 2), *([first] if between == "branch" else [])]
    assert len(find_pairs(_linears(net.model(*outputs)))) == (between in ("none", "relu"))


def test_dead_channels_and_grouped_convolutions_are_left_alone() -> None:
    net = FloatNet((4, 6, 6))
    x = net.relu(net.conv(net.relu(net.conv(net.input, 4, scale=[0.0, 1.0, 2.0, 3.0])), 4))
    model = net.model(net.conv(x, 4, group=2))
    before = _outputs(model, net)
    assert len(equalise(model.graph, _linears(model))) == 1
    assert _error(before, _outputs(model, net)) < 1e-6
    assert not np.asarray(weight(model.graph[0].inputs[1]))[0].any()


def test_a_badly_scaled_net_is_rescued() -> None:
    net = scaled_net()
    model = net.model(net.output)  # type: ignore[attr-defined]
    context = Context(PER_TENSOR, Options(rounding="nearest"), net.data(64))
    result = Equalise().run(model, context)
    assert result.changed and [note.code for note in result.notes] == ["equalised"]
    reference = _outputs(model, net)
    plain, balanced = (
        _error(reference, _outputs(Quantize().run(m, context).model, net)) for m in (model, result.model)
    )
    assert balanced < 0.1 < 0.3 < plain


@pytest.mark.parametrize("bound", [6.0, 600.0])
def test_relu6_becomes_relu_only_where_that_helps(bound: float) -> None:
    """Badly scaled channels far below the bound are rescued; where the bound does its work, it stays."""
    net = scaled_net()
    model = net.model(net.output)  # type: ignore[attr-defined]
    clipped = model.clone()
    for node in list(clipped.graph):
        if node.op_type == "Relu":
            low, high = (
                make_initializer(clipped.graph, fresh_name(clipped.graph), np.float32(end)) for end in (0, bound)
            )
            node.op_type = "Clip"
            node.resize_inputs(3)
            node.replace_input_with(1, low)
            node.replace_input_with(2, high)
    result = Equalise().run(clipped, Context(PER_TENSOR, Options(rounding="nearest"), net.data(64)))
    codes = {note.code for note in result.notes}
    reference = _outputs(clipped, net)
    assert _error(reference, _outputs(result.model, net)) < 0.05
    assert ("clip-relaxed" in codes) == (bound == 600.0)
    if bound == 600.0:
        context = Context(PER_TENSOR, calibration=net.data(64))
        assert _error(reference, _outputs(Quantize().run(result.model, context).model, net)) < 0.1


def test_a_change_that_does_not_help_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    net = scaled_net()
    model = net.model(net.output)  # type: ignore[attr-defined]
    balanced = Equalise().run(model, Context(PER_TENSOR, calibration=net.data(64))).model
    again = Equalise().run(balanced, Context(PER_TENSOR, calibration=net.data(64)))
    assert again.model is balanced or again.notes[0].code == "equalised"
    monkeypatch.setattr("prunus.compiler.quantization.equalise.LIMIT", 1.0)  # equalising now changes nothing
    same = Equalise().run(model, Context(PER_TENSOR, Options(equalise="always"), net.data(64)))
    assert same.model is model and [note.code for note in same.notes] == ["equalise-rejected"]


def test_half_of_the_way_keeps_the_function_and_takes_half_of_the_factors() -> None:
    net = scaled_net()
    model = net.model(net.output)  # type: ignore[attr-defined]
    half = model.clone()
    assert len(equalise(half.graph, _linears(half), 0.5)) == 3
    assert _error(_outputs(model, net), _outputs(half, net)) < 1e-5
    whole = model.clone()
    equalise(whole.graph, _linears(whole))
    rows = [np.abs(weight(each.graph[0].inputs[1])).reshape(12, -1).max(axis=1) for each in (model, half, whole)]
    assert np.allclose(rows[1], np.sqrt(rows[0] * rows[2]), rtol=1e-4)


@pytest.mark.parametrize("per_channel", [True, False])
def test_powers_of_two_get_ranges_just_below_them(per_channel: bool) -> None:
    """Planted: every activation inside reaches just above a power of two."""
    net = FloatNet((8, 6, 6), seed=4)
    x = net.input
    for _ in range(4):
        x = net.relu(net.conv(x, 12))
    model = net.model(net.conv(x, 8))
    pairs = find_pairs(_linears(model))
    seen = run_model(model, net.data(64).inputs, [str(pair.second.inputs[0].name) for pair in pairs])
    for pair in pairs:
        reached = float(seen[str(pair.second.inputs[0].name)].max()) / 255
        pair.factors[:] = reached / (1.02 * 2.0 ** np.floor(np.log2(reached)))
    rescale(model.graph, pairs)
    formats = Formats(scheme="pow2", activation="s8", per_channel=per_channel)
    context = Context(formats, Options(rounding="nearest"), net.data(64))
    result = Equalise().run(model, context)
    assert ("ranges-aligned" in {note.code for note in result.notes}) and result.changed
    reference = _outputs(model, net)
    plain, aligned = (_error(reference, _outputs(Quantize().run(m, context).model, net)) for m in (model, result.model))
    assert aligned < (0.95 if per_channel else 0.85) * plain
    assert _error(reference, _outputs(result.model, net)) < 1e-5


def test_activations_gain_where_weights_have_one_scale_per_channel() -> None:
    net = scaled_net()
    model = net.model(net.output)  # type: ignore[attr-defined]
    context = Context(Formats(), Options(rounding="nearest"), net.data(64))
    result = Equalise().run(model, context)
    assert [note.code for note in result.notes] == ["equalised"]
    reference = _outputs(model, net)
    plain, balanced = (
        _error(reference, _outputs(Quantize().run(m, context).model, net)) for m in (model, result.model)
    )
    assert balanced < 0.2 * plain


def test_large_networks_are_tried_with_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    net = residual_net()
    model = net.model(net.output)
    assert module._samples(model) == module.SAMPLES
    monkeypatch.setattr(module, "TRIAL_MACS", 100 * workload(model).macs)
    assert module._samples(model) == 100
    monkeypatch.setattr(module, "TRIAL_MACS", 1.0)
    assert module._samples(model) == module.LEAST_SAMPLES


def test_it_runs_only_where_it_is_wanted() -> None:
    """Channels that differ little are not worth a try, unless one is asked for."""
    net = residual_net()
    model = net.model(net.output)
    data = net.data()
    assert Equalise().run(model, Context(Formats(), calibration=data)).notes == ()
    assert Equalise().run(model, Context(PER_TENSOR)).model is model
    for options in (Options(quantize=False), Options(equalise="never")):
        assert Equalise().run(model, Context(PER_TENSOR, options, data)).notes == ()
    asked = Equalise().run(model, Context(Formats(), Options(equalise="always"), data))
    assert asked.notes and asked.notes[0].code.startswith("equalise")
