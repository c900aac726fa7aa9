"""Whole networks in our targets, each through the artefact that it hands over, loaded into this process.

`prunus-tvm` opens the library with the bundle's own loader, `prunus-ort` the model with the operators' library;
`prunus-c` is the bundle's sources as a shared library.
"""

from __future__ import annotations

import ctypes
import runpy
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prunus.compiler.errors import ToolError, UnsupportedError
from prunus.compiler.integer.graph import Graph
from prunus.compiler.target import Artifact
from prunus.targets.catalog import resolve

from .base import Missing
from .whole import Feeds, Whole, session_options

# The example's own test vectors feed and judge it: its inputs and outputs share an arena with everything between.
C_HARNESS = """\
#include "model.h"
#include "vectors.h"
void bench_load(void) { vectors_load(0); }
int bench_run(void) { return prunus_model_run() != PRUNUS_OK; }
int bench_wrong(void) { return vectors_wrong(0); }
"""


def plan(graph: Graph, feeds: Feeds, timed: int, isa: str | None, threads: int) -> Whole:
    """The kernels' plan, called from Python: what our targets build on."""
    from prunus.targets.native import NativeModel

    model = NativeModel(graph, threads=threads, timed=timed, isa=isa)

    def call() -> Sequence[np.ndarray]:
        found = model.run(feeds)
        return [found[name] for name in graph.outputs]

    return Whole(call, kernels_used(model), lambda: profile(model, feeds))


def kernels_used(model: Any) -> str:
    """How many layers use which kernel."""
    counts: dict[str, int] = {}
    for step in _steps(model):
        if step["kernel"]:
            counts[str(step["kernel"])] = counts.get(str(step["kernel"]), 0) + 1
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _steps(model: Any) -> list[dict[str, Any]]:
    return [step for network in model.networks.values() for step in network.describe()["steps"]]


def profile(model: Any, feeds: Feeds, runs: int = 11) -> list[tuple[str, float]]:
    """(step, median seconds) of every step of the plan in order; the first region's, where islands cut it."""
    network = next(iter(model.networks.values()))
    region = next(part for part in model.parts if isinstance(part, Graph))
    if not feeds.keys() >= set(region.inputs):
        return []
    given = [(feeds[name], region.tensors[name].quant) for name in region.inputs]
    arrays = [np.ascontiguousarray(x, np.float32 if quant is None else None) for x, quant in given]
    seconds = np.median([network.profile(arrays) for _ in range(runs)], axis=0)
    steps = network.describe()["steps"]
    names = [f"{step['kind']} {step['kernel'] or ''}".strip() for step in steps]
    return list(zip(names, map(float, seconds), strict=True))


def ort_bundle(graph: Graph, feeds: Feeds, timed: int, isa: str | None, threads: int) -> Whole:
    """Backend `ort`: the operators inside of an InferenceSession."""
    from prunus.targets.ort.bundle import find_library
    from prunus.targets.ort.session import open_session

    _one_isa(isa, "prunus-ort chooses at run time: set PRUNUS_ISA")
    options = session_options(threads)
    try:
        options.register_custom_ops_library(str(find_library()))
    except ToolError as error:
        raise Missing(f"{error}") from error
    session = open_session(graph, timed=timed, options=options)
    return Whole(lambda: session.run(None, dict(feeds)), f"{threads} threads")


def tvm_bundle(graph: Graph, feeds: Feeds, timed: int, isa: str | None, threads: int) -> Whole:
    """Backend `tvm`: the library through its own loader."""
    _one_isa(isa, "prunus-tvm is built for one device: --tvm-device")
    _one_thread(threads, "prunus-tvm")
    artifact = _lowered("tvm:host-cpu", graph)
    loaded = runpy.run_path(str(artifact.root / "run.py"))["load"](artifact.root)
    arrays = [np.asarray(feeds[name]) for name in graph.inputs]
    return Whole(lambda: loaded(*arrays), ", ".join(artifact.files))


def c_bundle(graph: Graph, feeds: Feeds, timed: int, isa: str | None, threads: int) -> Whole:
    """Backend `c`: the integer network in C, without the float ends; judged by its own test vectors."""
    _one_isa(isa, "prunus-c is built with the flags of its device")
    _one_thread(threads, "prunus-c")
    artifact = _lowered("c:linux", graph)
    library = _shared_library(artifact)
    library.bench_load()
    library.bench_run()
    wrong = int(library.bench_wrong())

    def call() -> Sequence[np.ndarray]:
        library.bench_load()
        library.bench_run()
        return []

    verdict = f"{wrong} elements differ from the reference" if wrong else ""
    return Whole(call, "integers in, integers out", verdict=lambda: verdict)


def _one_isa(isa: str | None, why: str) -> None:
    if isa is not None:
        raise Missing(why)


def _one_thread(threads: int, name: str) -> None:
    if threads != 1:
        raise Missing(f"{name} runs on one thread")


def _lowered(spec: str, graph: Graph) -> Artifact:
    """The artefact, in a folder that stays as long as the process. Raises Missing where it cannot be built here."""
    target, device = resolve(spec)
    folder = tempfile.TemporaryDirectory(prefix="prunus-bench-")
    _folders.append(folder)
    try:
        return target.lower(graph, device, Path(folder.name))
    except (ToolError, UnsupportedError) as error:
        raise Missing(f"{error}") from error


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _shared_library(artifact: Artifact) -> ctypes.CDLL:
    (artifact.root / "bench.c").write_text(C_HARNESS)
    sources = [
        "bench.c",
        *sorted(p.relative_to(artifact.root).as_posix() for p in artifact.root.glob("kernels/**/*.c")),
    ]
    flags = ["-std=c11", "-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared"]
    argv = ["cc", *flags, "-I.", "-Ikernels/include", "-Iboard", "model.c", *sources, "-lm", "-o", "bench.so"]
    done = subprocess.run(argv, cwd=artifact.root, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise Missing(f"the C compiler failed: {done.stderr[-300:]}")
    return ctypes.CDLL(str(artifact.root / "bench.so"))


Prepare = Callable[[Graph, Feeds, int, str | None, int], Whole]
TARGETS: dict[str, Prepare] = {
    "prunus": plan,
    "prunus-ort": ort_bundle,
    "prunus-tvm": tvm_bundle,
    "prunus-c": c_bundle,
}
