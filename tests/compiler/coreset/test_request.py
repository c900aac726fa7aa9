"""`--coreset`: which samples the flow and the commands then work with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pruning_nets import NETS
from typer.testing import CliRunner

from prunus.compiler.cli import app
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.model.model import Model
from prunus.compiler.model.save import save
from prunus.compiler.samples import choose_samples


def samples(model: Model, count: int = 60) -> Data:
    shape = (count, *list(model.graph.inputs[0].shape)[1:])
    return Data({"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}, np.arange(count) % 5)


def test_one_data_set_is_halved_and_the_coreset_chosen_from_one_half() -> None:
    model = NETS["chain"]()
    found = choose_samples(model, samples(model), None, None, coreset="el2n:8")
    parts = found.calibration, found.scoring
    assert [len(part) for part in parts] == [8, 30]
    rows = [tuple(row) for part in parts for row in part.inputs["x"].reshape(len(part), -1)]
    assert len(set(rows)) == 38


def test_samples_of_their_own_are_reduced() -> None:
    model = NETS["chain"]()
    data = samples(model)
    found = choose_samples(model, data, data, data, coreset="random:8")
    assert len(found.calibration) == 8 and found.scoring is data
    assert found.training is not None and len(found.training) == 8


def test_commands_take_it_and_refuse_bad_ones(tmp_path: Path) -> None:
    model, out = NETS["residual"](), tmp_path / "pruned.onnx"
    save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=samples(model).inputs["x"])
    command = ["prune", str(tmp_path / "m.onnx"), "--data", str(tmp_path / "d.npz"), "--out", str(out), "--json"]
    with pytest.raises(UsageError) as failure:
        CliRunner().invoke(app, [*command, "--coreset", "el2n:16"], catch_exceptions=False)
    assert failure.value.code == "needs-labels" and not out.exists()
    done = CliRunner().invoke(app, [*command, "--coreset", "k-center:16"], catch_exceptions=False)
    assert done.exit_code == 0 and "16 samples" in done.stdout and out.exists()
