"""The commands as a user types them, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


def prunus(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prunus.compiler.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    result = prunus("--help")
    assert result.returncode == 0
    for name in (
        "compile",
        "check",
        "estimate",
        "prune",
        "quantize",
        "pack",
        "unpack",
        "diff",
        "explain",
        "init",
        "targets",
        "passes",
        "bench",
        "doctor",
    ):
        assert name in result.stdout
    heavy = {"numpy", "onnx", "onnxruntime", "torch", "tvm", "hls4ml", "pydantic"}
    probe = f"import sys; import prunus.compiler.cli; print(sorted({heavy!r} & set(sys.modules)))"
    modules = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert modules.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "compile",
        "check",
        "estimate",
        "prune",
        "quantize",
        "pack",
        "unpack",
        "diff",
        "explain",
        "init",
        "targets",
        "bench",
    ],
)
def test_every_command_has_help(command: str) -> None:
    result = prunus(command, "--help")
    assert result.returncode == 0
    assert "Usage" in result.stdout


def test_targets_as_json() -> None:
    rows = json.loads(prunus("targets", "--json").stdout)
    assert {"pynq-z2", "host-cpu", "npu-16nm"} <= {row["device"] for row in rows}


def test_passes_in_order() -> None:
    names = [row["pass"] for row in json.loads(prunus("passes", "--json").stdout)]
    assert names[0] == "normalise"
    assert names[-1] == "cluster_weights"


def test_doctor_names_what_is_missing() -> None:
    rows = json.loads(prunus("doctor", "--json").stdout)
    assert {row["what"] for row in rows} >= {"hls4ml", "apache-tvm", "g++", "vitis_hls"}
    assert all(row["found"] for row in rows)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    result = prunus("compile", "nothing.onnx", "--target", "host-cpu", "--out", str(tmp_path / "out"))
    assert result.returncode != 0
    assert "nothing.onnx" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_device_suggests_the_right_one(tmp_path: Path) -> None:
    result = prunus(
        "compile", DIGITS / "mlp.onnx", "--target", "hostcpu", "--data", DIGITS / "digits_flat.npz", cwd=tmp_path
    )
    assert result.returncode == 2
    assert "host-cpu" in result.stderr
    assert not list(tmp_path.iterdir())


def test_errors_as_json(tmp_path: Path) -> None:
    result = prunus("compile", DIGITS / "mlp.onnx", "--target", "hostcpu", "--json", cwd=tmp_path)
    error = json.loads(result.stdout)
    assert error["code"] == "unknown-device"
    assert error["exit_code"] == result.returncode == 2


def test_without_data_it_says_what_to_give(tmp_path: Path) -> None:
    result = prunus("compile", DIGITS / "mlp.onnx", "--target", "npu-16nm", cwd=tmp_path)
    assert result.returncode == 2
    assert "--data" in result.stderr


def test_a_missed_budget_is_exit_5_with_a_complete_report(tmp_path: Path) -> None:
    result = prunus(
        "compile",
        DIGITS / "mlp.onnx",
        "-t",
        "npu-16nm",
        "--data",
        DIGITS / "digits_flat.npz",
        "--budget",
        "area=0.1",
        "--out",
        tmp_path / "out",
        "--json",
    )
    assert result.returncode == 5, result.stderr
    verdict = json.loads(result.stdout)["verdict"]
    assert verdict == {"met": False, "binding": "area_mm2", "why": verdict["why"]}
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_estimate_compares_devices_in_one_call() -> None:
    result = prunus(
        "estimate", DIGITS / "cnn.onnx", "--target", "npu-16nm,pynq-z2,host-cpu", "--sparsity", "0.5", "--json"
    )
    rows = json.loads(result.stdout)
    assert {row["device"] for row in rows} == {"npu-16nm", "pynq-z2", "host-cpu"}
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"]
        assert row["basis"] == "modelled"
        assert row["source"]
    cycles = {
        row["variant"]: row["value"] for row in rows if row["device"] == "npu-16nm" and row["name"] == "latency_cycles"
    }
    assert cycles["int8, pruned"] < cycles["int8"]


def test_check_says_where_everything_runs() -> None:
    result = prunus("check", DIGITS / "cnn.onnx", "--target", "npu-16nm", "--json")
    rows = json.loads(result.stdout)
    assert {"conv", "add", "gemm"} <= {row["op"] for row in rows}
    assert {row["placement"] for row in rows} <= {"integer", "host"}


def test_prune_quantize_diff_explain(tmp_path: Path) -> None:
    data = ("--data", DIGITS / "calibration.npz")
    pruned, small = tmp_path / "pruned.onnx", tmp_path / "int8.onnx"
    assert prunus("prune", DIGITS / "cnn.onnx", "--out", pruned, "--sparsity", "0.4", *data).returncode == 0
    assert prunus("quantize", pruned, "--out", small, *data).returncode == 0
    result = prunus("diff", pruned, small, *data, "--bisect", "--json")
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)["outputs"][0]
    assert row["output"] == "logits"
    assert row["sqnr_db"] > 20
    compiled = prunus("compile", DIGITS / "cnn.onnx", "-t", "npu-16nm", *data, "--out", tmp_path / "out")
    assert compiled.returncode == 0, compiled.stderr
    assert "every bound is met" in compiled.stdout
    layer = json.loads(prunus("explain", tmp_path / "out", "2", "--json").stdout)
    assert layer["placement"] == "integer"
    wrong = prunus("explain", tmp_path / "out", "no-such-layer")
    assert wrong.returncode == 2
    assert "no layer called" in wrong.stderr


def test_untrusted_compiles_in_a_child(tmp_path: Path) -> None:
    result = prunus(
        "compile",
        DIGITS / "mlp.onnx",
        "-t",
        "npu-16nm",
        "--data",
        DIGITS / "digits_flat.npz",
        "--untrusted",
        "--out",
        tmp_path / "out",
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_init_writes_a_file_that_compiles_and_what_is_kept_compiles_again(tmp_path: Path) -> None:
    file = tmp_path / "prunus.toml"
    made = ("--target", "npu-16nm", "--data", DIGITS / "digits_flat.npz", "--out", file)
    assert prunus("init", DIGITS / "mlp.onnx", *made).returncode == 0
    assert prunus("init", DIGITS / "mlp.onnx", *made).returncode == 2
    first = prunus("compile", "--config", file, "--sparsity", "0.2", "--out", tmp_path / "out", "--json")
    assert first.returncode == 0, first.stderr
    configuration = json.loads(first.stdout)["provenance"]["configuration"]
    assert configuration["sparsity"] == 0.2
    assert configuration["max_drop"] == 0.01
    before = (tmp_path / "out" / "manifest.json").read_text()
    again = prunus("compile", "--config", tmp_path / "out" / "prunus.toml")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "manifest.json").read_text() == before


def test_what_is_missing_is_named() -> None:
    result = prunus("compile", "--target", "host-cpu")
    assert result.returncode == 2
    assert "MODEL is missing" in result.stderr
    assert "prunus.toml" in result.stderr


def test_data_and_metric_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def samples():\n"
        "    rng = np.random.default_rng(0)\n"
        "    return {'x': rng.random((40, 64), dtype=np.float32), 'y': np.zeros(40, np.int64)}\n"
        "def zeros(outputs, labels):\n"
        "    return float(len(outputs) == len(labels) == 20)\n"
    )
    own = ("--data-from", "mine:samples", "--metric", "mine:zeros")
    result = prunus("compile", DIGITS / "mlp.onnx", "-t", "npu-16nm", *own, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    accuracy = json.loads(result.stdout)["accuracy"]
    assert accuracy == {"metric": "zeros", "before": 1.0, "after": 1.0, "samples": 20, "unquantized": 1.0}
