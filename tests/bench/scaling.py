"""What a second thread gains: whole networks as plans, on one and on two threads of a process that runs nothing else.

    python tests/bench/scaling.py [--threads 2] [--rounds 21]

`models.py` compares engines in one process, where threads of others still wait actively for work; this has none.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from harness.intervals import speedup
from networks import NETWORKS, compress

from prunus.targets.native import NativeModel

CALLS = 10  # of a round; the shortest counts


def shortest(model: NativeModel, feeds: dict) -> float:
    """Seconds of the shortest of some calls."""
    found = []
    for _ in range(CALLS):
        start = time.perf_counter()
        model.run(feeds)
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    folder = Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    for density in (1.0, 0.25):
        net = compress(*NETWORKS["resnet50"](folder), density=density)
        feeds = {name: x[:1] for name, x in net.feeds.items()}
        one, several = (NativeModel(net.graph, threads=threads) for threads in (1, options.threads))
        times = [(shortest(one, feeds), shortest(several, feeds)) for _ in range(options.rounds)]
        alone, together = ([pair[side] for pair in times] for side in (0, 1))
        print(f"resnet50, density {density}: {options.threads} threads {speedup(alone, together)} times as fast as one")


if __name__ == "__main__":
    main()
