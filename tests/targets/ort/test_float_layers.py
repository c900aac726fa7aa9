"""A layer that the model keeps in floating point stays so, wherever onnxruntime runs it.

onnxruntime's optimiser quantizes the weights of a float layer that stands between quantizers. Where no session
switches that off, the model's own numbers are lost without a word.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.executor import NOT_AS_WRITTEN, Session
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer.island import run_island
from prunus.targets.gpu.bundle import ONNX_LOADER
from prunus.targets.gpu.bundle import RUNTIME as GPU_RUNTIME
from prunus.targets.ort.bundle import LOADER_TEMPLATE
from prunus.targets.ort.session import open_session

ROOT = Path(__file__).resolve().parents[3]


def float_layer_between_quantizers() -> onnx.ModelProto:
    """x -> Q DQ -> Conv with float weights of very different channels -> Q DQ -> y."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 4, 3, 3)) * np.exp(2 * rng.standard_normal((8, 1, 1, 1)))
    constants = {"w": weight.astype(np.float32), "s": np.float32(0.02), "t": np.float32(0.1), "z": np.uint8(128)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "t", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["d", "t", "z"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in SHAPES.items()]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


SHAPES = {"x": (4, 8, 8), "y": (8, 6, 6)}
PROTO = float_layer_between_quantizers()
X = np.random.default_rng(1).standard_normal((2, *SHAPES["x"])).astype(np.float32)


def as_written() -> np.ndarray:
    return Session(PROTO, optimise=False).run({"x": X})["y"]


def island() -> ir.Graph:
    model = PROTO.SerializeToString()
    op = ir.Island(name="island", inputs=("x",), output="y", model=model, reason="kept-float")
    tensors = {name: ir.Tensor(name, shape) for name, shape in SHAPES.items()}
    return ir.Graph("g", ("x",), ("y",), tensors, (op,))


def test_the_fault_is_there_without_the_precaution() -> None:
    session = ort.InferenceSession(PROTO.SerializeToString(), providers=["CPUExecutionProvider"])
    assert (session.run(None, {"x": X})[0] != as_written()).mean() > 0.1


def test_the_witness() -> None:
    assert np.array_equal(Session(PROTO).run({"x": X})["y"], as_written())


def test_the_reference_s_islands() -> None:
    (op,) = island().ops
    assert isinstance(op, ir.Island)
    assert np.array_equal(run_island(op, (X,))[0], as_written())


def test_the_backend() -> None:
    assert np.array_equal(open_session(island()).run(None, {"x": X})[0], as_written())


@pytest.mark.parametrize("loader", [LOADER_TEMPLATE, GPU_RUNTIME / ONNX_LOADER], ids=lambda path: path.parts[-3])
def test_loaders_of_bundles_switch_off_the_same(loader: Path) -> None:
    """They stand alone, so they spell it out."""
    assert f"[{', '.join(repr(name) for name in NOT_AS_WRITTEN)}]".replace("'", '"') in loader.read_text()


def test_sessions_are_opened_in_one_place() -> None:
    """In the package, `executor.open_session` alone; loaders that are shipped stand beside it."""
    found = set()
    for folder in ("compiler", "targets", "tests/bench", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
            if any(isinstance(func, ast.Attribute) and func.attr == "InferenceSession" for func in calls):
                found.add(path.relative_to(ROOT).as_posix())
    if not found:
        pytest.skip("the sources are not beside the tests")
    shipped = {"targets/ort/runtime/loader.py", "targets/gpu/runtime/run_onnx.py"}
    assert found - shipped == {"compiler/executor.py"}
