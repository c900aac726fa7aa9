"""Whole networks in other engines: prepared once, then one inference per call; all take and give the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prunus.compiler.errors import UnsupportedError
from prunus.compiler.executor import open_session
from prunus.compiler.model.model import Model

from .base import Missing

Feeds = Mapping[str, np.ndarray]
Profile = Sequence[tuple[str, float]]  # (step, seconds)


def _no_profile() -> Profile:
    return ()


@dataclass(frozen=True)
class Whole:
    """A network ready to run; `call` gives its outputs in the graph's order.

    `verdict` takes the place of comparing outputs where an engine judges itself: why it is wrong, or nothing.
    """

    call: Callable[[], Sequence[np.ndarray]]
    how: str
    profile: Callable[[], Profile] = _no_profile
    verdict: Callable[[], str] | None = None


def session_options(threads: int) -> Any:
    """onnxruntime as it comes, on so many threads."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return options


def onnxruntime_network(model: Model, feeds: Feeds, threads: int) -> Whole:
    """All graph optimizations that keep to the model, QDQ or float."""
    session = open_session(model.to_proto().SerializeToString(), session_options(threads))
    return Whole(lambda: session.run(None, dict(feeds)), f"{threads} threads")


def openvino_network(model: Model, feeds: Feeds, threads: int, precision: str | None = None) -> Whole:
    """`precision` keeps float layers in it (f32, bf16); otherwise OpenVINO chooses."""
    try:
        import openvino as ov
    except ImportError as error:
        raise Missing("OpenVINO is not installed: pip install 'prunus[peers]'") from error
    read = ov.Core().read_model(model.to_proto().SerializeToString())
    read.reshape({name: list(array.shape) for name, array in feeds.items()})
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if precision:
        options["INFERENCE_PRECISION_HINT"] = precision
    compiled = ov.Core().compile_model(read, "CPU", options)
    request = compiled.create_infer_request()
    for name, array in feeds.items():
        request.get_tensor(name).data[:] = array

    def call() -> Sequence[np.ndarray]:
        request.infer()
        return [tensor.data for tensor in request.output_tensors]

    return Whole(call, _precisions(compiled))


def _precisions(compiled: Any) -> str:
    """How many convolutions and matrix products run in which precision, such as `I8 54`."""
    counts: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if str(info["layerType"].astype(str)) in ("Convolution", "FullyConnected", "MatMul"):
            counts[str(info["primitiveType"].astype(str)).rpartition("_")[2]] += 1
    return ", ".join(f"{precision} {count}" for precision, count in sorted(counts.items()))


def tvm_network(model: Model, feeds: Feeds, threads: int) -> Whole:
    """Plain TVM: its ONNX frontend and its default pipeline for this CPU, without tuning."""
    try:
        import tvm
        from tvm.relax.frontend.onnx import from_onnx
    except ImportError as error:
        raise Missing("TVM is not installed: pip install 'prunus[tvm]'") from error
    if threads != 1:
        raise Missing("plain TVM is measured on one thread")
    proto = model.to_proto()
    del proto.graph.value_info[:]
    for value in proto.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    executable = tvm.compile(from_onnx(proto), target=tvm.target.Target({"kind": "llvm", "mcpu": _llvm_cpu(tvm)}))
    machine = tvm.relax.VirtualMachine(executable, tvm.cpu())
    arrays = [tvm.runtime.tensor(np.ascontiguousarray(feeds[value.name])) for value in proto.graph.input]

    def call() -> Sequence[np.ndarray]:
        found = machine["main"](*arrays)
        return [y.numpy() for y in ([found] if hasattr(found, "numpy") else found)]

    return Whole(call, "Relax, default pipeline, no tuning")


def _llvm_cpu(tvm: Any) -> str:
    """This CPU as LLVM names it."""
    return str(tvm.get_global_func("target.llvm_get_system_cpu")())


def torch_network(model: Model, feeds: Feeds, threads: int) -> Whole:
    """PyTorch in eager mode, the graph's operators one by one."""
    try:
        import torch

        from prunus.compiler.training.function import TorchGraph
    except ImportError as error:
        raise Missing("PyTorch is not installed: pip install 'prunus[train]'") from error
    torch.set_num_threads(threads)
    try:
        graph = TorchGraph(model)
    except UnsupportedError as error:
        raise Missing(f"{error}") from error

    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feeds.items()}

    def call() -> Sequence[np.ndarray]:
        with torch.inference_mode():
            found = graph(tensors)
        return [np.asarray(found[name]) for name in graph.outputs]

    return Whole(call, f"eager, {threads} threads")


@dataclass(frozen=True)
class Peer:
    """An engine on the quantized or on the float model."""

    quantized: bool
    prepare: Callable[[Model, Feeds, int], Whole]


PEERS: Mapping[str, Peer] = {
    "onnxruntime-int8": Peer(True, onnxruntime_network),
    "openvino-int8": Peer(True, openvino_network),
    "onnxruntime-f32": Peer(False, onnxruntime_network),
    "openvino-f32": Peer(False, lambda model, feeds, threads: openvino_network(model, feeds, threads, "f32")),
    "openvino-bf16": Peer(False, lambda model, feeds, threads: openvino_network(model, feeds, threads, "bf16")),
    "torch-f32": Peer(False, torch_network),
    "tvm-f32": Peer(False, tvm_network),
}
