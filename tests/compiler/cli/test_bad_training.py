"""What users may get wrong about training and its schedules: the message, the exit code, and nothing half written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from prunus.compiler import cli

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
TRAIN = ("train", "model.onnx", "--data", "data.npz", "--out", "out.onnx", "--epochs", "2")
TAUGHT = (*TRAIN, "--teacher", "model.onnx")
PRUNE = ("prune", "model.onnx", "--data", "data.npz", "--out", "out.onnx")

CASES: dict[str, tuple[str, ...]] = {
    # what to learn from
    "no-labels": (*TRAIN, "--data", "unlabelled.npz"),
    "labels-of-another-task": (*TRAIN, "--outputs", "3"),
    "teacher-of-another-task": (*TAUGHT, "--outputs", "3", "--data", "unlabelled.npz"),
    "teacher-without-the-feature": (*TAUGHT, "--feature", "logits=nothing"),
    "feature-without-a-teacher": (*TRAIN, "--feature", "logits=logits"),
    "transfer-without-a-teacher": (*TRAIN, "--transfer", "unlabelled.npz"),
    # parts
    "no-head": (*TRAIN, "--outputs", "3", "bend.onnx"),
    "no-such-node": (*TRAIN, "--freeze-until", "nowhere"),
    "no-such-part": (*TRAIN, "--freeze", "features.*"),
    "all-frozen": (*TRAIN, "--freeze", "*"),
    # augmentation
    "unknown-augmentation": (*TRAIN, "--augment", "wobble"),
    "no-picture": (*TRAIN, "--augment", "mixup", "--augment", "flip"),
    # schedules
    "target-out-of-reach": (*TRAIN, "--weight-sparsity", "0.95", "--pattern", "8x32"),
    "channels-out-of-reach": (*TAUGHT, "--epochs", "4", "--sparsity", "0.95", "--criterion", "l2", "pinned.onnx"),
    "nothing-to-prune": (*TRAIN, "--weight-sparsity", "0.5", "--pattern", "512x512"),
    "too-few-steps": (*TRAIN, "--epochs", "1", "--batch", "120", "--weight-sparsity", "0.5", "--pattern", "weight"),
    "fewer-epochs-than-stages": (*TAUGHT, "--sparsity", "0.5"),
    "no-training": (*PRUNE, "--schedule", "gradual", "--weight-sparsity", "0.5"),
    "nothing-asked-away": (*TRAIN, "--schedule", "surgery"),
    "one-shot-while-training": (*TRAIN, "--schedule", "one-shot", "--weight-sparsity", "0.5"),
    "channels-by-surgery": (*TRAIN, "--schedule", "surgery", "--sparsity", "0.5", "--weight-sparsity", "0.5"),
    "rewind-beyond-the-end": (*TRAIN, "--schedule", "lottery", "--weight-sparsity", "0.5", "--rewind", "2",
                              "--pattern", "weight"),
    "initial-of-another-network": (*TRAIN, "--schedule", "lottery", "--weight-sparsity", "0.5", "--pattern", "weight",
                                   "--initial", "pinned.onnx"),
    "initial-without-a-lottery": (*TRAIN, "--initial", "model.onnx"),
    # checkpoints
    "checkpoint-of-a-lottery-damaged": (*TRAIN, "--schedule", "lottery", "--weight-sparsity", "0.5", "--pattern",
                                        "weight", "--checkpoint", "damaged"),
    "checkpoint-of-another-run": (*TRAIN, "--weight-sparsity", "0.5", "--pattern", "weight", "--checkpoint",
                                  "old.ckpt"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier, networks that lack something, data with labels and without, and bad checkpoints."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "model.onnx").write_bytes((DIGITS / "mlp.onnx").read_bytes())
    with np.load(DIGITS / "digits_flat.npz") as data:
        x, y = data["x"][:120], data["y"][:120]
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "unlabelled.npz", x=x)
    onnx.save(network(("Gemm", ["x", "w"])), folder / "pinned.onnx")
    onnx.save(network(("Mul", ["x", "v"])), folder / "bend.onnx")
    (folder / "damaged.dense").write_bytes(b"prunus.checkpoint/1\n" + b"0" * 64 + b"\nnot what was written")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(*TRAIN, "--checkpoint", "old.ckpt") == 0
    (folder / "out.onnx").unlink()
    return folder


def network(node: tuple[str, list[str]]) -> onnx.ModelProto:
    """One operator from 64 inputs to the output."""
    weights = [
        onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (("w", (64, 10)), ("v", 64))
    ]
    weights = [each for each in weights if each.name in node[1]]
    value = onnx.helper.make_tensor_value_info
    width = 10 if node[0] == "Gemm" else 64
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node, ["y"], "only")], "g", [value("x", 1, [None, 64])], [value("y", 1, [None, width])],
        weights,
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def run(*arguments: str) -> int:
    """The exit code of `prunus …`; a model named last takes the place of the first."""
    words = list(arguments)
    if words[-1] in ("pinned.onnx", "bend.onnx") and words[-2] != "--initial":
        words[1] = words.pop()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["prunus", *words])
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
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(*CASES[name]) == (4 if name == "no-head" else 2)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    captured = capsys.readouterr()
    assert captured.out == ""
    golden(f"errors/train-{name}.txt", captured.err)
