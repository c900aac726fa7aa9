"""The benchmark scripts: their options, their verdicts, and one tiny run of each on what is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import chooser
import models
import numpy as np
import pytest

import kernels
from harness.contest import DENSE, Variant
from harness.network_claims import verdicts
from harness.shapes import conv

BENCH = Path(__file__).resolve().parents[1]
LAYER = conv("layer", 16, 16, 4)


def test_variants_are_dense_once_and_every_block() -> None:
    found = [str(v) for v in kernels.variants([1.0, 0.5, 0.1], ["16x4", "4x4"])]
    assert found == ["dense", "0.5 16x4", "0.5 4x4", "0.1 16x4", "0.1 4x4"]
    assert kernels.variants([0.5], ["16x4"]) == [Variant(0.5, (16, 4))]


def test_layers_are_chosen_by_set_and_name() -> None:
    assert [(s, layer.name) for s, layer in kernels.chosen(["mlp"], None)] == [
        ("mlp", "mlp 1024-1024"),
        ("mlp", "mlp 4096-4096"),
    ]
    assert [layer.name for _, layer in kernels.chosen(None, ["r5 3x3"])] == ["r5 3x3"]
    with pytest.raises(SystemExit, match="no layer is called r6"):
        kernels.chosen(None, ["r5 3x3", "r6"])


def pick(name: str, seconds: dict[str, float]) -> chooser.Choice:
    return chooser.Choice("set", LAYER, DENSE, name, {key: [value] * 11 for key, value in seconds.items()})


def test_a_slow_pick_is_named() -> None:
    good, slow = pick("a", {"a": 1.0, "b": 0.96}), pick("b", {"a": 1.0, "b": 1.1})
    assert chooser.verdict([good])[0].startswith("met: 1 of 1")
    found = chooser.verdict([good, slow])
    assert found[0].startswith("missed: 1 of 2") and "picked b, 0.91" in found[1]


def test_a_hopeless_pick_is_no_good_pick() -> None:
    assert sorted(chooser.promising({"a": lambda: 1.0, "b": lambda: 3.9, "c": lambda: 4.1})) == ["a", "b"]
    assert chooser.verdict([pick("gone", {"a": 1.0})])[0].startswith("missed")


def test_verdicts_on_networks() -> None:
    seconds = {
        ("prunus", 1.0, 1): [0.9] * 11,
        ("prunus", 0.25, 1): [0.6] * 11,
        ("openvino-int8", 1.0, 1): [1.0] * 11,
    }
    found = verdicts("resnet50", models.Results("resnet50", seconds).faster)
    assert "met: resnet50, prunus, density 1: >= 1x openvino-int8: 1.11 [1.11, 1.11]" in found
    assert any(line.startswith("missed: resnet50, prunus, density 0.25: >= 1.8x openvino-int8: 1.67") for line in found)
    assert any(line.startswith("skipped") and line.endswith("not measured") for line in found)


def test_outputs_are_judged() -> None:
    y = np.linspace(0, 1, 11, dtype=np.float32)
    whole = models.Whole(lambda: [y + np.float32(0.01)], "")
    near = models.Contestant("peer", 1.0, lambda n: whole, [y])
    exact = models.Contestant("prunus", 1.0, lambda n: whole, [y], exact=True)
    far = models.Contestant("peer", 1.0, lambda n: whole, [1 - y])
    assert near.check(whole) == ""
    assert exact.check(whole).startswith("differs from the reference by 0.01")
    assert "dB from the reference" in far.check(whole)


def test_an_engine_may_judge_itself() -> None:
    y = np.zeros(3, np.float32)
    wrong = models.Whole(list, "", verdict=lambda: "2 elements differ")
    assert models.Contestant("prunus-c", 1.0, lambda n: wrong, [y], exact=True).check(wrong) == "2 elements differ"


def test_a_slow_peer_of_few_rounds_is_compared() -> None:
    seconds = {("prunus", 1.0, 1): [1.0] * 11, ("tvm-f32", 1.0, 1): [30.0] * 3}
    ratio = models.Results("resnet50", seconds).faster(("prunus", 1.0, 1), ("tvm-f32", 1.0, 1))
    assert ratio is not None and ratio.value == pytest.approx(30)


def test_unknown_peers_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.parse(["--peers", "none"]).peers == []
    assert models.parse(["a.onnx", "--peers", "torch-f32,tvm-f32"]).peers == ["torch-f32", "tvm-f32"]
    with pytest.raises(SystemExit):
        models.parse(["--peers", "tensorrt"])
    assert "'tensorrt' is none of onnxruntime-int8" in capsys.readouterr().err


def test_files_take_the_place_of_the_networks() -> None:
    assert list(models.sources(models.parse(["mine.onnx"]))) == ["mine"]
    assert list(models.sources(models.parse(["mine.onnx", "--network", "resnet8"]))) == ["mine", "resnet8"]
    assert "resnet50" in models.sources(models.parse([]))


def test_cpu_time_of_two_threads_is_refused() -> None:
    with pytest.raises(SystemExit):
        models.parse(["--clock", "cpu", "--threads", "2"])


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("kernels.py", ["--layer", "vww pw 128-128", "--density", "1", "--density", "0.25", "--block", "16x4"]),
        ("chooser.py", ["--layer", "vww pw 128-128", "--density", "0.25", "--block", "16x4", "--timed", "0"]),
    ],
)
def test_a_tiny_run(script: str, options: list[str], tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = [sys.executable, str(BENCH / script), *options, "--rounds", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    if "skipped: the installed kernels" in done.stdout:
        pytest.skip(done.stdout)
    assert "vww pw 128-128" in done.stdout and "claim" in done.stdout
    result = json.loads(out.read_text())
    assert result["machine"]["cpu"]
    measured = result.get("layers", result.get("choices"))
    assert len(measured) == 1


def test_a_model_of_one_s_own(tmp_path: Path) -> None:
    """Every engine that is installed computes the digits network rightly; the others are named."""
    out, model = tmp_path / "result.json", BENCH.parents[1] / "examples" / "digits" / "cnn.onnx"
    command = [sys.executable, str(BENCH / "models.py"), str(model), "--rounds", "2", "--density", "1", "--timed", "0"]
    done = subprocess.run(
        [*command, "--profile", "--out", str(out)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (network,) = json.loads(out.read_text())["networks"]
    timed = {row["engine"] for row in network["timings"]}
    assert {"prunus", "onnxruntime-int8", "onnxruntime-f32"} <= timed
    assert all("not installed" in reason for reason in network["skipped"]), network["skipped"]
    (profile,) = (row["profile"] for row in network["timings"] if row["engine"] == "prunus")
    assert len(profile) > 4
