"""`prunus inspect`, and what `prunus explain` says of a layer before it was pruned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pruning_nets import NETS
from typer.testing import CliRunner

from prunus.compiler.cli import app
from prunus.compiler.errors import UsageError
from prunus.compiler.model.save import save


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    model, data = tmp_path / "m.onnx", tmp_path / "d.npz"
    save(NETS["residual"](), model)
    np.savez(data, x=np.random.default_rng(0).standard_normal((48, 3, 8, 8)).astype(np.float32))
    return model, data


def test_without_data_it_says_what_goes_and_what_that_saves(files: tuple[Path, Path]) -> None:
    command = ["inspect", files[0], "--target", "npu-16nm", "--sparsity", "0.3"]
    shown = run(*command)
    assert "l2" in shown and "Energy" in shown and "needs-data" in shown
    told = json.loads(run(*command, "--json"))
    assert told["outlook"]["cost"]["energy_j"] > min(each["cost"]["energy_j"] for each in told["outlook"]["criteria"])
    assert [each["channels"] for each in told["redundancy"]] == [8, 6, 8, 5]


def test_with_data_it_measures_the_loss(files: tuple[Path, Path]) -> None:
    told = json.loads(run("inspect", files[0], "--data", files[1], "--coreset", "k-center:32", "--json"))["outlook"]
    losses = {each["criterion"]: (each["loss"], each["refitted_loss"]) for each in told["criteria"]}
    assert told["samples"] == 16 and all(None not in pair for pair in losses.values())
    assert losses["obs"][1] < losses["random"][1]
    quick = json.loads(run("inspect", files[0], "--data", files[1], "--no-reconstruct", "--json"))["outlook"]
    assert all(each["refitted_loss"] is None for each in quick["criteria"])


def test_what_it_cannot_do_is_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError) as failure:
        run("inspect", files[0], "--data", files[1], "--coreset", "el2n:16")
    assert failure.value.code == "needs-labels"


def test_a_layer_is_explained_as_it_was_before_pruning(tmp_path: Path) -> None:
    removal = {"layer": "conv1", "channels": 16, "removed": 7}
    report = {
        "layers": [{"name": "conv1", "macs": 10}, {"name": "conv2", "macs": 10}],
        "passes": [],
        "redundancy": [{"layer": "conv1", "channels": 16, "duplicates": 3}],
        "outlook": {"criteria": [{"criterion": "l2", "layers": [removal]}]},
    }
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    told = json.loads(run("explain", tmp_path, "conv1", "--json"))
    assert told["redundancy"] == {"channels": 16, "duplicates": 3} and told["criteria"] == {"l2": "7 of 16"}
    assert "criteria" not in json.loads(run("explain", tmp_path, "conv2", "--json"))
