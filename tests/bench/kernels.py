"""Int8 layers beside other engines: one process, one thread, interleaved rounds.

    python tests/bench/kernels.py [--set resnet50 --set bert] [--layer "r3 3x3"] [--rounds 11] [--out result.json]

Every engine keeps its activations in its own best layout, as between two layers of a network, and every result is
compared with the reference before it is timed. Peers run dense weights: zeros give them nothing. Printed are medians
over the rounds, the share of the machine's measured limit, and how many times faster Prunus is, with the 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from harness.claims import CLAIMS, geometric_means, limit_verdicts, verdict
from harness.contest import Contest, LayerTimes, Variant
from harness.limit import Limit, NoLimit
from harness.machine import machine, pin
from harness.report import result_json, table
from harness.shapes import DENSITIES, SETS, Layer
from peers import ENGINES, PEERS, Missing

BLOCKS = ("16x4", "32x4", "4x4", "32x64")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", choices=sorted(SETS), help="default: all of them")
    parser.add_argument("--layer", action="append", help="only layers of this name")
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="default: all that are installed")
    parser.add_argument("--density", action="append", type=float, help=f"of our weights; default: {DENSITIES}")
    parser.add_argument("--block", action="append", choices=BLOCKS, help="default: 16x4 and 32x4")
    parser.add_argument("--alone", action="store_true", help="NCHW on both sides, conversions of layout included")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, help="a JSON file for everything that was measured")
    return parser.parse_args(words)


def variants(densities: Sequence[float], blocks: Sequence[str]) -> list[Variant]:
    """Dense once, and every lower density with every block."""
    shapes = [tuple(map(int, block.split("x"))) for block in blocks]
    sparse = [Variant(d, (rows, columns)) for d in densities if d < 1 for rows, columns in shapes]
    return [Variant()] * (1 in densities) + sparse


def engines(names: Sequence[str]) -> dict[str, ModuleType]:
    """Those that are here; says of the others what they lack."""
    found = {}
    for name in names:
        try:
            ENGINES[name].version()
        except Missing as reason:
            print(f"skipped: {name}: {reason}")
        else:
            found[name] = ENGINES[name]
    return found


def chosen(sets: Sequence[str] | None, names: Sequence[str] | None) -> list[tuple[str, Layer]]:
    """(set, layer); a name that no layer of the sets has ends the program."""
    found = [
        (set_name, layer)
        for set_name in sets or SETS
        for layer in SETS[set_name]
        if names is None or layer.name in names
    ]
    if unknown := set(names or ()) - {layer.name for _, layer in found}:
        sys.exit(f"no layer is called {', '.join(sorted(unknown))}")
    return found


def main() -> int:
    options = parse()
    here = machine(pin())
    print("\n".join(here.lines()))
    try:
        limit: Limit | None = Limit()
    except NoLimit as reason:
        limit = None
        print(f"skipped: shares of the limit: {reason}")
    contest = Contest(
        engines(options.engine or list(ENGINES)),
        variants(options.density or DENSITIES, options.block or BLOCKS[:2]),
        options.rounds,
        options.alone,
    )
    results: list[LayerTimes] = []
    for set_name, layer in chosen(options.set, options.layer):
        results.append(contest.run(set_name, layer))
        print("\n".join(table(results[-1], limit, header=len(results) == 1)), flush=True)
    print("\n".join(["-- geometric means", *geometric_means(results, contest.variants, list(PEERS)), "-- claims"]))
    for claim in CLAIMS:
        print(verdict(claim, results, here.instruction_sets))
    if limit:
        print("\n".join(limit_verdicts(results, limit, "avx512vnni")))
    if options.out:
        options.out.write_text(json.dumps(result_json(here, limit, results), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
