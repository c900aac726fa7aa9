"""The accuracy contract over a whole compilation: what it stops, what it counts, and what the verdict says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunus.compiler import Options, Request, compile
from prunus.compiler.errors import UsageError
from prunus.compiler.metric import top1
from prunus.compiler.report.schema import ReportData

SCORED = 284  # of the 540 samples; the others calibrate
DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def request(out: Path, **options: object) -> Request:
    return Request(
        model=DIGITS / "mlp.onnx",
        target="npu-16nm",
        out=out,
        data=DIGITS / "digits_flat.npz",
        options=Options(**options),  # type: ignore[arg-type]
        verify_samples=4,
    )


def notes(report: ReportData, name: str) -> list[str]:
    return [note.code for each in report.passes if each.name == name for note in each.notes]


def test_pruning_halts_where_the_quantized_network_would_break_the_contract(tmp_path: Path) -> None:
    greedy = compile(request(tmp_path / "a", sparsity=0.9, criterion="random", max_drop=0.03)).report
    careful = compile(
        request(tmp_path / "b", sparsity=0.9, criterion="random", max_drop=0.03, schedule="iterative")
    ).report
    assert greedy.accuracy and careful.accuracy
    assert not greedy.verdict.met and greedy.verdict.binding == "accuracy"
    assert "halted-by-contract" in notes(careful, "prune_channels")
    assert careful.size.macs_before > careful.size.macs_after > greedy.size.macs_after
    assert careful.accuracy.after > greedy.accuracy.after + 0.1
    assert careful.accuracy.before - careful.accuracy.after <= 2 * 0.03  # on samples that the schedule did not see


def test_a_contract_missed_by_chance_is_tried_again_more_carefully(tmp_path: Path) -> None:
    """A metric that is kinder on the held-out samples than on those of the verdict."""
    sizes: list[int] = []

    def biased(outputs: np.ndarray, labels: np.ndarray) -> float:
        sizes.append(len(labels))
        score = top1(outputs, labels)
        return score if len(labels) == SCORED else 1 - (1 - score) / 4

    asked = replace(request(tmp_path / "out", sparsity=0.8, max_drop=0.02, schedule="iterative"), metric=biased)
    report = compile(asked).report
    assert SCORED in sizes and len(set(sizes)) == 2
    (first, *_) = report.notes
    assert first.startswith("Allowed to lose 0.02 on held-out samples") and "ran again with 0.01" in first
    assert report.accuracy and report.verdict.met == (report.accuracy.before - report.accuracy.after <= 0.02)
    once = [note for note in report.notes if "ran again" in note]
    assert len(once) <= 2


def test_what_the_bits_cost_counts(tmp_path: Path) -> None:
    """Two-bit activations alone break the contract: then nothing may be pruned, and the verdict says what cost what."""
    options = {"sparsity": 0.1, "max_drop": 0.008, "schedule": "iterative"}
    wide = compile(request(tmp_path / "wide", **options)).report
    narrow = compile(request(tmp_path / "narrow", **options, activation_bits=2)).report
    assert wide.size.macs_after < wide.size.macs_before
    assert narrow.size.macs_after == narrow.size.macs_before
    assert "halted-by-contract" in notes(narrow, "prune_channels")
    assert not narrow.verdict.met and narrow.verdict.binding == "accuracy"
    assert narrow.accuracy and narrow.accuracy.unquantized == narrow.accuracy.before
    assert "0.0000 went with what was removed" in narrow.verdict.why
    assert "without --sparsity" not in narrow.verdict.why


def test_too_much_removed_says_what_helps(tmp_path: Path) -> None:
    verdict = compile(request(tmp_path / "out", sparsity=0.9, max_drop=0.01)).report.verdict
    assert verdict.binding == "accuracy"
    assert "without --sparsity as much is removed as keeps the accuracy, and --epochs" in verdict.why


def test_a_sparsity_out_of_reach_is_a_bound_missed(tmp_path: Path) -> None:
    report = compile(request(tmp_path / "out", layer_sparsity=0.5)).report  # there are no residual blocks
    assert report.verdict.binding == "layer_sparsity"
    assert "at most 0.0 % can go" in report.verdict.why
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_a_metric_is_asked_before_anything_takes_long(tmp_path: Path) -> None:
    said: list[str] = []

    def fails(outputs: object, labels: object) -> float:
        raise RuntimeError

    with pytest.raises(UsageError, match="metric failed"):
        compile(replace(request(tmp_path / "out"), metric=fails), lambda what, _fraction: said.append(what))
    assert not said
    assert not list(tmp_path.iterdir())


def test_progress_only_goes_on(tmp_path: Path) -> None:
    seen: list[float] = []
    compile(request(tmp_path / "out", sparsity=0.3), lambda _what, fraction: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[0] == 0.0 and seen[-1] == 1.0
    assert len({round(fraction, 2) for fraction in seen}) > 10


def test_the_report_holds_what_was_asked(tmp_path: Path) -> None:
    settings = {"model": DIGITS / "mlp.onnx", "target": "npu-16nm", "seed": 1}
    compile(replace(request(tmp_path / "out"), configuration=settings))
    provenance = json.loads((tmp_path / "out" / "report.json").read_text())["provenance"]
    assert provenance["configuration"]["target"] == "npu-16nm"
    assert (tmp_path / "out" / provenance["configuration"]["model"]).resolve() == DIGITS / "mlp.onnx"
    assert 'target = "npu-16nm"' in (tmp_path / "out" / "prunus.toml").read_text()
