"""Conv, Gemm and MatMul with constant weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx_ir as onnx

from ...model.workload import integer_bits
from .. import graph as ir
from .. import ops
from .geometry import geometry
from .movement import lifted, reshape
from .values import Array, Constant, NotIntegerError, Pending, Shape, Slot, Value

if TYPE_CHECKING:
    from .reader import Reader

Weight = tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]  # (integers with the output channels first, scales)


def conv(reader: Reader, node: onnx.Node) -> Value:
    """Conv -> QConv, or QDepthwise where every input channel is a group of its own."""
    weight, scale = _weight(reader, node.inputs[1], 0)
    rank = weight.ndim - 2
    channels, *spatial = reader.sample_shape(_present(node.inputs[0]))
    geo = geometry(node, tuple(spatial), weight.shape[2:])
    x = lifted(reader, node)
    group = node.attributes.get_int("group", 1)
    weight = weight.reshape(*weight.shape[:2], *geo.window.kernel)
    fields: dict[str, Any] = {"window": geo.window}
    cls: type[ir.Linear] = ir.QDepthwise
    if group != channels or group == 1:
        cls, fields = ir.QConv, {**fields, "group": group}
    out = len(weight)
    found = _linear(reader, node, cls, x, (weight, scale), (out, *geo.output_size), **fields)
    found = _with_bias(found, reader.constant_input(node, 2))
    return found if rank == 2 else found.moved(reshape(str(node.name), (out, *geo.output), "_out"))


def gemm(reader: Reader, node: onnx.Node) -> Value:
    """Gemm -> QGemm; the weight may stand either way."""
    attributes = node.attributes
    factors = {attributes.get_float(name, 1.0) for name in ("alpha", "beta")}
    if attributes.get_int("transA", 0) or factors != {1.0}:
        raise NotIntegerError("gemm-attributes")
    weight = _weight(reader, node.inputs[1], 0 if attributes.get_int("transB", 0) else 1)
    shape = reader.sample_shape(node.outputs[0])
    found = _linear(reader, node, ir.QGemm, reader.tensor(node.inputs[0]), weight, shape)
    return _with_bias(found, reader.constant_input(node, 2))


def matmul(reader: Reader, node: onnx.Node) -> Value:
    """MatMul with a constant matrix on the right -> QGemm; a following Add of a constant becomes its bias."""
    if reader.constant(node.inputs[1]) is None:
        raise NotIntegerError("dynamic-matmul" if reader.constant(node.inputs[0]) is None else "weight-not-constant")
    weight = _weight(reader, node.inputs[1], 1)
    shape = reader.sample_shape(node.outputs[0])
    return _linear(reader, node, ir.QGemm, reader.tensor(node.inputs[0]), weight, shape)


def _present(value: onnx.Value | None) -> onnx.Value:
    if value is None:
        raise NotIntegerError("no-input-q")
    return value


def _linear(
    reader: Reader, node: onnx.Node, cls: type[ir.Linear], x: str, weight: Weight, shape: Shape, **fields: Any
) -> Pending:
    """A pending linear operator without bias; `with_bias` adds one."""
    source, (integers, scale) = reader.quant(x), weight
    channels = len(integers)
    steps = np.broadcast_to(np.float64(source.scale) * scale.astype(np.float64), channels)

    def with_bias(bias: npt.NDArray[np.int32]) -> Pending:
        worst = ops.accumulator_bounds(integers, bias, source)
        if int(worst.max()) > ops.INT32_MAX:
            raise NotIntegerError("acc-overflow", f"channel {int(worst.argmax())} may reach {int(worst.max())}")

        def build(slot: Slot) -> ir.Op:
            return cls(
                **slot.fused(x),
                requant=reader.requant([source.scale, scale], slot.quant),
                weight=integers,
                bias=bias,
                weight_scale=scale,
                weight_bits=integer_bits(integers),
                **fields,
            )

        return Pending(build, shape, (str(node.name),))

    def add(constant: Constant, adder: str) -> Pending:
        found = with_bias(_bias(constant, steps))
        return replace(found, origin=(*found.origin, adder)) if adder else found

    return replace(with_bias(np.zeros(channels, np.int32)), with_bias=add)


def _with_bias(found: Pending, bias: Constant | None) -> Pending:
    if bias is None:
        return replace(found, with_bias=None)
    assert found.with_bias is not None
    return found.with_bias(bias, "")


def _weight(reader: Reader, value: onnx.Value | None, out_axis: int) -> Weight:
    """The weight's integers, zero point taken off, output channels first, and its scales."""
    found = reader.constant(value)
    if found is None:
        raise NotIntegerError("weight-not-constant")
    if found.scale is None or found.q.ndim < 2 or found.q.dtype not in (np.int8, np.uint8):
        raise NotIntegerError("weight-type")
    if found.axis is not None and found.axis % found.q.ndim != out_axis:
        raise NotIntegerError("weight-axis")
    integers = found.centred
    if found.zero_point is not None and found.zero_point.any() and np.abs(integers).max() > 127:
        raise NotIntegerError("weight-zero-point")
    if np.abs(integers).max(initial=0) > 127:
        raise NotIntegerError("weight-range")
    if not (np.isfinite(found.scale).all() and (found.scale > 0).all()):
        raise NotIntegerError("weight-type", "a scale is not a positive number")
    return np.ascontiguousarray(np.moveaxis(integers, out_axis, 0), np.int8), found.scale.reshape(-1)


def _bias(constant: Constant, steps: Array) -> npt.NDArray[np.int32]:
    """The bias in accumulator steps. Integers already at (almost) that scale are taken as they are."""
    shape = constant.q.shape
    if constant.q.size not in (1, len(steps)) or (shape and shape[-1] != constant.q.size):
        raise NotIntegerError("bias-shape")
    same_scale = constant.scale is not None and np.allclose(constant.scale, steps, rtol=1e-5, atol=0)
    if same_scale and constant.q.dtype == np.int32:
        real = constant.centred.astype(np.float64)
    else:
        real = np.rint(constant.real.astype(np.float64).reshape(-1) / steps)
    if np.abs(real).max(initial=0) > ops.INT32_MAX:
        raise NotIntegerError("bias-range")
    return np.array(np.broadcast_to(real.reshape(-1), len(steps)), np.int32)
