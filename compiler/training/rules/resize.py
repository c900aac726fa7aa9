"""Resampling of images. A resize is separable: along every axis a matrix [out, in], which numpy builds once.

The coordinates and kernels are those of the ONNX operator `Resize` (opset 19).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from .call import Call, Result, Tensor

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Axis:
    """How one axis is resampled."""

    size: int
    out: int
    scale: float
    mode: str
    coordinates: str
    rounding: str
    cubic: float
    exclude_outside: bool
    roi: tuple[float, float]


def resize(call: Call) -> Result:
    if call.integer("antialias", 0):
        raise call.unsupported("It filters against aliasing.")
    x, axes = call.x(0), call.integers("axes")
    axes = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
    scales, sizes = _scales_and_sizes(call, x, axes)
    roi = call.optional(1)
    corners = [float(item) for item in roi.tolist()] if roi is not None and roi.numel() else [0.0, 1.0] * len(axes)
    if roi is not None and roi.numel():
        corners = [value for pair in zip(corners[: len(axes)], corners[len(axes) :], strict=True) for value in pair]
    y = x if x.is_floating_point() else x.to(call.real)
    coordinates = call.text("coordinate_transformation_mode", "half_pixel")
    outside: list[Tensor] = []
    for place, axis in enumerate(axes):
        how = _Axis(
            x.shape[axis],
            sizes[place],
            scales[place],
            call.text("mode", "nearest"),
            coordinates,
            call.text("nearest_mode", "round_prefer_floor"),
            call.number("cubic_coeff_a", -0.75),
            bool(call.integer("exclude_outside", 0)),
            (corners[2 * place], corners[2 * place + 1]),
        )
        if how.size == how.out and how.scale == 1 and coordinates != "tf_crop_and_resize":
            continue
        y = _resample(y, axis, how)
        if coordinates == "tf_crop_and_resize":
            source = _sources(how)
            mask = torch.from_numpy((source < 0) | (source > how.size - 1)).to(x.device)
            outside.append(mask.reshape([-1 if i == axis else 1 for i in range(x.ndim)]))
    for mask in outside:
        y = torch.where(mask, call.number("extrapolation_value", 0.0), y)
    return y.to(x.dtype)


def _scales_and_sizes(call: Call, x: Tensor, axes: list[int]) -> tuple[list[float], list[int]]:
    """Either input gives the other; an aspect ratio that is kept changes both."""
    scales, sizes = call.optional(2), call.numbers(3)
    lengths = [x.shape[axis] for axis in axes]
    if not sizes:
        if scales is None:
            raise call.unsupported("It has neither scales nor sizes.")
        factors = [float(item) for item in scales.tolist()]
        return factors, [int(np.floor(size * factor)) for size, factor in zip(lengths, factors, strict=True)]
    factors = [out / size for out, size in zip(sizes, lengths, strict=True)]
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return factors, sizes
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [factor] * len(axes), [int(np.floor(factor * size + 0.5)) for size in lengths]


def _resample(x: Tensor, axis: int, how: _Axis) -> Tensor:
    if how.mode == "nearest":
        return x.index_select(axis, torch.from_numpy(_nearest(how).copy()).to(x.device))
    matrix = torch.from_numpy(_matrix(how).copy()).to(x.device, x.dtype)
    return (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)


def _sources(how: _Axis) -> Floats:
    """The coordinate in the input of every output position."""
    out = np.arange(how.out, dtype=np.float64)
    match how.coordinates:
        case "half_pixel":
            return (out + 0.5) / how.scale - 0.5
        case "pytorch_half_pixel":
            return (out + 0.5) / how.scale - 0.5 if how.out > 1 else np.full(1, -0.5)
        case "half_pixel_symmetric":
            adjusted = how.out / (how.scale * how.size)
            return how.size / 2 * (1 - adjusted) + (out + 0.5) / how.scale - 0.5
        case "align_corners":
            return out * (how.size - 1) / (how.out - 1) if how.out > 1 else np.zeros(1)
        case "tf_crop_and_resize":
            start, end = how.roi
            if how.out == 1:
                return np.full(1, 0.5 * (start + end) * (how.size - 1))
            return start * (how.size - 1) + out * (end - start) * (how.size - 1) / (how.out - 1)
        case _:  # asymmetric
            return out / how.scale


@lru_cache(maxsize=256)
def _nearest(how: _Axis) -> npt.NDArray[np.int64]:
    source = _sources(how)
    match how.rounding:
        case "floor":
            chosen = np.floor(source)
        case "ceil":
            chosen = np.ceil(source)
        case "round_prefer_ceil":
            chosen = np.floor(source + 0.5)
        case _:  # round_prefer_floor
            chosen = np.ceil(source - 0.5)
    return np.clip(chosen, 0, how.size - 1).astype(np.int64)


@lru_cache(maxsize=256)
def _matrix(how: _Axis) -> Floats:
    """The weights [out, in] of linear or cubic interpolation; positions outside take the border's value."""
    source = _sources(how)
    base = np.floor(source).astype(np.int64)
    matrix = np.zeros((how.out, how.size))
    for offset in (0, 1) if how.mode == "linear" else (-1, 0, 1, 2):
        place = base + offset
        weight = _kernel(np.abs(source - place), how)
        if how.exclude_outside:
            weight = np.where((place < 0) | (place >= how.size), 0.0, weight)
        np.add.at(matrix, (np.arange(how.out), np.clip(place, 0, how.size - 1)), weight)
    return matrix / matrix.sum(axis=1, keepdims=True) if how.exclude_outside else matrix


def _kernel(distance: Floats, how: _Axis) -> Floats:
    """The triangle, or the cubic kernel of Keys (1981) with parameter a."""
    if how.mode == "linear":
        return np.maximum(1 - distance, 0)
    a, d = how.cubic, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def grid_sample(call: Call) -> Result:
    mode = call.text("mode", "linear").removeprefix("bi")
    x = call.x(0)
    if mode == "cubic" and x.ndim != 4:
        raise call.unsupported("torch samples cubically on images only.")
    names = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}
    aligned = bool(call.integer("align_corners", 0))
    return F.grid_sample(x, call.x(1), names[mode], call.text("padding_mode", "zeros"), aligned)


def affine_grid(call: Call) -> Result:
    return F.affine_grid(call.x(0), call.numbers(1) or [], bool(call.integer("align_corners", 0)))
