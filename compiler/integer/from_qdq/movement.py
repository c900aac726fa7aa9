"""Data movement: what only reorders, copies, drops or pads elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as onnx

from .. import graph as ir
from .geometry import axis_of_sample
from .values import Array, Constant, Float, Integer, Move, NotIntegerError, Shape, Slot, Value, View

if TYPE_CHECKING:
    from .reader import Reader


MAX_COPIES = 256  # of one tensor, by Tile or Expand
_EXACT = 1e-4  # how far a padding value may be from a quantization step, in steps
INTEGERS = (onnx.DataType.UINT8, onnx.DataType.INT8, onnx.DataType.UINT16, onnx.DataType.INT16, onnx.DataType.INT32)

# -- the movements, without ONNX --------------------------------------------------------------------------------------


def reshape(node: str, shape: Shape, suffix: str = "") -> Move:
    """To a sample shape with as many elements."""
    return Move(node, shape, lambda slot, source: ir.QReshape(**slot.names(source)), suffix=suffix)


def transpose(node: str, shape: Shape, perm: tuple[int, ...]) -> Move:
    """`shape` is that of the result, `perm` permutes the sample's dimensions."""
    return Move(node, shape, lambda slot, source: ir.QTranspose(**slot.names(source), perm=perm))


def cut(node: str, shape: Shape, bounds: Sequence[tuple[int, int, int]]) -> Move:
    """`bounds`: (start, stop, step) of every dimension; `shape` is that of the input."""
    starts, stops, steps = (tuple(part) for part in zip(*bounds, strict=True))
    sizes = tuple(len(range(size)[start:stop:step]) for size, (start, stop, step) in zip(shape, bounds, strict=True))

    def build(slot: Slot, source: str) -> ir.Op:
        return ir.QSlice(**slot.names(source), starts=starts, stops=stops, steps=steps)

    return Move(node, sizes, build)


def seen_as(reader: Reader, node: onnx.Node, shape: Shape) -> str:
    """The integer tensor of a node's first input in another shape: itself, or a reshape, made once per shape."""
    x = reader.tensor(node.inputs[0])
    if reader.tensors[x].shape == shape:
        return x
    if (x, shape) not in reader.shaped:
        before = reader.writers.get(x)
        if isinstance(before, ir.QReshape) and reader.tensors[before.inputs[0]].shape == shape:
            reader.shaped[x, shape] = before.inputs[0]  # a reshape there and back
        else:
            reader.shaped[x, shape] = reader.carry_out(x, [reshape(str(node.name), shape, "_in")], reader.fresh(x))
    return reader.shaped[x, shape]


def lifted(reader: Reader, node: onnx.Node) -> str:
    """The integer tensor of a node's input [c, h, w]; an input [c, w] gets height 1."""
    shape = _input_shape(reader, node)
    return seen_as(reader, node, shape if len(shape) == 3 else (shape[0], 1, *shape[1:]))


def _input_shape(reader: Reader, node: onnx.Node) -> Shape:
    value = node.inputs[0]
    assert value is not None
    return reader.sample_shape(value)


# -- readers ----------------------------------------------------------------------------------------------------------


def _constant(reader: Reader, node: onnx.Node, move: Callable[[Array], Array]) -> Constant | None:
    """A constant moved by numpy; None for an activation. A per-channel axis does not survive a reshape."""
    found = reader.constant(node.inputs[0])
    if found is None:
        return None
    if found.axis is not None:
        raise NotIntegerError("weight-axis")
    return Constant(move(found.q), found.scale, found.zero_point)


def same_elements(reader: Reader, node: onnx.Node) -> Value:
    """Reshape, Flatten, Squeeze, Unsqueeze: the output's shape says it all."""
    output = node.outputs[0]
    if (moved := _constant(reader, node, lambda q: q.reshape(reader.static_shape(output)))) is not None:
        return moved
    value, shape = node.inputs[0], reader.sample_shape(output)
    assert value is not None
    if shape == reader.sample_shape(value):
        return reader.value(value)
    return reader.apply(value, reshape(str(node.name), shape))


def identity(reader: Reader, node: onnx.Node) -> Value:
    """Identity, and Dropout at inference."""
    return reader.value(node.inputs[0])


def cast(reader: Reader, node: onnx.Node) -> Value:
    """A Cast of an integer graph input to float32: Quantize takes the integers themselves."""
    value = node.inputs[0]
    assert value is not None
    found, kinds = reader.value(value), (*INTEGERS, onnx.DataType.FLOAT)
    if not isinstance(found, Float) or not value.is_graph_input() or value.dtype not in kinds:
        raise NotIntegerError("no-integer-form")
    if node.outputs[0].dtype != onnx.DataType.FLOAT:
        raise NotIntegerError("no-integer-form")
    return found


