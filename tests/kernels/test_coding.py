"""The decoder of packed models in C++: the same bytes as the reference in Python, and nothing malformed crashes it."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_models import HEADER_BYTES, ROW_BYTES, bell, every_form, model_of, sealed, with_int4

from prunus.compiler.coding import Method, container, pack, sections, unpack
from prunus.compiler.coding import tensors as tensor_forms
from prunus.compiler.coding.tensors import smallest_form
from prunus.compiler.errors import InvalidModelError, LimitError
from prunus.kernels import KernelError, unpack_model

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "packed"
EVERY_FORM = model_of(**every_form())
PACKED = pack(EVERY_FORM)


def decompress(frame: bytes, size: int) -> bytes:
    try:
        if zstandard.frame_content_size(frame) == size:
            return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError:
        pass
    return b""


def test_every_form_comes_back():
    assert unpack_model(PACKED, decompress) == EVERY_FORM
    assert unpack_model(pack(with_int4()), decompress) == with_int4()


def test_the_format_does_not_drift(request):
    """A file of version 1 as it was once written; forms that need no zstd are written the same today."""
    path, model = GOLDEN / "model.prz", GOLDEN / "model.onnx"
    if request.config.getoption("--update-golden"):
        path.write_bytes(PACKED)
        model.write_bytes(EVERY_FORM)
    packed, whole = path.read_bytes(), model.read_bytes()
    assert unpack(packed) == unpack_model(packed, decompress) == whole
    rows = sections(packed)
    at = HEADER_BYTES + ROW_BYTES * len(rows)
    for row in rows:
        content = np.frombuffer(whole[row.start : row.start + row.size], np.uint8)
        if row.method != Method.ZSTD:
            assert smallest_form(content, row.bits) == (row.method, packed[at : at + row.stored])
        at += row.stored


def test_real_models_come_back(models):
    for path in sorted(models.glob("*.onnx")):
        model = path.read_bytes()
        if len(model) < 200_000:
            assert unpack_model(pack(model), decompress) == model, path.name


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 20_000), st.floats(0, 1), st.integers(1, 60))
def test_random_weights_come_back(seed, count, density, width):
    model = model_of(w=bell(np.random.default_rng(seed), (count,), density, width))
    assert unpack_model(pack(model), decompress) == model


def test_without_zstd_files_that_need_it_are_refused():
    with pytest.raises(KernelError, match=r"E_OPTION.*zstd"):
        unpack_model(PACKED)


def test_what_the_decompressor_raises_passes_through():
    def broken(frame: bytes, size: int) -> bytes:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        unpack_model(PACKED, broken)


def test_limits_and_other_files():
    with pytest.raises(KernelError, match="the limit is 100"):
        unpack_model(PACKED, decompress, limit_bytes=100)
    for junk in (b"", b"\x00" * 64, EVERY_FORM):
        with pytest.raises(KernelError, match=r"E_FILE.*does not begin"):
            unpack_model(junk, decompress)
    for length in range(0, len(PACKED), 101):
        with pytest.raises(KernelError, match="E_FILE"):
            unpack_model(PACKED[:length], decompress)


@settings(max_examples=60)
@given(data=st.data())
def test_both_readers_agree_on_damaged_files(data):
    """Checksums made to fit: both refuse, or both give the same model."""
    changed = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(8, len(changed) - 8) | st.integers(8, HEADER_BYTES + 20 * ROW_BYTES))
        if data.draw(st.booleans()):
            changed[at] = data.draw(st.integers(0, 255))
        else:
            struct.pack_into(
                "<Q", changed, at, data.draw(st.sampled_from([0, 1, 255, 1 << 31, 1 << 48, (1 << 64) - 1]))
            )
    packed = sealed(changed)
    try:
        model = unpack(packed, 1 << 24)
    except (InvalidModelError, LimitError):
        with pytest.raises(KernelError, match="E_FILE"):
            unpack_model(packed, decompress, limit_bytes=1 << 24)
    else:
        assert unpack_model(packed, decompress) == model


@pytest.fixture(scope="module")
def coding_check(tmp_path_factory) -> Path:
    """native/coding_check.cc with the decoder, built with the address and undefined-behaviour sanitizers."""
    native, root = Path(__file__).parent / "native", Path(__file__).resolve().parents[2] / "kernels"
    if not (root / "src/coding").is_dir() or not shutil.which("g++"):
        pytest.skip("needs g++ and the repository")
    folder = tmp_path_factory.mktemp("coding")
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover", f"-I{root}/include", f"-I{root}/src"]
    sources = [native / "coding_check.cc", *sorted((root / "src/coding").glob("*.cc"))]
    command = ["g++", "-std=c++20", "-Wall", "-Wextra", *flags, *map(str, sources), "-o", "coding_check"]
    subprocess.run(command, check=True, cwd=folder, timeout=600)
    return folder / "coding_check"


@pytest.mark.slow
@pytest.mark.toolchain
def test_sanitizers_find_nothing(coding_check, tmp_path):
    """Some 20,000 damaged copies of a file with every form but zstd, their checksums made to fit."""
    small = {name: array[:160] for name, array in every_form().items() if name not in ("zstd", "small")}
    path = tmp_path / "model.prz"
    path.write_bytes(without_zstd(small))
    done = subprocess.run([coding_check, path], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    refused, unpacked = (int(number) for number in re.findall(r"\d+", done.stdout))
    assert refused > 15_000 and unpacked >= 1


def without_zstd(tensors: dict[str, np.ndarray]) -> bytes:
    """A packed model in which every section, the graph included, has the smallest form that needs no zstd."""

    def form(data: np.ndarray, bits: int) -> tuple[Method, bytes]:
        best = min(tensor_forms._huffman_forms(data, bits), key=lambda each: each.size)
        return best.method, best.write()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "smallest_form", form)
        patch.setattr(container, "_SMALL_MODEL_BYTES", 0)
        return pack(model_of(**tensors))
