"""Whole networks beside other engines: int8, dense and pruned in blocks.

    python tests/bench/models.py [--network resnet50] [--threads 2] [--rounds 11] [--out result.json]

Prunus runs every density, through its Python plan and as operators inside of onnxruntime; the other engines run the
dense network, since zeros give them nothing (--pruned-peers runs them on the pruned ones, too). All take the same
sample in one process, in interleaved rounds; outputs are compared before anything is timed. With two threads Prunus
runs on one as well, so that the gain can be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from harness.intervals import Ratio, speedup, summary
from harness.machine import machine, pin
from harness.rounds import CLOCKS, clocked, interleave
from networks import NETWORKS, Compressed, compress
from peers import Missing
from peers.whole import Whole, onnxruntime_network, openvino_network, prunus_in_onnxruntime, prunus_network

from prunus.compiler.executor import run_model
from prunus.compiler.integer import ops

OURS = "prunus"  # the names of our contestants begin with it
DENSITIES = (1.0, 0.25, 0.1)
EXACT = 1e-5  # of ours: islands (a terminal Softmax) are computed in floating point
MIN_SQNR_DB = 15.0  # of an int8 peer against our reference: each engine rounds in its own way


@dataclass(frozen=True, eq=False)
class Contestant:
    """One engine on one network: `prepare(threads)`, and the outputs that it must come near to."""

    name: str
    density: float
    prepare: Callable[[int], Whole]
    expected: Sequence[np.ndarray]
    exact: bool = False

    def check(self, whole: Whole) -> str:
        """Why the outputs are wrong, or nothing."""
        found = whole.call()
        if self.exact:
            error = max(float(np.abs(a - b).max()) for a, b in zip(found, self.expected, strict=True))
            return f"differs from the reference by {error:.3g}" if error > EXACT else ""
        worst = min(_sqnr_db(a, b) for a, b in zip(found, self.expected, strict=True))
        return f"{worst:.1f} dB from the reference" if worst < MIN_SQNR_DB else ""


def _sqnr_db(found: np.ndarray, expected: np.ndarray) -> float:
    noise = float(((found.astype(np.float64) - expected) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10((expected.astype(np.float64) ** 2).sum() / noise))


def contestants(net: Compressed, density: float, peers: bool, timed: int) -> Iterator[Contestant]:
    """Ours, then the others."""
    feeds, graph = dict(net.feeds), net.graph
    reference = ops.run(graph, feeds)
    integer = [reference[name] for name in graph.outputs]
    yield Contestant("prunus", density, lambda n: prunus_network(graph, feeds, n, timed), integer, exact=True)
    yield Contestant(
        "prunus in onnxruntime", density, lambda n: prunus_in_onnxruntime(graph, feeds, n, timed), integer, exact=True
    )
    if not peers:
        return
    outputs = [str(value.name) for value in net.float_model.graph.outputs]
    found = run_model(net.float_model, feeds, outputs)
    real = [found[name] for name in outputs]
    yield Contestant("onnxruntime int8", density, lambda n: onnxruntime_network(net.qdq, feeds, n), integer)
    yield Contestant("openvino int8", density, lambda n: openvino_network(net.qdq, feeds, n), integer)
    yield Contestant("onnxruntime f32", density, lambda n: onnxruntime_network(net.float_model, feeds, n), real)
    yield Contestant("openvino f32", density, lambda n: openvino_network(net.float_model, feeds, n, "f32"), real)


@dataclass
class Results:
    """Seconds per round by (name, density, threads) of one network."""

    network: str
    seconds: dict[tuple[str, float, int], list[float]] = field(default_factory=dict)
    how: dict[tuple[str, float, int], str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def faster(self, ours: tuple[str, float, int], theirs: tuple[str, float, int]) -> Ratio | None:
        if ours not in self.seconds or theirs not in self.seconds:
            return None
        return speedup(self.seconds[theirs], self.seconds[ours])


def measure(name: str, models: Path, options: argparse.Namespace) -> Results:
    results = Results(name)
    ready: dict[tuple[str, float, int], Whole] = {}
    for density in options.density or DENSITIES:
        net = compress(*NETWORKS[name](models), density)
        peers = not options.no_peers and (density == 1 or options.pruned_peers)
        for each in contestants(net, density, peers, options.timed):
            ours = each.name.startswith(OURS)
            for threads in sorted({1, options.threads}) if ours else [options.threads]:
                key = (each.name, density, threads)
                try:
                    whole = each.prepare(threads)
                    wrong = each.check(whole)
                except Missing as reason:
                    wrong = str(reason)
                if wrong:
                    results.skipped.append(f"{name}: {each.name}, density {density:g}, {threads} threads: {wrong}")
                else:
                    ready[key] = whole
    results.seconds = interleave(
        {key: clocked(whole.call, options.clock) for key, whole in ready.items()}, options.rounds
    )
    results.how = {key: whole.how for key, whole in ready.items()}
    return results


def lines(results: Results) -> list[str]:
    """One line per contestant, and for ours the ratios to the dense peers on as many threads."""
    text = [f"-- {results.network}"]
    for key, seconds in results.seconds.items():
        name, density, threads = key
        spread = summary(seconds)
        line = f"{name:<22} density {density:<5g} {threads} threads {spread.median * 1e3:9.3f} ms"
        line += f" {spread.low * 1e3:9.3f} to {spread.high * 1e3:9.3f}"
        if name.startswith(OURS):
            for peer in dict.fromkeys(peer for peer, _, _ in results.seconds if not peer.startswith(OURS)):
                if ratio := results.faster(key, (peer, 1.0, threads)):
                    line += f"; {peer} {ratio}"
        if threads > 1 and (scaling := results.faster(key, (name, density, 1))):
            line += f"; one thread {scaling}"
        text.append(line)
    text += [f"   {name}, density {density:g}: {how}" for (name, density, n), how in results.how.items() if n == 1]
    return text + [f"skipped: {reason}" for reason in results.skipped]


@dataclass(frozen=True)
class Claim:
    """On ResNet-50 ours at this density is at least `times` as fast as a dense peer (or as itself on one thread)."""

    density: float
    peer: str
    times: float
    threads: int = 1


CLAIMS = (
    Claim(1.0, "openvino int8", 1.0),
    Claim(0.25, "openvino int8", 1.8),
    Claim(0.25, "onnxruntime int8", 5.0),
    Claim(1.0, "one thread", 1.7, threads=2),
    Claim(0.25, "one thread", 1.7, threads=2),
)


def verdicts(results: Results) -> list[str]:
    text = []
    for claim in CLAIMS:
        for name in ("prunus", "prunus in onnxruntime"):
            ours = (name, claim.density, claim.threads)
            theirs = (name, claim.density, 1) if claim.peer == "one thread" else (claim.peer, 1.0, claim.threads)
            ratio = results.faster(ours, theirs)
            word = "skipped" if ratio is None else "met" if ratio.low >= claim.times else "missed"
            what = f"{results.network}, {name}, density {claim.density:g}: >= {claim.times:g}x {claim.peer}"
            text.append(f"{word}: {what}: {ratio or 'not measured'}")
    return text


def as_json(results: Results) -> dict[str, Any]:
    return {
        "network": results.network,
        "skipped": results.skipped,
        "timings": [
            {
                "engine": name,
                "density": density,
                "threads": threads,
                "how": results.how[name, density, threads],
                "seconds": seconds,
                "median_s": summary(seconds).median,
            }
            for (name, density, threads), seconds in results.seconds.items()
        ],
    }


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=list(NETWORKS), help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--density", action="append", type=float, help=f"default: {DENSITIES}")
    parser.add_argument("--pruned-peers", action="store_true", help="run the other engines on pruned networks, too")
    parser.add_argument(
        "--no-peers", action="store_true", help="ours alone: waiting threads of other engines disturb two of ours"
    )
    parser.add_argument("--timed", type=int, default=3, help="candidate kernels timed per layer when planning")
    parser.add_argument("--models", type=Path, help="folder of the trained models; default: $PRUNUS_MODELS")
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="cpu: for one thread on a machine that others use, too"
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, help="a JSON file for everything that was measured")
    found = parser.parse_args(words)
    if found.clock == "cpu" and found.threads > 1:
        parser.error("--clock cpu adds up the threads: it says nothing about two")
    return found


def main() -> int:
    options = parse()
    models = options.models or Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    here = machine(pin(options.threads))
    print("\n".join(here.lines()))
    done: list[Results] = []
    for name in options.network or NETWORKS:
        try:
            done.append(measure(name, models, options))
        except FileNotFoundError as error:
            print(f"skipped: {name}: {error}")
        else:
            print("\n".join(lines(done[-1])), flush=True)
    print("-- claims")
    for results in done:
        if results.network == "resnet50":
            print("\n".join(verdicts(results)))
    if options.out:
        content = {"schema": 1, "machine": here.json(), "networks": [as_json(results) for results in done]}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
