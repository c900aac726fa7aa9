"""The portable tier is freestanding C11: no library, no warnings, the same bytes for all flags and machines.

Allowed undefined symbols are those that a compiler may call on its own in freestanding code: memcpy, memmove, memset,
memcmp (C11 4p6 with GCC's manual, "Standards"), and on 32-bit machines the helpers of its run-time library for 64-bit
division, shifts and conversions (`__aeabi_*`, `__udivdi3`, ...).
"""

from __future__ import annotations

import dataclasses
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import replay

from prunus import kernels

pytestmark = pytest.mark.toolchain

SOURCES, INCLUDE = kernels.sources()
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off", f"-I{INCLUDE}"]
FREESTANDING = [*STRICT, "-ffreestanding", "-nostdlib"]
LIBRARY_CALLS = {"memcpy", "memmove", "memset", "memcmp"}
HELPERS = re.compile(r"__aeabi_\w+|__(u?div|u?mod|mul|ashl|ashr|lshr)di3|__u?divmoddi4|__float\w+|__fix\w+")


def tool(*names: str) -> str:
    """The first of these programs that is installed; skips where there is none."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    pytest.skip(f"none of {', '.join(names)} is installed")


def call(*command: str | Path) -> str:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, start_new_session=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def undefined_symbols(nm: str, file: Path) -> set[str]:
    return {line.split()[-1] for line in call(nm, "--undefined-only", file).splitlines() if line.strip()}


def link_all(compiler: str, folder: Path, *flags: str) -> Path:
    """All sources as one relocatable object."""
    target = folder / "kernels.o"
    call(compiler, *FREESTANDING, *flags, "-r", "-o", target, *SOURCES)
    return target


@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_freestanding(tmp_path, level):
    target = link_all(tool("gcc", "cc", "clang"), tmp_path, level)
    assert undefined_symbols(tool("nm"), target) <= LIBRARY_CALLS


@pytest.mark.skipif(platform.machine() != "x86_64", reason="-m32 is a flag of x86 compilers")
def test_freestanding_on_32_bits(tmp_path):
    target = link_all(tool("gcc", "clang"), tmp_path, "-O2", "-m32", "-msse2", "-mfpmath=sse", "-fno-pic")
    assert {name for name in undefined_symbols(tool("nm"), target) if not HELPERS.fullmatch(name)} <= LIBRARY_CALLS


def test_a_library_call_would_be_seen(tmp_path):
    """Companion: a source that rounds with libm is caught."""
    source = tmp_path / "bad.c"
    source.write_text("float rintf(float); float bad(float x); float bad(float x) { return rintf(x) + 1.0f; }")
    target = tmp_path / "bad.o"
    call(tool("gcc", "cc", "clang"), *FREESTANDING, "-O2", "-c", source, "-o", target)
    assert undefined_symbols(tool("nm"), target) - LIBRARY_CALLS == {"rintf"}


def test_internal_names_carry_the_prefix(tmp_path):
    target = link_all(tool("gcc", "cc", "clang"), tmp_path, "-O2")
    defined = {line.split()[-1] for line in call(tool("nm"), "--extern-only", "--defined-only", target).splitlines()}
    assert defined and all(name.startswith("prunus_") for name in defined)


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_the_header_is_cxx(tmp_path, standard):
    source = tmp_path / "user.cc"
    source.write_text(
        '#include "prunus/kernels.h"\nconst char *text() { return prunus_status_text(PRUNUS_E_RANGE); }\n'
    )
    flags = [f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{INCLUDE}"]
    call(tool("g++", "clang++"), *flags, "-c", source, "-o", tmp_path / "user.o")


def test_fast_math_is_refused(tmp_path):
    compiler = tool("gcc", "cc", "clang")
    command = [compiler, *FREESTANDING, "-ffast-math", "-c", str(SOURCES[0]), "-o", str(tmp_path / "x.o")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert result.returncode != 0 and "strict float32 arithmetic" in result.stderr


# -- the same bytes everywhere ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def replay_source(vectors, tmp_path_factory):
    """The C program that replays the golden vectors."""
    source = tmp_path_factory.mktemp("replay") / "replay.c"
    source.write_text(replay.program(vectors))
    return source


def replays(output: str) -> bool:
    found = re.search(r"(\d+) operators, 0 differ", output)
    return found is not None and int(found[1]) > 100


FLAGS = {
    "plain": ["-O0"],
    "vectorised": ["-O3", "-march=native"],
    "small tile": ["-O2", "-DPRUNUS_TILE_DEPTH=16", "-DPRUNUS_TILE_CHANNELS=3"],
    "sanitised": ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS.keys())
def test_replay(tmp_path, replay_source, flags):
    call(tool("gcc", "clang"), *STRICT, *flags, replay_source, *SOURCES, "-o", tmp_path / "replay")
    assert replays(call(tmp_path / "replay"))


def test_a_wrong_multiplier_fails_the_replay(tmp_path, vectors):
    """Companion: the program notices multipliers that are twice what they should be."""
    graph, feeds, results = vectors["gemm_f32"]
    (op,) = graph.ops
    wrong = dataclasses.replace(op, requant=dataclasses.replace(op.requant, multiplier=op.requant.multiplier * 2))
    honest = replay.program({"gemm": (graph, feeds, results)})
    fields = replay.program({"gemm": (dataclasses.replace(graph, ops=(wrong,)), feeds, results)})
    line = re.search(r"^static const float gemm_0_m.*$", fields, re.MULTILINE)[0]
    source = tmp_path / "wrong.c"
    source.write_text(re.sub(r"^static const float gemm_0_m.*$", line, honest, flags=re.MULTILINE))
    call(tool("gcc", "clang"), *STRICT, source, *SOURCES, "-o", tmp_path / "wrong")
    result = subprocess.run([tmp_path / "wrong"], capture_output=True, text=True, timeout=60, start_new_session=True)
    assert result.returncode == 1 and "gemm_0 differs" in result.stdout


def test_replay_on_aarch64(tmp_path, replay_source):
    compiler, emulator = tool("aarch64-linux-gnu-gcc"), tool("qemu-aarch64", "qemu-aarch64-static")
    call(compiler, *STRICT, "-O3", "-static", replay_source, *SOURCES, "-o", tmp_path / "replay")
    assert replays(call(emulator, tmp_path / "replay"))


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "cortex-m55"])
def test_builds_for_microcontrollers(tmp_path, core):
    compiler, nm = tool("arm-none-eabi-gcc"), tool("arm-none-eabi-nm")
    target = link_all(compiler, tmp_path, "-Os", "-mthumb", f"-mcpu={core}")
    assert {name for name in undefined_symbols(nm, target) if not HELPERS.fullmatch(name)} <= LIBRARY_CALLS
