"""A whole network on an architecture: each layer's best mapping, and which activations stay on the chip.

The output of a layer may stay in the buffer when the next layer is the only one to read it. What stays takes room
from the tiles of both layers. A dynamic programme over the layers picks the choices with the fewest cycles in total;
equal cycles are decided by DRAM traffic. A chain may also run fused, strip by strip (see `fusion`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...compiler.errors import UnsupportedError
from ...compiler.model.workload import Layer, Workload
from .architecture import Architecture
from .fusion import LONGEST, Fuser, fusable
from .problem import PRODUCTS, Problem, problem_of
from .search import Cost, Found, Objective, Residency, Searcher, too_small
from .sparsity import Effect
from .tiles import Tiles

RESIDENCIES = tuple(Residency(inputs, outputs) for inputs in (False, True) for outputs in (False, True))


@dataclass(frozen=True)
class LayerRun:
    """One layer on the chip: what decides its time, and what moves."""

    layer: Layer
    cycles: float
    compute_cycles: float
    bound: str  # compute | buffer | dram | host
    dram_bytes: float
    buffer_bytes: tuple[float, float, float]  # inputs, weights, outputs
    residency: Residency
    lower_bound_cycles: float
    found: Found | None = None  # of layers that are products
    effect: Effect | None = None
    hop_bytes: float = 0.0
    register_bytes: float = 0.0
    vector_ops: float = 0.0
    fused: bool = False  # runs strip by strip together with its neighbours

    @property
    def cost(self) -> Cost | None:
        return self.found.best if self.found else None


@lru_cache(maxsize=32)
def tiles_of(problems: tuple[Problem, ...]) -> Tiles:
    """The tiles of these problems, shared by every architecture that is asked about them."""
    return Tiles.of(problems)


def unique_problems(work: Workload) -> tuple[Problem, ...]:
    """The distinct products of a network in order of appearance."""
    return tuple(dict.fromkeys(problem_of(layer) for layer in work.layers if layer.op in PRODUCTS))


def run_network(work: Workload, architecture: Architecture, objective: Objective = "latency") -> list[LayerRun]:
    """The fastest schedule of all layers, in order. Raises ArchitectureError when a buffer is too small for a tile."""
    problems = unique_problems(work)
    options: dict[tuple[Problem, Residency], Found | None] = {}
    effects: dict[Problem, Effect] = {}
    may_stay = architecture.on_chip_activations and any(
        {"inputs", "outputs"} <= set(buffer.keeps) for buffer in architecture.buffers
    )
    searcher = Searcher(tiles_of(problems), architecture)
    if problems:
        effects = dict(zip(problems, searcher.effects, strict=True))
        for residency in RESIDENCIES if may_stay else RESIDENCIES[:1]:
            found = searcher.search(residency, objective)
            options |= {(each, residency): one for each, one in zip(problems, found, strict=True)}
        for each in problems:
            if options[each, Residency()] is None:
                raise too_small(architecture, each)
    fuser = Fuser(searcher) if problems and fusable(architecture) and objective == "latency" else None
    return _schedule(work, architecture, may_stay, options, effects, fuser)


def _links(work: Workload) -> list[bool]:
    """Whether the output of layer i is read by layer i + 1 and by nobody else."""
    readers: dict[str, int] = {}
    for layer in work.layers:
        for name in layer.producers or ():
            readers[name] = readers.get(name, 0) + 1
    links = []
    for layer, after in zip(work.layers, work.layers[1:], strict=False):
        if after.producers is None:
            links.append(True)  # nothing is known about the graph: a chain
        else:
            links.append(layer.name in after.producers and readers[layer.name] == 1)
    return [*links, False]


def _schedule(
    work: Workload,
    architecture: Architecture,
    may_stay: bool,
    options: dict[tuple[Problem, Residency], Found | None],
    effects: dict[Problem, Effect],
    fuser: Fuser | None,
) -> list[LayerRun]:
    """Dynamic programme over (layer, output stays); a fused chain is one step over several layers."""
    states: dict[bool, tuple[float, float]] = {False: (0.0, 0.0)}  # last output stays -> cycles, DRAM bytes so far
    before: list[dict[bool, tuple[float, float]]] = [states]
    trail: list[dict[bool, tuple[bool, tuple[LayerRun, ...]]]] = []
    stayed_bytes = 0
    links = _links(work)
    fused = _fusable(work, architecture, links)
    for index, layer in enumerate(work.layers):
        reached: dict[bool, tuple[float, float, bool, tuple[LayerRun, ...]]] = {}
        for stays in (False, True) if links[index] and may_stay else (False,):
            for came, (cycles, moved) in states.items():
                run = _run(layer, architecture, Residency(came, stays), stayed_bytes, options, effects)
                if not came and not stays and fused[index]:
                    run = _fused(layer, architecture, stayed_bytes)
                if run is None:
                    continue
                total = (cycles + run.cycles, moved + run.dram_bytes)
                if stays not in reached or total < reached[stays][:2]:
                    reached[stays] = (*total, came, (run,))
        for runs in _chains(work, index, links, fuser, effects) if fuser is not None else ():
            start = before[index + 1 - len(runs)].get(False)
            if start is None:
                continue
            total = (start[0] + sum(run.cycles for run in runs), start[1] + sum(run.dram_bytes for run in runs))
            if False not in reached or total < reached[False][:2]:
                reached[False] = (*total, False, runs)
        if not reached:
            raise UnsupportedError(f"The layer '{layer.name}' does not fit.", code="layer-too-large", where=layer.name)
        trail.append({stays: (came, runs) for stays, (_, _, came, runs) in reached.items()})
        states = {stays: (cycles, moved) for stays, (cycles, moved, _, _) in reached.items()}
        before.append(states)
        stayed_bytes = layer.output_bytes
    return _followed(trail)


def _followed(trail: Sequence[dict[bool, tuple[bool, tuple[LayerRun, ...]]]]) -> list[LayerRun]:
    """The schedule that the dynamic programme chose, from its end."""
    schedule: list[LayerRun] = []
    stays, index = False, len(trail) - 1
    while index >= 0:
        stays, runs = trail[index][stays]
        schedule[:0] = runs
        index -= len(runs)
    return schedule


def _chains(
    work: Workload, last: int, links: Sequence[bool], fuser: Fuser, effects: dict[Problem, Effect]
) -> Iterator[tuple[LayerRun, ...]]:
    """Fused runs of two and more products that end at layer `last`."""
    problems: list[Problem] = []
    for index in range(last, max(last - LONGEST, -1), -1):
        layer = work.layers[index]
        if layer.op not in ("conv", "depthwise") or (index < last and not links[index]):
            return
        problems.insert(0, problem_of(layer))
        if len(problems) < 2:
            continue
        costs = fuser.chain(problems)
        if costs is None:
            continue
        yield tuple(
            _fused_run(work.layers[index + at], problem, cost, at, len(costs), fuser, effects)
            for at, (problem, cost) in enumerate(zip(problems, costs, strict=True))
        )


def _fused_run(
    layer: Layer, problem: Problem, cost: Cost, at: int, length: int, fuser: Fuser, effects: dict[Problem, Effect]
) -> LayerRun:
    residency = Residency(inputs=at > 0, outputs=at < length - 1)
    bound = min(fuser.searcher.lower_bound(fuser.index[problem], residency), cost.cycles)
    return LayerRun(
        layer,
        cost.cycles,
        cost.array_cycles,
        cost.bound,
        sum(cost.dram_bytes),
        cost.buffer_bytes,
        residency,
        bound,
        Found(cost, None, bound, 0),
        effects[problem],
        cost.hop_bytes,
        cost.register_bytes,
        fused=True,
    )


def _fusable(work: Workload, architecture: Architecture, links: Sequence[bool]) -> list[bool]:
    """Elementwise layers that the vector unit applies to the results of the product right before them."""
    if architecture.vector is None or not architecture.vector.fused_elementwise:
        return [False] * len(work.layers)
    pairs = zip(work.layers, work.layers[1:], links, strict=False)
    return [False] + [link and before.op in PRODUCTS and layer.op in ("add", "mul") for before, layer, link in pairs]


def _fused(layer: Layer, architecture: Architecture, stayed_bytes: int) -> LayerRun:
    """An elementwise layer on the way of its producer's results to memory: only its other operand is read."""
    fetched = float(max(layer.input_bytes - stayed_bytes, 0))
    port = architecture.per_cycle(architecture.dram.bandwidth) * architecture.dram.efficiency.value
    cycles = float(-(-fetched / port // 1))
    return LayerRun(layer, cycles, 0, "dram", fetched, (0, 0, 0), Residency(), cycles, vector_ops=float(layer.ops))


def _run(
    layer: Layer,
    architecture: Architecture,
    residency: Residency,
    stayed_bytes: int,
    options: dict[tuple[Problem, Residency], Found | None],
    effects: dict[Problem, Effect],
) -> LayerRun | None:
    """The layer under this residency, of whose inputs `stayed_bytes` may be on chip; None where it does not fit."""
    if layer.op not in PRODUCTS:
        return _vector(layer, architecture, residency, stayed_bytes)
    problem = problem_of(layer)
    found = options.get((problem, residency))
    if found is None:
        return None
    best = found.best
    return LayerRun(
        layer,
        best.cycles,
        best.array_cycles,
        best.bound,
        sum(best.dram_bytes),
        best.buffer_bytes,
        residency,
        found.lower_bound_cycles,
        found,
        effects[problem],
        best.hop_bytes,
        best.register_bytes,
    )


def _vector(layer: Layer, architecture: Architecture, residency: Residency, stayed_bytes: int) -> LayerRun | None:
    """A layer without products: elements pass the vector unit once, at the speed of the slowest of unit, port, DRAM."""
    if architecture.host_vector or architecture.vector is None:
        return LayerRun(layer, 0, 0, "host", 0, (0, 0, 0), residency, 0) if not residency.inputs else None
    stayed = min(stayed_bytes, layer.input_bytes) if residency.inputs else 0
    kept = stayed + (layer.output_bytes if residency.outputs else 0)
    moved = {"inputs": float(layer.input_bytes), "outputs": float(layer.output_bytes), "weights": 0.0}
    port = 0.0
    for buffer in architecture.buffers:
        if kept and {"inputs", "outputs"} <= set(buffer.keeps) and kept > buffer.size.value:
            return None
        port = max(port, sum(moved[operand] for operand in buffer.keeps) / architecture.per_cycle(buffer.bandwidth))
    fetched = float(layer.input_bytes - stayed)
    fetched += 0.0 if residency.outputs else float(layer.output_bytes)
    dram = fetched / (architecture.per_cycle(architecture.dram.bandwidth) * architecture.dram.efficiency.value)
    compute = -(-max(layer.ops, layer.output_elements if layer.op != "move" else 0) // architecture.vector.lanes)
    times = {"compute": compute, "buffer": port, "dram": dram}
    bound = max(times, key=lambda key: times[key])
    cycles = float(-(-times[bound] // 1))
    return LayerRun(
        layer,
        cycles,
        compute,
        bound,
        fetched,
        (moved["inputs"], 0.0, moved["outputs"]),
        residency,
        cycles,
        vector_ops=float(layer.ops),
    )
