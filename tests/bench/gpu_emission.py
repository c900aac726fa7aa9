"""Which networks become GPU artefacts, how long that takes, and whether anything executed them.

    python tests/bench/gpu_emission.py [--network resnet50] [--device cuda] [--float-type float16] [--nvcc]

Every network is quantized the way the device wants and lowered as `prunus compile` does: the int8 model is compared
with the integer reference in onnxruntime on the CPU, the float library is executed where a CUDA device is at hand.
With --nvcc the CUDA source is handed to NVIDIA's compiler, where that is installed: it must take it without an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from networks import MLPERF_TINY, NETWORKS, compress

from prunus.compiler.errors import PrunusError
from prunus.compiler.lowering import with_float_type
from prunus.compiler.target import Device, Networks
from prunus.targets.catalog import device_files
from prunus.targets.gpu import GpuTarget

DEFAULT = (*MLPERF_TINY, "resnet50")
SLOW_S = 60.0


@dataclass(frozen=True)
class Emission:
    """One network on one device. `layers` counts the reason codes of its layers."""

    network: str
    device: str
    float_type: str
    seconds: float
    status: str
    int8_equal: float
    int8_sqnr_db: float | None
    library_bytes: int
    int8_bytes: int
    layers: dict[str, int]
    plain_schedules: int
    nvcc: str

    def line(self) -> str:
        slow = " (slow)" if self.seconds > SLOW_S else ""
        sqnr = "no difference" if self.int8_sqnr_db is None else f"{self.int8_sqnr_db:.1f} dB"
        counts = ", ".join(f"{code} {count}" for code, count in sorted(self.layers.items()))
        plain = f", plain schedules {self.plain_schedules}" if self.plain_schedules else ""
        return (
            f"{self.network:<13} {self.device:<16} {self.float_type} {self.seconds:7.1f} s{slow}; {self.status}; "
            f"int8 on the CPU: {100 * self.int8_equal:.2f} % equal, {sqnr}; "
            f"library {self.library_bytes / 1e6:.1f} MB, int8 {self.int8_bytes / 1e6:.2f} MB; {counts}"
            f"{plain}{self.nvcc}"
        )


def emit(name: str, device: Device, options: argparse.Namespace) -> Emission:
    """Lowers one network. Raises PrunusError where it cannot be lowered."""
    target = GpuTarget()
    model, samples = NETWORKS[name](options.models)
    net = compress(model, samples, options.density, target.formats(device), pattern=options.pattern)
    with tempfile.TemporaryDirectory(prefix="prunus-emission-") as folder:
        out = Path(folder)
        start = time.perf_counter()
        artifact = target.lower_networks(Networks(net.float_model, net.qdq), net.graph, device, out)
        seconds = time.perf_counter() - start
        manifest = artifact.manifest
        return Emission(
            name,
            device.name,
            manifest["float_type"],
            seconds,
            manifest["status"],
            manifest["int8_on_cpu"]["equal"],
            manifest["int8_on_cpu"]["sqnr_db"],
            (out / "model_float.so").stat().st_size,
            (out / "model_int8.onnx").stat().st_size,
            dict(Counter(finding.reason_code for finding in target.check(net.graph, device))),
            sum(manifest["plain_schedules"].values()),
            _nvcc(out, manifest["arch"]) if options.nvcc and manifest["api"] == "cuda" else "",
        )


def _nvcc(folder: Path, arch: str) -> str:
    if shutil.which("nvcc") is None:
        return "; nvcc: not installed"
    start = time.perf_counter()
    argv = ["nvcc", "-w", "--cubin", f"-arch={arch}", "-o", "kernels.cubin", "kernels.cu"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=1800, check=False)
    said = f"takes it, {time.perf_counter() - start:.0f} s" if done.returncode == 0 else f"fails: {done.stderr[-300:]}"
    return f"; nvcc: {said}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=list(NETWORKS), help=f"default: {', '.join(DEFAULT)}")
    parser.add_argument("--device", action="append", choices=[n for n, f in device_files().items() if f.kind == "gpu"])
    parser.add_argument("--float-type", default="device", choices=["device", "float32", "float16"])
    parser.add_argument("--pattern", default="2:4", help="of zeros inside of layers, with --density below 1")
    parser.add_argument("--density", type=float, default=1.0)
    parser.add_argument("--nvcc", action="store_true")
    parser.add_argument("--models", type=Path, help="folder of the trained models; default: $PRUNUS_MODELS")
    parser.add_argument("--out", type=Path, help="a JSON file for everything that was found")
    options = parser.parse_args()
    options.models = options.models or Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    done, failed = [], 0
    for name in options.network or DEFAULT:
        for device_name in options.device or ("cuda", "opencl"):
            device = with_float_type(device_files()[device_name].device("gpu"), options.float_type)
            try:
                done.append(emit(name, device, options))
            except FileNotFoundError as error:
                print(f"skipped: {name}: {error}")
            except PrunusError as error:
                failed += 1
                print(f"failed: {name} for {device_name}: {error}")
            else:
                print(done[-1].line(), flush=True)
    if options.out:
        options.out.write_text(json.dumps([asdict(each) for each in done], indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
