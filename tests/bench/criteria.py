"""What choosing well brings on trained networks, without training: channels by criterion, few samples by coreset.

    python tests/bench/criteria.py [TASK ...] [--share 0.3] [--count 16] [--seeds 3] [--sections criteria,coresets]

`criteria` removes a share of the MACs by every criterion that needs no labels, refits by least squares on 256
unlabelled samples, and scores on the others. `coresets` quantizes with min-max ranges on a few calibration samples
chosen by every method that needs no labels; the SQNR is that of the outputs on the scoring samples. Both give mean and
extremes over seeds; every seed draws other samples to choose from.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support")]

from real_tasks import Task, load_task, task_names

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.analysis.parity import compare
from prunus.compiler.coreset import METHODS, select
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.criteria import CRITERIA
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.reconstruct import reconstruct
from prunus.compiler.pruning.select import select as select_channels

SAMPLES = 256
Row = tuple[str, str, list[float]]


def prepared(task: Task) -> tuple[Model, Data]:
    """The float model as pruning finds it, and all of its calibration samples."""
    loaded = load(task.model)
    data = task.calibration_data(loaded)
    return Pipeline.default(last="remove_dead_channels").run(loaded, Context(calibration=data)).model, data


def drawn(data: Data, seed: int) -> Data:
    return data.take(np.sort(np.random.default_rng(seed).permutation(len(data))[:SAMPLES]))


def first_output(model: Model, task: Task) -> np.ndarray:
    return next(iter(run_model(model, task.feeds(model)).values()))


def criteria(task: Task, arguments: argparse.Namespace) -> Iterator[Row]:
    """The metric after pruning and refitting."""
    model, data = prepared(task)
    channels = channel_groups(model)
    yield task.name, "(whole)", [task.score(first_output(model, task))]
    for name in CRITERIA:
        if name == "mrmr":
            continue
        scores = []
        for seed in range(arguments.seeds):
            few = drawn(data, seed)
            removed = select_channels(model, channels, arguments.share, name, data=few, seed=seed).removed
            pruned = reconstruct(model, cut(model, channels, removed), channels, removed, few, seed=seed).model
            scores.append(task.score(first_output(pruned, task)))
        yield task.name, name, scores


def coresets(task: Task, arguments: argparse.Namespace) -> Iterator[Row]:
    """The SQNR of the int8 network in dB."""
    model, data = prepared(task)
    reference = first_output(model, task)
    options = Options(ranges="minmax")
    for method in METHODS:
        if method in ("el2n", "grand"):
            continue
        found = []
        for seed in range(arguments.seeds):
            few = select(drawn(data, seed), model, method, arguments.count, seed)
            quantized = Quantize().run(model, Context(options=options, calibration=few)).model
            found.append(compare(reference, first_output(quantized, task)).sqnr_db)
        yield task.name, method, found


SECTIONS: dict[str, Callable[[Task, argparse.Namespace], Iterator[Row]]] = {"criteria": criteria, "coresets": coresets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=["resnet8", "ds_cnn"], help=f"of {', '.join(task_names())}")
    parser.add_argument("--share", type=float, default=0.3, help="of the MACs to remove")
    parser.add_argument("--count", type=int, default=16, help="calibration samples to choose")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sections", default=",".join(SECTIONS))
    arguments = parser.parse_args()
    folder = Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    if not folder.is_dir():
        print(f"skipped: no real models in {folder} (set PRUNUS_MODELS to their folder)")
        return
    for section in arguments.sections.split(","):
        print(f"{section}: mean (lowest … highest) of {arguments.seeds} seeds")
        for name in arguments.tasks:
            for task, label, values in SECTIONS[section](load_task(name, folder), arguments):
                print(
                    f"{task:12} {label:12} {np.mean(values):8.4f} ({min(values):.4f} … {max(values):.4f})", flush=True
                )


if __name__ == "__main__":
    main()
