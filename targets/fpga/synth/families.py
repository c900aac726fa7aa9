"""FPGA families that the open tools know: how each is synthesised, placed, routed and packed. One table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """Commands of one family. `{…}` in arguments stand for what the device file gives (`size`, `package`, …).

    `cells` maps a resource to the cell types of yosys that count as one of it, with their weights; `router` and
    `packer` are None where nothing open places and routes the family.
    """

    synth: str
    cells: Mapping[str, Mapping[str, float]]
    router: str | None = None
    route: tuple[str, ...] = ()
    large_lut: int = 0  # from which size on `route_large` is passed, too
    route_large: tuple[str, ...] = ()
    utilization: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # nextpnr's names of a resource
    pins: tuple[str, ...] = ()  # nextpnr's names of cells that take a pin
    packer: str | None = None
    pack: tuple[str, ...] = ()
    routed: str = ""  # files in the build folder
    bitstream: str = ""


FAMILIES: Mapping[str, Family] = {
    "ecp5": Family(
        synth="synth_ecp5 -top {top} -json {netlist}",
        cells={
            "lut": {"LUT4": 1, "CCU2C": 2},
            "ff": {"TRELLIS_FF": 1},
            "dsp": {"MULT18X18D": 1},
            "bram": {"DP16KD": 1},
        },
        router="nextpnr-ecp5",
        route=(
            "--{size}",
            "--package",
            "{package}",
            "--speed",
            "{speed}",
            "--json",
            "{netlist}",
            "--lpf",
            "{constraints}",
            "--textcfg",
            "{routed}",
        ),
        # with the default (0.1) the placer ends 5 % longer in wire, and 20,000 LUTs of adders do not route in an hour
        large_lut=18_000,
        route_large=("--placer-heap-alpha", "0.3"),
        utilization={
            "lut": ("TRELLIS_COMB",),
            "ff": ("TRELLIS_FF",),
            "dsp": ("MULT18X18D",),
            "bram": ("DP16KD",),
        },
        pins=("TRELLIS_IO",),
        packer="ecppack",
        pack=("--compress", "{routed}", "{bitstream}"),
        routed="routed.config",
        bitstream="top.bit",
    ),
    "ice40": Family(
        synth="synth_ice40 -top {top} -json {netlist}",
        cells={"lut": {"SB_LUT4": 1}, "ff": {"SB_DFF*": 1}, "bram": {"SB_RAM40_4K": 1}},
        router="nextpnr-ice40",
        route=(
            "--{size}",
            "--package",
            "{package}",
            "--json",
            "{netlist}",
            "--pcf",
            "{constraints}",
            "--asc",
            "{routed}",
        ),
        utilization={"lut": ("ICESTORM_LC",), "bram": ("ICESTORM_RAM",), "dsp": ("ICESTORM_DSP",)},
        pins=("SB_IO",),
        packer="icepack",
        pack=("{routed}", "{bitstream}"),
        routed="routed.asc",
        bitstream="top.bin",
    ),
    "gowin": Family(
        synth="synth_gowin -top {top} -json {netlist}",
        cells={"lut": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1}, "ff": {"DFF*": 1}},
        router="nextpnr-himbaechel-gowin",
        route=(
            "--device",
            "{part}",
            "--vopt",
            "family={series}",
            "--vopt",
            "cst={constraints}",
            "--json",
            "{netlist}",
            "--write",
            "{routed}",
        ),
        utilization={"lut": ("LUT4",), "ff": ("DFF",), "bram": ("BSRAM",)},
        pins=("IBUF", "OBUF"),
        packer="gowin_pack",
        pack=("-d", "{series}", "-o", "{bitstream}", "{routed}"),
        routed="routed.json",
        bitstream="top.fs",
    ),
    "xc7": Family(
        synth="synth_xilinx -family xc7 -flatten -noiopad -top {top} -json {netlist}",
        cells={
            "lut": {f"LUT{n}": 1 for n in range(1, 7)},
            "ff": {"FD*": 1},
            "dsp": {"DSP48E1": 1},
            "bram": {"RAMB18E1": 1, "RAMB36E1": 2},
        },
    ),
    "xcup": Family(
        synth="synth_xilinx -family xcup -flatten -noiopad -top {top} -json {netlist}",
        cells={
            "lut": {f"LUT{n}": 1 for n in range(1, 7)},
            "ff": {"FD*": 1},
            "dsp": {"DSP48E2": 1},
            "bram": {"RAMB18E2": 1, "RAMB36E2": 2},
        },
    ),
}
