"""`prunus train`: ONNX in, ONNX out, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from prunus.compiler.cli import app  # noqa: E402
from prunus.compiler.errors import UsageError  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


def train(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["train", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_distils_and_resumes(tmp_path: Path) -> None:
    model, data = str(DIGITS / "cnn.onnx"), str(DIGITS / "calibration.npz")
    out, checkpoint = tmp_path / "tuned.onnx", tmp_path / "run.ckpt"
    command = [model, "--data", data, "--teacher", model, "--epochs", "1", "--out", str(out), "--json"]
    first = json.loads(train(*command, "--checkpoint", str(checkpoint)))
    assert len(first["losses"]) == 1
    assert first["resumed_from"] == 0
    done = out.read_bytes()
    load(out)
    again = json.loads(train(*command, "--checkpoint", str(checkpoint)))
    assert again["resumed_from"] == 1
    assert out.read_bytes() == done


def test_a_wrong_option_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "tuned.onnx"
    with pytest.raises(UsageError) as refusal:
        train(str(DIGITS / "cnn.onnx"), "--data", str(DIGITS / "calibration.npz"), "--out", str(out), "--loss", "hinge")
    assert refusal.value.code == "bad-training-option"
    assert not out.exists()
