"""What the budget solver finds, beside uniform pruning at the same budget: networks x devices x budgets.

    python tests/bench/solver.py [--network digits] [--device npu-16nm] [--out solver.json]

Every answer is really cut, refitted and quantized; its cost is then estimated anew from the quantized model, and its
accuracy measured on samples that nothing else saw. `uniform` gives all groups the same share of their channels, the
largest that keeps the budget, with the same criterion, refitting and quantization. FPGAs: budgets of LUTs too, at no
more latency than the unpruned network has; both may share multipliers as they like.

Where that gains less than a point, `cheaper` tells what the solver's answer saves that loses no more than the uniform
network does (on the samples that it may see): its cost against the uniform network's, and its accuracy.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests")]

from conftest import shared_models
from real_tasks import load_task

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data, load_data
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.model.workload import workload
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.fit_budget import FINISHED
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.criteria import importance
from prunus.compiler.pruning.structures import ChannelStructure
from prunus.compiler.registry import resolve
from prunus.compiler.search.contest import built, winner
from prunus.compiler.search.decisions import Choice, DeviceCosts, setting_decisions, tuned
from prunus.compiler.search.fit import Candidate, Fitter, Shortfall, uniform_choice
from prunus.compiler.search.loss import RefitLoss
from prunus.compiler.search.widths import WidthModel, full_widths
from prunus.compiler.target import Device, Target

DIGITS = ROOT / "examples" / "digits"
NETWORKS = ("digits", "resnet8", "ds_cnn")
BUDGETS = {"host-cpu": ("latency_s",), "npu-16nm": ("latency_s",), "pynq-z2": ("latency_s", "lut")}
SHARES = (0.75, 0.5)
POINT = 1.0  # of accuracy, from which on a row needs no other advantage
BISECTIONS = 5  # of the cost at equal loss


@dataclass(frozen=True)
class Row:
    """One budget: what each way predicts and gives; costs and accuracies in shares, None where nothing fits."""

    network: str
    device: str
    cost: str
    share: float
    unpruned_accuracy: float
    predicted: float | None = None
    estimated: float | None = None
    accuracy: float | None = None
    settings: str = ""
    uniform_estimated: float | None = None
    uniform_accuracy: float | None = None
    equal_cost: float | None = None  # of the solver's network that loses no more than the uniform one
    equal_accuracy: float | None = None
    nearest: float | None = None
    cpu_seconds: float = 0.0  # of the solver, without ranking channels and building the answer

    @property
    def better(self) -> float | None:
        """Points of accuracy above uniform pruning."""
        if self.accuracy is None or self.uniform_accuracy is None:
            return None
        return 100 * (self.accuracy - self.uniform_accuracy)

    @property
    def cheaper(self) -> float | None:
        """The share of the uniform network's cost that is saved at its loss."""
        if self.equal_cost is None or self.uniform_estimated is None:
            return None
        return 1 - self.equal_cost / self.uniform_estimated


