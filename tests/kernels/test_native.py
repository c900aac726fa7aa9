"""Every micro-kernel of the table against slow definitions: native/kernel_check.cc, built here and for aarch64.

The program walks the table and compares each row of each instruction set that the machine has, with all arrays between
guard pages. Builds stay in build/tests, so that only the first run pays for them.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.toolchain

ROOT = Path(__file__).resolve().parents[2]
NATIVE = Path(__file__).resolve().parent / "native"
BUILDS = ROOT / "build" / "tests"
AARCH64 = [
    "-DCMAKE_SYSTEM_NAME=Linux",
    "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
    "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc",
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    "-DCMAKE_EXE_LINKER_FLAGS=-static",
]
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
SANITISED = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=", f"-DCMAKE_CXX_FLAGS={SANITIZERS}"]
FAULTS = {"weight": r"should be", "halo": r"should be", "write": r"should be", "read": r"touched memory outside"}


def tool(*names: str) -> str:
    """The first of these programs that is installed; skips where there is none."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    pytest.skip(f"none of {', '.join(names)} is installed")


def call(*command: str | Path) -> str:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=900, start_new_session=True
    )
    assert result.returncode == 0, f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    return result.stdout


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One test process at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(variant: str, *options: str) -> Path:
    """The folder of a build of kernel_check."""
    if not (ROOT / "kernels" / "CMakeLists.txt").is_file():
        pytest.skip("the sources of the kernels are not beside the tests")
    cmake, folder = tool("cmake"), BUILDS / variant
    folder.mkdir(parents=True, exist_ok=True)
    with locked(BUILDS / f"{variant}.lock"):
        call(cmake, "-S", NATIVE, "-B", folder, f"-DPRUNUS_KERNELS={ROOT / 'kernels'}", *options)
        call(cmake, "--build", folder, "--target", "kernel_check", "-j2")
    return folder


@pytest.fixture(scope="session")
def native() -> Path:
    tool("g++", "clang++", "c++")
    return build("native")


@pytest.fixture(scope="session")
def aarch64() -> Path:
    tool("aarch64-linux-gnu-g++")
    tool("qemu-aarch64", "qemu-aarch64-static")
    return build("aarch64", *AARCH64)


def agreed(output: str) -> tuple[set[str], int]:
    """The instruction sets of which kernels agreed, and the number of cases; fails unless all did."""
    total = re.search(r"(\d+) kernels, (\d+) cases, 0 failed", output)
    assert total, output
    return {re.split(r"[_ ]", line)[0] for line in output.splitlines() if line.endswith("cases agree")}, int(total[2])


def test_every_kernel_of_this_machine(native):
    isas, cases = agreed(call(native / "kernel_check", "--cases", "100"))
    assert "generic" in isas and cases >= 1500


@pytest.mark.slow
def test_every_kernel_of_this_machine_at_length(native):
    cases = 0
    for seed in range(2, 6):
        cases += agreed(call(native / "kernel_check", "--cases", "2000", "--seed", str(seed)))[1]
    assert cases >= 100_000


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_found(native, fault):
    """Companion: kernels that are wrong, or that touch what is not theirs, do not pass."""
    command = [native / "kernel_check", "--isa", "generic", "--kernel", "4x4", "--fault", fault]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert result.returncode == 1 and re.search(FAULTS[fault], result.stdout), result.stdout


def test_unknown_options_and_instruction_sets_are_refused(native):
    for arguments, status in ((["--isa", "mmx"], 3), (["--cases", "many"], 2), (["--cases"], 2)):
        result = subprocess.run([native / "kernel_check", *arguments], capture_output=True, timeout=60)
        assert result.returncode == status


