"""Energy by level and area by block, each with the range of its coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...compiler.quantity import Quantity
from .architecture import Architecture, Systolic
from .network import LayerRun
from .scaling import scale_area, scale_energy
from .units import Coefficient

PICO = 1e-12


def energy_of(runs: Sequence[LayerRun], architecture: Architecture) -> dict[str, Quantity]:
    """Joules by level of the given layers, for one inference. Levels that are not stated are left out, never zero."""
    node, pe = architecture.technology.node.value, architecture.array.pe
    cycles = sum(run.cycles for run in runs)
    seconds = cycles / architecture.technology.clock.value
    macs = sum(run.layer.macs * (run.effect.mac_energy if run.effect else 1.0) for run in runs)
    levels: dict[str, tuple[Coefficient, float]] = {
        "mac": (pe.energy, macs),
        "registers": (pe.register_energy, sum(_gated(run, run.register_bytes) for run in runs)),
        "between elements": (pe.hop_energy, sum(run.hop_bytes for run in runs)),
        "clock": (pe.clock_energy, architecture.elements * cycles),
    }
    for buffer in architecture.buffers:
        moved = sum(_kept(run.buffer_bytes, buffer.keeps) for run in runs)
        levels[buffer.name] = (buffer.energy, moved)
    levels[architecture.dram.name] = (architecture.dram.energy, sum(run.dram_bytes for run in runs))
    if architecture.vector is not None:
        levels["vector"] = (architecture.vector.energy, sum(run.vector_ops for run in runs))
    found = {
        name: scale_energy(coefficient, node).quantity(amount, "J", PICO)
        for name, (coefficient, amount) in levels.items()
        if not coefficient.source.startswith("not stated")
    }
    return found | _leakage(architecture, seconds)


def _gated(run: LayerRun, amount: float) -> float:
    return amount * (run.effect.mac_energy if run.effect else 1.0)


def _kept(moved: tuple[float, float, float], keeps: Sequence[str]) -> float:
    return sum(amount for name, amount in zip(("inputs", "weights", "outputs"), moved, strict=True) if name in keeps)


def _leakage(architecture: Architecture, seconds: float) -> dict[str, Quantity]:
    """Static power times time: a fixed part, and one that grows with area."""
    technology, found = architecture.technology, []
    if not technology.leakage.source.startswith("not stated"):
        found.append(technology.leakage.quantity(seconds, "J"))
    if not technology.leakage_density.source.startswith("not stated"):
        size = total(area_of(architecture), "mm2", "")
        found.append(technology.leakage_density.quantity(seconds * size.value, "J"))
    if not found:
        return {}
    return {
        "leakage": total({str(i): each for i, each in enumerate(found)}, "J", "; ".join(each.source for each in found))
    }


def area_of(architecture: Architecture) -> dict[str, Quantity]:
    """mm2 by block."""
    node, technology = architecture.technology.node.value, architecture.technology
    blocks: dict[str, tuple[Coefficient, float]] = {"array": (element_area(architecture), architecture.elements)}
    for buffer in architecture.buffers:
        blocks[buffer.name] = (buffer.area, buffer.size.value / 1024)
        blocks[f"{buffer.name} periphery"] = (buffer.fixed_area, 1.0)
    array = architecture.array
    if isinstance(array, Systolic) and array.accumulators is not None and architecture.buffers:
        blocks["accumulators"] = (architecture.buffers[0].area, array.accumulators.value / 1024)
    if architecture.vector is not None:
        blocks["vector"] = (architecture.vector.area, architecture.vector.lanes)
    blocks["fixed"] = (technology.fixed_area, 1.0)
    return {
        name: scale_area(coefficient, node).quantity(amount, "mm2")
        for name, (coefficient, amount) in blocks.items()
        if not coefficient.source.startswith("not stated")
    }


# um2 at 130 nm of a weight-stationary element, by tests/bench/asic/pe_area.py: per row of the multiplier and bit of the
# accumulator, and per operand bit; placed cells fill about 70 % of a block.
_ROW_BIT_UM2, _OPERAND_BIT_UM2, _FILL = 18.99, 89.61, 0.7


def element_area(architecture: Architecture) -> Coefficient:
    """mm2 of one element: as stated, or from its bit widths where the architecture asks for that."""
    pe = architecture.array.pe
    if not pe.area_from_bits or not pe.area.source.startswith("not stated"):
        return pe.area
    rows = min(pe.weight_bits, pe.input_bits) * pe.accumulator_bits
    cells = (rows * _ROW_BIT_UM2 + (pe.weight_bits + pe.input_bits) * _OPERAND_BIT_UM2) * 1e-6 / _FILL
    source = "yosys on sky130 cells at 130 nm, fitted over widths (tests/bench/asic/pe_area.py), cells fill 70 %"
    return Coefficient(cells, cells * 0.85, cells * 1.15, "mm2", source, 130.0, "low")


def total(parts: Mapping[str, Quantity], unit: str, source: str) -> Quantity:
    """The sum; the ends of the range add up, since coefficients of one kind err together."""
    values = list(parts.values())
    return Quantity(
        sum(q.value for q in values), sum(q.low for q in values), sum(q.high for q in values), unit, "modelled", source
    )
