"""Weights, types and shapes change together, on the copy that a pass owns."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.errors import InvalidModelError
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import (
    fresh_name,
    infer_shapes,
    make_initializer,
    purge_shapes,
    replace_initializer,
    set_weight,
    weight,
)
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.model.shapes import all_values


@pytest.fixture
def model() -> Model:
    """Two convolutions that share one weight, then a fully connected layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["a", "w"], ["b"], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["b"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "c"], ["y"], transB=1),
    ]
    rng = np.random.default_rng(0)
    dims = {"w": (3, 3, 3, 3), "g": (5, 3), "c": (5,)}
    tensors = [numpy_helper.from_array(rng.normal(size=d).astype(np.float32), name) for name, d in dims.items()]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])
    graph = helper.make_graph(nodes, "g", [image], [output], tensors)
    return load_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8))


def dims(value: ir.Value | None) -> list[object]:
    assert value is not None
    assert value.shape is not None
    return [dim if isinstance(dim, int) else str(dim) for dim in value.shape]


def feeds(batch: int = 2) -> dict[str, np.ndarray]:
    return {"t0001": np.random.default_rng(1).normal(size=(batch, 3, 8, 8)).astype(np.float32)}


def test_set_weight_changes_data_type_and_shape(model: Model) -> None:
    value = model.graph.node(4).inputs[1]
    assert value is not None
    for array in (np.ones((7, 3), np.float16), np.float32(2.5), np.ones((2, 3), np.int8).T, np.ones(3, ml_dtypes.int4)):
        set_weight(value, array)
        assert dims(value) == list(np.shape(array))
        assert value.dtype == ir.DataType.from_numpy(np.asarray(array).dtype)
        found = weight(value)
        assert found is not None
        assert np.array_equal(found, array)
        assert value.const_value is not None
        assert value.const_value.name == value.name


def test_an_edit_of_a_clone_leaves_the_model_alone(model: Model) -> None:
    before = model.to_bytes()
    copy = model.clone()
    value = copy.graph.node(0).inputs[1]
    assert value is not None
    set_weight(value, np.zeros((3, 3, 3, 3), np.float32))
    assert model.to_bytes() == before
    assert copy.to_bytes() != before


def test_cutting_an_output_channel_keeps_the_model_valid(model: Model) -> None:
    copy = model.clone()
    last = copy.graph.node(4)
    for index in (1, 2):
        value = last.inputs[index]
        found = weight(value)
        assert value is not None
        assert found is not None
        set_weight(value, found[:4])
    infer_shapes(copy)
    assert dims(copy.graph.outputs[0]) == ["batch", 4]
    (whole,), (cut,) = (run_model(each, feeds()).values() for each in (model, copy))
    np.testing.assert_allclose(cut, whole[:, :4], rtol=1e-6)


def test_a_cut_that_does_not_fit_is_refused_with_the_users_name(model: Model) -> None:
    copy = model.clone()
    value = copy.graph.node(4).inputs[1]
    assert value is not None
    set_weight(value, np.ones((5, 4), np.float32))
    with pytest.raises(InvalidModelError) as caught:
        infer_shapes(copy)
    assert caught.value.code == "shape-mismatch"
    assert caught.value.where == "y"
    assert "[5, 4]" in str(caught.value)


def test_fresh_names_are_never_given_twice(model: Model) -> None:
    taken = {item.name for item in (*all_values(model.graph), *model.graph)}
    copy = model.clone()
    names = [fresh_name(copy), fresh_name(copy.graph), fresh_name(copy, "n"), fresh_name(copy.clone())]
    assert len({name[1:] for name in names}) == 4
    assert not taken & set(names)
    assert [name[0] for name in names] == ["t", "t", "n", "t"]


def test_replace_initializer_unties_one_consumer(model: Model) -> None:
    first, second = model.graph.node(0), model.graph.node(1)
    shared = first.inputs[1]
    own = replace_initializer(model.graph, second, 1, np.zeros((3, 3, 3, 3), np.float32))
    assert first.inputs[1] is shared
    assert second.inputs[1] is own
    assert {shared, own} <= set(model.graph.initializers.values())
    replace_initializer(model.graph, first, 1, np.ones((3, 3, 3, 3), np.float32))
    assert shared not in model.graph.initializers.values()
    run_model(model, feeds())


def test_make_initializer_registers_the_constant(model: Model) -> None:
    value = make_initializer(model.graph, fresh_name(model), np.zeros(5, np.float32))
    model.graph.node(4).replace_input_with(2, value)
    infer_shapes(model)
    assert weight(value) is not None
    run_model(model, feeds())


def test_weight_of_what_is_computed_is_none(model: Model) -> None:
    assert weight(model.graph.node(0).outputs[0]) is None
    assert weight(None) is None


def test_purged_shapes_come_back(model: Model) -> None:
    before = {value.name: dims(value) for value in all_values(model.graph)}
    purge_shapes(model)
    assert model.graph.outputs[0].shape is None
    infer_shapes(model)
    assert {value.name: dims(value) for value in all_values(model.graph)} == before
