"""What the TVM target makes of real networks: exactness, time to compile, size with TVM's runtime, latency.

    python tests/bench/tvm_bundles.py --models FOLDER [--device host-cpu] [--only ds_cnn,resnet8] [--json FILE]

Exactness counts the elements of all integer tensors that equal the integer reference, from the library that would be
shipped; for other processors it runs under an emulator (python -m prunus.targets.tvm.fetch aarch64 first), where no
latency is measured. The payload is model.so with libtvm_runtime.so and libtvm_ffi.so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import integer_models

from prunus.compiler.integer import ops
from prunus.compiler.target import Emitted
from prunus.targets.catalog import device_files
from prunus.targets.tvm import TvmTarget
from prunus.targets.tvm.build import find_toolchain, prepare_kernels
from prunus.targets.tvm.emulate import RUNTIME, runtime_folder
from prunus.targets.tvm.platform import Platform, platform_of

SAMPLES = 2


def runtime_bytes(platform: Platform) -> int:
    """The two libraries of the runtime for a platform; of this machine's where the other is not here."""
    folder = runtime_folder(platform.processor)
    here = [Path(str(find_spec(name).origin)).parent / "lib" for name in ("tvm", "tvm_ffi")]
    found = [folder / name for name in RUNTIME]
    if platform.is_here or not all(path.is_file() for path in found):
        found = [parent / name for parent, name in zip(here, RUNTIME, strict=True)]
    return sum(path.stat().st_size for path in found)


def measure(name: str, device_name: str, models: Path) -> Mapping[str, Any]:
    """One row."""
    device = device_files()[device_name].device("tvm")
    target, platform = TvmTarget(), platform_of(device)
    graph, feeds = integer_models.integer_model(name, models, target.formats(device), SAMPLES)
    with tempfile.TemporaryDirectory(prefix="prunus-bench-") as out:
        start = time.perf_counter()
        artifact = target.lower(graph, device, Path(out))
        compile_s = time.perf_counter() - start
        library = int(artifact.costs["flash_bytes"].value)
        found = target.run(artifact, graph, feeds)
        latency = target.measure(artifact, graph, feeds)
    row: dict[str, Any] = {
        "network": name,
        "compile_s": round(compile_s, 1),
        "library_bytes": library,
        "payload_bytes": library + runtime_bytes(platform),
        "latency_us": round(latency["latency_s"].value * 1e6, 1) if latency else None,
    }
    if isinstance(found, Emitted):
        return {**row, "exact": found.reason}
    expected = ops.run(graph, feeds, keep=True)
    names = graph.integer_tensors()
    equal = sum(int(np.count_nonzero(found[tensor] == expected[tensor])) for tensor in names)
    return {**row, "exact": f"{equal} of {sum(expected[tensor].size for tensor in names)}"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--device", default="host-cpu")
    parser.add_argument("--only", default=",".join(integer_models.NAMES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    start = time.perf_counter()
    prepare_kernels(find_toolchain(platform_of(device_files()[options.device].device("tvm"))))
    print(f"{options.device}: kernels ready after {time.perf_counter() - start:.1f} s (once per platform)", flush=True)
    rows = []
    for name in options.only.split(","):
        rows.append(measure(name, options.device, options.models))
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"device": options.device, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
