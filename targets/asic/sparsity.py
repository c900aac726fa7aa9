"""What zeros are worth on an array: time, energy, bytes, and what the hardware cannot use.

A dense array multiplies zeros like any other number. Gating saves the energy of the multiplication, never its cycle.
Skipping saves cycles, and then parallel elements wait for the one with most work. Stored zeros cost nothing only in a
compressed format, which has metadata of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .architecture import Architecture, Skipping
from .problem import Problem


@dataclass(frozen=True)
class Effect:
    """Factors beside a dense layer of the same shape. `unused` says in words what the hardware cannot use."""

    time: float = 1.0
    mac_energy: float = 1.0
    weight_bytes: float = 1.0
    unused: str = ""


def effect(problem: Problem, architecture: Architecture) -> Effect:
    """The effect of the problem's measured zeros on this array."""
    skipping = architecture.array.skipping
    kind, density = problem.sparsity.kind, problem.weight_density
    if not problem.stored_weights:
        density = 1.0
    time, unused = 1.0, ""
    if density < 1.0:
        if kind == "block" and skipping.block is not None and _divides(skipping.block, problem.sparsity.block):
            time = problem.sparsity.density
        elif kind == "n_m" and skipping.n_m is not None and _at_least(skipping.n_m, problem.sparsity.block):
            time = skipping.n_m[0] / skipping.n_m[1]
        elif skipping.weights == "skip":
            time = density
        elif density < 0.95:
            unused = _why_unused(problem, skipping, density)
    skipped_inputs = problem.input_density if skipping.inputs == "skip" else 1.0
    if time < 1.0 and skipped_inputs < 1.0 and problem.c > 1:
        time *= correlated(time, skipped_inputs, skipping.occupancy_correlation.value)
    time *= skipped_inputs
    time = _slowest(time, problem, architecture.elements)
    gated = (density if skipping.weights != "none" else 1.0) * (
        problem.input_density if skipping.inputs != "none" else 1.0
    )
    return Effect(time, min(gated, 1.0), stored_bytes(problem, skipping, density), unused)


def correlated(weights: float, inputs: float, correlation: float) -> float:
    """E[w x] / (E[w] E[x]) of two occupancies (0 or 1) with these densities and this correlation coefficient."""
    return 1.0 + correlation * math.sqrt((1 - weights) * (1 - inputs) / (weights * inputs)) if weights * inputs else 1.0


def _slowest(share: float, problem: Problem, elements: int) -> float:
    """The share of work left on the busiest of `elements` lanes that each had n multiplications of which a fraction
    remains at random: mean plus sqrt(2 ln E) standard deviations (the expected maximum of E normal variables)."""
    if share >= 1.0 or elements <= 1:
        return share
    n = max(problem.macs / elements, 1.0)
    return min(share + math.sqrt(2 * math.log(elements) * share * (1 - share) / n), 1.0)


def stored_bytes(problem: Problem, skipping: Skipping, density: float) -> float:
    """Bytes of the stored weights with metadata, relative to dense storage; never more than dense plus metadata.

    bitmask: one bit per weight. rle: 5-bit run lengths (Eyeriss' format). csr: an index within its row of C R S weights
    per value. N:M: log2 M bits per value.
    """
    bits = problem.weight_bits
    if problem.sparsity.kind == "n_m" and skipping.n_m is not None and density < 1.0:
        n, m = skipping.n_m
        return min(n / m * (bits + math.ceil(math.log2(m))) / bits, 1.0)
    if problem.sparsity.kind == "block" and skipping.block is not None and density < 1.0:
        block = skipping.block[0] * skipping.block[1]
        return problem.sparsity.density + 1.0 / (block * bits)
    if skipping.format == "bitmask":
        return density + 1.0 / bits
    if skipping.format == "rle":
        return density * (bits + 5) / bits
    if skipping.format == "csr":
        row = max(problem.c * problem.r * problem.s, 2)
        return density * (bits + math.ceil(math.log2(row))) / bits
    return 1.0


def _divides(unit: tuple[int, int], block: tuple[int, int]) -> bool:
    return block[0] % unit[0] == 0 and block[1] % unit[1] == 0


def _at_least(supported: tuple[int, int], found: tuple[int, int]) -> bool:
    return supported[1] == found[1] and supported[0] >= found[0]


def _why_unused(problem: Problem, skipping: Skipping, density: float) -> str:
    zeros = f"{1 - density:.0%} of the weights are zero"
    if skipping.weights == "gate":
        return f"{zeros}: this array gates them, which saves energy and no time"
    kind = problem.sparsity.kind
    if kind == "block" and skipping.block is not None:
        return f"{zeros} in blocks of {problem.sparsity.block}, which this array's {skipping.block} does not divide"
    if kind == "n_m" and skipping.n_m is not None:
        return f"{zeros} in a pattern that this array's {skipping.n_m[0]}:{skipping.n_m[1]} does not cover"
    return f"{zeros}: this dense array skips none of them"
