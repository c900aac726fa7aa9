"""The state of one lowering: layers so far, and where each tensor of the integer graph lives among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.errors import UnsupportedError
from ....compiler.integer import graph as ir
from .layout import Order, Shape
from .spec import HlsLayer
from .types import Fixed, holding, saturating

Real = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor in the project: the output of `layer`, stored as `shape` in `order`; `type.fraction` gives its grid."""

    layer: str
    shape: Shape
    order: Order
    type: Fixed


def refuse(op: ir.Op, code: str, what: str, hint: str) -> UnsupportedError:
    """The error for an operator that this route cannot express exactly."""
    return UnsupportedError(what, code=code, where=op.name, hint=hint)


class Lowering:
    """Appends layers. The real value of a tensor's integer q is q * 2^-fraction(tensor): under `pow2` its true value,
    under `fixed` the integer itself."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.layers: list[HlsLayer] = []
        self.values: dict[str, Value] = {}

    def fraction(self, name: str) -> int:
        """Fraction bits of a tensor. Its scale is a power of two under `pow2` (checked beforehand)."""
        if self.graph.scheme == "fixed":
            return 0
        return int(-np.round(np.log2(self.graph.quant(name).scale)))

    def emit(
        self,
        class_name: str,
        name: str,
        inputs: tuple[Value, ...],
        result: Fixed,
        shape: Shape,
        order: Order,
        *,
        types: dict[str, Fixed] | None = None,
        arrays: dict[str, Real] | None = None,
        products: tuple[int, int, int] = (0, 0, 1),
        attributes: dict[str, Any] | None = None,
    ) -> Value:
        """Appends a layer and returns its output. `products`: (n_in, n_out, calls) of a layer that multiplies."""
        n_in, n_out, calls = products
        self.layers.append(
            HlsLayer(
                class_name=class_name,
                name=name,
                inputs=tuple(value.layer for value in inputs),
                shape=shape,
                types={role: str(kind) for role, kind in {"result": result, **(types or {})}.items()},
                attributes=attributes or {},
                arrays={key: np.ascontiguousarray(array, np.float64) for key, array in (arrays or {}).items()},
                n_in=n_in,
                n_out=n_out,
                calls=calls,
            )
        )
        return Value(name, shape, order, result)

    def reshaped(self, value: Value, shape: Shape, suffix: str) -> Value:
        """The same elements in the same physical order under another physical shape."""
        if value.shape == shape:
            return value
        name = f"{value.layer}_{suffix}"
        known = next((layer for layer in self.layers if layer.name == name), None)
        if known is not None:
            return Value(name, shape, value.order, value.type)
        return self.emit(
            "Reshape", name, (value,), value.type, shape, value.order, attributes={"target_shape": list(shape)}
        )

    # -- requantization -----------------------------------------------------------------------------------------------

    def result_type(self, op: ir.Fused) -> Fixed:
        """The type that a layer's result is stored in: it rounds half to even and clips to the operator's range, or,
        where no type has that range, to [0, 2^b - 1] around it; `clipped` then does the rest."""
        exact = saturating(op.qmin, op.qmax, self.fraction(op.output))
        if exact is None and op.qmin == 0 and op.qmax > 0:
            exact = saturating(0, (1 << op.qmax.bit_length()) - 1, self.fraction(op.output))
        if exact is None:
            raise refuse(
                op,
                "clip-range",
                f"The range [{op.qmin}, {op.qmax}] is not that of a fixed-point type.",
                "Saturation clips to all values of b bits. Let a clip start at zero, or choose a scale at which it "
                "reaches the ends of the type.",
            )
        return exact

    def clipped(self, op: ir.Fused, value: Value) -> Value:
        """Lowers the upper end of the range where the type reaches beyond it: a saturating addition pushes all that
        lies above `qmax` against the end of the type, a subtraction brings the rest back."""
        excess = value.type.highest - op.qmax
        if excess <= 0:
            return value
        for name, step in (("clip", excess), ("back", -excess)):
            value = self._normalised(f"{op.output}_{name}", value, value.type, Fixed(2, 0), np.ones(1), step)
        return value

    def scaled(self, name: str, value: Value, multiplier: Ints, shift: Ints, result: Fixed) -> Value:
        """Appends a product by multiplier * 2^-shift, one for all channels or one for each."""
        common = int(shift.max())
        scale = multiplier.astype(object) << (common - shift).astype(object)
        real = np.ldexp(scale.astype(np.float64), -common)
        if (real == 1).all():  # hls4ml drops such a normalization, and its result type with it
            return self.cast(name, value, result)
        return self._normalised(name, value, result, holding(int(scale.max()), common), real, 0)

    def cast(self, name: str, value: Value, result: Fixed) -> Value:
        """Appends a change of type, unless every value stays what it is."""
        inside = result.lowest <= value.type.lowest and value.type.highest <= result.highest
        if inside and value.type.fraction == result.fraction:
            return value
        attributes = {"activation": "linear", "n_in": int(np.prod(value.shape))}
        return self.emit("Activation", name, (value,), result, value.shape, value.order, attributes=attributes)

    def _normalised(self, name: str, value: Value, result: Fixed, scale: Fixed, real: Real, step: int) -> Value:
        """A batch normalization: value * real + step, the step in units of the result."""
        channels = value.shape[-1]
        return self.emit(
            "BatchNormalization",
            name,
            (value,),
            result,
            value.shape,
            value.order,
            types={"scale": scale, "bias": holding(abs(step), result.fraction)},
            arrays={
                "scale_data": np.broadcast_to(real, (channels,)),
                "bias_data": np.full(channels, step * 2.0**-result.fraction),
            },
            products=(0, 0, 1) if step else (channels, channels, int(np.prod(value.shape[:-1]))),
            attributes={"n_in": int(np.prod(value.shape)), "n_filt": channels},
        )

    def check_shift(self, op: ir.Fused, entry: int, fraction: int) -> None:
        """Raises UnsupportedError unless a `pow2` shift is what the scales of input and output say: the types follow
        the scales."""
        if int(op.requant.shift[entry]) != fraction - self.fraction(op.output):
            raise refuse(
                op,
                "scale-mismatch",
                f"The operator shifts by {int(op.requant.shift[entry])}, its scales differ by another power of two.",
                "Give the tensors the scales that the operator computes with.",
            )
