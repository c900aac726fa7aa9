"""What compilers make of the x86 kernels: the instructions that their speed rests on, and inner loops without spills.

Looks at object code, so it needs neither AMX nor AVX-VNNI, and holds on any machine with an x86 compiler.
"""

from __future__ import annotations

import functools
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(not KERNELS.is_dir(), reason="the sources of the kernels are not beside the tests"),
]
FLAGS = ["-std=c++20", "-O3", "-ffp-contract=off", "-Wno-uninitialized", "-I", "include", "-I", "src"]
AVX2 = ["-mavx2", "-mfma"]
AVX512VNNI = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"]
ISA_FLAGS = {
    "avx2": AVX2,
    "avxvnni": [*AVX2, "-mavxvnni"],
    "avx512vnni": AVX512VNNI,
    "amx": [*AVX512VNNI, "-mamx-tile", "-mamx-int8"],
}


@dataclass(frozen=True)
class Instruction:
    address: int
    name: str
    operands: str

    @property
    def target(self) -> int | None:
        """Where a jump leads."""
        match = re.match(r"([0-9a-f]+) <", self.operands) if self.name.startswith("j") else None
        return int(match[1], 16) if match else None

    @property
    def is_spill(self) -> bool:
        """A vector register that goes to the stack or comes from it."""
        return re.search(r"\(%r[sb]p", self.operands) is not None and re.search(r"%[xyz]mm", self.operands) is not None


def parse(listing: str) -> dict[str, list[Instruction]]:
    """objdump's listing as instructions by function."""
    functions: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for line in listing.splitlines():
        if match := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            current = functions.setdefault(match[1], [])
        elif match := re.match(r"\s*([0-9a-f]+):\s+(?:\{vex\} )?(\S+)\s*(.*)", line):
            current.append(Instruction(int(match[1], 16), match[2], match[3]))
    return functions


def inner_loops(code: list[Instruction]) -> list[list[Instruction]]:
    """What stands between the target of a jump backwards and the jump, where no other such loop is inside."""
    spans = [(i.target, i.address) for i in code if i.target is not None and code[0].address <= i.target <= i.address]
    inner = [s for s in spans if not any(t != s and s[0] <= t[0] and t[1] <= s[1] for t in spans)]
    return [[i for i in code if start <= i.address <= end] for start, end in inner]


def count(code: list[Instruction], name: str) -> int:
    return sum(i.name == name for i in code)


