"""What a peer is: an engine that runs one layer, prepared once and called many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class Missing(Exception):
    """The peer, or an instruction set it needs, is not on this machine; the text says what to install."""


@dataclass(frozen=True)
class Prepared:
    """A layer ready to run. `call` runs it once with everything in place: no allocation, no conversion of layouts."""

    call: Callable[[], object]
    output: Callable[[], Bytes]  # of the last call, NCHW or rows by channels
    how: str  # the implementation that the engine chose
    timer: Callable[[], float] | None = None  # runs once and returns the layer's own seconds, where the engine tells


def to_channels_last(x: Bytes) -> Bytes:
    """NCHW -> NHWC; rows by channels stay."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def from_channels_last(y: Bytes) -> Bytes:
    return y.transpose(0, 3, 1, 2) if y.ndim == 4 else y
