"""An architecture as a Timeloop v4 YAML file (`version: 0.4`, nodes as !Component and !Container).

Timeloop knows sizes in words and widths in bits; energies and areas come from its own estimators, so ours are written
as attributes with their unit in the name, for comparison only.
"""

from __future__ import annotations

from ..architecture import Architecture, Buffer, RowStationary, Spatial, Systolic

_KEEP = {"inputs": "Inputs", "weights": "Weights", "outputs": "Outputs"}


def write_timeloop(architecture: Architecture) -> str:
    """The file as text; deterministic."""
    pe, clock = architecture.array.pe, architecture.technology.clock.value
    bandwidth = architecture.per_cycle(architecture.dram.bandwidth)
    lines = [
        f"# {architecture.title or architecture.name}, exported by Prunus",
        "architecture:",
        "  version: 0.4",
        "  nodes:",
        "    - !Container",
        "      name: system",
        "      attributes:",
        f'        technology: "{architecture.technology.node.value:g}nm"',
        f"        global_cycle_seconds: {1 / clock:.6g}",
        "    - !Component",
        f"      name: {_name(architecture.dram.name)}",
        "      class: DRAM",
        "      attributes:",
        "        type: LPDDR4",
        f"        width: {max(round(bandwidth * 8), 1)}",
        f"        datawidth: {pe.input_bits}",
        f"        shared_bandwidth: {bandwidth * 8 / pe.input_bits:.6g}",
        f"        prunus_energy_pj_per_byte: {architecture.dram.energy.value:.6g}",
        "    - !Container",
        "      name: chip",
    ]
    for buffer in architecture.buffers:
        lines += _buffer(buffer, architecture)
    lines += _array(architecture)
    return "\n".join(lines) + "\n"


def _name(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)


def _buffer(buffer: Buffer, architecture: Architecture) -> list[str]:
    bits = architecture.array.pe.input_bits
    port = architecture.per_cycle(buffer.bandwidth)
    width = min(max(round(port * 8), bits), 4096) if port < float("inf") else 256
    keep = ", ".join(_KEEP[operand] for operand in buffer.keeps)
    bypass = ", ".join(name for operand, name in _KEEP.items() if operand not in buffer.keeps)
    lines = [
        "    - !Component",
        f"      name: {_name(buffer.name)}",
        "      class: SRAM",
        "      attributes:",
        f"        depth: {max(round(buffer.size.value * 8 / width), 1)}",
        f"        width: {width}",
        f"        datawidth: {bits}",
        f"        prunus_energy_pj_per_byte: {buffer.energy.value:.6g}",
        "      constraints:",
        f"        dataspace: {{keep: [{keep}], bypass: [{bypass}]}}",
    ]
    if port < float("inf"):
        lines.insert(-3, f"        shared_bandwidth: {port * 8 / bits:.6g}")
    return lines


def _array(architecture: Architecture) -> list[str]:
    array, pe = architecture.array, architecture.array.pe
    if isinstance(array, Spatial):
        rows, columns = 1, architecture.elements
        if set(array.unroll) >= {"K", "C"}:
            rows, columns = array.unroll["C"], architecture.elements // array.unroll["C"]
    else:
        rows, columns = array.rows, array.columns
    lines = ["    - !Container", "      name: PE", f"      spatial: {{meshX: {columns}, meshY: {rows}}}"]
    if isinstance(array, Systolic) and array.dataflow != "best":
        stationary = {"ws": "Weights", "os": "Outputs", "is": "Inputs"}[array.dataflow]
        bypass = ", ".join(name for name in _KEEP.values() if name != stationary)
        lines += _registers("registers", 1, pe.weight_bits, f"{{keep: [{stationary}], bypass: [{bypass}]}}")
    elif isinstance(array, RowStationary):
        for name, words, keep in (
            ("filter_spad", array.filter_words, "Weights"),
            ("input_spad", array.input_words, "Inputs"),
            ("output_spad", array.output_words, "Outputs"),
        ):
            bypass = ", ".join(each for each in _KEEP.values() if each != keep)
            lines += _registers(name, words, pe.input_bits, f"{{keep: [{keep}], bypass: [{bypass}]}}")
    return [
        *lines,
        "    - !Component",
        "      name: mac",
        "      class: intmac",
        "      attributes:",
        f"        multiplier_width: {max(pe.weight_bits, pe.input_bits)}",
        f"        adder_width: {pe.accumulator_bits}",
        f"        prunus_energy_pj: {pe.energy.value:.6g}",
    ]


def _registers(name: str, depth: int, bits: int, keep: str) -> list[str]:
    return [
        "    - !Component",
        f"      name: {name}",
        "      class: regfile",
        f"      attributes: {{depth: {depth}, width: {bits}, datawidth: {bits}}}",
        "      constraints:",
        f"        dataspace: {keep}",
    ]
