"""A whole architecture search: from a model file to a folder with the networks of the Pareto front."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config.options import Options
from ..data import Data
from ..errors import UsageError
from ..model.load import load
from ..model.model import Model
from ..model.save import save
from ..model.workload import workload
from ..output import as_json, staged, write_manifest, write_text
from ..passes.base import Context
from ..pipeline import Pipeline
from ..pruning.schedules import held_out
from ..registry import resolve
from ..report.plots import front_chart
from ..samples import Source, choose_samples
from ..target import Device, Formats, Progress, Target, no_progress
from .evolve import Trial, search
from .space import Space

SCHEMA = "prunus.search/1"
KEPT = 8  # networks of the front that are built, scored and written
OBJECTIVE = "latency_s"


@dataclass(frozen=True)
class SearchRequest:
    """What to search for. `objective` is a key of `quantity.UNITS`; results appear in `out`, the journal beside it."""

    model: Path
    target: str | tuple[Target, Device]
    out: Path
    data: Source
    trials: int
    objective: str = OBJECTIVE
    calibration: Source = None
    options: Options = field(default_factory=Options)
    shapes: Mapping[str, tuple[int, ...]] | None = None

    @property
    def journal(self) -> Path:
        """Where the trials are kept, also after the search: it can go on with more of them."""
        return self.out.with_name(f"{self.out.name}.journal")


def run_search(request: SearchRequest, progress: Progress = no_progress) -> dict[str, Any]:
    """Searches, then builds and scores networks along the front. Returns the content of `search.json`.

    `out` holds search.json, front.svg, and for every network of `front` its float model NN.onnx.

    Raises:
        UsageError: the device's model does not state the objective (code `unknown-cost`), nothing can be pruned
            (`nothing-to-prune`), or see `evolve.search`.
        ToolError: optuna is not installed.
    """
    target, device = resolve(request.target) if isinstance(request.target, str) else request.target
    loaded = load(request.model, shapes=request.shapes)
    samples = choose_samples(
        loaded, request.data, request.calibration, None, request.options.coreset, request.options.seed
    )
    formats = target.formats(device)
    model = Pipeline.default(last="remove_dead_channels").run(loaded, Context(formats)).model
    _refuse_unknown(request.objective, target, device, model)
    space = Space(
        model,
        target,
        device,
        samples.calibration,
        request.objective,
        criterion=request.options.criterion,
        seed=request.options.seed,
        progress=progress,
    )
    request.out.parent.mkdir(parents=True, exist_ok=True)
    signature = _signature(request, device, samples.calibration)
    found = search(space, request.trials, request.journal, signature=signature, progress=progress)
    chosen = spread(found.front, KEPT)
    with staged(request.out) as folder:
        rows = []
        for number, trial in enumerate(chosen):
            progress("Building the networks of the front", number / len(chosen))
            name = f"{number:02d}.onnx"
            network = space.build(trial.genes)
            save(network, folder / name)
            rows.append({**_row(space, trial), "file": name, **_scored(space, trial, loaded, network, samples.scoring)})
        result = {
            "schema": SCHEMA,
            "model": request.model.name,
            "device": device.name,
            "objective": request.objective,
            "trials": len(found.trials),
            "resumed_from": found.resumed_from,
            "unpruned": _row(space, Trial(space.unpruned, space.cost(space.unpruned), space.loss(space.unpruned))),
            "front": [_row(space, trial) for trial in found.front],
            "networks": rows,
        }
        write_text(folder / "search.json", as_json(result))
        points = [(trial.cost, trial.loss) for trial in found.trials]
        write_text(folder / "front.svg", str(front_chart(points, request.objective, "loss on held-out samples")))
        write_manifest(folder, {"device": device.name, "target": target.name, "trials": len(found.trials)})
    progress("done", 1.0)
    return result


def spread(front: Sequence[Trial], count: int) -> list[Trial]:
    """At most `count` trials along the front, its ends among them."""
    chosen = np.unique(np.linspace(0, len(front) - 1, count).round().astype(int))
    return [front[index] for index in chosen]


def _refuse_unknown(objective: str, target: Target, device: Device, model: Model) -> None:
    stated = target.cost([workload(model)], device)[0].costs
    if objective not in stated:
        raise UsageError(
            f"The cost model of '{device.name}' states no {objective[:64]}.",
            code="unknown-cost",
            hint=f"It states: {', '.join(sorted(stated))}.",
        )


def _signature(request: SearchRequest, device: Device, data: Data) -> str:
    """What must be the same for a journal to be gone on with."""
    digest = hashlib.sha256(request.model.read_bytes())
    for name, array in sorted(data.inputs.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    settings = [device.name, device.backend, request.objective, request.options.criterion, request.options.seed]
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()


def _row(space: Space, trial: Trial) -> dict[str, Any]:
    names = [group.producers[0].initializer for group in space.whole.channels.prunable]
    return {
        "cost": trial.cost,
        "loss": trial.loss,
        "widths": {space.model.original(name): width for name, width in zip(names, trial.genes.widths, strict=True)},
        "skipped": [space.model.original(space.blocks[number].end) for number in trial.genes.skipped],
        "weight_bits": trial.genes.weight_bits,
    }


def _scored(space: Space, trial: Trial, original: Model, network: Model, scoring: Data) -> dict[str, float]:
    """Score of the float network and of the quantized one, whose cost is estimated anew, on samples of their own."""
    formats: Formats = space.formats
    bits = min(trial.genes.weight_bits, formats.weight_bits)
    options = Options(seed=space.seed, weight_bits=bits)
    quantized = Pipeline.default().run(network, Context(replace(formats), options, space.data)).model
    measure = held_out(original, scoring)
    return {
        "score_unpruned": measure(original),
        "score_float": measure(network),
        "score": measure(quantized),
        "estimated": space.target.cost([workload(quantized)], space.device)[0].costs[space.key].value,
    }
