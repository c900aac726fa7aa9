"""Every rule against onnx's own examples of its operator.

Each example is put between a layer that produces one axis of its input and a layer that sums over all of its output:

    MatMul(zz, ww) -> Transpose -> [operator of the example] -> Reshape to [1, -1] -> Gemm

Half of the produced channels are removed. Whatever the rule says (pinned, or passed on in any form), the cut must be
proven. Examples in which the random input leaves the operator's domain (a logarithm of negative numbers) prove nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from pruning_nets import random_removal

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.analysis.channels.rules import RULES
from prunus.compiler.errors import PrunusError
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.prove import compared_values, prove, random_inputs

MAX_ELEMENTS = 20_000


def examples() -> dict[str, list]:
    """onnx's examples of single operators that have a rule, by operator."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    found: dict[str, list] = {op_type: [] for op_type in sorted(RULES)}
    for case in cases:
        if case.model is not None and len(case.model.graph.node) == 1 and not case.model.graph.node[0].domain:
            found.get(case.model.graph.node[0].op_type, []).append(case)
    return found


def between_two_layers(case) -> Iterator[onnx.ModelProto]:
    """The example's operator between a producer and a consumer, once for each axis of each of its first two inputs."""
    graph, inputs = case.model.graph, case.data_sets[0][0]
    if not all(isinstance(array, (np.ndarray, np.generic)) for array in inputs):
        return
    size = int(np.prod([dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim]))
    for index, x in list(enumerate(inputs))[:2]:
        if x.dtype != np.float32 or x.ndim < 2 or not 0 < size <= MAX_ELEMENTS:
            continue
        constants = {value.name: array for value, array in zip(graph.input, inputs, strict=True)}
        name = graph.input[index].name
        del constants[name]
        for axis in (axis for axis in range(x.ndim) if x.shape[axis] > 1):
            yield surround(case.model, name, x.shape, axis, constants, size)


def surround(model: onnx.ModelProto, name: str, shape, axis: int, constants, size: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    order = [*(a for a in range(len(shape)) if a != axis), axis]
    node = model.graph.node[0]
    nodes = [
        helper.make_node("MatMul", ["zz", "ww"], ["mm"]),
        helper.make_node("Transpose", ["mm"], [name], perm=np.argsort(order).tolist()),
        node,
        helper.make_node("Cast", [node.output[0]], ["ff"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Reshape", ["ff", "flat"], ["rr"]),
        helper.make_node("Gemm", ["rr", "vv"], ["out"]),
    ]
    weights = {"ww": (4, shape[axis]), "vv": (size, 3)}
    arrays = {key: (rng.standard_normal(dims) / 2).astype(np.float32) for key, dims in weights.items()}
    arrays = {**arrays, "flat": np.array([1, -1]), **constants}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("zz", 1, [*(shape[a] for a in order[:-1]), 4])],
        [helper.make_tensor_value_info("out", 1, [1, 3])],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=min(model.ir_version, 10))


def is_finite(model: Model) -> bool:
    values = run_model(model, random_inputs(model, 5, 0), compared_values(model), batch=1, optimise=False)
    return all(np.isfinite(value).all() for value in values.values())


@pytest.fixture(scope="module")
def by_operator() -> dict[str, list]:
    return examples()


@pytest.mark.slow
@pytest.mark.parametrize("op_type", sorted(RULES))
def test_cuts_through_an_operator_are_proven(by_operator: dict[str, list], op_type: str) -> None:
    cuts = 0
    for case in by_operator[op_type]:
        for proto in between_two_layers(case):
            try:
                model = load_proto(proto)
            except PrunusError:
                continue  # an element type or a form that is not taken at all
            channels = channel_groups(model)
            removed = random_removal(channels)
            if not removed.any() or not is_finite(model):
                continue
            proof = prove(model, channels, removed, cut(model, channels, removed))
            assert proof.max_relative_error <= 1e-5, case.name
            cuts += 1
    if not cuts:
        pytest.skip("no example of this operator has channels that can be removed")
