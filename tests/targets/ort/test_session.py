"""Models inside an InferenceSession: exact, at any batch and number of threads, and clear about what is wrong."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import graphs
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets.native import pack, split
from prunus.targets.ort.model import build_model
from prunus.targets.ort.session import open_session, session_options
from prunus.tests.targets.ort import cases
from prunus.tests.targets.tvm import unions

Feeds = dict[str, np.ndarray]
FAILURES = (ort.capi.onnxruntime_pybind11_state.Fail, ort.capi.onnxruntime_pybind11_state.RuntimeException)
INVALID = ort.capi.onnxruntime_pybind11_state.InvalidArgument
SMALL = (graphs.mlp, graphs.residual_cnn, graphs.depthwise_cnn)


def quiet(threads: int = 1) -> ort.SessionOptions:
    options = session_options(threads)
    options.log_severity_level = 4
    return options


def trace(graph: ir.Graph, feeds: Feeds, options: ort.SessionOptions | None = None) -> Feeds:
    """Every integer tensor and output, from one session."""
    data = build_model(graph, trace=True).SerializeToString()
    session = ort.InferenceSession(data, options or quiet(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def assert_exact(graph: ir.Graph, found: Feeds, feeds: Feeds) -> None:
    expected = ops.run(graph, feeds, keep=True)
    assert set(graph.integer_tensors()) <= set(found)
    for name in graph.integer_tensors():
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        assert found[name].dtype == expected[name].dtype
    for name in graph.outputs:
        assert np.abs(found[name].astype("f8") - expected[name]).max(initial=0) <= 1e-5


# -- exactness --------------------------------------------------------------------------------------------------------


def test_every_operator_equals_the_golden_vectors() -> None:
    union = unions.union(unions.golden_cases())
    found = trace(union.graph, union.feeds)
    for name in union.graph.integer_tensors():
        if name in union.expected:
            np.testing.assert_array_equal(found[name], union.expected[name], err_msg=name)


@pytest.mark.parametrize("batch", [1, 3, 17])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)
def test_small_networks_are_exact(make: Any, threads: int, batch: int) -> None:
    graph, feeds = make("f32")
    feeds = {name: np.resize(x, (batch, *x.shape[1:])) for name, x in feeds.items()}
    assert_exact(graph, trace(graph, feeds, quiet(threads)), feeds)


def test_islands_stay_between_the_operators() -> None:
    graph, feeds = cases.with_islands()
    model = build_model(graph)
    assert [node.op_type for node in model.graph.node if node.domain == "prunus"] == ["Network"] * 3
    assert {node.op_type for node in model.graph.node} == {"Network", "LRN", "Softmax"}
    assert_exact(graph, trace(graph, feeds), feeds)


def test_an_island_with_a_subgraph_keeps_its_meaning() -> None:
    island = cases.with_subgraph()
    tensors = {name: ir.Tensor(name, (3,)) for name in ("a", "b")}
    graph = ir.Graph("one", ("a",), ("b",), tensors, (island,))
    session = open_session(graph, options=quiet())
    for x in (np.array([[1, 2, 3]], np.float32), np.array([[-4, 2, 1]], np.float32)):
        np.testing.assert_array_equal(session.run(None, {"a": x})[0], ops.run(graph, {"a": x})["b"])


def test_a_changed_weight_is_seen() -> None:
    graph, feeds = graphs.mlp("f32")
    op = next(op for op in graph.ops if isinstance(op, ir.QGemm))
    right = trace(graph, feeds)
    op.weight.setflags(write=True)
    op.weight.flat[np.abs(op.weight.astype(int)).argmax()] *= -1
    assert (trace(graph, feeds)[op.output] != right[op.output]).any()


# -- sessions ---------------------------------------------------------------------------------------------------------


def option_sets() -> dict[str, ort.SessionOptions]:
    found = {name: quiet(2) for name in ("plain", "unoptimised", "parallel", "no arena", "no pattern", "profiled")}
    found["unoptimised"].graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    found["parallel"].execution_mode = ort.ExecutionMode.ORT_PARALLEL
    found["parallel"].inter_op_num_threads = 2
    found["no arena"].enable_cpu_mem_arena = False
    found["no pattern"].enable_mem_pattern = False
    found["no pattern"].add_session_config_entry("session.intra_op.allow_spinning", "0")
    found["profiled"].add_session_config_entry("session.set_denormal_as_zero", "1")
    return found


@pytest.mark.parametrize("name", list(option_sets()))
def test_session_options_change_no_result(name: str) -> None:
    graph, feeds = cases.with_islands()
    assert_exact(graph, trace(graph, feeds, option_sets()[name]), feeds)


def test_provider_options_change_no_result() -> None:
    graph, feeds = graphs.residual_cnn("f32")
    data = build_model(graph, trace=True).SerializeToString()
    session = ort.InferenceSession(data, quiet(), providers=[("CPUExecutionProvider", {"use_arena": "0"})])
    names = [value.name for value in session.get_outputs()]
    assert_exact(graph, dict(zip(names, session.run(names, feeds), strict=True)), feeds)


def test_bound_outputs_are_written_in_place() -> None:
    graph, feeds = graphs.residual_cnn("f32")
    session = open_session(graph, options=quiet())
    (name,), (output,) = graph.inputs, graph.outputs
    expected = ops.run(graph, feeds)[output]
    mine = np.zeros_like(expected)
    binding = session.io_binding()
    binding.bind_cpu_input(name, feeds[name])
    binding.bind_output(output, "cpu", 0, np.float32, mine.shape, mine.ctypes.data)
    session.run_with_iobinding(binding)
    np.testing.assert_allclose(mine, expected, atol=1e-5)


def test_batches_follow_each_other_in_one_session() -> None:
    """More sizes than plans are kept."""
    graph, feeds = graphs.residual_cnn("f32")
    session = open_session(graph, options=quiet(2))
    (name,) = graph.inputs
    for batch in (1, 2, 3, 4, 5, 6, 7, 1, 2, 0):
        x = np.resize(feeds[name], (batch, *feeds[name].shape[1:]))
        found = session.run(None, {name: x})
        assert [len(y) for y in found] == [batch] * len(graph.outputs)
        if batch:
            expected = ops.run(graph, {name: x})
            assert all(np.allclose(y, expected[n], atol=1e-5) for y, n in zip(found, graph.outputs, strict=True))


def test_one_session_serves_many_callers_at_once() -> None:
    graph, _ = graphs.residual_cnn("f32")
    session = open_session(graph, options=quiet(2))
    (name,) = graph.inputs
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(1 + i % 3, *graph.tensors[name].shape)).astype(np.float32) for i in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: session.run(None, {name: x})[0], inputs))
    for x, y in zip(inputs, found, strict=True):
        np.testing.assert_allclose(y, ops.run(graph, {name: x})[graph.outputs[0]], atol=1e-5)


def test_several_sessions_live_side_by_side_and_end_in_any_order() -> None:
    cases_of = [make("f32") for make in SMALL]
    sessions = [open_session(graph, options=quiet(1 + i % 2)) for i, (graph, _) in enumerate(cases_of * 2)]
    for order in ((0, 3, 1, 4, 2, 5), (5, 1)):
        for index in order:
            graph, feeds = cases_of[index % 3]
            found = sessions[index].run(None, feeds)
            expected = ops.run(graph, feeds)
            assert all(np.allclose(y, expected[n], atol=1e-5) for y, n in zip(found, graph.outputs, strict=True))
    for index in (1, 4, 0, 2, 3, 5):
        sessions[index] = None  # type: ignore[call-overload]
        gc.collect()
    graph, feeds = cases_of[0]
    np.testing.assert_allclose(
        open_session(graph, options=quiet()).run(None, feeds)[0], ops.run(graph, feeds)[graph.outputs[0]], atol=1e-5
    )


def test_timed_plans_give_the_same_results() -> None:
    graph, feeds = graphs.residual_cnn("f32")
    session = open_session(graph, timed=2, options=quiet())
    np.testing.assert_array_equal(session.run(None, feeds)[0], open_session(graph, options=quiet()).run(None, feeds)[0])


# -- what is wrong ----------------------------------------------------------------------------------------------------


def free_model(graph: ir.Graph, **changes: Any) -> onnx.ModelProto:
    """The one region of a graph as a model whose inputs may have any shape."""
    region, *_ = split(graph)
    assert isinstance(region, ir.Graph)
    data = np.frombuffer(changes.get("packed", pack(region)), np.uint8)
    initializers = [numpy_helper.from_array(data, "packed")]
    inputs = [helper.make_tensor_value_info("x", changes.get("kind", onnx.TensorProto.FLOAT), None)]
    if changes.get("variable"):
        inputs.append(helper.make_tensor_value_info("packed", onnx.TensorProto.UINT8, None))
        initializers = []
    outputs = [f"y{i}" for i in range(len(region.outputs) + changes.get("more_outputs", 0))]
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    node = helper.make_node("Network", ["packed", *["x"] * changes.get("inputs", 1)], outputs, domain="prunus")
    node.attribute.extend(helper.make_attribute(*item) for item in changes.get("attributes", {}).items())
    graph_proto = helper.make_graph([node], "g", inputs, infos, initializers)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("prunus", 1)]
    return helper.make_model(graph_proto, ir_version=10, opset_imports=opsets)


def open_free(graph: ir.Graph, **changes: Any) -> ort.InferenceSession:
    data = free_model(graph, **changes).SerializeToString()
    return ort.InferenceSession(data, quiet(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("shape", [(2, 15), (2, 17), (2,), (2, 16, 1), ()], ids=str)
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    session = open_free(graphs.mlp("f32")[0])
    with pytest.raises(INVALID, match=r"input 0 is float32 \[.*\], expected float32 \[n, 16\]"):
        session.run(None, {"x": np.zeros(shape, np.float32)})
    assert session.run(None, {"x": np.zeros((2, 16), np.float32)})[0].shape[0] == 2


def test_a_wrong_element_type_is_refused() -> None:
    session = open_free(graphs.mlp("f32")[0], kind=onnx.TensorProto.UINT8)
    with pytest.raises(INVALID, match="input 0 is uint8"):
        session.run(None, {"x": np.zeros((2, 16), np.uint8)})


def test_damaged_packed_networks_are_refused() -> None:
    """Cut at any place, or with any byte changed: an error when the session is created, never a crash."""
    graph, _ = graphs.mlp("f32")
    region, *_ = split(graph)
    assert isinstance(region, ir.Graph)
    packed = pack(region)
    rng = np.random.default_rng(0)
    damaged = [b"", packed[:7], packed[:-1], packed + b"\0", b"\0" * len(packed)]
    damaged += [packed[:n] for n in rng.integers(1, len(packed), 20)]
    for position in rng.integers(0, len(packed), 60):
        changed = bytearray(packed)
        changed[position] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(changed))
    for data in damaged:
        with pytest.raises(FAILURES, match="packed network"):
            open_free(graph, packed=data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": 2}, "1 inputs and 1 outputs, the node others"),
        ({"more_outputs": 1}, "the node others"),
        ({"variable": True}, "initializer"),
        ({"attributes": {"timed": -1}}, "timed"),
        ({"attributes": {"timed": 1001}}, "timed"),
    ],
    ids=str,
)
def test_a_node_that_does_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FAILURES, match=words):
        open_free(graphs.mlp("f32")[0], **changes)
