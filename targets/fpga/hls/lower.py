"""Integer graph -> layers of hls4ml, and what becomes of every operator on the way.

One walk serves both `check` and `lower`: an operator is supported if and only if its lowering succeeds. Float
operators before the first and after the last layer stay with the host, as does whatever has no weights and no exact
form in hls4ml (softmax, tables) at either end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from ....compiler.errors import UnsupportedError
from ....compiler.integer import graph as ir
from ....compiler.integer.requant import is_pow2
from ....compiler.target import Finding
from . import elementwise, layout, linear, pooling
from .lowering import Lowering, Value, refuse
from .placement import crowded, findings
from .spec import HlsLayer, IoType
from .types import ROUND_SATURATE, Fixed

_LOWER: Mapping[type[ir.Op], Callable[[Lowering, Any], Value]] = {
    ir.QConv: linear.lower_conv,
    ir.QDepthwise: linear.lower_depthwise,
    ir.QGemm: linear.lower_gemm,
    ir.QAdd: elementwise.lower_add,
    ir.QMul: elementwise.lower_mul,
    ir.QRequant: elementwise.lower_requant,
    ir.QConcat: elementwise.lower_concat,
    ir.QMaxPool: pooling.lower_maxpool,
    ir.QAvgPool: pooling.lower_avgpool,
    ir.QReshape: elementwise.lower_reshape,
    ir.QTranspose: elementwise.lower_transpose,
    ir.QPad: elementwise.lower_pad,
    ir.QResize: elementwise.lower_resize,
}
MAX_PARALLEL_WEIGHTS, _MAX_PARALLEL_SIZE = 1 << 16, 1024
_MAX_LAYOUTS = 64  # tried for graphs with several inputs


@dataclass(frozen=True, eq=False)
class Lowered:
    """The layers, where each tensor lives, and a finding per operator. `inputs` and `outputs` are tensors of the
    integer graph that the host sends to the device and gets back."""

    layers: tuple[HlsLayer, ...]
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    findings: tuple[Finding, ...]
    io_type: IoType

    @property
    def refused(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.placement == "unsupported")


def io_type_of(graph: ir.Graph) -> IoType:
    """`io_parallel` for small nets of fully connected layers, `io_stream` for all else: parallel convolutions generate
    megabytes of C++ that no tool digests."""
    sizes = [tensor.size for name, tensor in graph.tensors.items() if tensor.quant is not None]
    weights = sum(op.weight.size for op in graph.ops if isinstance(op, ir.Linear))
    flat = all(
        len(graph.tensors[name].shape) == 1 for op in graph.ops if isinstance(op, ir.QGemm) for name in op.inputs
    )
    windows = any(isinstance(op, ir.QConv | ir.QDepthwise | ir.QMaxPool | ir.QAvgPool | ir.QPad) for op in graph.ops)
    small = weights <= MAX_PARALLEL_WEIGHTS and max(sizes, default=0) <= _MAX_PARALLEL_SIZE
    return "io_parallel" if flat and small and not windows else "io_stream"


def lower_graph(graph: ir.Graph) -> Lowered:
    """Lowers everything that can be; the host stores inputs in the first layout under which most operators fit."""
    borders = _border_inputs(graph)
    candidates = product(*(layout.input_candidates(graph.tensors[name].shape) for name in borders))
    best: Lowered | None = None
    for axes in islice(candidates, _MAX_LAYOUTS):
        lowered = _walk(graph, dict(zip(borders, axes, strict=True)))
        if best is None or len(lowered.refused) < len(best.refused):
            best = lowered
        if not best.refused:
            break
    assert best is not None  # input_candidates yields at least the identity
    return best


def _border_inputs(graph: ir.Graph) -> list[str]:
    """Integer tensors that the host makes: outputs of the float part at the front, and integer graph inputs."""
    made = [op.output for op in graph.ops if isinstance(op, ir.Quantize)]
    return [name for name in graph.inputs if graph.tensors[name].quant is not None] + made


def _walk(graph: ir.Graph, axes: Mapping[str, tuple[int, ...]]) -> Lowered:
    low = Lowering(graph)
    problems: dict[str, UnsupportedError] = {}
    low.values |= {name: _input(low, name, axes[name]) for name in axes if name in graph.inputs}
    for op in graph.ops:
        try:
            if isinstance(op, ir.Quantize):
                low.values[op.output] = _input(low, op.output, axes[op.output])
            _check_types(graph, op)
            if not isinstance(op, ir.Quantize):
                low.values[op.output] = _lower_op(low, op)
        except UnsupportedError as problem:
            problems[op.name] = problem
            _stand_in(low, op)
    return _conclude(low, problems)


def _lower_op(low: Lowering, op: ir.Op) -> Value:
    function = _LOWER.get(type(op))
    if function is None:
        raise refuse(
            op,
            f"no-{op.kind}",
            f"hls4ml has no exact form of '{op.kind}'.",
            "Choose a model without it, or another backend (`prunus targets`).",
        )
    return function(low, op)


def _input(low: Lowering, name: str, axes: tuple[int, ...]) -> Value:
    """An input layer that holds exactly the range of the tensor's type. It rounds and saturates, so that floats that
    lie off the grid are quantized as the host would."""
    tensor, quant = low.graph.tensors[name], low.graph.quant(name)
    kind = Fixed(quant.bits, low.fraction(name), quant.dtype == "s8", ROUND_SATURATE)
    shape = tuple(tensor.shape[axis] for axis in axes)
    order = layout.by_axes(tensor.shape, axes)
    return low.emit("InputLayer", f"{name}_in", (), kind, shape, order, attributes={"input_shape": list(shape)})


def _stand_in(low: Lowering, op: ir.Op) -> None:
    """A value for the output of a refused operator, so that those after it are judged by themselves."""
    for name in op.outputs:
        tensor = low.graph.tensors[name]
        if tensor.quant is not None and name not in low.values:
            axes = next(layout.input_candidates(tensor.shape))
            low.values[name] = _input(low, name, axes)


def _check_types(graph: ir.Graph, op: ir.Op) -> None:
    """Raises UnsupportedError unless scheme, zero points and scales are what fixed-point types can express."""
    hint = "Quantize the model for this device; its formats ask for it."
    if isinstance(op, ir.Fused) and op.requant.scheme == "f32":
        raise refuse(op, "scheme-f32", "The operator multiplies by a float.", hint)
    for name in (*op.inputs, *op.outputs):
        quant = graph.tensors[name].quant
        if quant is None:
            continue
        if quant.zero_point != 0:
            raise refuse(op, "zero-point", f"A tensor has the zero point {quant.zero_point}.", hint)
        if graph.scheme == "pow2" and not is_pow2(quant.scale):
            raise refuse(op, "scale-not-pow2", f"A scale of {quant.scale:.9g} is not a power of two.", hint)


def _conclude(low: Lowering, problems: Mapping[str, UnsupportedError]) -> Lowered:
    """Drops inputs that nothing on the device reads and decides what each operator's refusal means."""
    graph = low.graph
    device = [op for op in graph.ops if op.name not in problems and not isinstance(op, ir.Quantize)]
    read = {low.values[name].layer for op in device for name in op.inputs}
    layers = tuple(layer for layer in low.layers if layer.class_name != "InputLayer" or layer.name in read)
    inputs = tuple(name for name, value in low.values.items() if value.layer == f"{name}_in" and value.layer in read)
    io_type = io_type_of(graph)
    found = findings(graph, {op.name for op in device}, problems, crowded(low) if io_type == "io_stream" else {})
    return Lowered(layers, low.values, inputs, _outputs(low, device), found, io_type)


def _outputs(low: Lowering, device: list[ir.Op]) -> tuple[str, ...]:
    """Tensors that the device gives to the host, one per layer: reshapes of a tensor share its layer."""
    names, found = {op.name for op in device}, dict[str, str]()
    sources = {layer.name for layer in low.layers if layer.class_name == "InputLayer"}
    for op in device:
        value, readers = low.values[op.output], low.graph.consumers.get(op.output, ())
        if value.layer not in sources and (op.output in low.graph.outputs or any(r.name not in names for r in readers)):
            found.setdefault(value.layer, op.output)
    return tuple(found.values())
