"""From a workload and an architecture to an `Estimate`: cycles, energy, area and money, each with its range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...compiler.model.workload import Workload
from ...compiler.quantity import Estimate, LayerCost, Quantity
from .architecture import Architecture
from .money import good_die_usd, unit_usd
from .network import LayerRun, run_network
from .search import Objective
from .silicon import area_of, energy_of, total

SOURCE = "mapping search over closed forms of this array, its buffer port and DRAM"
RANGE = "low: no mapping can be faster; high: array, buffer and DRAM never overlap, DRAM at its low end"
ENERGY = "sum over the levels that the architecture states"


def estimate(work: Workload, architecture: Architecture, objective: Objective = "latency") -> Estimate:
    """Latency, energy by level, traffic, area and cost of a good die, for one inference."""
    return summarise(work, architecture, run_network(work, architecture, objective))


def summarise(work: Workload, architecture: Architecture, runs: Sequence[LayerRun]) -> Estimate:
    """The estimate of a schedule."""
    costs, parts = totals(runs, architecture)
    return Estimate(
        costs=costs,
        layers=tuple(_layer(run, architecture) for run in runs),
        combine={key: "sum" if key in _ADDED else "opaque" for key in costs},
        notes=tuple(_notes(work, runs, architecture)),
        parts=parts,
    )


def totals(
    runs: Sequence[LayerRun], architecture: Architecture
) -> tuple[dict[str, Quantity], dict[str, dict[str, Quantity]]]:
    """The costs of a schedule, and how those that have parts split."""
    clock = architecture.technology.clock.value
    cycles = _cycles(runs, architecture)
    energy = energy_of(runs, architecture)
    joules = total(energy, "J", ENERGY)
    seconds = _scaled(cycles, 1 / clock, "s")
    costs = {
        "latency_cycles": cycles,
        "latency_s": seconds,
        "throughput_per_s": _rate(seconds),
        "dram_bytes": _exact(sum(run.dram_bytes for run in runs), "B"),
        "sram_bytes": _exact(sum(sum(run.buffer_bytes) for run in runs), "B"),
    }
    parts: dict[str, dict[str, Quantity]] = {}
    if energy:
        costs["energy_j"] = joules
        costs["power_w"] = _scaled(joules, 1 / max(seconds.value, 1e-30), "W")
        parts["energy_j"] = energy
    area = area_of(architecture)
    if area:
        costs["area_mm2"] = total(area, "mm2", "sum of the blocks that the architecture states")
        parts["area_mm2"] = area
        parts |= _money(costs, architecture)
    return costs, parts


_ADDED = frozenset({"latency_cycles", "latency_s", "energy_j", "dram_bytes", "sram_bytes"})


def _money(costs: dict[str, Quantity], architecture: Architecture) -> dict[str, dict[str, Quantity]]:
    """Adds what a die and a unit cost; returns the parts of a unit's cost."""
    how = architecture.manufacturing
    die = good_die_usd(costs["area_mm2"], how) if how is not None else None
    if how is None or die is None:
        return {}
    costs["usd"] = die
    unit = unit_usd(die, how)
    if not unit:
        return {}
    costs["usd_unit"] = total(unit, "USD", f"at {how.volume:,} units; package, test, NRE and masks as stated")
    return {"usd_unit": unit}


def _cycles(runs: Sequence[LayerRun], architecture: Architecture) -> Quantity:
    slower = 1.0  # what DRAM takes at its low end
    for each in (architecture.dram.bandwidth, architecture.dram.efficiency):
        slower *= each.value / each.low if each.low else 1.0
    high = 0.0
    for run in runs:
        cost = run.cost
        apart = cost.array_cycles + cost.dram_cycles * slower if cost else run.cycles * slower
        high += max(apart, run.cycles)
    value = sum(run.cycles for run in runs)
    low = min(sum(run.lower_bound_cycles for run in runs), value)
    return Quantity(value, low, high, "cycles", "modelled", f"{SOURCE}; {RANGE}")


def _scaled(quantity: Quantity, factor: float, unit: str) -> Quantity:
    q = quantity
    return Quantity(q.value * factor, q.low * factor, q.high * factor, unit, "modelled", q.source)


def _rate(seconds: Quantity) -> Quantity:
    low, value, high = (1 / max(each, 1e-30) for each in (seconds.high, seconds.value, seconds.low))
    return Quantity(value, low, high, "1/s", "modelled", SOURCE)


def _exact(value: float, unit: str) -> Quantity:
    return Quantity.exact(value, unit, "modelled", SOURCE)


def _layer(run: LayerRun, architecture: Architecture) -> LayerCost:
    costs = {
        "latency_cycles": Quantity(
            run.cycles, min(run.lower_bound_cycles, run.cycles), run.cycles, "cycles", "modelled", SOURCE
        ),
        "dram_bytes": _exact(run.dram_bytes, "B"),
    }
    energy = energy_of([run], architecture)
    if energy:
        costs["energy_j"] = total(energy, "J", ENERGY)
    return LayerCost(run.layer.name, costs, tuple(_layer_notes(run)))


def _layer_notes(run: LayerRun) -> Iterator[str]:
    yield f"bound by {run.bound}"
    if run.found is not None:
        m = run.found.best.mapping
        yield f"tile {m.tp}x{m.tq} positions, {m.tc} in, {m.tk} out; {m.innermost} innermost; {m.dataflow}"
        if run.found.next_best is not None:
            yield f"next best mapping: {run.found.next_best.cycles / max(run.cycles, 1):.3f} times the cycles"
    if run.fused:
        yield "fused with its neighbours, strip by strip"
    if run.residency.inputs or run.residency.outputs:
        which = [name for name, on in (("input", run.residency.inputs), ("output", run.residency.outputs)) if on]
        yield f"{' and '.join(which)} stay on the chip"
    if run.effect is not None and run.effect.unused:
        yield run.effect.unused


def _notes(work: Workload, runs: Sequence[LayerRun], architecture: Architecture) -> Iterator[str]:
    zeros = sum(layer.zero_fraction * layer.weights for layer in work.layers) / max(work.weights, 1)
    unused = [run for run in runs if run.effect is not None and run.effect.unused]
    if zeros > 0.05 and unused:
        gated = architecture.array.skipping.weights == "gate"
        yield (
            f"{zeros:.0%} of the weights are zero. This dense array skips none of them: single zeros save"
            f" {'energy but no time' if gated else 'neither time nor area'} here; removing whole channels does."
        )
    pe = architecture.array.pe
    wide = [run for run in runs if run.layer.macs and run.layer.input_bits > pe.input_bits]
    if wide:
        yield (
            f"{len(wide)} layers have inputs wider than the array's {pe.input_bits} bits. Their traffic is counted at"
            " their own width, their products as if they fitted: quantize the model first."
        )
    slow = [run for run in runs if run.layer.op == "depthwise"]
    if slow:
        share = sum(run.cycles for run in slow) / max(sum(run.cycles for run in runs), 1)
        yield f"Depthwise layers use little of the array and take {share:.0%} of the cycles."
    host = [run for run in runs if run.bound == "host"]
    if host:
        yield f"{len(host)} layers that are not products run on the host and are not counted."
    fused = sum(run.fused for run in runs)
    if fused:
        yield f"{fused} layers run fused in chains, strip by strip: what lies between them never leaves the chip."
    stay = sum(run.residency.outputs for run in runs)
    if stay:
        yield f"{stay} activations stay on the chip between layers."
