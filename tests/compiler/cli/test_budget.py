"""`--budget` in shares, budgets that nothing keeps, and `prunus search`, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


def prunus(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prunus.compiler.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def compile_mlp(out: Path, budget: str) -> subprocess.CompletedProcess[str]:
    data = DIGITS / "digits_flat.npz"
    model = DIGITS / "mlp.onnx"
    return prunus("compile", model, "-t", "npu-16nm", "--data", data, "--budget", budget, "--out", out, "--json")


def test_a_share_of_the_unpruned_latency_is_kept(tmp_path: Path) -> None:
    result = compile_mlp(tmp_path / "out", "latency=75%")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    before, after = (
        next(row["value"] for row in report[part] if row["name"] == "latency_s") for part in ("baseline", "estimate")
    )
    assert after <= 0.75 * before
    details = next(each["details"] for each in report["passes"] if each["name"] == "fit_budget")
    assert details["predicted"]["latency_s"] == pytest.approx(after, rel=0.1)
    assert len(details["front"]) >= 2
    assert report["accuracy"]["after"] > report["accuracy"]["before"] - 0.05


def test_an_impossible_budget_is_exit_5_and_names_the_nearest(tmp_path: Path) -> None:
    result = compile_mlp(tmp_path / "out", "latency=1ns,energy=90%")
    assert result.returncode == 5, result.stderr
    verdict = json.loads(result.stdout)["verdict"]
    assert (verdict["met"], verdict["binding"]) == (False, "latency_s")
    assert "Nearest budget found: " in verdict["why"]


def test_more_than_the_unpruned_network_is_no_budget(tmp_path: Path) -> None:
    result = compile_mlp(tmp_path / "out", "latency=120%")
    assert result.returncode == 2
    assert json.loads(result.stdout)["code"] == "bad-budget"
    assert not (tmp_path / "out").exists()


def test_a_search_writes_networks_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    common = ("search", DIGITS / "mlp.onnx", "-t", "npu-16nm", "--data", DIGITS / "digits_flat.npz", "--json")
    first = prunus(*common, "--out", tmp_path / "out", "--trials", 10)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["networks"]
    assert all((tmp_path / "out" / row["file"]).is_file() for row in found["networks"])
    assert all(row["estimated"] == pytest.approx(row["cost"], rel=0.1) for row in found["networks"])
    assert (tmp_path / "out" / "front.svg").read_text().startswith("<svg")
    second = json.loads(prunus(*common, "--out", tmp_path / "out", "--trials", 14).stdout)
    assert (second["resumed_from"], second["trials"]) == (10, 14)
    other = prunus(*common, "--out", tmp_path / "out", "--trials", 14, "--seed", 1)
    assert (other.returncode, json.loads(other.stdout)["code"]) == (2, "other-search")
