"""The onnxruntime target on 64-bit Arm, emulated: exactness of every integer tensor, one network after the other.

    python -m pip download onnxruntime==VERSION --no-deps --only-binary=:all: --python-version 3.11 \\
        --platform manylinux_2_28_aarch64
    python tests/bench/ort_aarch64.py onnxruntime-VERSION-….whl --models FOLDER [--only ds_cnn,resnet8] [--json FILE]

Builds the library of custom operators with the cross-compiler of the device `aarch64`, and runs it under qemu-user
inside the runtime of the wheel (1.31 or later, which carries it as a library of its own): with the kernels of Armv8.0,
with dot product and with matrix product. Exit code 1 unless every element of every integer tensor equals the
integer reference, float outputs lie within 1e-5 of it, and unless a model with one other weight shows differences.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "support"))
import integer_models

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets.catalog import device_files
from prunus.targets.ort import OrtTarget
from prunus.targets.ort.model import build_model
from prunus.targets.process import run
from prunus.targets.tvm.archive import source_folder
from prunus.targets.tvm.build import Toolchain, find_toolchain, prepare_kernels
from prunus.targets.tvm.platform import platform_of

TIERS = ("neon", "neondot", "neoni8mm")
SAMPLES = 1
TYPES = {"float32": "f32", "uint8": "u8", "int8": "i8"}
FLOAT_TOLERANCE = 1e-5  # the runtime computes exp otherwise on Arm
TIMEOUT_S = 1800.0
Arrays = Mapping[str, np.ndarray]
CPUINFO = """processor\t: {index}
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""  # Neoverse N1


def sysroot(libraries: Path, folder: Path) -> Path:
    """What the emulator shows as the machine's files, with a /proc/cpuinfo of Arm's: the runtime crashes at loading on
    this machine's own, which qemu-user would show."""
    (folder / "root" / "proc").mkdir(parents=True)
    (folder / "root" / "lib").symlink_to(libraries)
    text = "".join(CPUINFO.format(index=index) for index in sorted(os.sched_getaffinity(0)))
    (folder / "root" / "proc" / "cpuinfo").write_text(text)
    return folder / "root"


def build(toolchain: Toolchain, wheel: Path, folder: Path) -> None:
    """The runtime, the library and the program into `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if Path(name).name.startswith("libonnxruntime.so"))
        (folder / Path(name).name).write_bytes(archive.read(name))
    runtime = folder / Path(name).name
    (folder / "libonnxruntime.so.1").symlink_to(runtime.name)
    sources, kernels = TESTS.parent / "targets" / "ort" / "src", prepare_kernels(toolchain)
    flags = ["-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", f"-I{source_folder() / 'include'}"]
    units = sorted(str(path) for path in sources.glob("*.cc"))
    exports = f"-Wl,--no-undefined,--version-script={sources / 'exports.map'}"
    library = [*flags, "-shared", *units, *map(str, kernels), exports, "-lpthread", "-lm", "-o", "libprunus_ort.so"]
    unit = str(Path(__file__).parent / "harness" / "ort_session.cc")
    program = ["-std=c++20", "-O1", unit, str(runtime), "-Wl,--allow-shlib-undefined", "-o", "ort_session"]
    for words in (library, program):
        run([*toolchain.command, *words], what="The cross-compiler", cwd=folder, timeout_s=TIMEOUT_S)


def execute(graph: ir.Graph, feeds: Arrays, tier: str, emulator: Sequence[str], folder: Path) -> dict[str, bytes]:
    """Every traced tensor as bytes."""
    model = build_model(graph, trace=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    words = []
    for index, (name, array) in enumerate(feeds.items()):
        (folder / f"in{index}").write_bytes(np.ascontiguousarray(array).tobytes())
        words.append(f"{name}:{TYPES[array.dtype.name]}:{'x'.join(map(str, array.shape))}:in{index}")
    names = [value.name for value in model.graph.output]
    program = [*emulator, "-E", f"LD_LIBRARY_PATH={folder}", "./ort_session", "./libprunus_ort.so", "model.onnx"]
    isas = {"PRUNUS_ISA": f"{tier},neon,generic"}
    argv = [*program, *words, "--", *names]
    run(argv, what="The emulated session", cwd=folder, timeout_s=TIMEOUT_S, env=isas, memory_bytes=None)
    return {name: (folder / f"{index}.bin").read_bytes() for index, name in enumerate(names)}


def count_equal(graph: ir.Graph, found: Mapping[str, bytes], expected: Arrays) -> tuple[int, int]:
    """Equal and all elements of the integer tensors."""
    equal = total = 0
    for name in graph.integer_tensors():
        values = np.frombuffer(found[name], expected[name].dtype)
        total += values.size
        equal += int(np.count_nonzero(values == expected[name].ravel()))
    return equal, total


def float_error(graph: ir.Graph, found: Mapping[str, bytes], expected: Arrays) -> float:
    """The largest difference of an output that is no integer: what the runtime's own operators make of it."""
    names = [name for name in graph.outputs if name not in graph.integer_tensors()]
    pairs = [(np.frombuffer(found[name], expected[name].dtype), expected[name].ravel()) for name in names]
    return max((float(np.abs(ours - theirs).max()) for ours, theirs in pairs), default=0.0)


def with_another_weight(graph: ir.Graph) -> ir.Graph:
    """The graph with one weight of its first weighted layer changed."""
    layer = next(op for op in graph.ops if isinstance(op, ir.Linear))
    weight = layer.weight.copy()
    weight.flat[np.abs(weight).argmax()] ^= 64
    return replace(graph, ops=tuple(replace(op, weight=weight) if op is layer else op for op in graph.ops))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="of onnxruntime for aarch64")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", default=",".join(integer_models.NAMES))
    parser.add_argument("--tiers", nargs="+", choices=TIERS, default=list(TIERS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    platform = platform_of(device_files()["aarch64"].device("tvm"))
    formats = OrtTarget().formats(device_files()["host-cpu"].device("ort"))
    rows = []
    with tempfile.TemporaryDirectory(prefix="prunus-bench-") as name:
        folder = Path(name)
        build(find_toolchain(platform), options.wheel, folder)
        emulator = (platform.emulator, "-L", str(sysroot(Path("/usr") / platform.triple / "lib", folder)))
        for network in options.only.split(","):
            graph, feeds = integer_models.integer_model(network, options.models, formats, SAMPLES)
            expected = ops.run(graph, feeds, keep=True)
            for tier in options.tiers:
                found = execute(graph, feeds, tier, emulator, folder)
                equal, total = count_equal(graph, found, expected)
                row = {"network": network, "tier": tier, "equal": equal, "elements": total}
                rows.append({**row, "float_error": float_error(graph, found, expected)})
                print(f"{network:12} {tier:9} {equal:,} of {total:,}, floats {rows[-1]['float_error']:.1e}", flush=True)
        other = execute(with_another_weight(graph), feeds, TIERS[0], emulator, folder)
        equal, total = count_equal(graph, other, expected)
    print(f"one weight changed: {total - equal:,} of {total:,} elements differ")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    exact = all(row["equal"] == row["elements"] and row["float_error"] <= FLOAT_TOLERANCE for row in rows)
    return 0 if exact and equal < total else 1


if __name__ == "__main__":
    sys.exit(main())
