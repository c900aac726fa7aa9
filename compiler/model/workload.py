"""What a network asks of hardware, layer by layer: the one thing cost models eat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from .model import Model
from .zeros import Sparsity as Sparsity  # re-exported: part of Layer
from .zeros import structure_of


@dataclass(frozen=True)
class Layer:
    """One operator's work for a batch of one.

    Shapes leave out the batch. A convolution is `out_h * out_w` rows of a product [K = in/group * kh * kw] x [N = out];
    a fully connected layer has height = width = 1. Elementwise and pooling layers have `macs` 0 and `ops` > 0.
    """

    name: str
    op: Literal["conv", "depthwise", "gemm", "matmul", "add", "mul", "pool", "concat", "elementwise", "softmax", "move"]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    macs: int = 0
    ops: int = 0  # arithmetic operations other than MACs
    in_channels: int = 0
    out_channels: int = 0
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    group: int = 1
    weights: int = 0  # number of weights, zeros included
    weight_bits: int = 32
    input_bits: int = 32
    output_bits: int = 32
    input_elements: int = 0  # over all inputs
    output_elements: int = 0
    sparsity: Sparsity = field(default_factory=Sparsity)
    zero_fraction: float = 0.0  # measured share of weights that are exactly zero
    weight_digits: float | None = None  # nonzero digits of a weight in canonical signed-digit form, mean; of integers
    origin: str = ""  # plain name of the ONNX node
    input_density: float = 1.0  # share of nonzero input elements; measured only when data is given
    producers: tuple[str, ...] | None = None  # names of the layers whose outputs it reads, "" for a graph input

    @property
    def weight_bytes(self) -> int:
        """As files and processors store them: each weight in whole bytes."""
        return self.weights * ((self.weight_bits + 7) // 8)

    @property
    def input_bytes(self) -> int:
        return (self.input_elements * self.input_bits + 7) // 8

    @property
    def output_bytes(self) -> int:
        return (self.output_elements * self.output_bits + 7) // 8


@dataclass(frozen=True)
class Workload:
    """All layers of a network in topological order."""

    layers: tuple[Layer, ...]
    name: str = "model"

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        return sum(layer.weight_bytes for layer in self.layers)


# -- reading a model ----------------------------------------------------------------------------------------------

_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax")
_MOVES = ("Transpose", "Slice", "Split", "Pad", "Resize", "Gather", "DepthToSpace", "SpaceToDepth", "Expand", "Tile")
_FREE = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "Dropout", "Constant", "Shape")


def _sample_shape(value: ir.Value | None) -> tuple[int, ...]:
    """The shape without the batch; unknown dimensions count as 1."""
    if value is None or value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else 1 for dim in tuple(value.shape)[1:])


def _source(value: ir.Value | None) -> ir.Value | None:
    """The quantized value behind a DequantizeLinear, or the value itself."""
    node = value.producer() if value is not None else None
    return node.inputs[0] if node is not None and node.op_type == "DequantizeLinear" else value


def _bits(value: ir.Value | None) -> int:
    """Bits of a value as it is stored; fewer than its type's where a Clip before the QuantizeLinear says so."""
    source = _source(value)
    if source is None or source.dtype is None:
        return 32
    node = source.producer()
    clip = node.inputs[0].producer() if node is not None and node.op_type == "QuantizeLinear" else None  # type: ignore[union-attr]
    if node is None or clip is None or clip.op_type != "Clip" or len(clip.inputs) < 3:
        return source.dtype.bitwidth
    bounds = [_constant(bound) for bound in (*clip.inputs[1:3], node.inputs[1])]
    if any(bound is None or bound.size != 1 for bound in bounds):
        return source.dtype.bitwidth
    low, high, scale = (float(bound.reshape(-1)[0]) for bound in bounds if bound is not None)
    levels = round((high - low) / scale) if scale > 0 else 0
    return min(max(levels.bit_length(), 1), source.dtype.bitwidth)


def _output_bits(node: ir.Node) -> int:
    """Bits of the value as it is stored: those of the QuantizeLinear that follows, through a fused activation."""
    value = node.outputs[0]
    for _ in range(3):
        users = [use.node for use in value.uses()]
        if len(users) != 1:
            break
        if users[0].op_type == "QuantizeLinear":
            return _bits(users[0].outputs[0])
        if users[0].op_type not in ("Relu", "Clip", "Add"):
            break
        value = users[0].outputs[0]
    return _bits(value)


def _constant(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    source = _source(value)
    return source.const_value.numpy() if source is not None and source.const_value is not None else None


def _ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return tuple(attribute.as_ints()) if attribute is not None else default


def _common(node: ir.Node, op: Any) -> dict[str, Any]:
    """The fields that every layer has."""
    dynamic = [value for value in node.inputs if value is not None and _constant(value) is None]
    return {
        "name": node.name or "",
        "origin": node.name or "",
        "op": op,
        "in_shape": _sample_shape(dynamic[0] if dynamic else None),
        "out_shape": _sample_shape(node.outputs[0]),
        "input_bits": max((_bits(value) for value in dynamic), default=32),
        "output_bits": _output_bits(node),
        "input_elements": sum(int(np.prod(_sample_shape(value))) for value in dynamic),
        "output_elements": sum(int(np.prod(_sample_shape(value))) for value in node.outputs),
    }


def _weights(
    value: ir.Value | None, weight: np.ndarray[Any, Any], out_axis: int, in_axis: int | None = None
) -> dict[str, Any]:
    zeros = 1.0 - np.count_nonzero(weight) / max(weight.size, 1)
    axes = [out_axis, in_axis if in_axis is not None else 1 - out_axis]
    matrix = np.moveaxis(weight, axes, [0, 1]) if weight.ndim > 1 else weight
    return {
        "weights": int(weight.size),
        "weight_bits": integer_bits(weight) if weight.dtype == np.int8 else _bits(value),
        "zero_fraction": float(zeros),
        "weight_digits": signed_digits(weight) if weight.dtype.kind == "i" and weight.size else None,
        "sparsity": structure_of(matrix),
    }


def integer_bits(weight: np.ndarray[Any, Any]) -> int:
    """The fewest bits (at least 2) of a signed integer that hold every weight of an int8 array."""
    low, high = int(weight.min(initial=0)), int(weight.max(initial=0))
    return next(bits for bits in range(2, 9) if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1))


