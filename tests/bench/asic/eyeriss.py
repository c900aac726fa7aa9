"""Eyeriss v1 on AlexNet (JSSC 2017, table V); one element of Eyeriss v2 on sparse MobileNet (Sparseloop's artefact)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from prunus.compiler.model.workload import Layer, Sparsity
from prunus.targets.asic.architecture import Architecture
from prunus.targets.asic.architecture_file import catalogue, catalogue_data, parse_architecture
from prunus.targets.asic.network import LayerRun, Residency
from prunus.targets.asic.problem import Problem
from prunus.targets.asic.search import Found, Searcher
from prunus.targets.asic.silicon import energy_of
from prunus.targets.asic.sparsity import correlated
from prunus.targets.asic.tiles import Tiles

BATCH = 4

# AlexNet: groups, filters and channels per group, output side, kernel, stride; share of zero inputs (table V).
ALEXNET: Mapping[str, tuple[int, int, int, int, int, int, float]] = {
    "CONV1": (1, 96, 3, 55, 11, 4, 0.0001),
    "CONV2": (2, 128, 48, 27, 5, 1, 0.387),
    "CONV3": (1, 384, 256, 13, 3, 1, 0.725),
    "CONV4": (2, 192, 192, 13, 3, 1, 0.793),
    "CONV5": (2, 128, 192, 13, 3, 1, 0.776),
}

# The mapping that was measured: output rows of a strip, and images per pass (JSSC 2017, table of mapping parameters).
MAPPING: Mapping[str, tuple[int, int]] = {
    "CONV1": (7, 1),
    "CONV2": (27, 1),
    "CONV3": (13, 4),
    "CONV4": (13, 4),
    "CONV5": (13, 4),
}


def alexnet(name: str) -> Problem:
    """A layer for four images at 16 bit."""
    g, k, c, p, r, stride, zeros = ALEXNET[name]
    side = (p - 1) * stride + r
    loops = (g, k, c, p, p * BATCH, r, r, side, side * BATCH, stride, stride)
    return Problem(*loops, 16, 16, 16, BATCH, input_density=1 - zeros)


def chip(clock_pj: float | None = None) -> Architecture:
    """Eyeriss v1 with DRAM out of the way: the published processing time leaves it out."""
    data = copy.deepcopy(catalogue_data("eyeriss-v1"))
    for node in data["architecture"]["nodes"]:
        if node["class"] == "dram":
            node["bandwidth"] = "1000 GB/s"
        if node["class"] == "row_stationary" and clock_pj is not None:
            node["pe"]["clock_energy"] = {"value": f"{clock_pj} pJ", "source": "fitted", "node": "65 nm"}
    return parse_architecture(data, "eyeriss-v1")


def _with_strips(tiles: Tiles, rows: int, columns: int) -> Tiles:
    """Only the tiles of this many output rows and columns; channels stay free."""
    kept = np.flatnonzero((tiles.tp == rows) & (tiles.tq == columns))
    picked = (tiles.layer[kept], tiles.tp[kept], tiles.tq[kept], tiles.tc[kept], tiles.tk[kept])
    return Tiles(tiles.problems, np.array([0, kept.size]), *picked)


def run(name: str, architecture: Architecture) -> tuple[float, float, Found]:
    """Milliseconds, milliwatts of the chip without DRAM, and the mapping."""
    problem = alexnet(name)
    rows, images = MAPPING[name]
    searcher = Searcher(_with_strips(Tiles.of([problem]), rows, images * problem.q // BATCH), architecture)
    found = searcher.search()[0]
    assert found is not None
    best = found.best
    layer = Layer(name, "conv", (), (), macs=problem.macs)
    one = LayerRun(
        layer,
        best.cycles,
        best.array_cycles,
        best.bound,
        0.0,
        best.buffer_bytes,
        Residency(),
        0,
        found,
        searcher.effects[0],
        best.hop_bytes,
        best.register_bytes,
    )
    energy = sum(part.value for part in energy_of([one], architecture).values())
    seconds = best.cycles / architecture.technology.clock.value
    return seconds * 1e3, energy / seconds * 1e3, found


def fit_clock(names: Sequence[str], power_mw: Mapping[str, float]) -> float:
    """The only fitted number of Eyeriss v1: clock energy per element and cycle, in pJ."""
    bare = chip(0.0)
    cycles_per_s = bare.elements * bare.technology.clock.value
    residual = [(power_mw[name] - run(name, bare)[1]) * 1e-3 / cycles_per_s * 1e12 for name in names]
    return max(float(np.mean(residual)), 0.0)


# -- Eyeriss v2 -------------------------------------------------------------------------------------------------------


def sparse_problem(row: Mapping[str, Any]) -> Problem:
    """A layer of sparse MobileNet for one processing element."""
    m, c, e, f, r, s = (int(row[key]) for key in ("M", "C", "E", "F", "R", "S"))
    weights, inputs = float(row["density_weights"]), float(row["density_inputs"])
    problem = Problem(1, m, c, e, f, r, s, e + r - 1, f + s - 1, sparsity=Sparsity("weight", weights))
    return replace(problem, weight_density=weights, input_density=inputs)


def element(correlation: float | None = None) -> Architecture:
    """One element of Eyeriss v2 with the given correlation of its operands' zeros."""
    if correlation is None:
        return catalogue()["eyeriss-v2-pe"]
    data = copy.deepcopy(catalogue_data("eyeriss-v2-pe"))
    for node in data["architecture"]["nodes"]:
        if node["class"] == "spatial":
            node["skipping"]["occupancy_correlation"] = f"{correlation:.5f}"
    return parse_architecture(data, "eyeriss-v2-pe")


def sparse_cycles(row: Mapping[str, Any], architecture: Architecture) -> float:
    """Cycles of the element on a layer."""
    found = Searcher(Tiles.of([sparse_problem(row)]), architecture).search()[0]
    assert found is not None
    return found.best.array_cycles


def fit_correlation(rows: Sequence[Mapping[str, Any]], spread: float = 0.03) -> float:
    """The correlation coefficient of weights' and inputs' zeros, shrunk towards independence.

    Excess of a row: x rho with x = correlated(...) - 1 at rho = 1. Ridge: errors of 2 % against a prior
    rho = 0 +- spread, which is narrow because independence is off by 1.1 % on average over the whole network
    (Sparseloop, MICRO 2022).
    """
    excess = np.array([float(row["cycles_measured"]) / independent(row) - 1 for row in rows])
    slope = np.array([correlated(float(row["density_weights"]), float(row["density_inputs"]), 1.0) - 1 for row in rows])
    weight = (0.02 / spread) ** 2
    return float(max((slope @ excess) / (slope @ slope + weight), 0.0))


def independent(row: Mapping[str, Any]) -> float:
    """Multiplications left when zeros of weights and inputs fall independently."""
    problem = sparse_problem(row)
    return problem.macs * problem.weight_density * problem.input_density
