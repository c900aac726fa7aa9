"""From a workload to cycles, energy and area of a systolic accelerator with one on-chip buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from ...compiler.model.workload import Layer, Workload
from ...compiler.quantity import Estimate, LayerCost, Quantity
from ...compiler.target import Device
from .money import good_die_usd
from .systolic import Dataflow, Product, Run, best, simulate

SOURCE = "systolic closed forms and bandwidth limits of this model"
PRODUCTS = ("conv", "depthwise", "gemm", "matmul")


@dataclass(frozen=True)
class Chip:
    """The device file as numbers with units in their names; energies keep their ranges."""

    rows: int
    columns: int
    dataflow: str
    vector_lanes: int
    sram_bytes: float
    clock_hz: float
    dram_bytes_per_cycle: float
    sram_bytes_per_cycle: float
    constants: Mapping[str, Quantity]

    @classmethod
    def of(cls, device: Device) -> Chip:
        data = device.data
        clock = data["clock_hz"].value
        return cls(
            rows=int(data["rows"]),
            columns=int(data["columns"]),
            dataflow=str(data["dataflow"]),
            vector_lanes=int(data["vector_lanes"]),
            sram_bytes=device.resources["sram_bytes"].value,
            clock_hz=clock,
            dram_bytes_per_cycle=data["dram_bytes_per_s"].value / clock,
            sram_bytes_per_cycle=data["sram_bytes_per_cycle"].value,
            constants={key: value for key, value in data.items() if isinstance(value, Quantity)},
        )


@dataclass(frozen=True)
class LayerRun:
    """One layer on the chip: who decides its time, and what moves."""

    layer: Layer
    cycles: int
    compute_cycles: int
    dram_bytes: float
    sram_bytes: float
    vector_ops: int
    bound: str  # compute | dram | sram
    run: Run | None


def product_of(layer: Layer) -> Product:
    """The layer as a matrix product (im2col); grouped layers are one product per group."""
    k = layer.in_channels // layer.group * layer.kernel[0] * layer.kernel[1]
    n = layer.out_channels // layer.group
    return Product(max(layer.macs // max(k * n * layer.group, 1), 1), max(k, 1), max(n, 1), layer.group)


def run_layer(layer: Layer, chip: Chip, input_on_chip: bool, output_on_chip: bool) -> LayerRun:
    """Time and traffic of one layer: the slowest of array, buffer port and DRAM, which work at the same time."""
    dram = float(layer.weight_bytes)
    dram += 0.0 if input_on_chip else layer.input_bytes
    dram += 0.0 if output_on_chip else layer.output_bytes
    run = None
    if layer.op in PRODUCTS:
        product = product_of(layer)
        if chip.dataflow == "best":
            run = best(product, chip.rows, chip.columns)
        else:
            run = simulate(product, chip.rows, chip.columns, cast("Dataflow", chip.dataflow))
        compute = run.cycles
        partial = 4.0  # partial sums are 32 bit
        last = layer.output_bits / 8 if run.output_writes == layer.output_elements else partial
        sram = (
            run.input_reads * layer.input_bits / 8 + run.weight_reads * layer.weight_bits / 8 + run.output_writes * last
        )
    else:
        compute = -(-max(layer.ops, layer.output_elements) // chip.vector_lanes)
        sram = float(layer.input_bytes + layer.output_bytes)
    times = {
        "compute": compute,
        "sram": sram / chip.sram_bytes_per_cycle,
        "dram": dram / chip.dram_bytes_per_cycle,
    }
    bound = max(times, key=lambda key: times[key])
    return LayerRun(layer, int(-(-times[bound] // 1)), compute, dram, sram, layer.ops, bound, run)


def run_network(work: Workload, chip: Chip) -> Iterator[LayerRun]:
    """All layers in order. An activation stays on chip when it and its neighbour fit into half of the buffer
    (the other half double-buffers weights); the network's input and output cross DRAM."""
    half = chip.sram_bytes / 2
    on_chip = False
    for index, layer in enumerate(work.layers):
        fits = layer.input_bytes + layer.output_bytes <= half and index + 1 < len(work.layers)
        yield run_layer(layer, chip, on_chip, fits)
        on_chip = fits


