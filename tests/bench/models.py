"""Whole networks beside other engines: int8, dense and pruned in blocks.

    python tests/bench/models.py [MODEL.onnx ...] [--network resnet50 ...] [--peers openvino-int8,onnxruntime-int8]

MODEL is a float model of yours: it is quantized by our passes on random samples, which says nothing about accuracy.
Prunus runs every density, as a plan and through the artefact of each target; the other engines run the dense network,
since zeros give them nothing (--pruned-peers runs them on the pruned ones, too). All take the same sample in one
process, in interleaved rounds; outputs are compared before anything is timed. What needs longer than a second a call
is timed after the rounds, a few times. With two threads Prunus runs on one as well, so that the gain can be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from harness.intervals import Ratio, speedup, summary
from harness.machine import machine, pin
from harness.network_claims import verdicts
from harness.rounds import CLOCKS, MIN_CALLS, clocked, interleave
from networks import NETWORKS, Compressed, compress, from_file
from peers import Missing
from peers.own import TARGETS
from peers.whole import PEERS, Whole

from prunus.compiler.errors import PrunusError
from prunus.compiler.executor import run_model
from prunus.compiler.integer import ops

OURS = tuple(TARGETS)
DENSITIES = (1.0, 0.25, 0.1)
EXACT = 1e-5  # of ours: islands (a terminal Softmax) are computed in floating point
MIN_SQNR_DB = 15.0  # of a peer against our reference: each engine rounds in its own way
SLOW_S = 1.0  # a call that is timed after the rounds

Key = tuple[str, float, int]  # engine, density, threads


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
        if whole.verdict is not None:
            return whole.verdict()
        found = whole.call()
        if self.exact:
            error = max(float(np.abs(a - b).max()) for a, b in zip(found, self.expected, strict=True))
            return f"differs from the reference by {error:.3g}" if error > EXACT else ""
        worst = min(_sqnr_db(a, b) for a, b in zip(found, self.expected, strict=True))
        return f"{worst:.1f} dB from the reference" if worst < MIN_SQNR_DB else ""


def _sqnr_db(found: np.ndarray, expected: np.ndarray) -> float:
    noise = float(((found.astype(np.float64) - expected) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10((expected.astype(np.float64) ** 2).sum() / noise))


def contestants(
    net: Compressed, density: float, chosen: Sequence[str], options: argparse.Namespace
) -> Iterator[Contestant]:
    """Those of the chosen engines: ours, then the others."""
    feeds, graph = dict(net.feeds), net.graph
    reference = ops.run(graph, feeds)
    integer = [reference[name] for name in graph.outputs]
    outputs = [str(value.name) for value in net.float_model.graph.outputs]
    found = run_model(net.float_model, feeds, outputs)
    real = [found[name] for name in outputs]
    for name in chosen:
        if name in TARGETS:
            prepare = partial(TARGETS[name], graph, feeds, options.timed, options.isa)
            yield Contestant(name, density, prepare, integer, exact=True)
        else:
            peer = PEERS[name]
            model = net.qdq if peer.quantized else net.float_model
            yield Contestant(name, density, partial(peer.prepare, model, feeds), integer if peer.quantized else real)


@dataclass
class Results:
    """Seconds per round by engine, density and threads of one network."""

    network: str
    seconds: dict[Key, list[float]] = field(default_factory=dict)
    how: dict[Key, str] = field(default_factory=dict)
    profiles: dict[Key, Sequence[tuple[str, float]]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def faster(self, ours: Key, theirs: Key) -> Ratio | None:
        """How many times faster; over the rounds that both have, where one was slow."""
        if ours not in self.seconds or theirs not in self.seconds:
            return None
        rounds = min(len(self.seconds[ours]), len(self.seconds[theirs]))
        return speedup(self.seconds[theirs][:rounds], self.seconds[ours][:rounds])


Source = Callable[[], tuple[Any, Any]]  # the model and its samples


def measure(name: str, source: Source, options: argparse.Namespace) -> Results:
    results = Results(name)
    ready: dict[Key, Whole] = {}
    for density in options.density or DENSITIES:
        net = compress(*source(), density)
        peers = options.peers if density == 1 or options.pruned_peers else []
        for each in contestants(net, density, [*options.targets, *peers], options):
            counts = sorted({1, options.threads}) if each.name in OURS else [options.threads]
            for threads in counts:
                _prepare(results, ready, each, threads)
    _time(results, ready, options)
    results.how = {key: whole.how for key, whole in ready.items()}
    if options.profile:
        results.profiles = {key: steps for key, whole in ready.items() if (steps := whole.profile())}
    return results


def _prepare(results: Results, ready: dict[Key, Whole], each: Contestant, threads: int) -> None:
    """Enters a contestant that can run here and is right; tells of the others."""
    try:
        whole = each.prepare(threads)
        wrong = each.check(whole)
    except Missing as reason:
        wrong = str(reason)
    if wrong:
        where = f"{results.network}: {each.name}, density {each.density:g}, {threads} threads"
        results.skipped.append(f"{where}: {wrong}".replace("\n", " "))
    else:
        ready[each.name, each.density, threads] = whole


def _time(results: Results, ready: Mapping[Key, Whole], options: argparse.Namespace) -> None:
    timers = {key: clocked(whole.call, options.clock) for key, whole in ready.items()}
    slow = {key for key, whole in ready.items() if _first_call_s(whole) > SLOW_S}
    results.seconds = interleave({key: timer for key, timer in timers.items() if key not in slow}, options.rounds)
    results.seconds |= {key: [timers[key]() for _ in range(MIN_CALLS)] for key in sorted(slow)}


def _first_call_s(whole: Whole) -> float:
    start = time.perf_counter()
    whole.call()
    return time.perf_counter() - start


def lines(results: Results) -> list[str]:
    """One line per contestant, and for ours the ratios to the dense peers on as many threads."""
    text = [f"-- {results.network}"]
    for key, seconds in results.seconds.items():
        name, density, threads = key
        spread = summary(seconds)
        line = f"{name:<18} density {density:<5g} {threads} threads {spread.median * 1e3:9.3f} ms"
        line += f" {spread.low * 1e3:9.3f} to {spread.high * 1e3:9.3f}, {len(seconds)} rounds"
        if name in OURS:
            for peer in dict.fromkeys(peer for peer, _, _ in results.seconds if peer not in OURS):
                if ratio := results.faster(key, (peer, 1.0, threads)):
                    line += f"; {peer} {ratio}"
        if threads > 1 and (scaling := results.faster(key, (name, density, 1))):
            line += f"; one thread {scaling}"
        text.append(line)
    text += [f"   {name}, density {density:g}: {how}" for (name, density, n), how in results.how.items() if n == 1]
    for (name, density, _), steps in results.profiles.items():
        text.append(f"   profile of {name}, density {density:g}, per step in us:")
        text += [f"     {index:3} {step:<40} {seconds * 1e6:9.1f}" for index, (step, seconds) in enumerate(steps)]
    return text + [f"skipped: {reason}" for reason in results.skipped]


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
                "profile": [list(step) for step in results.profiles.get((name, density, threads), ())],
            }
            for (name, density, threads), seconds in results.seconds.items()
        ],
    }


def _names(known: Sequence[str], text: str) -> list[str]:
    """A list with commas; `none` is empty. Raises ArgumentTypeError for an unknown name."""
    found = [] if text == "none" else text.split(",")
    unknown = [name for name in found if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
    return found


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="MODEL", help="float ONNX models of yours")
    parser.add_argument("--network", action="append", choices=list(NETWORKS), help="default: all, without MODEL")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--density", action="append", type=float, help=f"default: {DENSITIES}")
    parser.add_argument(
        "--peers",
        type=partial(_names, list(PEERS)),
        default=list(PEERS),
        help=f"with commas, or none: {', '.join(PEERS)}",
    )
    parser.add_argument(
        "--targets", type=partial(_names, OURS), default=list(OURS), help=f"with commas, or none: {', '.join(OURS)}"
    )
    parser.add_argument("--pruned-peers", action="store_true", help="run the other engines on pruned networks, too")
    parser.add_argument("--isa", help="restrict our plan to an instruction set, such as avx2")
    parser.add_argument("--timed", type=int, default=3, help="candidate kernels timed per layer when planning")
    parser.add_argument("--profile", action="store_true", help="time every step of our plan")
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


def sources(options: argparse.Namespace) -> dict[str, Source]:
    """What is measured, by name: the files, and the networks."""
    models = options.models or Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    names = options.network or ([] if options.files else list(NETWORKS))
    found: dict[str, Source] = {path.stem: partial(from_file, path) for path in options.files}
    return found | {name: partial(NETWORKS[name], models) for name in names}


def main() -> int:
    options = parse()
    here = machine(pin(options.threads))
    print("\n".join(here.lines()), flush=True)
    done: list[Results] = []
    for name, source in sources(options).items():
        try:
            done.append(measure(name, source, options))
        except (FileNotFoundError, PrunusError) as error:
            print(f"skipped: {name}: {error}")
        else:
            print("\n".join(lines(done[-1])), flush=True)
    print("-- claims")
    for results in done:
        print("\n".join(verdicts(results.network, results.faster)) or f"none on {results.network}")
    if options.out:
        content = {"schema": 2, "machine": here.json(), "networks": [as_json(results) for results in done]}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
