"""NVDLA from its primer: the architecture of a row of the table, and the few coefficients that are fitted to rows.

    area (28 nm)  = pe MACs + sram kB + lane K + fixed     16 nm: times the mean ratio of the rows
    power (16 nm) = buffer accesses (Horowitz, scaled) + element MACs f + fixed
    time          = the mapping search; one fitted number, the share of DRAM bandwidth that is of use

The published average powers follow the number of MACs and not how busy they are (38 % of peak in every row), so one
energy per element and cycle covers their clock and their switching.

Area has a prior, since few rows cannot tell the blocks apart: TPUv1's floor plan at 28 nm (Jouppi et al., ISCA 2017:
331 mm2, matrix unit 24 %, unified buffer 29 %) gives 1.2e-3 mm2 per MAC and 3.9e-3 mm2 per kB, both taken as +-30 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from reference import light_workload

from prunus.targets.asic.architecture import Architecture
from prunus.targets.asic.architecture_file import parse_architecture
from prunus.targets.asic.model import estimate
from prunus.targets.asic.network import run_network

Row = Mapping[str, float]
PRIOR = (1.2e-3, 3.9e-3)
PRIOR_SPREAD, ROW_SPREAD, LANE_SPREAD = 0.30, 0.05, 0.02  # relative, relative, mm2 per output lane
EFFICIENCIES = np.arange(0.5, 1.0001, 0.02)


@dataclass(frozen=True)
class Coefficients:
    """What is fitted. Areas in mm2 at 28 nm, energies in pJ, power in W."""

    pe: float
    sram_per_kb: float
    lane: float
    fixed: float
    shrink: float  # area at 16 nm over area at 28 nm
    clock_pj: float
    static_w: float
    efficiency: float


def atoms(macs: int) -> tuple[int, int]:
    """Atomic C and K of a configuration (NVDLA hardware architecture: small 8 x 8, full 64 x 32)."""
    c = 64 if macs >= 2048 else 32 if macs >= 128 else 8
    return c, macs // c


def architecture(row: Row, fitted: Coefficients, node_nm: int = 16) -> Architecture:
    """One row of the table as an architecture."""
    c, k = atoms(int(row["MACs"]))
    shrink = fitted.shrink if node_nm == 16 else 1.0

    def stated(value: float, unit: str, source: str, node: str = f"{node_nm} nm") -> dict[str, Any]:
        return {"value": f"{value:.6g} {unit}", "source": source, "node": node}

    fit = "fitted to rows of the NVDLA primer"
    horowitz = "Horowitz, ISSCC 2014"
    return parse_architecture(
        {
            "architecture": {
                "version": 1,
                "name": f"nvdla-{int(row['MACs'])}",
                "on_chip_activations": False,
                "technology": {
                    "node": f"{node_nm} nm",
                    "clock": "1 GHz",
                    "leakage": stated(fitted.static_w, "W", fit),
                    "fixed_area": stated(fitted.fixed * shrink, "mm2", fit),
                },
                "nodes": [
                    {
                        "class": "dram",
                        "bandwidth": f"{row['SDRAM_GBps']} GB/s",
                        "efficiency": float(fitted.efficiency),
                    },
                    {
                        "class": "sram",
                        "name": "convbuf",
                        "size": f"{int(row['convbuf_kB'])} KiB",
                        "keeps": ["inputs", "weights"],
                        "energy": stated(1.25, "pJ/B", f"{horowitz}: 10 pJ per 64 bit of 8 kB", "45 nm"),
                        "area": stated(fitted.sram_per_kb * shrink, "mm2/KiB", fit),
                    },
                    {
                        "class": "spatial",
                        "unroll": {"K": k, "C": c},
                        "depthwise_unroll": {"K": 1, "C": 1},
                        "pack_first_layer": True,
                        "weight_reuse": 16,
                        "weight_load": 16,
                        "pe": {
                            "clock_energy": stated(fitted.clock_pj, "pJ", fit),
                            "area": stated(fitted.pe * shrink, "mm2", fit),
                        },
                    },
                    {
                        "class": "vector",
                        "lanes": k,
                        "fused_elementwise": True,
                        "area": stated(fitted.lane * shrink, "mm2", fit),
                    },
                ],
            }
        },
        "nvdla",
    )


def fit(rows: Sequence[Row]) -> Coefficients:
    """All coefficients from these rows alone."""
    pe, sram, fixed, lane = _fit_area(rows)
    shrink = float(np.mean([row["mm2_16nm"] / row["mm2_28nm"] for row in rows]))
    start = Coefficients(pe, sram, lane, fixed, shrink, 0.0, 0.0, 1.0)
    efficiency = _fit_efficiency(rows, start)
    timed = Coefficients(pe, sram, lane, fixed, shrink, 0.0, 0.0, efficiency)
    clock, static = _fit_power(rows, timed)
    return Coefficients(pe, sram, lane, fixed, shrink, clock, static, efficiency)


def _fit_area(rows: Sequence[Row]) -> tuple[float, float, float, float]:
    """Least squares on relative errors, with the priors as three more equations."""
    blocks = np.array([[row["MACs"], row["convbuf_kB"], 1.0, atoms(int(row["MACs"]))[1]] for row in rows])
    published = np.array([row["mm2_28nm"] for row in rows])
    prior = np.diag([1 / (PRIOR[0] * PRIOR_SPREAD), 1 / (PRIOR[1] * PRIOR_SPREAD), 0.0, 1 / LANE_SPREAD])
    matrix = np.vstack([blocks / (published * ROW_SPREAD)[:, None], prior])
    wanted = np.concatenate([np.full(len(rows), 1 / ROW_SPREAD), [1 / PRIOR_SPREAD, 1 / PRIOR_SPREAD, 0.0, 0.0]])
    pe, sram, fixed, lane = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    return float(pe), float(sram), float(fixed), float(lane)


def frames_per_s(row: Row, coefficients: Coefficients) -> float:
    """ResNet-50, int8, batch 1."""
    chip = architecture(row, coefficients)
    runs = run_network(light_workload("resnet50"), chip)
    return chip.technology.clock.value / sum(run.cycles for run in runs)


def _fit_efficiency(rows: Sequence[Row], start: Coefficients) -> float:
    """The share of bandwidth with the least squared logarithmic error of the frame rates."""

    def error(share: float) -> float:
        tried = Coefficients(**{**start.__dict__, "efficiency": share})
        return sum(
            _times[row["MACs"], round(share, 3)] ** 2
            if (row["MACs"], round(share, 3)) in _times
            else _remember(row, share, tried) ** 2
            for row in rows
        )

    return float(min(EFFICIENCIES, key=error))


_times: dict[tuple[float, float], float] = {}


def _remember(row: Row, share: float, tried: Coefficients) -> float:
    found = float(np.log(frames_per_s(row, tried) / row["resnet50_int8_fps_1GHz"]))
    _times[row["MACs"], round(share, 3)] = found
    return found


def _power_terms(row: Row, coefficients: Coefficients) -> tuple[float, float]:
    """Watts that the model states without clock and static power, and element-cycles per picosecond of clock."""
    chip = architecture(row, coefficients)
    energy = estimate(light_workload("resnet50"), chip).parts["energy_j"]
    rate = frames_per_s(row, coefficients)
    return energy["convbuf"].value * rate, row["MACs"] * 1e9 * 1e-12


def _fit_power(rows: Sequence[Row], coefficients: Coefficients) -> tuple[float, float]:
    """Clock energy per element and static power: least squares on relative errors of the average power."""
    terms = [_power_terms(row, coefficients) for row in rows]
    published = np.array([row["avg_mW_16nm"] / 1e3 for row in rows])
    matrix = np.array([[clocked, 1.0] for _, clocked in terms]) / published[:, None]
    wanted = 1.0 - np.array([switching for switching, _ in terms]) / published
    clock, static = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    return float(max(clock, 0.0)), float(max(static, 0.0))


def predict(row: Row, coefficients: Coefficients) -> dict[str, float]:
    """The published columns, predicted."""
    work = light_workload("resnet50")
    at16, at28 = (estimate(work, architecture(row, coefficients, node)) for node in (16, 28))
    on_chip = sum(part.value for name, part in at16.parts["energy_j"].items() if name != "DRAM")
    rate = at16.costs["throughput_per_s"].value
    return {
        "mm2_28nm": at28.costs["area_mm2"].value,
        "mm2_16nm": at16.costs["area_mm2"].value,
        "resnet50_int8_fps_1GHz": rate,
        "avg_mW_16nm": on_chip * rate * 1e3,
    }
