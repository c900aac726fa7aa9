"""Comparing models: the numbers, the matching of layers, and finding the layer that brings the error in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_nets import FloatNet
from real_tasks import original, quantized

from prunus.compiler.analysis.parity import compare, first_bad_layer, layer_parity, match_values
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.model.edit import set_weight
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.model.save import save
from prunus.compiler.passes import FoldBatchNorm, FoldConstants, Normalise, Quantize
from prunus.compiler.passes.base import Context
from prunus.compiler.target import Formats

inf = float("inf")


# -- compare ----------------------------------------------------------------------------------------------------------


def test_compare_by_hand():
    found = compare(np.array([[3.0, 4.0], [0.0, 5.0]]), np.array([[3.0, 4.5], [0.0, 5.0]]))
    assert found.sqnr_db == pytest.approx(10 * np.log10(50 / 0.25))
    assert (found.max_abs_error, found.max_relative_error) == (0.5, 0.1)
    assert (found.agreement, found.elements) == (1.0, 4)


def test_agreement_counts_samples():
    reference = np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 1.0], [5.0, 0.0]])
    candidate = np.array([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [5.0, 0.0]])
    assert compare(reference, candidate).agreement == 0.75


@pytest.mark.parametrize(
    ("reference", "candidate", "sqnr_db", "largest"),
    [
        ([1.0, 2.0], [1.0, 2.0], inf, 0.0),
        ([0.0, 0.0], [0.0, 0.0], inf, 0.0),
        ([0.0, 0.0], [0.0, 1.0], -inf, 1.0),
        ([1.0, 2.0], [1.0, np.nan], -inf, inf),
        ([1.0, inf], [1.0, inf], inf, 0.0),
        ([1.0, inf], [1.0, -inf], -inf, inf),
        ([1e200, 1.0], [1.1e200, 1.0], 20.0, 1e199),
    ],
)
def test_compare_at_the_edges(reference, candidate, sqnr_db, largest):
    found = compare(np.array([reference]), np.array([candidate]))
    assert found.sqnr_db == pytest.approx(sqnr_db)
    assert found.max_abs_error == pytest.approx(largest)


def test_integers_and_scalars_compare_as_numbers():
    assert compare(np.array([200], np.uint8), np.array([-56], np.int8)).max_abs_error == 256
    assert compare(np.array(2.0), np.array(2.5)).max_abs_error == 0.5


def test_different_shapes_are_refused():
    with pytest.raises(UsageError) as caught:
        compare(np.zeros((2, 3)), np.zeros((3, 2)))
    assert caught.value.code == "parity-shape"


# -- layers -----------------------------------------------------------------------------------------------------------


def chain() -> tuple[Model, Data]:
    """Five convolutions with Relu between, the third with a batch normalisation."""
    net = FloatNet((3, 10, 10), seed=3)
    x = net.input
    for index in range(5):
        x = net.conv(x, 8)
        if index == 2:
            numbers = [net.constant(net.rng.uniform(0.5, 1.5, 8)) for _ in range(4)]
            x = net.op("BatchNormalization", x, *numbers)
        x = net.relu(x)
    model = net.model(x)
    return model, Data({str(model.graph.inputs[0].name): net.rng.normal(size=(6, 3, 10, 10)).astype(np.float32)})


def compressed(model: Model, data: Data, formats: Formats) -> Model:
    context = Context(formats=formats, calibration=data)
    for each in (Normalise(), FoldConstants(), FoldBatchNorm(), Quantize()):
        model = each.run(model, context).model
    return model


def spoiled(model: Model, conv: int, factor: float) -> Model:
    """A copy in which the weight of the n-th convolution has one channel multiplied."""
    copy = model.clone()
    node = [node for node in copy.graph if node.op_type == "Conv"][conv]
    value = node.inputs[1]
    while value.const_value is None:  # behind a DequantizeLinear
        value = value.producer().inputs[0]
    array = value.const_value.numpy().copy()
    array[0] = (array[0] * factor).astype(array.dtype)
    set_weight(value, array)
    return copy


def test_a_model_equals_itself():
    model, data = chain()
    rows = layer_parity(model, model.clone(), data)
    assert len(rows) == 11
    assert all(row.parity.sqnr_db == inf and row.introduced.sqnr_db == inf for row in rows)
    assert first_bad_layer(model, model.clone(), data) is None


@pytest.mark.parametrize("conv", range(5))
def test_the_first_bad_layer_is_the_one_that_was_spoiled(conv):
    model, data = chain()
    bad = first_bad_layer(model, spoiled(model, conv, -3.0), data)
    assert bad is not None
    convs = [str(node.name) for node in model.graph if node.op_type == "Conv"]
    assert bad.layer == convs[conv]


def test_later_layers_show_the_error_but_do_not_bring_it_in():
    model, data = chain()
    rows = layer_parity(model, spoiled(model, 1, -3.0), data)
    convs = [row for row in rows if row.layer in {str(n.name) for n in model.graph if n.op_type == "Conv"}]
    assert [row.introduced.sqnr_db == inf for row in convs] == [True, False, True, True, True]
    assert all(row.parity.sqnr_db < 40 for row in convs[1:])


@pytest.mark.parametrize("scheme", ["f32", "pow2"])
def test_quantized_models_match_layer_by_layer(scheme):
    model, data = chain()
    formats = Formats() if scheme == "f32" else Formats("pow2", activation="s8", zero_point="zero")
    candidate = compressed(model, data, formats)
    relus = {str(node.name) for node in model.graph if node.op_type == "Relu"}
    for other in (candidate, read_qdq(candidate, formats)):
        rows = layer_parity(model, other, data)
        assert relus <= {row.layer for row in rows}
        assert all(row.introduced.sqnr_db > 20 for row in rows)
        assert first_bad_layer(model, other, data) is None


@pytest.mark.parametrize("conv", [0, 2, 4])
def test_a_spoiled_quantized_layer_is_found_in_the_model_and_in_the_integer_graph(conv):
    model, data = chain()
    candidate = spoiled(compressed(model, data, Formats()), conv, -1.0)
    order = [str(node.name) for node in model.graph]
    spoiled_at = [i for i, node in enumerate(model.graph) if node.op_type == "Conv"][conv]
    for other in (candidate, read_qdq(candidate, Formats())):
        bad = first_bad_layer(model, other, data)
        assert bad is not None
        # the convolution itself, or what was fused behind it
        assert spoiled_at <= order.index(bad.layer) <= spoiled_at + 2


def test_a_folded_batch_norm_is_compared_by_what_it_means():
    model, data = chain()
    candidate = compressed(model, data, Formats())
    pairs = match_values(model, candidate)
    norm = next(node for node in model.graph if node.op_type == "BatchNormalization")
    assert str(norm.outputs[0].name) in pairs
    assert str(norm.inputs[0].name) not in pairs


def test_models_match_after_saving_and_loading(tmp_path: Path):
    model, data = chain()
    save(model, tmp_path / "a.onnx")
    save(spoiled(compressed(model, data, Formats()), 2, -1.0), tmp_path / "b.onnx")
    left, right = load(tmp_path / "a.onnx"), load(tmp_path / "b.onnx")
    samples = Data({str(left.graph.inputs[0].name): next(iter(data.inputs.values()))})
    rows = layer_parity(left, right, samples)
    assert len(rows) >= 6
    bad = first_bad_layer(left, right, samples)
    assert bad is not None
    order = [str(node.name) for node in left.graph]
    third = [index for index, node in enumerate(left.graph) if node.op_type == "Conv"][2]
    assert third <= order.index(bad.layer) <= third + 2


def test_pruned_layers_of_other_shapes_are_left_out():
    narrow, wide = FloatNet((3, 6, 6), seed=1), FloatNet((3, 6, 6), seed=1)
    models = [net.model(net.conv(net.conv(net.input, channels), 5)) for net, channels in ((narrow, 4), (wide, 7))]
    data = Data({str(models[0].graph.inputs[0].name): np.ones((2, 3, 6, 6), np.float32)})
    assert [row.layer for row in layer_parity(models[0], models[1], data)] == [str(models[0].graph[1].name)]


def test_a_threshold_of_the_callers_own():
    model, data = chain()
    candidate = compressed(model, data, Formats())
    first = layer_parity(model, candidate, data)[0]
    bad = first_bad_layer(model, candidate, data, threshold_db=first.sqnr_db + 1)
    assert bad is not None
    assert bad.layer == first.layer


@pytest.mark.parametrize("saved", [False, True])
def test_a_real_network_with_one_spoiled_layer(models: Path, tmp_path: Path, saved: bool):
    model, data = original("ds_cnn", models)
    candidate, _ = quantized("ds_cnn", models, Formats(), equalise="never")
    if saved:  # the user's names on one side, plain ones on the other
        save(candidate, tmp_path / "int8.onnx")
        candidate = load(tmp_path / "int8.onnx")
    assert len(layer_parity(model, candidate, data.first(8))) >= 20
    assert first_bad_layer(model, candidate, data.first(8)) is None
    bad = first_bad_layer(model, spoiled(candidate, 4, -1.0), data.first(8))
    assert bad is not None
    convs = [str(node.name) for node in model.graph if node.op_type == "Conv"]
    following = [str(user.name) for user in next(n for n in model.graph if n.name == convs[4]).outputs[0].consumers()]
    assert bad.layer in (convs[4], *following)


@pytest.mark.parametrize("saved", [False, True])
def test_equalised_values_are_left_out(models: Path, tmp_path: Path, saved: bool):
    """Their channels are scaled, which is no error; what every value means behind them still is compared."""
    model, data = original("ds_cnn", models)
    candidate, _ = quantized("ds_cnn", models, Formats(), equalise="always")
    if saved:
        save(candidate, tmp_path / "int8.onnx")
        candidate = load(tmp_path / "int8.onnx")
    rows = layer_parity(model, candidate, data.first(8))
    assert 1 <= len(rows) < 20
    assert all(row.introduced.sqnr_db > 20 for row in rows)
    assert first_bad_layer(model, candidate, data.first(8)) is None
    assert any(row.span > 10 for row in rows)
    assert first_bad_layer(model, spoiled(candidate, 4, -1.0), data.first(8), threshold_db=20.0) is not None
