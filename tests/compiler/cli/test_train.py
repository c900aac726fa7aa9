"""`prunus train`: ONNX in, ONNX out, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from prunus.compiler.cli import app  # noqa: E402
from prunus.compiler.errors import UsageError  # noqa: E402
from prunus.compiler.model.edit import weight  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402
from prunus.compiler.model.workload import workload  # noqa: E402

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


def test_it_learns_from_further_samples(tmp_path: Path) -> None:
    """Beside 16 samples of the task, three times as many steps in an epoch; the same from a configuration file."""
    model, few, more = str(DIGITS / "cnn.onnx"), tmp_path / "few.npz", tmp_path / "more.npz"
    with np.load(DIGITS / "calibration.npz") as digits:
        np.savez(few, x=digits["x"][:16])
        np.savez(more, x=digits["x"][16:48])
    command = [model, "--data", str(few), "--teacher", model, "--epochs", "1", "--batch", "8"]
    outs = [tmp_path / f"{name}.onnx" for name in ("alone", "both", "configured")]
    train(*command, "--out", str(outs[0]))
    train(*command, "--out", str(outs[1]), "--transfer", str(more))
    (tmp_path / "prunus.toml").write_text(f'transfer = "{more}"\n')
    train(*command, "--out", str(outs[2]), "--config", str(tmp_path / "prunus.toml"))
    alone, both, configured = (out.read_bytes() for out in outs)
    assert alone != both == configured


def test_compiling_says_where_a_training_was_undone(tmp_path: Path) -> None:
    model, data = str(DIGITS / "cnn.onnx"), str(DIGITS / "digits.npz")
    command = ["compile", model, "--target", "npu-16nm", "--data", data, "--sparsity", "0.8", "--epochs", "2"]
    for rate, said in (("3", True), ("0.01", False)):
        out = tmp_path / rate
        arguments = [*command, "--loss", "cross_entropy", "--learning-rate", rate, "--out", str(out)]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert ("Note: The training is undone" in result.stdout) == said


@pytest.mark.parametrize(
    ("options", "share"),
    [
        (("--weight-sparsity", "0.6", "--pattern", "weight"), 0.6),
        (("--weight-sparsity", "0.6", "--pattern", "weight", "--schedule", "surgery"), 0.6),
        (("--weight-sparsity", "0.6", "--pattern", "weight", "--schedule", "lottery", "--rounds", "1"), 0.6),
        (("--weight-sparsity", "0.5", "--pattern", "2:4", "--augment", "shift"), 0.5),
    ],
)
def test_it_prunes_weights_meanwhile(options: tuple[str, ...], share: float, tmp_path: Path) -> None:
    out = tmp_path / "tuned.onnx"
    command = (str(DIGITS / "cnn.onnx"), "--data", str(DIGITS / "calibration.npz"), "--epochs", "2", "--out", str(out))
    summary = json.loads(train(*command, *options, "--json"))
    assert summary["zeros"][-1] == pytest.approx(share, abs=0.01)
    weights = [weight(value) for value in load(out).graph.initializers.values()]
    kernels = [each for each in weights if each.ndim > 1 and each.dtype == np.float32]
    zeros = sum(np.count_nonzero(each == 0) for each in kernels) / sum(each.size for each in kernels)
    assert zeros == pytest.approx(share, abs=0.02)


def test_it_prunes_channels_meanwhile(tmp_path: Path) -> None:
    model, out = str(DIGITS / "cnn.onnx"), tmp_path / "tuned.onnx"
    command = (model, "--data", str(DIGITS / "calibration.npz"), "--teacher", model, "--epochs", "2", "--out", str(out))
    train(*command, "--sparsity", "0.6", "--criterion", "l2", "--rounds", "2")
    assert workload(load(out)).macs < 0.4 * workload(load(model)).macs


def test_it_learns_another_task_behind_frozen_parts(tmp_path: Path) -> None:
    model, out, data = DIGITS / "cnn.onnx", tmp_path / "tuned.onnx", tmp_path / "parity.npz"
    with np.load(DIGITS / "calibration.npz") as digits:
        np.savez(data, x=digits["x"], y=digits["y"] % 2)
    proto = onnx.load(model)
    head = [node for node in proto.graph.node if node.op_type == "Gemm"][-1]
    until = next(node.name for node in proto.graph.node if node.output[0] == head.input[0])
    command = (str(model), "--data", str(data), "--out", str(out), "--epochs", "1", "--json")
    summary = json.loads(train(*command, "--outputs", "2", "--freeze-until", until))
    assert sorted(summary["trained"]) == sorted(head.input[1:])
    assert load(out).graph.outputs[0].shape[1] == 2


def test_a_wrong_option_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "tuned.onnx"
    with pytest.raises(UsageError) as refusal:
        train(
            str(DIGITS / "cnn.onnx"), "--data", str(DIGITS / "calibration.npz"), "--out", str(out), "--augment", "hinge"
        )
    assert refusal.value.code == "bad-training-option"
    assert not out.exists()