def energy(macs: float, sram: float, dram: float, ops: float, seconds: float, chip: Chip) -> dict[str, Quantity]:
    """Energy by level in joules, each with the range of its coefficient."""
    amounts = {
        "mac_energy_j": macs,
        "sram_energy_j_per_byte": sram,
        "dram_energy_j_per_byte": dram,
        "vector_energy_j": ops,
        "leakage_w": seconds,
    }
    parts = {}
    for key, amount in amounts.items():
        c = chip.constants[key]
        parts[key] = Quantity(c.value * amount, c.low * amount, c.high * amount, "J", "modelled", c.source)
    return parts


def total(parts: Mapping[str, Quantity], unit: str, source: str) -> Quantity:
    """The sum; the ends of the range add up, since coefficients of one kind err together."""
    values = list(parts.values())
    return Quantity(
        sum(q.value for q in values), sum(q.low for q in values), sum(q.high for q in values), unit, "modelled", source
    )


def area(chip: Chip) -> Quantity:
    """Area in mm2: linear in processing elements and buffer size."""
    sizes = {
        "area_mm2_per_mac": chip.rows * chip.columns,
        "area_mm2_per_kib": chip.sram_bytes / 1024,
        "area_mm2_fixed": 1,
    }
    parts = {
        key: Quantity(c.value * n, c.low * n, c.high * n, "mm2", "modelled", c.source)
        for key, n in sizes.items()
        if (c := chip.constants[key])
    }
    return total(parts, "mm2", chip.constants["area_mm2_per_mac"].source)


def estimate(work: Workload, device: Device) -> Estimate:
    """Latency, energy by level, traffic, area and cost of a good die, for one inference."""
    chip = Chip.of(device)
    runs = list(run_network(work, chip))
    layers, cycles = [], 0
    for each in runs:
        seconds = each.cycles / chip.clock_hz
        parts = energy(each.layer.macs, each.sram_bytes, each.dram_bytes, each.vector_ops, seconds, chip)
        costs = {
            "latency_cycles": Quantity.within(each.cycles, 0.0, "cycles", "modelled", SOURCE),
            "energy_j": total(parts, "J", SOURCE),
            "dram_bytes": Quantity.exact(each.dram_bytes, "B", "modelled", SOURCE),
        }
        layers.append(LayerCost(each.layer.name, costs, (f"bound by {each.bound}",)))
        cycles += each.cycles
    ideal = sum(each.compute_cycles for each in runs)
    silicon = area(chip)
    latency_range = (ideal / chip.clock_hz, cycles * 1.5 / chip.clock_hz)
    parts = energy(
        work.macs,
        sum(each.sram_bytes for each in runs),
        sum(each.dram_bytes for each in runs),
        sum(each.vector_ops for each in runs),
        cycles / chip.clock_hz,
        chip,
    )
    constants = chip.constants
    bounds = "low: no bandwidth stalls; high: 1.5 times, the spread of rooflines on NVDLA's published frame rates"
    return Estimate(
        costs={
            "latency_cycles": Quantity(cycles, ideal, cycles * 1.5, "cycles", "modelled", f"{SOURCE}; {bounds}"),
            "latency_s": Quantity(cycles / chip.clock_hz, *latency_range, "s", "modelled", f"{SOURCE}; {bounds}"),
            "energy_j": total(
                parts, "J", "sum of MACs, SRAM, DRAM, vector operations and leakage; see the device file"
            ),
            "dram_bytes": Quantity.exact(sum(each.dram_bytes for each in runs), "B", "modelled", SOURCE),
            "area_mm2": silicon,
            "usd": good_die_usd(
                silicon, constants["wafer_usd"], constants["wafer_diameter_mm"], constants["defects_per_cm2"]
            ),
        },
        layers=tuple(layers),
        combine={
            "latency_cycles": "sum",
            "energy_j": "sum",
            "dram_bytes": "sum",
            "area_mm2": "opaque",
            "usd": "opaque",
        },
        notes=tuple(_notes(work, runs)),
    )


def _notes(work: Workload, runs: list[LayerRun]) -> Iterator[str]:
    zeros = sum(layer.zero_fraction * layer.weights for layer in work.layers) / max(work.weights, 1)
    if zeros > 0.05:
        yield (
            f"{zeros:.0%} of the weights are zero. This dense array skips none of them: single zeros save neither time"
            " nor area here; removing whole channels does."
        )
    slow = [each for each in runs if each.layer.op == "depthwise"]
    if slow:
        share = sum(each.cycles for each in slow) / max(sum(each.cycles for each in runs), 1)
        yield f"Depthwise layers fill one column of the array and take {share:.0%} of the cycles."
