"""The whole way on the digits networks: three kinds of hardware, byte for byte reproducible, hostile names or plain."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest

from prunus.compiler.passes import PASSES

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
NEEDS = {"host-cpu": "tvm", "pynq-z2": "hls4ml", "npu-16nm": "numpy"}
DEVICES = ("npu-16nm", "host-cpu", "pynq-z2")


def compile_digits(
    device: str, out: Path, model: Path = DIGITS / "mlp.onnx", *extra: str, seed: str = "0", epoch: str | None = None
) -> dict:
    """Runs `prunus compile` in a process of its own; returns report.json."""
    if find_spec(NEEDS[device]) is None:
        pytest.skip(f"{device} needs the package {NEEDS[device]}")
    data = DIGITS / ("digits.npz" if model.stem.startswith("cnn") else "digits_flat.npz")
    command = [sys.executable, "-m", "prunus.compiler.cli", "compile", str(model), "-t", device, "--data", str(data)]
    command += ["--out", str(out), "--verify-samples", "40", *extra]
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    environment |= {"PYTHONHASHSEED": seed} | ({"SOURCE_DATE_EPOCH": epoch} if epoch else {})
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=out.parent, env=environment, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads((out / "report.json").read_text())


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_report(report: dict, folder: Path) -> None:
    """What every finished compilation must show."""
    assert report["schema"] == "prunus.report/1"
    assert report["verdict"]["met"], report["verdict"]
    assert report["fidelity"]["exact_fraction"] == 1.0
    assert report["fidelity"]["compared_elements"] > 400
    assert report["accuracy"]["metric"] == "top1"
    assert report["accuracy"]["after"] >= report["accuracy"]["before"] - 0.03
    assert report["estimate"]
    assert all(row["basis"] in ("measured", "synthesised", "modelled") and row["source"] for row in report["estimate"])
    assert [each["name"] for each in report["passes"]] == [each.name for each in PASSES]
    for name in ("report.json", "report.html", "model.onnx", "manifest.json"):
        assert (folder / name).stat().st_size > 0
    assert onnx.load(folder / "model.onnx").ir_version <= 10


@pytest.mark.toolchain
@pytest.mark.parametrize("device", DEVICES)
def test_mlp_compiles_exactly(device: str, tmp_path: Path) -> None:
    check_report(compile_digits(device, tmp_path / "out"), tmp_path / "out")


@pytest.mark.toolchain
@pytest.mark.parametrize("device", ["npu-16nm", "host-cpu", pytest.param("pynq-z2", marks=pytest.mark.slow)])
def test_pruned_residual_cnn_compiles_exactly(device: str, tmp_path: Path) -> None:
    """Half of the MACs pruned away: smaller, and within 3 points of the original."""
    report = compile_digits(device, tmp_path / "out", DIGITS / "cnn.onnx", "--sparsity", "0.5")
    check_report(report, tmp_path / "out")
    assert report["size"]["macs_after"] <= 0.55 * report["size"]["macs_before"]
    assert report["size"]["bytes_after"] < 0.3 * report["size"]["bytes_before"]


def without_clock(report: dict) -> dict:
    """The report without what depends on the clock: when it was made, and the seconds of each pass."""
    provenance = {key: value for key, value in report["provenance"].items() if key != "created"}
    passes = [{key: value for key, value in each.items() if key != "seconds"} for each in report["passes"]]
    return report | {"provenance": provenance, "passes": passes}


@pytest.mark.toolchain
@pytest.mark.parametrize("device", DEVICES)
def test_two_runs_are_byte_identical(device: str, tmp_path: Path) -> None:
    """From two folders, with two hash seeds: every file but report.json, and that one but for the clock."""
    first = compile_digits(device, tmp_path / "a" / "out", seed="1")
    second = compile_digits(device, tmp_path / "b b" / "other", seed="2")
    assert first["provenance"]["created"]
    assert without_clock(first) == without_clock(second)
    found, again = digests(tmp_path / "a" / "out"), digests(tmp_path / "b b" / "other")
    assert {"manifest.json", "model.onnx", "report.html", "report.json"} < found.keys()
    del found["report.json"], again["report.json"]
    assert found == again


def test_a_fixed_clock_makes_the_report_identical_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        compile_digits("npu-16nm", tmp_path / name / "out", epoch="0")
    assert digests(tmp_path / "a" / "out") == digests(tmp_path / "b" / "out")


HOSTILE = (
    'a"; system("touch PWNED"); //',
    "b\n#include </etc/passwd>\n",
    "*/ int main(){} /*",
    "{}{0}%s%n",
    "[exec touch PWNED]",
    '`include "x"',
    "<script>alert(1)</script>",
    "../../../../tmp/x",
    "$(touch PWNED)",
    "\u202e\x00\x1b[31m",
    "module",
    "n0001",
    "t0001",
)


def with_hostile_names(source: Path, target: Path) -> None:
    """The same model under names that try everything."""
    model = onnx.load(source)
    graph = model.graph
    renamed: dict[str, str] = {"": ""}

    def rename(name: str) -> str:
        return renamed.setdefault(name, f"{HOSTILE[len(renamed) % len(HOSTILE)]}{len(renamed)}".replace("\x00", "\\0"))

    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = rename(value.name)
    for index, node in enumerate(graph.node):
        node.name = f"{HOSTILE[index % len(HOSTILE)]}".replace("\x00", "\\0")
        node.doc_string = HOSTILE[0]
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    graph.name, model.producer_name, model.doc_string = HOSTILE[1], HOSTILE[2], HOSTILE[6]
    model.metadata_props.add(key=HOSTILE[0], value=HOSTILE[4])
    onnx.save(model, target)


@pytest.mark.toolchain
@pytest.mark.parametrize("device", DEVICES)
def test_hostile_names_give_the_same_artefact_and_run_nothing(device: str, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with_hostile_names(DIGITS / "mlp.onnx", tmp_path / "m" / "hostile.onnx")
    report = compile_digits(device, tmp_path / "x" / "out", tmp_path / "m" / "hostile.onnx")
    compile_digits(device, tmp_path / "y" / "out")
    check_report(report, tmp_path / "x" / "out")
    found, plain = (digests(tmp_path / name / "out" / "artifact") for name in ("x", "y"))
    assert found == plain
    assert not list(tmp_path.rglob("*PWNED*"))
    page = (tmp_path / "x" / "out" / "report.html").read_text()
    assert "<script>alert(1)" not in page


@pytest.mark.skipif(not os.environ.get("PRUNUS_EXPECT_WHEEL"), reason="only when the built wheel is under test")
def test_this_is_the_wheel() -> None:
    import prunus.compiler

    assert "site-packages" in str(Path(prunus.compiler.__file__))
