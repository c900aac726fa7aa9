"""What users may get wrong, end to end: the message, the exit code, and nothing half written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from prunus.compiler import cli

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
METRICS = """
import time

def raises(outputs, labels):
    return {}["accuracy"]

def hangs(outputs, labels):
    time.sleep(600)

def not_a_number(outputs, labels):
    return float("nan")

def text(outputs, labels):
    return "good"
"""
COMPILE = ("compile", "model.onnx", "-t", "npu-16nm", "--data", "data.npz", "--out", "out")
PRUNE = ("prune", "model.onnx", "--data", "data.npz", "--out", "out.onnx")
TRAIN = ("train", "model.onnx", "--data", "data.npz", "--out", "out.onnx", "--epochs", "1")

CASES: dict[str, tuple[int, tuple[str, ...]]] = {
    # labels
    "labels-for-mrmr": (2, (*PRUNE, "--criterion", "mrmr", "--data", "unlabelled.npz")),
    "labels-for-a-coreset": (2, (*PRUNE, "--coreset", "el2n:16", "--data", "unlabelled.npz")),
    # metrics
    "metric-raises": (2, (*COMPILE, "--metric", "mine:raises")),
    "metric-hangs": (7, (*COMPILE, "--metric", "mine:hangs", "--metric-timeout", "2")),
    "metric-not-finite": (2, (*COMPILE, "--metric", "mine:not_a_number")),
    "metric-gives-text": (2, (*COMPILE, "--metric", "mine:text")),
    "metric-missing": (2, (*COMPILE, "--metric", "mine:acuracy")),
    "metric-timeout-0": (2, (*COMPILE, "--metric-timeout", "0")),
    # samples
    "too-few-samples-to-halt-by": (
        2,
        (*PRUNE, "--schedule", "iterative", "--max-drop", "0.01", "--data", "few.npz"),
    ),
    "no-data-to-halt-by": (2, ("prune", "model.onnx", "--out", "out.onnx", "--schedule", "iterative")),
    "no-drop-to-halt-by": (2, (*PRUNE, "--schedule", "iterative")),
    # targets out of reach
    "sparsity-1": (2, (*PRUNE, "--sparsity", "1")),
    "sparsity-beyond-what-can-go": (5, ("prune", "pinned.onnx", "--out", "out.onnx", "--sparsity", "0.9")),
    "no-block-to-remove": (5, (*PRUNE, "--layer-sparsity", "0.5")),
    "unknown-schedule": (2, (*PRUNE, "--schedule", "sudden")),
    "unknown-criterion": (2, (*PRUNE, "--criterion", "l3")),
    "unknown-pattern": (2, (*PRUNE, "--weight-sparsity", "0.5", "--pattern", "16by4")),
    "unknown-ranges": (2, (*COMPILE, "--ranges", "maximum")),
    "unknown-pass": (2, (*COMPILE, "--skip-pass", "normalize")),
    # places
    "out-in-no-folder": (2, ("prune", "model.onnx", "--out", "missing/out.onnx")),
    "out-is-a-file": (2, (*COMPILE, "--out", "data.npz")),
    "out-holds-other-files": (2, (*COMPILE, "--out", "damaged")),
    "no-target": (2, ("compile", "model.onnx")),
    "data-missing": (2, (*COMPILE, "--data", "dta.npz")),
    "calibration-missing": (2, ("quantize", "model.onnx", "--out", "out.onnx")),
    # training
    "checkpoint-damaged": (2, (*TRAIN, "--checkpoint", "damaged.ckpt")),
    "checkpoint-damaged-in-compile": (2, (*COMPILE, "--epochs", "1", "--checkpoint-dir", "damaged")),
    "torch-missing": (6, (*COMPILE, "--epochs", "1")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, one whose channels are all its outputs, and data of several kinds."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "model.onnx").write_bytes((DIGITS / "mlp.onnx").read_bytes())
    (folder / "mine.py").write_text(METRICS)
    with np.load(DIGITS / "digits_flat.npz") as data:
        x, y = data["x"][:120], data["y"][:120]
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "unlabelled.npz", x=x)
    np.savez(folder / "few.npz", x=x[:6], y=y[:6])
    (folder / "damaged.ckpt").write_bytes(b"prunus.checkpoint/1\n" + b"0" * 64 + b"\nnot what was written")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "fine_tune.ckpt").write_bytes(b"")
    onnx.save(all_pinned(), folder / "pinned.onnx")
    return folder


def all_pinned() -> onnx.ModelProto:
    """One layer from input to output: nothing can go."""
    weights = onnx.numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 8]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def run(*arguments: str) -> int:
    """The exit code of `prunus …`."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["prunus", *arguments])
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", CASES)
def test_it_is_explained_and_leaves_nothing_behind(
    name: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    golden: Callable[[str, str], None],
) -> None:
    if "checkpoint" in name or "train" in name:
        pytest.importorskip("torch")
    if name == "torch-missing":
        monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.chdir(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}
    code, command = CASES[name]
    assert run(*command) == code
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}
    assert {path.name for path in after} == {path.name for path in before}
    captured = capsys.readouterr()
    assert captured.out == ""
    golden(f"errors/cli-{name}.txt", captured.err)
