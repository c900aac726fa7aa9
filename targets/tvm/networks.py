"""The integer regions of a graph as data to link: one packed network each, and the table that the adapter reads.

A trace runs the same packed networks with more outputs, so weights are stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...compiler.integer import graph as ir
from ..native import number, split, traced

TABLE = "regions.cc"

_DATA = """\
__asm__(
    ".section .rodata\\n.balign 64\\n"
    ".globl prunus_region{index}\\n.hidden prunus_region{index}\\nprunus_region{index}:\\n"
    ".incbin \\"region{index}.bin\\"\\n"
    ".globl prunus_region{index}_end\\n.hidden prunus_region{index}_end\\nprunus_region{index}_end:\\n"
    ".byte 0\\n.text\\n");
extern "C" __attribute__((visibility("hidden"))) const unsigned char prunus_region{index}[], prunus_region{index}_end[];
static const std::int32_t traced{index}[] = {{{traced}}};
"""
_ROW = "    {{prunus_region{index}, prunus_region{index}_end, traced{index}, {count}}},\n"


@dataclass(frozen=True)
class PackedRegion:
    """`traced`: numbers of the tensors that a trace shows after the region's outputs."""

    packed: bytes
    traced: tuple[int, ...]


def packed_regions(graph: ir.Graph) -> tuple[PackedRegion, ...]:
    """In the order of `native.split`. Raises UnsupportedError for operators without a kernel."""
    found = []
    for region in (part for part in split(graph) if isinstance(part, ir.Graph)):
        network, numbers = number(region)
        more = traced(region)[len(region.outputs) :]
        found.append(PackedRegion(bytes(network.save()), tuple(numbers[name] for name in more)))
    return tuple(found)


def region_numbers(graph: ir.Graph) -> Mapping[str, int]:
    """Name of a region -> its row in the table."""
    names = [part.name for part in split(graph) if isinstance(part, ir.Graph)]
    return {name: index for index, name in enumerate(names)}


def write_table(regions: tuple[PackedRegion, ...], folder: Path) -> None:
    """Writes `regions.cc` and the files that it includes."""
    text = '#include "regions.h"\n\n'
    rows = ""
    for index, region in enumerate(regions):
        (folder / f"region{index}.bin").write_bytes(region.packed)
        text += _DATA.format(index=index, traced=", ".join(map(str, region.traced)) or "0")
        rows += _ROW.format(index=index, count=len(region.traced))
    text += f"\nnamespace prunus::tvm {{\nconst Region regions[] = {{\n{rows}}};\n"
    text += f"const std::int32_t region_count = {len(regions)};\n}}  // namespace prunus::tvm\n"
    (folder / TABLE).write_text(text)
