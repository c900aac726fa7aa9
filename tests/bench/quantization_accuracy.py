"""What 8 bits cost: accuracy and fidelity of every trained network before and after quantization, no training.

    python tests/bench/quantization_accuracy.py [--models FOLDER] [--calibration auto] [TASK ...]

Prints one row per network and scheme. `net loss` counts the samples that only the float model gets right, minus those
that only the quantized one does; `SQNR` is that of the logits (of the outputs, where there is no Softmax).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from real_tasks import Task, load_task, task_names

from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes import PASSES
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.target import Formats
from prunus.compiler.verify import logits_name

SCHEMES = {
    "f32 u8 channel": Formats(),
    "f32 s8 channel": Formats(activation="s8", unsigned_after_relu=False),
    "f32 u8 tensor": Formats(per_channel=False),
    "pow2 channel": Formats(scheme="pow2", activation="s8"),
    "pow2 tensor": Formats(scheme="pow2", activation="s8", per_channel=False),
    "f32 w4 channel": Formats(weight_bits=4),
    "pow2 w6a6": Formats(scheme="pow2", activation="s8", weight_bits=6, activation_bits=6),
}
PREPARE = tuple(each for each in PASSES if each.name not in ("prune_channels", "quantize"))


@dataclass(frozen=True)
class Row:
    """One line of the table; `net_loss` in samples, None where the metric is not an accuracy."""

    task: str
    scheme: str
    metric: str
    before: float
    after: float
    samples: int
    net_loss: int | None
    sqnr_db: float
    clipped: int

    def __str__(self) -> str:
        loss = "-" if self.net_loss is None else f"{self.net_loss:+d}"
        return (
            f"{self.task:13} {self.scheme:15} {self.metric:5} {self.before:.4f} -> {self.after:.4f}"
            f"  {loss:>4} of {self.samples:<4} {self.sqnr_db:5.1f} dB  {self.clipped} clipped"
        )


def prepare(path: Path) -> Model:
    """The float model, ready for quantization."""
    model = load(path)
    for step in PREPARE:
        model = step().run(model, Context()).model
    return model


def evaluate(task: Task, original: Model, scheme: str, calibration: str = "auto") -> Row:
    """Quantizes the prepared float model for a scheme and scores both on the same samples."""
    context = Context(SCHEMES[scheme], Options(ranges=calibration), task.calibration_data(original))
    result = Quantize().run(original, context)
    output = str(original.graph.outputs[0].name)
    found = []
    for model in (original, result.model):
        logits = logits_name(model, output)
        values = run_model(model, task.feeds(model), [output, logits], batch=256)
        found.append((values[output], values[logits]))
    (before, signal), (after, noisy) = found
    net_loss = None
    if task.metric == "top1":
        net_loss = int(task.correct(before).sum() - task.correct(after).sum())
    return Row(
        task=task.name,
        scheme=scheme,
        metric=task.metric,
        before=task.score(before),
        after=task.score(after),
        samples=len(task.x),
        net_loss=net_loss,
        sqnr_db=float(10 * np.log10((signal**2).sum() / ((signal - noisy) ** 2).sum())),
        clipped=sum(note.code == "range-clipped" for note in result.notes),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tasks", nargs="*", default=list(task_names()), help="networks of tests/support/data_splits.toml"
    )
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--calibration", default="auto")
    arguments = parser.parse_args()
    for name in arguments.tasks:
        task = load_task(name, arguments.models)
        original = prepare(task.model)
        for scheme in SCHEMES:
            print(evaluate(task, original, scheme, arguments.calibration), flush=True)


if __name__ == "__main__":
    main()
