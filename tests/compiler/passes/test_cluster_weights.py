"""The pass shares values among weights, float or integer, and leaves everything else alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.errors import UsageError
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.cluster_weights import ClusterWeights

RNG = np.random.default_rng(0)


def network(quantized: bool, zero_point: int = 0) -> Model:
    """y = x (*) w, the weight float or int8 behind a DequantizeLinear with one scale per channel."""
    weight = RNG.normal(0, 0.2, (16, 8, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"])]
    constants = {"w": weight, "b": RNG.normal(0, 1, 16).astype(np.float32)}
    if quantized:
        scale = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
        codes = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
        codes[:, :2] = 0
        constants |= {"q": codes, "s": scale, "z": np.full(16, zero_point, np.int8)}
        del constants["w"]
        nodes.insert(0, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return load_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def constants(model: Model) -> dict[str, np.ndarray]:
    return {
        model.original(name): value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }


def run(model: Model, bits: int | None):
    return ClusterWeights().run(model, Context(options=Options(cluster=bits)))


@pytest.mark.parametrize(("quantized", "name"), [(False, "w"), (True, "q")])
def test_weights_share_values_and_nothing_else_changes(quantized, name):
    model = network(quantized)
    before, result = constants(model), run(model, 3)
    after = constants(result.model)
    assert result.changed and np.unique(after[name]).size <= 8 < np.unique(before[name]).size
    assert after[name].dtype == before[name].dtype
    np.testing.assert_array_equal(after[name][before[name] == 0], 0)
    for other in before.keys() - {name}:
        np.testing.assert_array_equal(after[other], before[other])
    (note,) = result.notes
    assert note.code == "weights-shared" and "SQNR" in note.text
    onnx.checker.check_model(result.model.to_proto())


def test_more_bits_lose_less():
    model = network(True)
    before = constants(model)["q"].astype(float)
    errors = [np.square(constants(run(model, bits).model)["q"] - before).sum() for bits in (2, 4, 6)]
    assert errors[0] > 8 * errors[1] > 64 * errors[2] > 0


def test_a_second_run_changes_nothing():
    first = run(network(True), 4).model
    assert not run(first, 4).changed


def test_weights_around_another_zero_stay():
    assert not run(network(True, zero_point=3), 3).changed


def test_off_by_default_and_bounded():
    model = network(False)
    assert run(model, None).model is model
    with pytest.raises(UsageError) as caught:
        run(model, 9)
    assert caught.value.code == "bad-cluster"
