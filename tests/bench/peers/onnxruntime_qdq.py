"""onnxruntime on the QDQ layer: all graph optimizations, buffers bound once, nothing allocated in a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from harness.problem import Problem
from onnx import TensorProto, helper

from prunus.compiler.executor import open_session

from .base import Missing, Prepared, from_channels_last, to_channels_last
from .qdq_layer import qdq_layer


def _module() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Missing("onnxruntime is not installed: pip install onnxruntime") from error
    return onnxruntime


def version() -> str:
    return str(_module().__version__)


def _session(model: onnx.ModelProto, threads: int = 1) -> tuple[Any, list[str]]:
    """The session, and the operators that are left after its optimizations."""
    ort = _module()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # it warns that an optimized file depends on the machine
    with TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(optimized)
        session = open_session(model.SerializeToString(), options)
        return session, [node.op_type for node in onnx.load(optimized).graph.node]


def _bound(session: Any, x: np.ndarray) -> tuple[Callable[[], object], Any]:
    """(a call on bound buffers, the output's value)."""
    output = session.get_outputs()[0]
    y = _module().OrtValue.ortvalue_from_shape_and_type(output.shape, np.uint8)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", _module().OrtValue.ortvalue_from_numpy(x))
    binding.bind_ortvalue_output(output.name, y)
    return lambda: session.run_with_iobinding(binding), y


def prepare(problem: Problem, alone: bool = False) -> Prepared:
    session, operators = _session(qdq_layer(problem, alone))
    call, y = _bound(session, problem.x if alone else to_channels_last(problem.x))
    return Prepared(call, lambda: y.numpy() if alone else from_channels_last(y.numpy()), " ".join(operators))


def empty_call() -> Callable[[], object]:
    """A call of a session that does next to nothing: what a call costs before any layer runs."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "nothing",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return _bound(_session(model)[0], np.zeros(1, np.uint8))[0]