def transposed(reader: Reader, node: onnx.Node) -> Value:
    """Transpose; the batch must stay in front."""
    perm = tuple(node.attributes.get_ints("perm") or ())
    found = reader.constant(node.inputs[0])
    if found is not None:
        perm = perm or tuple(reversed(range(found.q.ndim)))
        axis = None if found.axis is None else perm.index(found.axis % found.q.ndim)
        return Constant(found.q.transpose(perm), found.scale, found.zero_point, axis)
    shape = reader.sample_shape(node.outputs[0])
    perm = perm or tuple(reversed(range(len(shape) + 1)))
    if perm[0] != 0:
        raise NotIntegerError("axis-batch")
    return reader.apply(node.inputs[0], transpose(str(node.name), shape, tuple(axis - 1 for axis in perm[1:])))


def sliced(reader: Reader, node: onnx.Node) -> Value:
    """Slice with constant bounds and positive steps."""
    value = node.inputs[0]
    assert value is not None
    shape = reader.sample_shape(value)
    given = [reader.numbers(v, "dynamic-shape") for v in (*node.inputs[1:], None, None)[:4]]
    starts, stops = (np.zeros(0) if array is None else array.reshape(-1) for array in given[:2])
    axes = range(len(starts)) if given[2] is None else given[2].reshape(-1)
    steps = np.ones(len(starts)) if given[3] is None else given[3].reshape(-1)
    bounds = [(0, size, 1) for size in shape]
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        i = axis_of_sample(int(axis), len(shape) + 1)
        if step <= 0:
            raise NotIntegerError("slice-step")
        bounds[i] = slice(int(start), int(stop), int(step)).indices(shape[i])
    return reader.apply(value, cut(str(node.name), shape, bounds))


def split(reader: Reader, node: onnx.Node) -> list[Value]:
    """Split -> one QSlice per output."""
    value = node.inputs[0]
    assert value is not None
    shape = reader.sample_shape(value)
    axis = axis_of_sample(node.attributes.get_int("axis", 0), len(shape) + 1)
    results, start = [], 0
    for output in node.outputs:
        size = reader.sample_shape(output)[axis]
        bounds = [(0, size, 1) for size in shape]
        bounds[axis] = (start, start + size, 1)
        results.append(reader.apply(value, cut(str(node.name), shape, bounds)))
        start += size
    return results


def gather(reader: Reader, node: onnx.Node) -> Value:
    """Gather of one constant index, or of evenly spaced rising ones -> QSlice (and a reshape for a scalar index)."""
    value = node.inputs[0]
    assert value is not None
    shape = reader.sample_shape(value)
    axis = axis_of_sample(node.attributes.get_int("axis", 0), len(shape) + 1)
    indices = reader.numbers(node.inputs[1], "dynamic-shape")
    if indices is None or indices.ndim > 1 or indices.size == 0:
        raise NotIntegerError("no-integer-form")
    chosen = indices.reshape(-1).astype(np.int64)
    chosen = np.where(chosen < 0, chosen + shape[axis], chosen)
    steps = np.unique(np.diff(chosen))
    if len(steps) > 1 or (len(steps) == 1 and steps[0] <= 0):
        raise NotIntegerError("no-integer-form", "the indices are not evenly spaced")
    bounds = [(0, size, 1) for size in shape]
    bounds[axis] = (int(chosen[0]), int(chosen[-1]) + 1, int(steps[0]) if len(steps) else 1)
    move = cut(str(node.name), shape, bounds)
    moves = [move] if indices.ndim else [move, reshape(str(node.name), (*shape[:axis], *shape[axis + 1 :]))]
    return reader.apply(value, *moves)


def padded(reader: Reader, node: onnx.Node) -> Value:
    """Constant padding by non-negative amounts with a number that the type represents exactly."""
    value = node.inputs[0]
    assert value is not None
    shape = reader.sample_shape(value)
    pads = reader.numbers(node.inputs[1], "dynamic-shape")
    given = reader.numbers(node.inputs[2] if len(node.inputs) > 2 else None, "pad-value")
    axes = reader.numbers(node.inputs[3] if len(node.inputs) > 3 else None, "dynamic-shape")
    number = 0.0 if given is None else float(given.reshape(-1)[0])
    if pads is None or (pads < 0).any() or node.attributes.get_string("mode", "constant") != "constant":
        raise NotIntegerError("pad-mode")
    order = range(len(shape) + 1) if axes is None else axes.reshape(-1)
    before, after = [0] * len(shape), [0] * len(shape)
    for axis, low, high in zip(order, *np.split(pads.reshape(-1), 2), strict=True):
        if low or high:
            i = axis_of_sample(int(axis), len(shape) + 1)
            before[i], after[i] = int(low), int(high)

    found = reader.value(value)

    def fill(quant: ir.QType) -> int:
        steps = number if isinstance(found, Integer) else number / quant.scale + quant.zero_point
        if abs(steps - round(steps)) > _EXACT or not quant.qmin <= round(steps) <= quant.qmax:
            raise NotIntegerError("pad-value")
        return round(steps)

    def build(slot: Slot, source: str) -> ir.Op:
        return ir.QPad(**slot.names(source), before=tuple(before), after=tuple(after), value=fill(slot.quant))

    if isinstance(found, Integer | View):
        fill(reader.quant(found.tensor))  # refuses here, where the node can still become float
    sizes = tuple(b + size + a for b, size, a in zip(before, shape, after, strict=True))
    return reader.apply(value, Move(str(node.name), sizes, build, elementwise_commutes=False))


