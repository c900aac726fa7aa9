"""What layers cost on this machine, predicted; and the measurement that the prediction rests on.

    seconds = MACs / rate + weight bytes / bandwidth + blocks * b + outputs * o + c

Only blocks with a nonzero count; for a single vector, the larger of the first two terms counts. Every kernel has its
rate, b, o and c: measured by `autotune`, or defaults of its instruction set. The cache is the folder PRUNUS_CACHE
(empty: none), else XDG_CACHE_HOME/prunus, else ~/.cache/prunus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._core import KernelError, cost_source, kernel_costs, kernel_rows, measure_kernels, rank_layer


@dataclass(frozen=True)
class Candidate:
    """A kernel and the seconds that one layer is predicted to take with it, on one thread."""

    kernel: str
    seconds: float


@dataclass(frozen=True)
class Prediction:
    """The best kernel of a layer. `dense_seconds`: the best time without any zeros. `source`: of the constants."""

    kernel: str
    seconds: float
    dense_seconds: float
    candidates: tuple[Candidate, ...]  # fastest first
    source: str


@dataclass(frozen=True)
class KernelInfo:
    """A row of the table of micro-kernels. Blocks are block_rows output channels x block_columns input channels."""

    family: str  # conv, rows, gemv_dense, gemv_blocks, gemv_bitmask, depthwise
    name: str
    isa: str
    block_rows: int
    block_columns: int
    usable: bool


@dataclass(frozen=True)
class KernelCost:
    """One kernel's constants in the limit model."""

    macs_per_second: float
    block_seconds: float
    output_seconds: float
    call_seconds: float


@dataclass(frozen=True)
class Costs:
    """The limit model's constants and where they come from."""

    source: str
    kernels: dict[str, KernelCost]


def kernel_table() -> list[KernelInfo]:
    """Every micro-kernel of this build; those of instruction sets that this machine lacks are not usable."""
    return [KernelInfo(*row) for row in kernel_rows()]


def costs() -> Costs:
    """The constants that `predict` uses now."""
    return Costs(cost_source(), {name: KernelCost(*numbers) for name, numbers in sorted(kernel_costs().items())})


def autotune(seconds: float = 15.0) -> Costs:
    """Measures the constants on this machine, for about so many seconds, and keeps them in the cache.

    Where no file can be written they hold for this process.
    """
    measure_kernels(seconds)
    return costs()


def predict(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    density: float = 1.0,
    block: tuple[int, int] = (16, 4),
    *,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    group: int = 1,
    kernel: str | None = None,
) -> Prediction:
    """Seconds on one thread of a layer in which a share `density` of the blocks of weights is not zero.

    x_shape [n, c, h, w] and w_shape [out, c / group, kh, kw], or [rows, in] and [out, in] for a matrix product; block
    is (output channels, input channels). `kernel` restricts the candidates to one. Changes of layout are left out:
    inside of a network there are none between such layers.
    """
    x, w = _as_conv(x_shape, w_shape)
    ranking, dense_seconds = rank_layer(x, w, strides, pads, dilations, group, density, block, kernel or "")
    candidates = tuple(Candidate(name, seconds) for name, seconds in ranking)
    return Prediction(candidates[0].kernel, candidates[0].seconds, dense_seconds, candidates, cost_source())


def _as_conv(x_shape: Sequence[int], w_shape: Sequence[int]) -> tuple[list[int], list[int]]:
    if len(x_shape) == len(w_shape) == 4:
        return list(x_shape), list(w_shape)
    if len(x_shape) == len(w_shape) == 2:
        return [1, x_shape[1], 1, x_shape[0]], [*w_shape, 1, 1]
    raise KernelError("predict: E_SHAPE: four dimensions for convolutions, two for matrix products")
