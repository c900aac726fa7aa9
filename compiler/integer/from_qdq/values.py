"""What the reader knows about each value of the QDQ model while it walks the graph in topological order.

    Constant   an initializer, its DequantizeLinear included
    Integer    the output of a QuantizeLinear: a tensor of the integer graph
    View       a float value that is exactly the dequantization of an integer tensor
    Function   a float value that is a function of one integer tensor, element by element: a table of 256 numbers
    Pending    a float value that one integer operator computes, once a QuantizeLinear says in which type
    Float      anything else

Data movement (reshape, transpose, slice, max pooling, …) commutes with quantization, which is elementwise and monotone.
It is therefore collected as `moves` and carried out on integers, whichever side of the QuantizeLinear it stands on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import graph as ir

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

INFINITY = float("inf")


class NotIntegerError(Exception):
    """Why a node cannot become an integer operator: a code of `reasons.REASONS`. Caught by the walk, never escapes."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Slot:
    """Where an operator writes: names, the output's type, and the range that is left of it."""

    name: str
    output: str
    quant: ir.QType
    qmin: int
    qmax: int
    origin: tuple[str, ...]
    written: ir.QType | None = None  # what QuantizeLinear states, where a folded preprocessing makes it differ

    def names(self, *inputs: str) -> dict[str, Any]:
        """The fields that every operator has."""
        return {"name": self.name, "inputs": inputs, "output": self.output, "origin": self.origin}

    def fused(self, *inputs: str) -> dict[str, Any]:
        """The fields of every operator that ends in a requantization, but the requantization itself."""
        return {**self.names(*inputs), "qmin": self.qmin, "qmax": self.qmax}


Build: TypeAlias = Callable[[Slot], ir.Op]


@dataclass(frozen=True)
class Move:
    """One data movement: the node it comes from, the sample shape it gives, and how to build it on a tensor.

    `elementwise_commutes` is False where clipping before and after differ (padding brings in new values). `suffix`
    marks the name of a movement that helps another operator of the same node.
    """

    node: str
    shape: Shape
    build: Callable[[Slot, str], ir.Op]
    elementwise_commutes: bool = True
    suffix: str = ""


@dataclass(frozen=True)
class Constant:
    """Integers `q` with their quantization, or plain numbers (scale 1, no axis); `real` is what they stand for."""

    q: Array
    scale: npt.NDArray[np.float32] | None = None
    zero_point: Array | None = None
    axis: int | None = None  # of the per-channel scale; None: one scale for all

    def spread(self, per_channel: Array) -> Array:
        """Per-channel numbers laid out so that they broadcast against `q`."""
        if self.axis is None or per_channel.size == 1:
            return per_channel.reshape(())
        shape = [1] * self.q.ndim
        shape[self.axis] = -1
        return per_channel.reshape(shape)

    @property
    def centred(self) -> npt.NDArray[np.int64]:
        """The integers without their zero point."""
        integers = self.q.astype(np.int64)
        return integers if self.zero_point is None else integers - self.spread(self.zero_point.astype(np.int64))

    @property
    def real(self) -> Array:
        """The numbers that the model computes with, exact in float64 (plain numbers as they are)."""
        return self.q if self.scale is None else np.asarray(self.centred * self.spread(self.scale.astype(np.float64)))


@dataclass(frozen=True)
class Integer:
    """A tensor of the integer graph, after `moves` that no operator has carried out yet."""

    tensor: str
    shape: Shape
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True)
class View:
    """The dequantization of an integer tensor, after `moves`."""

    tensor: str
    shape: Shape
    moves: tuple[Move, ...] = ()


@dataclass(frozen=True)
class Function:
    """f(x) of one integer tensor x; `table[i]` is f at the i-th integer of x's 8-bit type.

    `clip` is set as long as f is a clip of x itself: that needs no table, only a narrower range.
    """

    tensor: str
    shape: Shape
    table: npt.NDArray[np.float64]
    origin: tuple[str, ...]
    clip: tuple[float, float] | None = None


@dataclass(frozen=True)
class Pending:
    """An integer operator that waits for its output's type; then clipped to [low, high], then moved."""

    build: Build
    shape: Shape  # of the operator's own output, before `moves`
    origin: tuple[str, ...]
    low: float = -INFINITY
    high: float = INFINITY
    moves: tuple[Move, ...] = ()
    retypes: bool = False  # whether `Slot.written` may differ from the type (a Quantize can do that)
    with_bias: Callable[[Constant, str], Pending] | None = None  # the operator with a constant added by a node

    def clipped(self, low: float, high: float, node: str) -> Pending:
        """Followed by a clip; a clip after another one is one clip with both bounds clipped."""
        if not all(move.elementwise_commutes for move in self.moves):
            raise NotIntegerError("clip-after-pad")
        low, high = (min(max(bound, low), high) for bound in (self.low, self.high))
        return replace(self, low=low, high=high, origin=(*self.origin, node), with_bias=None)

    def moved(self, move: Move) -> Pending:
        """Followed by a data movement."""
        return replace(self, moves=(*self.moves, move), with_bias=None)


@dataclass(frozen=True)
class Float:
    """A float value; `source` is the graph tensor that holds it (a graph input behind a Cast keeps its own name)."""

    source: str
    shape: Shape


Value: TypeAlias = Constant | Integer | View | Function | Pending | Float