def depth_to_space(reader: Reader, node: onnx.Node) -> Value:
    """DepthToSpace -> reshape, transpose, reshape."""
    channels, height, width = _image(reader, node)
    block, name = node.attributes.get_int("blocksize", 1), str(node.name)
    depth = channels // (block * block)
    blocks_first = node.attributes.get_string("mode", "DCR") == "DCR"
    shape = (block, block, depth, height, width) if blocks_first else (depth, block, block, height, width)
    perm = (2, 3, 0, 4, 1) if blocks_first else (0, 3, 1, 4, 2)
    return reader.apply(
        node.inputs[0],
        reshape(name, shape),
        transpose(name, tuple(shape[i] for i in perm), perm),
        reshape(name, (depth, height * block, width * block)),
    )


def space_to_depth(reader: Reader, node: onnx.Node) -> Value:
    """SpaceToDepth -> reshape, transpose, reshape."""
    channels, height, width = _image(reader, node)
    block, name = node.attributes.get_int("blocksize", 1), str(node.name)
    shape = (channels, height // block, block, width // block, block)
    perm = (2, 4, 0, 1, 3)
    return reader.apply(
        node.inputs[0],
        reshape(name, shape),
        transpose(name, tuple(shape[i] for i in perm), perm),
        reshape(name, (channels * block * block, height // block, width // block)),
    )


def _image(reader: Reader, node: onnx.Node) -> tuple[int, int, int]:
    value = node.inputs[0]
    assert value is not None
    shape = reader.sample_shape(value)
    if len(shape) != 3:
        raise NotIntegerError("conv-rank")
    return shape


def repeated(reader: Reader, node: onnx.Node) -> Value:
    """Tile, Expand: whole copies side by side -> QConcat of one tensor, once per dimension that grows."""
    value = node.inputs[0]
    assert value is not None
    shape, output = reader.sample_shape(value), reader.sample_shape(node.outputs[0])
    if len(shape) != len(output):
        raise NotIntegerError("broadcast-rank")
    moves = []
    for axis, size in enumerate(output):
        if size == shape[axis]:
            continue
        count = size // shape[axis]
        if count > MAX_COPIES:
            raise NotIntegerError("no-integer-form", f"{count} copies along one dimension")
        shape = (*shape[:axis], size, *shape[axis + 1 :])
        moves.append(Move(str(node.name), shape, _copies(reader, axis, count)))
    return reader.apply(value, *moves) if moves else reader.value(value)


def _copies(reader: Reader, axis: int, count: int) -> Callable[[Slot, str], ir.Op]:
    def build(slot: Slot, source: str) -> ir.Op:
        same = reader.requant([np.full(count, slot.quant.scale, np.float32)], slot.quant)
        return ir.QConcat(**slot.fused(*[source] * count), requant=same, axis=axis)

    return build


def resize(reader: Reader, node: onnx.Node) -> Value:
    """Nearest-neighbour Resize of height and width -> QResize with the source row and column of every output."""
    shape = _image(reader, node)
    if (
        node.attributes.get_string("mode", "nearest") != "nearest"
        or node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch"
        or node.attributes.get_ints("axes") not in (None, [2, 3])
    ):
        raise NotIntegerError("resize-mode")
    sizes = reader.sample_shape(node.outputs[0])
    scales = reader.numbers(node.inputs[2] if len(node.inputs) > 2 else None, "dynamic-shape")
    if sizes[0] != shape[0]:
        raise NotIntegerError("resize-mode")
    ratios = [b / a for a, b in zip(shape[1:], sizes[1:], strict=True)]
    if scales is not None and scales.size:
        ratios = [float(scale) for scale in scales.reshape(-1)[-2:]]
    rows, columns = (
        _nearest(node, size, out, ratio) for size, out, ratio in zip(shape[1:], sizes[1:], ratios, strict=True)
    )

    def build(slot: Slot, source: str) -> ir.Op:
        return ir.QResize(**slot.names(source), rows=rows, columns=columns)

    return reader.apply(node.inputs[0], Move(str(node.name), sizes, build))


def _nearest(node: onnx.Node, size: int, out: int, ratio: float) -> Array:
    """The source index of every output index along one dimension, in float32 as onnxruntime computes it."""
    i, scale = np.arange(out, dtype=np.float32), np.float32(ratio)
    half = np.float32(0.5)
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if mode == "asymmetric":
        position = i / scale
    elif mode == "half_pixel" or (mode == "pytorch_half_pixel" and out > 1):
        position = (i + half) / scale - half
    elif mode == "pytorch_half_pixel":
        position = np.zeros(1, np.float32)
    elif mode == "align_corners":
        position = i * np.float32(size - 1) / np.float32(max(out - 1, 1))
    else:
        raise NotIntegerError("resize-mode")
    rounding = node.attributes.get_string("nearest_mode", "round_prefer_floor")
    functions: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda x: np.ceil(x - half),
        "round_prefer_ceil": lambda x: np.floor(x + half),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    return np.clip(functions[rounding](position), 0, size - 1).astype(np.int32)
