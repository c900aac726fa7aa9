"""Every example runs as its docstring says, from an empty folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from prunus.compiler.data import Data

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

TABLE_ROW = re.compile(r"^│ (\S.*?) │(.*)│$", re.MULTILINE)  # of the demo: name, cells
HOST_COLUMN = 1


def run(script: str, cwd: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def need(*packages: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def test_asic_estimate(tmp_path: Path) -> None:
    out = run("asic_estimate.py", tmp_path)
    assert "latency_cycles" in out
    assert "modelled" in out


@pytest.mark.toolchain
def test_fpga_board(tmp_path: Path) -> None:
    need("hls4ml")
    out = run("fpga_board.py", tmp_path, "out")
    assert "equals the integer reference: 100.00%" in out
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.toolchain
def test_edge_device(tmp_path: Path) -> None:
    need("tvm")
    out = run("edge_device.py", tmp_path, "out")
    assert "equals the integer reference: 100.00%" in out
    assert "(measured;" in out


@pytest.mark.toolchain
def test_microcontroller(tmp_path: Path) -> None:
    out = run("microcontroller.py", tmp_path, "out")
    assert (tmp_path / "out" / "artifact" / "model.c").is_file()
    if shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm"):
        assert "equals the integer reference in 100.00%" in out
    else:
        assert "apt install" in out


def test_serve_onnxruntime(tmp_path: Path) -> None:
    out = run("serve_onnxruntime.py", tmp_path, "out")
    assert "equals the integer reference: 100.00%" in out
    served = re.search(r"served 540 images in 5 requests: ([0-9.]+)% right", out)
    assert served and float(served[1]) >= 97.2, out  # 99.26 % unpruned; the contract allows two points


@pytest.mark.toolchain
def test_from_torch(tmp_path: Path) -> None:
    """Two inputs, dynamic batch, a concatenation of both branches."""
    need("torch", "onnxscript", "tvm")
    out = run("from_torch.py", tmp_path, "out/compiled")
    assert "exact 100.00%" in out


@pytest.mark.toolchain
def test_from_keras(tmp_path: Path) -> None:
    need("tensorflow", "tf2onnx", "tvm")
    assert "exact 100.00%" in run("from_keras.py", tmp_path, "out/compiled")


@pytest.mark.slow
@pytest.mark.toolchain
def test_demo(tmp_path: Path) -> None:
    need("hls4ml", "tvm")
    out = run("demo.py", tmp_path)
    for device in ("pynq-z2", "host-cpu", "npu-16nm"):
        assert (tmp_path / "out" / "demo" / device / "manifest.json").is_file()
        assert f"Report for {device}" in out
    readme = (EXAMPLES.parent / "README.md").read_text()
    shown, found = (dict(TABLE_ROW.findall(text)) for text in (readme.partition("## Use it")[0], out))
    assert shown.keys() == found.keys() and len(found) > 10
    for name, cells in found.items():
        for column, (before, now) in enumerate(zip(shown[name].split("│"), cells.split("│"), strict=True)):
            if (name.strip(), column) != ("Latency (modelled)", HOST_COLUMN):  # what a machine of other kernels changes
                assert agree(before, now), f"README: {name.strip()} {before}; now {now}"


def agree(before: str, now: str) -> bool:
    """The same words and units, numbers within a tenth: what rounding on another processor may change."""
    split = [re.fullmatch(r"\s*([\d.,]*)\s*(.*?)\s*", text) for text in (before, now)]
    (first, unit), (second, other) = (each.groups() for each in split if each)
    if not first or not second:
        return first == second and unit == other
    return unit == other and float(second.replace(",", "")) == pytest.approx(float(first.replace(",", "")), rel=0.1)


def test_a_stale_figure_is_seen() -> None:
    assert agree(" 5,110 cycles ", "5,300 cycles") and agree(" yes ", "yes") and agree("  ", " ")
    assert not agree("61.2 µs", "10.5 µs") and not agree("68 BRAM18", "36 BRAM18")
    assert not agree("1.7 µJ", "1.7 mJ") and not agree("yes", "no: accuracy") and not agree("", "1 LUT")


@pytest.mark.slow
def test_training_gives_the_committed_networks(tmp_path: Path) -> None:
    """The script trains networks as accurate as the committed ones (bytes may differ with another torch)."""
    need("torch", "sklearn", "onnxscript")
    script = tmp_path / "train.py"
    script.write_text((EXAMPLES / "digits" / "train.py").read_text())
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600, check=True)
    scores = [float(line.split("top-1 ")[1].split()[0]) for line in result.stdout.splitlines() if "top-1" in line]
    assert len(scores) == 2
    assert scores[0] > 0.985
    assert scores[1] > 0.955


def test_pictures_to_transfer_on_come_as_the_network_sees_them(tmp_path: Path) -> None:
    """Windows of a picture that is dark above and bright below: in the network's size and range, and repeatable."""
    need("matplotlib", "PIL")
    from PIL import Image

    sys.path.insert(0, str(EXAMPLES))
    try:
        from accuracy_curves import PICTURES, RECIPES, Network, windows
    finally:
        sys.path.remove(str(EXAMPLES))
    picture = np.repeat(np.linspace(0, 255, 60, dtype=np.uint8)[:, None, None], 80, axis=1).repeat(3, axis=2)
    archive = tmp_path / "pictures.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("a", "b"):
            Image.fromarray(picture).save(tmp_path / f"{name}.jpg", quality=95)
            file.write(tmp_path / f"{name}.jpg", f"{name}.jpg")
    np.savez(tmp_path / "more.npz", x=picture[None])
    data = Data({"t0001": np.zeros((1, 16, 16, 3), np.float32)})
    sources = (archive, tmp_path / "more.npz")
    for name, scale in PICTURES.items():
        network = Network(name, None, None, 0.0, data, data)
        (found,) = windows(sources, network).inputs.values()
        assert found.shape == (3 * RECIPES[name].windows, 16, 16, 3) and found.dtype == np.float32
        assert 0 <= found.min() < found.max() <= 255 * scale
        heights = np.ptp(found.mean(axis=(2, 3)), axis=1) / (255 * scale)  # a window's share of the picture's height
        assert 0.35 < heights.min() < heights.max() <= 1
        assert np.all(np.diff(found.mean(axis=(2, 3)), axis=1) > 0)  # still upright
        np.testing.assert_array_equal(found, next(iter(windows(sources, network).inputs.values())))


def test_accuracy_curves(tmp_path: Path) -> None:
    need("matplotlib")
    out = run("accuracy_curves.py", tmp_path, "curves", "--ratios", "2", "--seeds", "1", "--ways", "uniform", "obs")
    assert "| Digits CNN (99.3) | obs |" in out
    again = run("accuracy_curves.py", tmp_path, "curves", "--ratios", "2", "--seeds", "1", "--ways", "uniform", "obs")
    assert "Run(" in out and "Run(" not in again  # what is known is not measured anew
    names = {path.name for path in (tmp_path / "curves").iterdir()}
    assert names == {"curves.json", "curves.md", "curves.svg"}
