"""`prunus estimate` for chips, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "examples" / "digits" / "cnn.onnx"

CHIP = """
architecture:
  version: 1
  name: mine
  technology: {node: 16 nm, clock: 1 GHz}
  nodes:
    - {class: dram, bandwidth: 3.2 GB/s}
    - {class: sram, name: buffer, size: 64 KiB}
    - {class: systolic, rows: 16, columns: 16, pe: {}}
    - {class: vector, lanes: 16}
"""


def prunus(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prunus.compiler.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(CHIP)
    return path


def test_a_file_of_ones_own_sweep_and_study(chip: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    sweep = ("--sweep", "rows=4|8|16,glb=32|64")
    result = prunus("estimate", DIGITS, "--target", f"asic:{chip}", "--sparsity", "0.5", *sweep, "--out", out, "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert len(data["sweep"]) == 6
    assert data["pareto"]
    assert set(data["networks"]) == {"int8", "int8, pruned"}
    assert json.loads((out / "study.json").read_text()) == data
    assert (out / "manifest.json").is_file()
    assert "energy_j" not in data["networks"]["int8"]["costs"]  # the file states none


def test_a_model_against_another_with_activations_measured(chip: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    data = DIGITS.parent / "data.npz"
    if not data.is_file():
        data = next(iter(sorted(DIGITS.parent.glob("*.npz"))))
    result = prunus(
        "estimate", DIGITS, "--target", "eyeriss-v1", "--against", DIGITS, "--data", data, "--out", out, "--json"
    )
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)["networks"]) == {"int8", "against"}


def test_errors_of_a_user_file_come_with_path_and_hint(chip: Path) -> None:
    chip.write_text(CHIP.replace("rows: 16", "rows: 0"))
    result = prunus("estimate", DIGITS, "--target", f"asic:{chip}", "--json")
    assert result.returncode == 2
    assert json.loads(result.stdout)["where"] == "mine.yaml: architecture.nodes[2].rows"
    chip.write_text(CHIP.replace("lanes", "lnes"))
    result = prunus("estimate", DIGITS, "--target", f"asic:{chip}", "--json")
    assert json.loads(result.stdout)["hint"] == "Did you mean 'lanes'?"


def test_other_devices_cannot_be_swept(tmp_path: Path) -> None:
    result = prunus("estimate", DIGITS, "--target", "pynq-z2", "--sweep", "rows=1|2", "--out", tmp_path / "x", "--json")
    assert result.returncode == 2
    assert json.loads(result.stdout)["code"] == "no-study"
