"""A quantized model straight into an InferenceSession, without a bundle: for experiments and benchmarks."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from ...compiler import executor
from ...compiler.integer.graph import Graph
from ..native import load_graph
from .bundle import find_library
from .model import build_model


def session_options(threads: int = 1) -> ort.SessionOptions:
    """Options with the operators registered; `threads` work on one inference."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.register_custom_ops_library(str(find_library()))
    return options


def open_session(
    model: Path | Graph, *, threads: int = 1, timed: int = 0, options: ort.SessionOptions | None = None
) -> ort.InferenceSession:
    """A session on a quantized ONNX file (QDQ) or an integer graph, its integer regions as operators of ours.

    `options` replaces those of `session_options(threads)`; `timed` as in `build_model`.
    """
    graph = load_graph(model) if isinstance(model, Path) else model
    data = build_model(graph, timed=timed).SerializeToString()
    return executor.open_session(data, options or session_options(threads))
