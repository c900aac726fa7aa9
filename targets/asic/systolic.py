"""A systolic array in closed form: cycles and operand traffic of one matrix product.

A layer is the product of [M, K] activations with [K, N] weights. On an array of r x c processing elements:

    weight stationary   ceil(K/r) ceil(N/c) (2r + c + M - 2)
    output stationary   ceil(M/r) ceil(N/c) ( r + c + K - 2)
    input stationary    ceil(K/r) ceil(M/c) (2r + c + N - 2)

Each fold fills the array, streams the third dimension through and drains. Source: the traces of SCALE-Sim 3.0.0
(Samajdar et al., ISPASS 2020), which these forms reproduce exactly without stalls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dataflow = Literal["ws", "os", "is"]


@dataclass(frozen=True)
class Product:
    """`count` products of [m, k] with [k, n] (one per group of a grouped convolution)."""

    m: int
    k: int
    n: int
    count: int = 1

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n * self.count


@dataclass(frozen=True)
class Run:
    """Cycles without stalls, and elements that cross the array's edge per operand."""

    dataflow: Dataflow
    cycles: int
    input_reads: int
    weight_reads: int
    output_writes: int
    utilisation: float  # MACs per cycle and processing element


def _folds(size: int, along: int) -> int:
    return -(-size // along)


def simulate(product: Product, rows: int, columns: int, dataflow: Dataflow) -> Run:
    """Cycles and traffic of a product on an array of rows x columns."""
    m, k, n = product.m, product.k, product.n
    if dataflow == "ws":
        cycles = _folds(k, rows) * _folds(n, columns) * (2 * rows + columns + m - 2)
        reads = (m * k * _folds(n, columns), k * n, m * n * _folds(k, rows))
    elif dataflow == "os":
        cycles = _folds(m, rows) * _folds(n, columns) * (rows + columns + k - 2)
        reads = (m * k * _folds(n, columns), k * n * _folds(m, rows), m * n)
    else:
        cycles = _folds(k, rows) * _folds(m, columns) * (2 * rows + columns + n - 2)
        reads = (m * k, k * n * _folds(m, columns), m * n * _folds(k, rows))
    total = cycles * product.count
    inputs, weights, outputs = (each * product.count for each in reads)
    return Run(dataflow, total, inputs, weights, outputs, product.macs / (total * rows * columns))


def best(product: Product, rows: int, columns: int) -> Run:
    """The dataflow with the fewest cycles; ties go to the first of ws, os, is."""
    flows: tuple[Dataflow, ...] = ("ws", "os", "is")
    return min((simulate(product, rows, columns, flow) for flow in flows), key=lambda run: run.cycles)