@dataclass(frozen=True)
class Object:
    functions: dict[str, list[Instruction]]
    weak_symbols: list[str]


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@functools.cache
def built(compiler: str, isa: str, file: str) -> Object:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("not an x86 machine: its compiler makes other code")
    for tool in (compiler, "objdump", "nm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/code.o"
        command = [compiler, *FLAGS, *ISA_FLAGS[isa], "-c", f"src/{isa}/{file}", "-o", out]
        done = subprocess.run(command, cwd=KERNELS, capture_output=True, text=True, timeout=120)
        if "unrecognized command-line option" in done.stderr or "unknown argument" in done.stderr:
            pytest.skip(f"{compiler} does not know {isa}")
        assert done.returncode == 0, done.stderr
        weak = [line.split(maxsplit=2)[2] for line in output("nm", "-C", out).splitlines() if line[17:18] == "W"]
        return Object(parse(output("objdump", "-d", "-C", "--no-show-raw-insn", "-w", out)), weak)


def float_tiles(compiler: str, isa: str) -> list[list[Instruction]]:
    """The functions that compute a tile with the f32 epilogue, which is the common one."""
    functions = built(compiler, isa, "conv.cc").functions
    return [code for name, code in functions.items() if "run_tile<" in name and "FloatScale" in name]


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_avx2_tiles_stay_in_registers(compiler: str) -> None:
    (code,) = float_tiles(compiler, "avx2")
    loops = [loop for loop in inner_loops(code) if count(loop, "vpmaddwd")]
    # paired, narrow and wide blocks (avx2/weights.h): 4 channels x 2 registers of pixels
    assert sorted((count(loop, "vpmaddubsw"), count(loop, "vpmaddwd")) for loop in loops) == [(0, 16), (8, 8), (16, 8)]
    assert not [i for loop in loops for i in loop if i.is_spill]


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_avxvnni_tiles_stay_in_registers(compiler: str) -> None:
    loops = [loop for code in float_tiles(compiler, "avxvnni") for loop in inner_loops(code)]
    loops = [loop for loop in loops if count(loop, "vpdpbusd")]
    # 4 channels x 24 and x 16 pixels; clang may take two blocks at once
    assert {count(loop, "vpdpbusd") % 4 for loop in loops} == {0}
    assert max(count(loop, "vpdpbusd") for loop in loops) >= 12
    assert not [i for loop in loops for i in loop if i.is_spill]


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_avx512vnni_tiles_stay_in_registers(compiler: str) -> None:
    functions = built(compiler, "avx512vnni", "conv.cc").functions
    for vectors in range(1, 7):
        (code,) = [code for name, code in functions.items() if f"run_tile<{vectors}>" in name]
        loop = max(inner_loops(code), key=lambda loop: count(loop, "vpdpbusd"))
        blocks, rest = divmod(count(loop, "vpdpbusd"), 4 * vectors)  # clang may take two blocks at once
        assert blocks >= 1 and rest == 0
        # per block one load of each vector, one broadcast of each weight word, and nothing else in a zmm register
        assert count(loop, "vmovdqu64") == blocks * vectors
        assert count(loop, "vpbroadcastd") + count(loop, "vbroadcastss") == blocks * 4
        assert sum("%zmm" in i.operands for i in loop) == blocks * (4 * vectors + vectors + 4)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_avx512vnni_tiles_of_rows_stay_in_registers(compiler: str) -> None:
    functions = built(compiler, "avx512vnni", "rows.cc").functions
    sizes = {tuple(map(int, m.groups())): code for name, code in functions.items()
             if (m := re.search(r"run_tile<(\d), (\d), (\d)>", name))}  # fmt: skip
    assert {(1, 7, 4), (2, 7, 2), (1, 4, 6), (2, 5, 2)} <= sizes.keys()
    for (vectors, columns, segments), code in sizes.items():
        pixels = columns * segments
        loop = max(inner_loops(code), key=lambda loop: count(loop, "vpdpbusd"))
        blocks, rest = divmod(count(loop, "vpdpbusd"), vectors * pixels)  # clang may take two blocks at once
        assert blocks >= 1 and rest == 0
        # per block one load of each vector of weights, one broadcast of each pixel, and nothing else in a zmm register
        assert count(loop, "vpbroadcastd") == blocks * pixels
        assert sum("%zmm" in i.operands for i in loop) == blocks * (vectors * pixels + pixels + vectors)


def test_amx_steps_are_loads_and_products() -> None:
    functions = built("g++", "amx", "conv.cc").functions
    code = next(code for name, code in functions.items() if "FloatScale, 2>::run" in name)
    assert count(code, "tilezero") % 4 == 0 and count(code, "tilestored") % 2 == 0
    first = next(i for i, instruction in enumerate(code) if instruction.name == "tileloadd")
    last = first + [i.name for i in code[first:]].index("tdpbsud") + 12
    step = [i for i in code[first:last] if i.name in ("tileloadd", "tdpbsud")]
    # 32 channels x 32 pixels x 64 products: 4 loads (8 cycles each from L1), 4 products (16 cycles each)
    assert [i.name for i in step] == [
        "tileloadd",
        "tileloadd",
        "tdpbsud",
        "tileloadd",
        "tdpbsud",
        "tileloadd",
        "tdpbsud",
        "tdpbsud",
    ]
    assert [i.operands for i in step if i.name == "tdpbsud"] == [
        "%tmm6,%tmm4,%tmm0",  # unsigned activations, signed weights, sums
        "%tmm6,%tmm5,%tmm2",
        "%tmm7,%tmm4,%tmm1",
        "%tmm7,%tmm5,%tmm3",
    ]
    assert not [i for i in code if i.is_spill]


def test_amx_configures_and_releases_tiles() -> None:
    functions = built("g++", "amx", "conv.cc").functions
    configured = [code for code in functions.values() if count(code, "ldtilecfg")]
    assert configured
    assert all(count(code, "ldtilecfg") == count(code, "tilerelease") for code in configured)


@pytest.mark.parametrize("isa", sorted(ISA_FLAGS))
def test_nothing_is_left_for_the_linker_to_share(isa: str) -> None:
    """A weak symbol might be chosen for callers on machines that lack the instructions."""
    for file in ("conv.cc", "rows.cc"):
        if (KERNELS / "src" / isa / file).exists():
            assert built("g++", isa, file).weak_symbols == []


def test_a_spill_would_be_seen() -> None:
    listing = """
0000000000000000 <f>:
   0:	vmovdqu (%rsi),%ymm0
   4:	vpmaddwd %ymm1,%ymm0,%ymm2
   8:	vmovdqa %ymm2,0x20(%rsp)
   c:	jne    0 <f>
   e:	ret
"""
    ((loop,),) = [inner_loops(code) for code in parse(listing).values()]
    assert count(loop, "vpmaddwd") == 1
    assert [i.address for i in loop if i.is_spill] == [8]
