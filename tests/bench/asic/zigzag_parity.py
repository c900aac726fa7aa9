"""ZigZag's `tpu_like`, imported, on the layers of the reference file: MACs, DRAM accesses and latency side by side.

python tests/bench/asic/zigzag_parity.py [TPU_LIKE.yaml [MAPPING.yaml]]

ZigZag loads all inputs into the 2 MB SRAM before the array starts, so each layer is evaluated with that mapping (the
whole input as one tile, output channels in tiles of the array's width); beside it stands our own best mapping, which
hides the load behind computing. Exit status 1 when counts differ or a latency is off by more than 5 %.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from reference import figures

from prunus.targets.asic.architecture_file import parse_architecture, read_yaml
from prunus.targets.asic.exchange.zigzag import architecture_data
from prunus.targets.asic.problem import Problem
from prunus.targets.asic.search import ORDERS, Residency, Searcher
from prunus.targets.asic.tiles import Tiles

# The fields of ZigZag 3.9.1's inputs/hardware/tpu_like.yaml that matter here, for machines without ZigZag.
TPU_LIKE: dict[str, Any] = {
    "name": "tpu_like",
    "memories": {
        "rf_128B": {"size": 1024, "r_cost": 0.095, "w_cost": 0.095, "operands": ["I2"],
                    "ports": [{"bandwidth_max": 8}, {"bandwidth_max": 8}], "served_dimensions": []},
        "rf_2B": {"size": 16, "r_cost": 0.021, "w_cost": 0.021, "operands": ["O"],
                  "ports": [{"bandwidth_max": 16}] * 4, "served_dimensions": []},
        "sram_2MB": {"size": 16777216, "r_cost": 416.16, "w_cost": 378.4, "operands": ["I1", "O"],
                     "ports": [{"bandwidth_max": 2048}, {"bandwidth_max": 2048}], "served_dimensions": ["D1", "D2"]},
        "dram": {"size": 10000000000, "r_cost": 700, "w_cost": 750, "operands": ["I1", "I2", "O"],
                 "ports": [{"bandwidth_max": 64}], "served_dimensions": ["D1", "D2"]},
    },
    "operational_array": {"unit_energy": 0.04, "dimensions": ["D1", "D2"], "sizes": [32, 32]},
}  # fmt: skip
# Energy at DRAM in pJ where the reference file has no breakdown, from runs of ZigZag 3.9.1 with its own inputs.
DRAM_PJ = {
    "rn50_conv1": {"I": 13171200.0, "W": 823200.0, "O": 75264000.0},
    "rn50_res2a_1x1a": {"I": 17561600.0, "W": 358400.0, "O": 18816000.0},
    "rn50_res2a_3x3": {"I": 17561600.0, "W": 3225600.0, "O": 18816000.0},
    "rn50_res2a_1x1c": {"I": 17561600.0, "W": 1433600.0, "O": 75264000.0},
}
DRAM_READ_PJ, DRAM_WRITE_PJ, ACCESS_BYTES = 700.0, 750.0, 8
MAC_PJ = 0.04


def problem(row: list[Any]) -> Problem:
    _, h, w, c, k, r, s, stride, pad = row
    p, q = (h + 2 * pad - r) // stride + 1, (w + 2 * pad - s) // stride + 1
    return Problem(1, k, c, p, q, r, s, h, w, stride, stride)


def main() -> int:
    files = [read_yaml(Path(name).read_text(encoding="utf-8"), name, unique_keys=False) for name in sys.argv[1:3]]
    data, notes = architecture_data(files[0] if files else TPU_LIKE, "tpu_like", files[1] if len(files) > 1 else None)
    chip = parse_architecture(data, "tpu_like")
    layers = {row[0]: problem(row) for row in figures()["layers"]}
    start = time.perf_counter()
    best = Searcher(Tiles.of(list(layers.values())), chip).search()
    seconds = time.perf_counter() - start
    bad = 0
    print(f"{'layer':18}{'MAC':>12}{'DRAM in, w, out (B)':>30}{'same':>10}{'ZigZag':>10}{'off':>7}{'ours':>10}")
    for (name, each), found in zip(layers.items(), best, strict=True):
        theirs = next(entry for entry in figures()["zigzag"]["entries"] if entry["layer"] == name)
        tiles = Tiles.single(each, each.p, each.q, each.c, min(each.k, 32))
        searcher = Searcher(tiles, chip)
        runs = [searcher.evaluate(Residency(), order) for order in ORDERS]
        run = min(runs, key=lambda each: (each.cycles[0], each.dram_cycles[0]))
        moved = [float(operand[0]) for operand in run.dram_bytes]
        off = run.cycles[0] / theirs["latency_total2"] - 1
        lines = [_macs_agree(each, theirs), _dram_agrees(moved, theirs), abs(off) <= 0.05]
        bad += not all(lines)
        assert found is not None
        print(
            f"{name:18}{each.macs:12}{'{:.0f} {:.0f} {:.0f}'.format(*moved):>30}{run.cycles[0]:10.0f}"
            f"{theirs['latency_total2']:10.0f}{off:+7.1%}{found.best.cycles:10.0f}"
            f"  {'' if lines[0] else 'MACs differ '}{_dram_words(moved, theirs)}{'' if lines[2] else ' LATENCY'}"
        )
        print(f"{'':18}{_why(each, theirs, float(run.cycles[0]), found.best.cycles)}")
    print("Notes of the import:", *notes)
    theirs_s = sum(entry["wall_s"] for entry in figures()["zigzag"]["entries"])
    print(f"Search of these 8 layers: {seconds:.3f} s; ZigZag's record {theirs_s:.0f} s ({theirs_s / seconds:.0f}x)")
    return 1 if bad else 0


def _macs_agree(each: Problem, theirs: dict[str, Any]) -> bool:
    return abs(theirs["mac_energy"] / MAC_PJ - each.macs) < 1


def _their_dram(theirs: dict[str, Any]) -> list[float]:
    """Bytes of inputs, weights and outputs from the energies of the outermost level."""
    split = theirs.get("mem_energy_breakdown")
    spent = {key: split[key][-1] for key in "IWO"} if split else DRAM_PJ[theirs["layer"]]
    prices = {"I": DRAM_READ_PJ, "W": DRAM_READ_PJ, "O": DRAM_WRITE_PJ}
    return [spent[operand] / prices[operand] * ACCESS_BYTES for operand in ("I", "W", "O")]


def _dram_agrees(moved: list[float], theirs: dict[str, Any]) -> bool:
    return all(abs(a - b) <= ACCESS_BYTES for a, b in zip(moved, _their_dram(theirs), strict=True))


def _dram_words(moved: list[float], theirs: dict[str, Any]) -> str:
    return "DRAM equal" if _dram_agrees(moved, theirs) else f"DRAM DIFFERS: {_their_dram(theirs)}"


def _why(each: Problem, theirs: dict[str, Any], cycles: float, best: float) -> str:
    gained = cycles - best
    return (
        f"ZigZag: {theirs['ideal_temporal_cycle']:.0f} ideal + {theirs['stall_slack_comb']:.0f} stalls +"
        f" {theirs['data_onloading_cycle']:.0f} before + {theirs['data_offloading_cycle']:.0f} after;"
        f" our best mapping hides {gained:.0f} cycles of loading"
    )


if __name__ == "__main__":
    sys.exit(main())