def test_the_order_can_be_restricted(native):
    """PRUNUS_ISA leaves the named instruction sets and the generic tier."""
    environment = {**os.environ, "PRUNUS_ISA": "generic"}
    command = [native / "kernel_check", "--cases", "1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert agreed(result.stdout)[0] == {"generic"}


@pytest.mark.slow
def test_kernels_that_this_machine_lacks(tmp_path):
    """avxvnni and amx, built of the instructions of avx512vnni."""
    if platform.machine() != "x86_64":
        pytest.skip("stand-ins exist for x86-64 only")
    folder = build("stand-ins", "-DPRUNUS_STAND_INS=ON")
    result = subprocess.run([folder / "kernel_check", "--isa", "avx512vnni", "--cases", "1"], capture_output=True)
    if result.returncode == 3:
        pytest.skip("this machine has no avx512vnni")
    isas, _ = agreed(call(folder / "kernel_check", "--cases", "500"))
    assert {"amx", "avxvnni"} <= isas


@pytest.mark.slow
def test_every_kernel_under_sanitizers():
    """Overflow, misalignment and reads outside of what pack has allocated."""
    tool("g++", "clang++", "c++")
    agreed(call(build("sanitised", *SANITISED) / "kernel_check", "--cases", "100"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cpu", "isas"),
    [
        ("cortex-a72", {"neon", "generic"}),
        ("neoverse-n1", {"neondot", "neon", "generic"}),
        ("max", {"neoni8mm", "neondot", "neon", "generic"}),
    ],
)
def test_every_kernel_on_aarch64(aarch64, cpu, isas):
    emulator = tool("qemu-aarch64", "qemu-aarch64-static")
    found, cases = agreed(call(emulator, "-cpu", cpu, aarch64 / "kernel_check", "--cases", "100"))
    assert found == isas and cases >= 3000


# -- what the objects hold ----------------------------------------------------------------------------------------


def objects(folder: Path, isas: str) -> list[Path]:
    """Object files of instruction sets whose flags go beyond the machine's least."""
    found = sorted(path for path in folder.rglob("*.cc.o") if re.fullmatch(isas, path.parent.name))
    return [path for path in found if path.name != "pack.cc.o"]  # pack.cc is compiled without the flags


def shared_symbols(nm: str, file: Path) -> set[str]:
    """Functions and data that the linker may choose among several files, the references of exceptions left out."""
    lines = (line.split() for line in call(nm, "--defined-only", file).splitlines())
    return {name for *_, kind, name in lines if kind in "WVu" and not name.startswith("DW.ref.")}


def test_instruction_sets_share_no_code(native):
    """An inline function that the linker takes from avx512vnni would crash a machine that has only avx2."""
    files = objects(native, "avx.*|amx")
    if not files:
        pytest.skip("no instruction sets beyond the generic tier are built here")
    assert {path.name: symbols for path in files if (symbols := shared_symbols(tool("nm"), path))} == {}


def test_a_shared_function_would_be_seen(tmp_path):
    """Companion: an inline function that is not inlined."""
    source, target = tmp_path / "bad.cc", tmp_path / "bad.o"
    source.write_text("inline int twice(int x) { return 2 * x; }\nint (*use())(int) { return twice; }\n")
    call(tool("g++", "clang++"), "-c", source, "-o", target)
    assert shared_symbols(tool("nm"), target) == {"_Z5twicei"}


def inner_loops(disassembly: str) -> Iterator[list[str]]:
    """The instructions of each loop that holds no other, from its first to the branch back."""
    for function in re.split(r"\n\n", disassembly):
        lines = [match.groups() for match in re.finditer(r"^ +([0-9a-f]+):\t(.*)$", function, re.MULTILINE)]
        place = {address: i for i, (address, _) in enumerate(lines)}
        branches = ((i, re.match(r"(?:b|cb|tb)\S*\s.*?\b([0-9a-f]+) <", text)) for i, (_, text) in enumerate(lines))
        loops = [(place[m[1]], i) for i, m in branches if m and place.get(m[1], i + 1) <= i]
        for begin, end in loops:
            if not any(other != (begin, end) and begin <= other[0] and other[1] <= end for other in loops):
                yield [text for _, text in lines[begin : end + 1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "product", "products"),
    [
        ("neon/conv", "smlal", 16),
        ("neon/gemv", "smlal", 8),
        ("neon/depthwise", "smlal", 8),
        ("neondot/conv", "sdot", 16),
        ("neondot/gemv", "sdot", 8),
        ("neoni8mm/conv", "smmla", 16),
    ],
)
def test_neon_loops_stay_in_registers(aarch64, file, product, products):
    """The inner loops multiply as often as intended and neither spill nor reload an accumulator."""
    (target,) = aarch64.rglob(f"{file}.cc.o")
    text = call(tool("aarch64-linux-gnu-objdump"), "-d", "--no-show-raw-insn", target)
    loops = [loop for loop in inner_loops(text) if sum(line.startswith(product) for line in loop) >= products]
    assert loops
    for loop in loops:
        assert not [line for line in loop if re.search(r"\[sp\b", line)]
