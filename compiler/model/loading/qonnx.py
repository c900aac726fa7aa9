"""QONNX's quantizers (Pappalardo et al., QONNX, 2022), written as standard QuantizeLinear and DequantizeLinear.

    Quant(x)        = (clip(round_half_even(x / s + z), low, high) - z) * s        on 2 to 8 bits, or IntQuant
    BipolarQuant(w) = s where w >= 0, else -s                                      constants only

QuantizeLinear rounds x / s before it adds z, so results are equal for z = 0 and every even z; with an odd z, exact
ties go to the other neighbour. Ranges narrower than the 8-bit type become a Clip in front.

The quantizers of ONNX are younger than most QONNX files. So while names are replaced, each node becomes an Identity,
which every opset has, and `expand` puts the quantizers in its place once the model is at the working opset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ...errors import UnsupportedError
from ..untrusted import shown

Array = npt.NDArray[Any]

DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant")


@dataclass(frozen=True, eq=False)
class FakeQuantizer:
    """What one node does: scale (a number, or one per channel of `axis`), zero point, and the integers it may give."""

    scale: npt.NDArray[np.float32]
    axis: int | None
    zero_point: int
    low: int
    high: int
    bipolar: bool = False

    @property
    def dtype(self) -> type[np.integer[Any]]:
        return np.int8 if self.low < 0 else np.uint8

    @property
    def is_narrow(self) -> bool:
        """Whether the integers are fewer than those of the type."""
        info = np.iinfo(self.dtype)
        return self.low > info.min or self.high < info.max

    def spread(self, rank: int) -> npt.NDArray[np.float32]:
        """The scale, laid out to broadcast against a tensor of some rank."""
        if self.axis is None:
            return self.scale
        shape = [1] * rank
        shape[self.axis] = -1
        return self.scale.reshape(shape)

    def integers(self, x: Array) -> Array:
        """The integers that a constant becomes."""
        if self.bipolar:
            return np.where(x >= 0, 1, -1).astype(np.int8)
        steps = np.rint(x.astype(np.float64) / self.spread(x.ndim) + self.zero_point)
        return np.clip(steps, self.low, self.high).astype(self.dtype)


def is_qonnx(node: onnx.NodeProto) -> bool:
    return node.domain in DOMAINS and node.op_type in QUANTIZERS


def read_quantizer(node: onnx.NodeProto, x: Array | None, parameters: list[Array | None]) -> FakeQuantizer:
    """The quantizer of a node: `x` its input where that is constant; `parameters` the others, None for computed ones.

    Raises UnsupportedError (`qonnx`) for what 8-bit QDQ cannot say, with the reason.
    """
    bipolar = node.op_type == "BipolarQuant"
    if len(parameters) != (1 if bipolar else 3) or len(node.output) != 1:
        raise _refusal(node, f"It has {len(parameters) + 1} inputs and {len(node.output)} outputs.")
    known = [each for each in parameters if each is not None and each.dtype.kind in "fiu" and each.size]
    if len(known) != len(parameters):
        raise _refusal(node, "Its scale, zero point or bit width is computed at run time, or is no number.")
    scale, axis = _scale(node, known[0])
    if bipolar:
        if x is None:
            raise _refusal(node, "A bipolar activation has two levels and no zero, which no affine quantizer has.")
        return FakeQuantizer(scale, axis, 0, -1, 1, bipolar=True)
    attributes = _attributes(node)
    if attributes["rounding_mode"] not in ("ROUND", "HALF_EVEN"):
        raise _refusal(node, f"Its rounding is {shown(attributes['rounding_mode'])}; only ROUND is to the nearest.")
    zero_point, bits = (_integer(node, array) for array in known[1:])
    if not 2 <= bits <= 8:
        raise _refusal(node, f"It has {bits} bits; 2 to 8 have an integer form.")
    signed, narrow = bool(attributes["signed"]), bool(attributes["narrow"])
    low = -(1 << (bits - 1)) + narrow if signed else 0
    high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - narrow
    found = FakeQuantizer(scale, axis, zero_point, low, high)
    info = np.iinfo(found.dtype)
    if not info.min <= zero_point <= info.max:
        raise _refusal(node, f"Its zero point {zero_point} is outside of {np.dtype(found.dtype)}.")
    if x is None and axis is not None:
        raise _refusal(node, "An activation has one scale per channel.")
    return found


def _scale(node: onnx.NodeProto, scale: Array) -> tuple[npt.NDArray[np.float32], int | None]:
    """(scales, the axis that they belong to)."""
    numbers = scale.astype(np.float32)
    if not (np.isfinite(numbers).all() and (numbers > 0).all()):
        raise _refusal(node, "Its scale is not a positive number.")
    if numbers.size == 1:
        return numbers.reshape(()), None
    wide = [axis for axis, size in enumerate(numbers.shape) if size > 1]
    if len(wide) != 1:
        raise _refusal(node, f"Its scale has the shape {numbers.shape}; one per channel is possible.")
    return numbers.reshape(-1), wide[0]


def _integer(node: onnx.NodeProto, array: Array) -> int:
    number = float(array.ravel()[0])
    if array.size != 1 or number != round(number):
        raise _refusal(node, "Its zero point or bit width is not one whole number.")
    return int(number)


def _attributes(node: onnx.NodeProto) -> Mapping[str, Any]:
    found: dict[str, Any] = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    for attribute in node.attribute:
        is_text = attribute.type == onnx.AttributeProto.STRING
        found[attribute.name] = attribute.s.decode("latin-1").upper() if is_text else attribute.i
    return found


def expand(proto: onnx.ModelProto, quantizers: Mapping[str, FakeQuantizer], constants: dict[str, Array]) -> None:
    """Puts quantizers in place of the Identity nodes whose outputs `quantizers` names, in place.

    Constants become integers behind a DequantizeLinear; vectors and numbers (biases) become what they are rounded to.
    New constants go into `constants`, and into the graph as inputs, as large constants are at this stage.
    """
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    taken = {name for node in nodes for name in (*node.input, *node.output)} | constants.keys()

    def constant(name: str, array: Array) -> str:
        assert name not in taken  # derived from a plain name, which has no dot
        constants[name] = array
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
        return name

    for node in nodes:
        output = node.output[0] if node.output else ""
        if node.op_type != "Identity" or output not in quantizers:
            proto.graph.node.append(node)
            continue
        quantizer, source = quantizers[output], node.input[0]
        x = constants.get(source)
        if x is not None and x.ndim < 2:
            taken.discard(output)
            steps = quantizer.integers(x).astype(np.float32) - np.float32(quantizer.zero_point)
            constant(output, (steps * quantizer.spread(x.ndim)).astype(np.float32))
            continue
        scale = constant(f"{output}.scale", quantizer.scale)
        zeros = np.full(quantizer.scale.shape, quantizer.zero_point, quantizer.dtype)
        parameters = [scale, constant(f"{output}.zero", zeros)]
        if x is None:
            source = _quantized(proto, quantizer, source, parameters, output, constant)
        else:
            source = constant(f"{output}.integers", quantizer.integers(x))
        made = onnx.helper.make_node("DequantizeLinear", [source, *parameters], [output], node.name)
        if quantizer.axis is not None:
            made.attribute.append(onnx.helper.make_attribute("axis", quantizer.axis))
        proto.graph.node.append(made)


def _quantized(
    proto: onnx.ModelProto, quantizer: FakeQuantizer, x: str, parameters: list[str], output: str, constant: Any
) -> str:
    """[Clip and] QuantizeLinear behind `x`; returns the name of the integers."""
    if quantizer.is_narrow:
        ends = [
            constant(f"{output}.{name}", np.float32(end - quantizer.zero_point) * quantizer.scale)
            for name, end in (("low", quantizer.low), ("high", quantizer.high))
        ]
        proto.graph.node.append(onnx.helper.make_node("Clip", [x, *ends], [f"{output}.clipped"]))
        x = f"{output}.clipped"
    proto.graph.node.append(onnx.helper.make_node("QuantizeLinear", [x, *parameters], [f"{output}.integers"]))
    return f"{output}.integers"


def _refusal(node: onnx.NodeProto, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"This {shown(node.op_type)} node cannot be turned into standard quantizers.",
        code="qonnx",
        where=shown(node.name or next(iter(node.output), "")),
        why=why,
        hint="Train with 2 to 8 bits, constant scales and rounding to the nearest; activations with one scale.",
    )
