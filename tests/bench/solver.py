"""What the budget solver finds, beside uniform pruning at the same budget: networks x devices x budgets.

    python tests/bench/solver.py [--network digits] [--device npu-16nm] [--out solver.json]

Every answer is that of the pass `fit_budget`, with weights of 8 bits: really cut, refitted, zeroed where the device
skips zeros, and quantized; its cost is then estimated anew from the quantized model, and its accuracy measured on
samples that nothing else saw. `uniform` gives all groups the same share of their channels, the largest that keeps the
budget, with the same criterion, refitting and quantization. FPGAs: budgets of LUTs too, at no more latency than the
unpruned network has; both may share multipliers as they like.

Where that gains less than a point, `cheaper` tells what the solver's answer saves that loses no more than the uniform
network does (on the samples that it may see): its cost against the uniform network's, and its accuracy.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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
from prunus.compiler.passes.base import Context, Options, PassResult
from prunus.compiler.passes.fit_budget import FitBudget
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.criteria import importance
from prunus.compiler.pruning.structures import ChannelStructure
from prunus.compiler.registry import resolve
from prunus.compiler.search.contest import built
from prunus.compiler.search.decisions import Choice, DeviceCosts, setting_decisions, tuned
from prunus.compiler.search.fit import uniform_choice
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
    zeros: str = ""  # per cent of their weights that layers keep
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

    def quantized(self, network: Model, target: Target, device: Device, key: str) -> tuple[float, float]:
        """(cost estimated from the quantized model, its accuracy)."""
        context = Context(formats=target.formats(device), calibration=self.calibration, options=Options())
        quantized = Pipeline.default().run(network, context).model
        return target.cost([workload(quantized)], device)[0].costs[key].value, self.score(quantized)

    def fitted(self, target: Target, device: Device, budget: Mapping[str, float]) -> PassResult:
        """What `prunus compile --budget` makes of the network."""
        context = Context(
            formats=target.formats(device),
            calibration=self.calibration,
            options=Options(budget=dict(budget), weight_bits=8),
            target=target,
            device=device,
        )
        return FitBudget().run(self.model, context)

    def cheapest(
        self, target: Target, device: Device, budget: Mapping[str, float], uniform: Model, cost: float
    ) -> PassResult | None:
        """The solver's cheapest network that loses no more than the uniform one, both finished: by bisection."""
        key, best, low, high = next(iter(budget)), None, 0.5 * cost, cost
        allowed = self.loss.of(uniform)
        for _ in range(BISECTIONS):
            tried = (low + high) / 2
            found = self.fitted(target, device, {**budget, key: tried})
            if found.changed and found.details["loss"] <= allowed:
                best, high = found, found.details["predicted"][key]
            else:
                low = tried
        return best

    def rows(self, device_name: str) -> list[Row]:
        """All budgets of one device."""
        rows = []
        for key in BUDGETS[device_name]:
            for share in SHARES:
                rows.append(self.row(device_name, key, share))
                print(rows[-1], file=sys.stderr, flush=True)
        return rows

    def row(self, device_name: str, key: str, share: float) -> Row:
        """One budget; with one of LUTs, a sample may take no longer than it does unpruned."""
        target, device = resolve(device_name)
        formats = target.formats(device)
        structure = ChannelStructure(formats.channel_multiple)
        keys = (key,) if key == "latency_s" or not setting_decisions(target, device) else (key, "latency_s")
        costs = DeviceCosts(target, device, WidthModel(self.model, self.channels, formats).workload, keys)
        whole = costs([Choice(full_widths(self.channels))])[0]
        limits = whole * np.array([share, 1.0][: len(keys)])
        budget = dict(zip(keys, map(float, limits), strict=True))
        start = time.process_time()
        found = self.fitted(target, device, budget)
        seconds = time.process_time() - start
        row = Row(self.name, device_name, key, share, self.accuracy, cpu_seconds=seconds)
        if not found.changed:
            return replace(row, nearest=found.details["shortfall"]["nearest"][key] / float(whole[0]))
        settings = found.details["settings"]
        cost, accuracy = self.quantized(found.model, target, tuned(device, settings), key)
        row = replace(
            row,
            predicted=found.details["predicted"][key] / float(whole[0]),
            estimated=cost / float(whole[0]),
            accuracy=accuracy,
            settings=" ".join(f"{name}={value}" for name, value in settings.items()),
            zeros=" ".join(map(str, found.details["weights_kept_percent"].values())),
        )
        choice = uniform_choice(self.channels, structure, costs, limits)
        if choice is None:
            return row
        even = tuned(device, dict(choice.settings))
        uniform = built(self.model, self.channels, self.scores, choice, self.calibration)
        cost, accuracy = self.quantized(uniform, target, even, key)
        row = replace(row, uniform_estimated=cost / float(whole[0]), uniform_accuracy=accuracy)
        if 100 * (float(row.accuracy or 0) - accuracy) >= POINT:
            return row
        seen = built(self.model, self.channels, self.scores, choice, self.loss.fitted_on)
        equal = self.cheapest(target, device, budget, seen, cost)
        if equal is None:
            return row
        cost, accuracy = self.quantized(equal.model, target, tuned(device, equal.details["settings"]), key)
        return replace(row, equal_cost=cost / float(whole[0]), equal_accuracy=accuracy)


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
    columns = (
        "network device cost budget predicted estimated accuracy uniform better cheaper settings zeros cpu_seconds"
    )
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
        table.add_row(
            row.network, row.device, row.cost, budget, *result, row.settings, row.zeros, f"{row.cpu_seconds:.0f}"
        )
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
