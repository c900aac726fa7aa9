"""The shared library: what it shows, what it needs, and whom it refuses."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from prunus.targets.ort.bundle import MIN_ONNXRUNTIME, find_library

SOURCES = Path(__file__).resolve().parents[3] / "targets" / "ort" / "src"
SLOTS = 300

GetApi = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_uint32)  # pointers as numbers
GetVersionString = ctypes.CFUNCTYPE(ctypes.c_size_t)
CreateStatus = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p)


class ApiBase(ctypes.Structure):
    _fields_ = (("get_api", GetApi), ("get_version", GetVersionString))


def symbols(*options: str) -> list[str]:
    tool = shutil.which("nm")
    if tool is None:
        pytest.skip("nm is not installed")
    text = subprocess.run([tool, "-D", *options, find_library()], capture_output=True, text=True, check=True).stdout
    return [line.split()[-1] for line in text.splitlines()]


@pytest.mark.toolchain
def test_it_shows_one_function_and_needs_no_onnxruntime() -> None:
    assert symbols("--defined-only") == ["RegisterCustomOps"]
    assert not [name for name in symbols("--undefined-only") if name.startswith(("Ort", "prunus"))]


def test_an_old_runtime_is_refused_with_a_reason() -> None:
    """A runtime that knows interface version 16 only."""
    messages: list[bytes] = []

    @CreateStatus
    def create_status(_code: int, message: bytes) -> int:
        messages.append(message)
        return 0x5747

    old = (ctypes.c_void_p * SLOTS)()
    old[0] = ctypes.cast(create_status, ctypes.c_void_p)
    get_api = GetApi(lambda asked: ctypes.addressof(old) if asked <= 16 else 0)
    version = ctypes.create_string_buffer(b"1.16.3")
    base = ApiBase(get_api, GetVersionString(lambda: ctypes.addressof(version)))
    register = ctypes.CDLL(str(find_library())).RegisterCustomOps
    register.restype, register.argtypes = ctypes.c_size_t, (ctypes.c_void_p, ctypes.POINTER(ApiBase))
    assert register(None, base) == 0x5747
    assert messages == [f"prunus needs onnxruntime {MIN_ONNXRUNTIME} or later; this is onnxruntime 1.16.3".encode()]


@pytest.mark.toolchain
@pytest.mark.parametrize(("language", "standard"), [("c", "c11"), ("c++", "c++20")])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_interface_compiles_alone(compiler: str, language: str, standard: str) -> None:
    """Its assertions check the position of every slot."""
    tool = shutil.which(compiler)
    if tool is None:
        pytest.skip(f"{compiler} is not installed")
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-std={standard}", f"-I{SOURCES}"]
    program = '#include "ort_api.h"\n'
    subprocess.run([tool, *flags, "-x", language, "-"], input=program, text=True, check=True)


@pytest.mark.toolchain
def test_a_moved_slot_does_not_compile() -> None:
    tool = shutil.which("gcc")
    if tool is None:
        pytest.skip("gcc is not installed")
    header = (SOURCES / "ort_api.h").read_text()
    moved = header.replace("OrtSlot slots_52[8];", "OrtSlot slots_52[7];")
    assert moved != header
    done = subprocess.run(
        [tool, "-fsyntax-only", "-x", "c", "-"], input=moved, text=True, capture_output=True, check=False
    )
    assert "slot 60 is GetTensorElementType" in done.stderr
