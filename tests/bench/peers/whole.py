"""Whole networks in each engine: prepared once, then one inference per call. Every engine takes and gives the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prunus.compiler.model.model import Model

from .base import Missing

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Whole:
    """A network ready to run; `call` gives its outputs in the graph's order."""

    call: Callable[[], Sequence[np.ndarray]]
    how: str


def _session_options(threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return options


def onnxruntime_network(model: Model, feeds: Feeds, threads: int) -> Whole:
    """As it comes: all graph optimizations on the model as given, QDQ or float."""
    import onnxruntime as ort

    serialized = model.to_proto().SerializeToString()
    session = ort.InferenceSession(serialized, _session_options(threads), providers=["CPUExecutionProvider"])
    return Whole(lambda: session.run(None, feeds), f"{threads} threads")


def openvino_network(model: Model, feeds: Feeds, threads: int, precision: str | None = None) -> Whole:
    """`precision` keeps float layers in it (f32); otherwise OpenVINO chooses, bf16 where the CPU has it."""
    try:
        import openvino as ov
    except ImportError as error:
        raise Missing("OpenVINO is not installed: pip install openvino") from error
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


def prunus_network(graph: Any, feeds: Feeds, threads: int, timed: int) -> Whole:
    """The plain Python plan."""
    from prunus.targets.native import NativeModel

    model = NativeModel(graph, threads=threads, timed=timed)

    def call() -> Sequence[np.ndarray]:
        found = model.run(feeds)
        return [found[name] for name in graph.outputs]

    return Whole(call, _kernels(model))


def _kernels(model: Any) -> str:
    """How many layers use which kernel."""
    steps = [step for network in model.networks.values() for step in network.describe()["steps"]]
    counts = Counter(str(step["kernel"]) for step in steps if step["kernel"])
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def prunus_in_onnxruntime(graph: Any, feeds: Feeds, threads: int, timed: int) -> Whole:
    """The custom operators inside of an InferenceSession. Raises Missing where their library was not built."""
    import onnxruntime as ort

    from prunus.compiler.errors import ToolError
    from prunus.targets.ort.bundle import find_library
    from prunus.targets.ort.model import build_model

    options = _session_options(threads)
    try:
        options.register_custom_ops_library(str(find_library()))
    except ToolError as error:
        raise Missing(f"{error}") from error
    serialized = build_model(graph, timed=timed).SerializeToString()
    session = ort.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    return Whole(lambda: session.run(None, feeds), f"{threads} threads")
