"""oneDNN itself, without a framework: the strongest dense int8 code on x86, in the layouts it asks for."""

from __future__ import annotations

import ctypes as c
import time
from collections.abc import Callable
from functools import cache

import numpy as np
from harness.problem import Problem

from . import onednn_api as api
from .base import Missing, Prepared

WARM_UP_CALLS = 10


@cache
def _library() -> api.OneDnn:
    path = api.library_path()
    if path is None:
        raise Missing("oneDNN is not installed: pip install onednn-cpu-gomp==2023.2.0")
    return api.OneDnn(path)


def version() -> str:
    return _library().version


def prepare(problem: Problem, alone: bool = False) -> Prepared:
    """The fastest of the primitives and layouts that oneDNN offers for this layer.

    Raises RuntimeError for a convolution `alone`: NCHW would be reordered by more primitives than this one.
    """
    if alone and problem.layer.kind != "gemm":
        raise RuntimeError("oneDNN is measured in its own layouts only")
    layer = problem.layer
    builders: list[Callable[[Problem, bool], Prepared]] = [_convolution]
    if layer.kind == "gemm":
        builders = [_inner_product, _matmul]
    made = [builder(problem, free) for builder in builders for free in (True, False)]
    return min(made, key=_seconds)


def _seconds(prepared: Prepared) -> float:
    best = float("inf")
    for _ in range(WARM_UP_CALLS):
        start = time.perf_counter()
        prepared.call()
        best = min(best, time.perf_counter() - start)
    return best


def _attributes(library: api.OneDnn, weight_mask: int) -> c.c_void_p:
    """One scale per output channel; the u8 output saturates at 0, which is the Relu."""
    made = library.create("primitive_attr_create")
    library.call("primitive_attr_set_scales_mask", made, api.WEIGHTS, weight_mask)
    return made


def _convolution(problem: Problem, free: bool) -> Prepared:
    """`free`: oneDNN chooses the layout of activations; otherwise channels last."""
    library, layer = _library(), problem.layer
    x_shape = (1, layer.in_c, layer.height, layer.width)
    y_shape = (1, layer.out_c, layer.out_height, layer.out_width)
    weight = problem.weight
    if layer.kind == "depthwise":
        weight = weight[:, None]  # [group, out / group, in / group, kernel, kernel]
    channels_last = (0, 2, 3, 1)
    x, y = (
        library.any_layout(shape, np.uint8) if free else library.strided(shape, np.uint8, channels_last)
        for shape in (x_shape, y_shape)
    )
    top, left, bottom, right = layer.pads
    description = library.create(
        "convolution_forward_primitive_desc_create",
        library.engine,
        api.FORWARD_INFERENCE,
        api.CONVOLUTION_AUTO,
        x,
        library.any_layout(weight.shape, np.int8),
        library.strided((layer.out_c,), np.float32),
        y,
        api.dims((layer.stride, layer.stride)),
        api.dims((0, 0)),
        api.dims((top, left)),
        api.dims((bottom, right)),
        _attributes(library, 3 if layer.kind == "depthwise" else 1),
    )
    layout = "its layout" if free else "nhwc"
    return _prepared(problem, description, "convolution", layout, weight, y_shape)


def _inner_product(problem: Problem, free: bool) -> Prepared:
    library, layer = _library(), problem.layer
    x_shape, y_shape = (layer.height, layer.in_c), (layer.height, layer.out_c)
    layout = library.any_layout if free else library.strided
    description = library.create(
        "inner_product_forward_primitive_desc_create",
        library.engine,
        api.FORWARD_INFERENCE,
        layout(x_shape, np.uint8),
        library.any_layout(problem.weight.shape, np.int8),
        library.strided((layer.out_c,), np.float32),
        layout(y_shape, np.uint8),
        _attributes(library, 1),
    )
    name = "its layout" if free else "plain"
    return _prepared(problem, description, "inner product", name, problem.weight, y_shape)


def _matmul(problem: Problem, free: bool) -> Prepared:
    library, layer = _library(), problem.layer
    x_shape, y_shape = (layer.height, layer.in_c), (layer.height, layer.out_c)
    weight = np.ascontiguousarray(problem.weight.T)
    layout = library.any_layout if free else library.strided
    description = library.create(
        "matmul_primitive_desc_create",
        library.engine,
        layout(x_shape, np.uint8),
        library.any_layout(weight.shape, np.int8),
        library.strided((1, layer.out_c), np.float32),
        layout(y_shape, np.uint8),
        _attributes(library, 2),
    )
    name = "its layout" if free else "plain"
    return _prepared(problem, description, "matmul", name, weight, y_shape)


def _prepared(
    problem: Problem,
    description: c.c_void_p,
    primitive_name: str,
    layout: str,
    weight: np.ndarray,
    y_shape: tuple[int, ...],
) -> Prepared:
    """Everything is reordered to the primitive's layouts here, outside of what is timed."""
    library = _library()
    primitive = library.create("primitive_create", description)
    multiplier = problem.multiplier
    bias = problem.bias * multiplier  # added after the scale
    if primitive_name == "matmul":
        bias = bias[None]
    y = library.memory(library.description_of(description, api.QUERY_DST))
    call_arguments = api.arguments(
        {
            api.SRC: library.reorder(library.plain(problem.x), library.description_of(description, api.QUERY_SRC)),
            api.WEIGHTS: library.reorder(library.plain(weight), library.description_of(description, api.QUERY_WEIGHTS)),
            api.BIAS: library.plain(bias.astype(np.float32)),
            api.DST: y,
            api.SCALES | api.WEIGHTS: library.plain(multiplier.astype(np.float32)),
        }
    )
    execute, stream, count = library.library.dnnl_primitive_execute, library.stream, len(call_arguments)

    def output() -> np.ndarray:
        plain = library.reorder(y, library.strided(y_shape, np.uint8))
        return library.copy_out(plain, y_shape, np.uint8)

    how = f"{primitive_name} {library.implementation(description)}, {layout}"
    return Prepared(lambda: execute(primitive, stream, count, call_arguments), output, how)


def empty_call() -> Callable[[], object]:
    """The cheapest call of the library: what ctypes adds to every primitive."""
    wait, stream = _library().library.dnnl_stream_wait, _library().stream
    return lambda: wait(stream)
