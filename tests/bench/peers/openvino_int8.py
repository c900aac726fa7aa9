"""OpenVINO on the same QDQ layer, in buffers of its own. What it executed is read back from its profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness.problem import Problem

from .base import Missing, Prepared, from_channels_last, to_channels_last
from .qdq_layer import qdq_layer


def _module() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise Missing("OpenVINO is not installed: pip install openvino") from error
    return openvino


def version() -> str:
    return str(_module().__version__)


def _request(model: Any, x: np.ndarray, profile: bool = False) -> Any:
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": profile}
    request = _module().Core().compile_model(model, "CPU", options).create_infer_request()
    request.get_input_tensor().data[:] = x  # its own buffers, bound once
    return request


def executed(request: Any) -> list[str]:
    """What ran in the last inference, such as `brgconv_avx512_I8`; the suffix is the precision."""
    status = _module().ProfilingInfo.Status.EXECUTED
    return [str(each.exec_type) for each in request.get_profiling_info() if each.status == status]


def prepare(problem: Problem, alone: bool = False) -> Prepared:
    """Raises RuntimeError when something else than one int8 operator would run: that is no fair opponent.

    `alone` allows changes of layout around it.
    """
    ov = _module()
    x = problem.x if alone else to_channels_last(problem.x)
    model = ov.Core().read_model(qdq_layer(problem, alone).SerializeToString())
    profiled = _request(model, x, profile=True)
    profiled.infer()
    ran = executed(profiled)
    if not all(each.endswith("_I8") for each in ran) or (len(ran) != 1 and not alone):
        raise RuntimeError(f"OpenVINO runs this layer as {' + '.join(ran)}, not as one int8 operator")
    request = _request(model, x)

    def output() -> np.ndarray:
        y = request.get_output_tensor().data
        return y if alone else from_channels_last(y)

    return Prepared(request.infer, output, " + ".join(ran))


def empty_call() -> Callable[[], object]:
    """A call of a network that does next to nothing."""
    ov = _module()
    x = ov.opset13.parameter([1], np.uint8)
    model = ov.Model([ov.opset13.maximum(x, ov.opset13.constant(np.zeros(1, np.uint8)))], [x])
    call: Callable[[], object] = _request(model, np.zeros(1, np.uint8)).infer
    return call