def signed_digits(weight: np.ndarray[Any, Any]) -> float:
    """The mean number of nonzero digits in canonical signed-digit form: adders that a multiplication costs.

    Reitwiesner, Binary Arithmetic (1960): digit i is not zero where bit i + 1 of 3w and w differ.
    """
    integers = weight.astype("<i4")
    return float(np.unpackbits(np.bitwise_xor(3 * integers, integers).view(np.uint8)).sum() / weight.size)


def _conv(node: ir.Node) -> Layer | None:
    weight = _constant(node.inputs[1])
    if weight is None:
        return None
    out_shape, in_shape = _sample_shape(node.outputs[0]), _sample_shape(node.inputs[0])
    attribute = node.attributes.get("group")
    group = attribute.as_int() if attribute is not None else 1
    transposed = node.op_type == "ConvTranspose"
    positions = int(np.prod(in_shape[1:] if transposed else out_shape[1:]))
    rank = weight.ndim - 2
    kernel, strides = weight.shape[2:], _ints(node, "strides", (1,) * rank)
    pads = _ints(node, "pads", (0,) * 2 * rank)
    if rank == 1:
        kernel, strides, pads = (1, *kernel), (1, *strides), (0, pads[0], 0, pads[1])
    depthwise = group > 1 and group == in_shape[0]
    return Layer(
        **_common(node, "depthwise" if depthwise else "conv"),
        **_weights(node.inputs[1], weight, out_axis=1 if transposed else 0),
        macs=int(weight.size) * positions,
        in_channels=in_shape[0],
        out_channels=out_shape[0],
        kernel=(int(kernel[0]), int(kernel[1])),
        strides=(int(strides[0]), int(strides[1])),
        pads=(int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3])),
        group=group,
    )


def _matmul(node: ir.Node) -> Layer | None:
    weight = _constant(node.inputs[1])
    out_shape = _sample_shape(node.outputs[0])
    if weight is None:  # both operands are computed, as in attention
        inner = _sample_shape(node.inputs[0])[-1:]
        macs = int(np.prod(out_shape)) * (inner[0] if inner else 1)
        return Layer(
            **_common(node, "matmul"), macs=macs, in_channels=inner[0] if inner else 1, out_channels=out_shape[-1]
        )
    transposed = node.op_type == "Gemm" and "transB" in node.attributes and node.attributes["transB"].as_int() == 1
    inner_size, outer_size = weight.shape[::-1] if transposed else weight.shape[-2:]
    rows = int(np.prod(out_shape)) // max(int(outer_size), 1)
    return Layer(
        **_common(node, "gemm"),
        **_weights(node.inputs[1], weight, *((0, 1) if transposed else (weight.ndim - 1, weight.ndim - 2))),
        macs=int(inner_size) * int(outer_size) * rows,
        in_channels=int(inner_size),
        out_channels=int(outer_size),
    )


def _simple(op: str, per_output: int = 1) -> Callable[[ir.Node], Layer | None]:
    def read(node: ir.Node) -> Layer | None:
        if all(_constant(value) is not None for value in node.inputs if value is not None):
            return None
        common = _common(node, op)
        return Layer(**common, ops=per_output * max(common["output_elements"], common["input_elements"]))

    return read


def _move(node: ir.Node) -> Layer | None:
    return Layer(**_common(node, "move")) if _constant(node.inputs[0]) is None else None


_READERS: Mapping[str, Callable[[ir.Node], Layer | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _matmul,
    "MatMul": _matmul,
    "Add": _simple("add"),
    "Sub": _simple("add"),
    "Sum": _simple("add"),
    "Mul": _simple("mul"),
    "Div": _simple("mul"),
    "Concat": _simple("concat", 0),
    "Softmax": _simple("softmax", 4),
    **{name: _simple("pool") for name in _POOLS},
    **dict.fromkeys(_MOVES, _move),
}
_FUSED = ("Relu", "Clip", "QuantizeLinear", "DequantizeLinear", "BatchNormalization", *_FREE)


def workload(model: Model) -> Workload:
    """Reads any ONNX model (float or QDQ) with known shapes: one layer per operator that costs something.

    Densities are measured on the weights. Activations that fuse into their producer cost nothing of their own.
    """
    layers: list[Layer] = []
    made: dict[ir.Value, tuple[str, ...]] = {}  # value -> layers that it comes from, through fused nodes
    for node in model.graph:
        dynamic = [value for value in node.inputs if value is not None and _constant(value) is None]
        sources = tuple(dict.fromkeys(name for value in dynamic for name in made.get(value, ("",))))
        reader = _READERS.get(node.op_type, _simple("elementwise")) if node.op_type not in _FUSED else None
        layer = reader(node) if reader is not None else None
        if layer is not None:
            layers.append(replace(layer, producers=sources))
            sources = (layer.name,)
        made |= dict.fromkeys(node.outputs, sources)
    return Workload(tuple(layers))