class Bench:
    """One network: its channels, what they are worth, and how pruned ones score."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model, self.calibration, self.scoring = prepared(name)
        self.channels = channel_groups(self.model)
        self.scores = importance(self.model, self.channels, "obs", 0, self.calibration)
        self.loss = RefitLoss(self.model, self.channels, self.scores, self.calibration)
        self.accuracy = self.score(self.model)

    def score(self, model: Model) -> float:
        """Top-1 on the scoring samples."""
        outputs = next(iter(run_model(model, self.scoring.inputs).values()))
        return float(np.mean(outputs.argmax(axis=1) == self.scoring.labels))

    def built(self, choice: Choice, target: Target, device: Device, key: str) -> tuple[float, float]:
        """(cost estimated from the quantized model, its accuracy)."""
        pruned = built(self.model, self.channels, self.scores, choice.widths, self.calibration)
        context = Context(formats=target.formats(device), calibration=self.calibration, options=Options())
        quantized = Pipeline.default().run(pruned, context).model
        estimate = target.cost([workload(quantized)], tuned(device, dict(choice.settings)))[0]
        return estimate.costs[key].value, self.score(quantized)

    def winner(self, fitter: Fitter, proposals: list[Candidate], limits: np.ndarray) -> Candidate:
        """What `prunus compile --budget` takes."""
        return winner(
            self.model,
            self.channels,
            self.scores,
            proposals,
            self.loss,
            neighbours=lambda candidate: fitter.neighbours(candidate, limits),
        )

    def cheapest(self, fitter: Fitter, uniform: Choice, limits: np.ndarray, cost: float) -> Choice:
        """The solver's cheapest network that loses no more than the uniform one, both finished: by bisection."""
        allowed = self.loss.of(built(self.model, self.channels, self.scores, uniform.widths, self.loss.fitted_on))
        best, low, high = uniform, 0.5 * cost, cost
        for _ in range(BISECTIONS):
            tried = np.array([(low + high) / 2, *limits[1:]])
            proposals = fitter.proposals(tried)
            found = self.winner(fitter, proposals, tried) if proposals else None
            if found is not None and found.loss <= allowed:
                best, high = found.choice, found.costs[fitter.keys[0]]
            else:
                low = float(tried[0])
        return best

    def rows(self, device_name: str) -> list[Row]:
        """All budgets of one device."""
        target, device = resolve(device_name)
        formats = target.formats(device)
        works = WidthModel(self.model, self.channels, formats)
        structure = ChannelStructure(formats.channel_multiple)
        rows = []
        for key in BUDGETS[device_name]:
            keys = (key,) if key == "latency_s" or not setting_decisions(target, device) else (key, "latency_s")
            costs = DeviceCosts(target, device, works.workload, keys)
            start = time.process_time()
            fitter = Fitter(self.channels, structure, costs, self.loss)
            ready = time.process_time() - start
            whole = costs([Choice(full_widths(self.channels))])[0]
            for share in SHARES:
                limits = whole * np.array([share, 1.0][: len(keys)])
                start = time.process_time()
                proposals = fitter.proposals(limits)[:FINISHED]
                found = self.winner(fitter, proposals, limits) if proposals else fitter.shortfall(limits)
                row = Row(self.name, device_name, key, share, self.accuracy)
                seconds = ready + time.process_time() - start
                if isinstance(found, Shortfall):
                    rows.append(Row(**asdict(row) | {"nearest": fitter.least_share(limits), "cpu_seconds": seconds}))
                    continue
                cost, accuracy = self.built(found.choice, target, device, key)
                fields = {
                    "predicted": found.costs[key] / float(whole[0]),
                    "estimated": cost / float(whole[0]),
                    "accuracy": accuracy,
                    "settings": " ".join(f"{name}={value}" for name, value in found.choice.settings),
                    "cpu_seconds": seconds,
                }
                uniform = uniform_choice(self.channels, structure, costs, limits)
                if uniform is not None:
                    cost, accuracy = self.built(uniform, target, device, key)
                    fields |= {"uniform_estimated": cost / float(whole[0]), "uniform_accuracy": accuracy}
                    if 100 * (float(fields["accuracy"]) - accuracy) < POINT:
                        equal = self.cheapest(fitter, uniform, limits, cost)
                        cost, accuracy = self.built(equal, target, device, key)
                        fields |= {"equal_cost": cost / float(whole[0]), "equal_accuracy": accuracy}
                rows.append(Row(**asdict(row) | fields))
                print(rows[-1], file=sys.stderr, flush=True)
        return rows


def prepared(name: str) -> tuple[Model, Data, Data]:
    """(model ready for pruning, calibration, scoring)."""
    if name == "digits":
        model = load(DIGITS / "cnn.onnx")
        calibration, scoring = (load_data(DIGITS / file, model) for file in ("calibration.npz", "digits.npz"))
    else:
        task = load_task(name, shared_models())
        model = load(task.model)
        calibration, scoring = task.calibration_data(model), Data(task.feeds(model), task.labels)
    ready = Pipeline.default(last="remove_dead_channels").run(model, Context(calibration=calibration)).model
    return ready, calibration, scoring


def shown(rows: list[Row]) -> Table:
    """The rows as a table."""
    table = Table(title="budgets in shares of the unpruned network's cost; accuracy: top-1, int8", title_justify="left")
    columns = "network device cost budget predicted estimated accuracy uniform better cheaper settings cpu_seconds"
    for column in columns.split():
        table.add_column(column)
    for row in rows:
        if row.accuracy is None:
            result = ["-", f"least {row.nearest:.2f}", "infeasible", "", "", ""]
        else:
            error = (row.estimated or 0) / (row.predicted or 1) - 1
            uniform = "-" if row.uniform_accuracy is None else f"{row.uniform_accuracy:.4f}"
            better = "" if row.better is None else f"{row.better:+.1f}"
            accuracy = f"{row.accuracy:.4f} of {row.unpruned_accuracy:.4f}"
            cheaper = "" if row.cheaper is None else f"{row.cheaper:.0%} at {row.equal_accuracy:.4f}"
            result = [f"{row.predicted:.3f}", f"{row.estimated:.3f} ({error:+.1%})", accuracy, uniform, better, cheaper]
        budget = f"{row.share:.0%}"
        table.add_row(row.network, row.device, row.cost, budget, *result, row.settings, f"{row.cpu_seconds:.0f}")
    return table


def main(arguments: Mapping[str, object]) -> None:
    """Runs what was asked for, prints the table, and writes the rows where --out says."""
    rows: list[Row] = []
    for name in arguments["network"] or NETWORKS:  # type: ignore[attr-defined]
        bench = Bench(name)
        for device in arguments["device"] or BUDGETS:  # type: ignore[attr-defined]
            rows += bench.rows(device)
    Console(width=180).print(shown(rows))
    if arguments["out"]:
        text = json.dumps([asdict(row) | {"better": row.better, "cheaper": row.cheaper} for row in rows], indent=2)
        Path(str(arguments["out"])).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The budget solver beside uniform pruning.")
    parser.add_argument("--network", action="append", choices=NETWORKS)
    parser.add_argument("--device", action="append", choices=tuple(BUDGETS))
    parser.add_argument("--out")
    main(vars(parser.parse_args()))
