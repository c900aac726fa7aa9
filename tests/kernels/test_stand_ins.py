"""AVX-VNNI and AMX kernels, exact on machines that have neither.

The same sources are built for what a machine with AVX512-VNNI has: AVX-VNNI's products in 256-bit registers under
AVX512-VNNI's encoding, and tiles emulated in plain C++ (kernels/src/amx/tile.h). That shows that the arithmetic, the
addressing and the borders are right; the encodings themselves are looked at in test_x86_code.py.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.toolchain, pytest.mark.slow]

NATIVE = Path(__file__).parent / "native"
ISAS = ["avxvnni", "amx"]


@pytest.fixture(scope="module")
def kernel_check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cmake = shutil.which("cmake")
    if cmake is None or shutil.which("g++") is None:
        pytest.skip("cmake or g++ is not installed")
    folder = tmp_path_factory.mktemp("stand_ins")
    define = ["-DPRUNUS_STAND_INS=ON", "-DCMAKE_CXX_COMPILER=g++"]
    for command in (
        [cmake, "-S", str(NATIVE), "-B", str(folder), *define],
        [cmake, "--build", str(folder), "--target", "kernel_check", "-j", "2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "kernel_check"


def run(program: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(program), *options], capture_output=True, text=True, timeout=600)
    if done.returncode == 3:
        pytest.skip(done.stdout.splitlines()[-1])
    return done


@pytest.mark.parametrize("isa", ISAS)
def test_exact(kernel_check: Path, isa: str) -> None:
    done = run(kernel_check, "--isa", isa, "--cases", "2000")
    assert done.returncode == 0, done.stdout
    assert f"{isa}_16x4" in done.stdout and " 0 failed" in done.stdout


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("fault", ["weight", "halo", "write", "read"])
def test_a_seeded_fault_is_caught(kernel_check: Path, isa: str, fault: str) -> None:
    done = run(kernel_check, "--isa", isa, "--fault", fault)
    assert done.returncode == 1, done.stdout
