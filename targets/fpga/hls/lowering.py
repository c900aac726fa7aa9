"""The state of one lowering: layers so far, and where each tensor of the integer graph lives among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.errors import UnsupportedError
from ....compiler.integer import graph as ir
from .layout import Order, Shape
from .spec import HlsLayer, IoType
from .types import Fixed, holding, saturating

Real = npt.NDArray[np.float64]


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

    def __init__(self, graph: ir.Graph, io_type: IoType) -> None:
        self.graph = graph
        self.io_type = io_type
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
        **attributes: Any,
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
                attributes=attributes,
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
        return self.emit("Reshape", name, (value,), value.type, shape, value.order, target_shape=list(shape))

    # -- requantization -----------------------------------------------------------------------------------------------

    def result_type(self, op: ir.Fused, largest: int) -> Fixed:
        """The type that a layer's result is stored in: the one that clips to the operator's range, or, where a clip
        layer follows, one that holds every rounded value up to `largest` (in units of the result's grid)."""
        fraction = self.fraction(op.output)
        exact = saturating(op.qmin, op.qmax, fraction)
        if exact is not None:
            return exact
        if self._relu_limit(op) is not None:
            wide = holding(largest + 1, fraction)
            return Fixed(wide.width, fraction, modes="RND_CONV")
        raise refuse(
            op,
            "clip-range",
            f"The range [{op.qmin}, {op.qmax}] is not that of a fixed-point type.",
            "Saturation clips to all values of b bits. Choose a scale at which the clip reaches the end of the type, "
            "or let the quantizer drop a clip that calibration never reaches.",
        )

    def clipped(self, op: ir.Fused, value: Value) -> Value:
        """Appends hls4ml's ReLU1 or ReLU6 where the result's type does not clip by itself."""
        fraction = self.fraction(op.output)
        if saturating(op.qmin, op.qmax, fraction) is not None:
            return value
        result = Fixed(op.qmax.bit_length(), fraction, signed=False)
        return self.emit(
            "Activation",
            f"{op.output}_clip",
            (value,),
            result,
            value.shape,
            value.order,
            activation=f"relu{self._relu_limit(op)}",
            n_in=int(np.prod(value.shape)),
        )

    def _relu_limit(self, op: ir.Fused) -> int | None:
        """6 or 1 where [qmin, qmax] is that real interval from zero; only power-of-two scales can hit it exactly."""
        if self.graph.scheme != "pow2" or op.qmin != 0:
            return None
        real = op.qmax * 2.0 ** -self.fraction(op.output)
        return int(real) if real in (1.0, 6.0) else None

    def scaled(
        self,
        op: ir.Fused,
        value: Value,
        multiplier: npt.NDArray[np.int64],
        shift: npt.NDArray[np.int32],
        result: Fixed,
        name: str,
    ) -> Value:
        """Appends a product by multiplier * 2^-shift per channel (or by one for all): a batch normalization."""
        common = int(shift.max())
        scale = multiplier.astype(object) << (common - shift).astype(object)
        channels = value.shape[-1]
        return self.emit(
            "BatchNormalization",
            name,
            (value,),
            result,
            value.shape,
            value.order,
            types={"scale": holding(int(scale.max()), common), "bias": Fixed(2, 0)},
            arrays={
                "scale_data": np.broadcast_to(scale.astype(np.float64) * 2.0**-common, (channels,)),
                "bias_data": np.zeros(channels),
            },
            products=(channels, channels, int(np.prod(value.shape[:-1]))),
            n_in=int(np.prod(value.shape)),
            n_filt=channels,
        )
