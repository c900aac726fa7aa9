"""ZigZag's hardware YAML (and its mapping YAML for the spatial unrolling), read as an architecture.

ZigZag lists memories innermost first, with sizes and bandwidths in bits and energies per access of the widest port.
Taken over: the DRAM, the outermost on-chip memory of each operand, registers inside the array, the array's sizes and
unrolling, and the energy of an operation. What this model has no place for is said in the notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..architecture_file import ArchitectureError

_OPERANDS = {"I1": "inputs", "I2": "weights", "O": "outputs"}
_SOURCE = "ZigZag hardware file"


def is_zigzag(data: Any) -> bool:
    """Whether YAML content looks like a ZigZag hardware file."""
    return isinstance(data, Mapping) and {"memories", "operational_array"} <= data.keys()


def architecture_data(
    data: Mapping[str, Any], where: str, mapping: Any = None, clock: str = "1 GHz"
) -> tuple[dict[str, Any], list[str]]:
    """The data of an architecture file, and notes on what was left out or assumed. Raises ArchitectureError."""
    try:
        return _convert(data, mapping, clock)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ArchitectureError(
            "The ZigZag hardware file cannot be read.",
            code="zigzag-hardware",
            where=where,
            why=f"{type(error).__name__}: {error}",
            hint="It needs `memories` with size, ports and operands, and `operational_array` with sizes.",
        ) from error


def _convert(data: Mapping[str, Any], mapping: Any, clock: str) -> tuple[dict[str, Any], list[str]]:
    notes = [f"ZigZag has no clock: {clock} is assumed."]
    memories = [{"name": name, **memory} for name, memory in data["memories"].items()]
    dram = max(memories, key=lambda memory: int(memory["size"]))
    chip = [memory for memory in memories if memory is not dram]
    registers = [memory for memory in chip if not memory.get("served_dimensions")]
    buffers, taken = [], set()
    for memory in reversed([memory for memory in chip if memory not in registers]):
        keeps = [_OPERANDS[each] for each in memory["operands"] if _OPERANDS[each] not in taken]
        if not keeps:
            notes.append(f"The inner level '{memory['name']}' is left out: one on-chip level per operand is modelled.")
            continue
        taken |= set(keeps)
        buffers.append(
            {
                "class": "sram",
                "name": str(memory["name"]),
                "size": f"{int(memory['size']) / 8:.15g} B",
                "keeps": keeps,
                "bandwidth": f"{_bandwidth(memory) / 8:.15g} B/cycle",
                "energy": _energy(memory),
            }
        )
    array = data["operational_array"]
    pe: dict[str, Any] = {"accumulator_bits": 16}
    for memory in registers:
        operand = _OPERANDS[memory["operands"][0]]
        pe[{"inputs": "input_registers", "weights": "weight_registers", "outputs": "output_registers"}[operand]] = (
            f"{int(memory['size']) / 8:.15g} B"
        )
    energies = [_energy(memory) for memory in registers]
    if energies:
        pe["register_energy"] = energies[0]
    if "unit_energy" in array:
        pe["energy"] = {"value": f"{float(array['unit_energy']):g} pJ", "source": _SOURCE}
    return {
        "architecture": {
            "version": 1,
            "name": "".join(c if c.isalnum() else "-" for c in str(data.get("name", "zigzag")).lower()).strip("-"),
            "title": f"{data.get('name', 'architecture')} of ZigZag",
            "host_vector": True,
            "on_chip_activations": False,
            "technology": {"node": "28 nm", "clock": {"value": clock, "source": "assumption of the importer"}},
            "nodes": [
                {
                    "class": "dram",
                    "name": str(dram["name"]),
                    "bandwidth": f"{_bandwidth(dram, shared=True) / 8:.15g} B/cycle",
                    "energy": _energy(dram),
                },
                *buffers,
                {"class": "spatial", "unroll": _unrolling(array, mapping, notes), "pe": pe},
            ],
        }
    }, notes


def _bandwidth(memory: Mapping[str, Any], shared: bool = False) -> int:
    """Bits per cycle over all ports; a read-write port counts once."""
    ports = memory["ports"]
    widths = [int(port["bandwidth_max"]) for port in ports]
    return max(widths) if shared else sum(widths)


def _energy(memory: Mapping[str, Any]) -> dict[str, str]:
    """pJ per byte: read and write costs are per access of the widest port; their mean, with both as the range."""
    per_byte = max(int(port["bandwidth_max"]) for port in memory["ports"]) / 8
    costs = sorted(float(memory[key]) / per_byte for key in ("r_cost", "w_cost"))
    return {
        "value": f"{sum(costs) / 2:.8g} pJ/B",
        "low": f"{costs[0]:.8g} pJ/B",
        "high": f"{costs[1]:.8g} pJ/B",
        "source": _SOURCE,
    }


def _unrolling(array: Mapping[str, Any], mapping: Any, notes: list[str]) -> dict[str, int]:
    """Loop dimensions on the array; the mapping file's first entry, or K and C."""
    names = {"K": "K", "C": "C", "OY": "P", "OX": "Q", "FY": "R", "FX": "S", "G": "G"}
    sizes = dict(zip(map(str, array["dimensions"]), map(int, array["sizes"]), strict=True))
    unroll: dict[str, int] = {}
    if mapping:
        for dimension, loops in mapping[0]["spatial_mapping"].items():
            for loop in loops:
                name, factor = (loop.split(",") if isinstance(loop, str) else loop)[:2]
                factor = int(factor)
                if factor > sizes[dimension]:
                    raise ValueError(f"{name.strip()} is unrolled {factor} times over {sizes[dimension]} elements")
                unroll[names[name.strip()]] = unroll.get(names[name.strip()], 1) * factor
        return unroll
    notes.append("No mapping file: the first array dimension takes K, the second C.")
    for key, size in zip(("K", "C"), sizes.values(), strict=False):
        unroll[key] = size
    return unroll
