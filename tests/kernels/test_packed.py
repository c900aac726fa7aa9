"""Packed files: what is stored comes back, the format does not drift, and nothing malformed is accepted or crashes."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import packed_networks
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_networks import NETWORKS

from prunus.kernels import KernelError, Network

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "packed"
CHECKSUM = slice(12, 16)
FILES = {name: make().save() for name, make in NETWORKS.items()}


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit: a second definition."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def sealed(packed: bytes | bytearray) -> bytes:
    """The file with the checksum that fits."""
    return bytes(packed[:12]) + struct.pack("<I", crc32c(packed[:12] + packed[16:])) + bytes(packed[16:])


def test_the_second_checksum_is_the_same():
    assert crc32c(b"123456789") == 0xE3069283  # the standard's check value
    for packed in FILES.values():
        assert sealed(packed) == packed


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_saved_comes_back(name):
    net, packed = NETWORKS[name](), FILES[name]
    loaded = Network.load(packed)
    assert loaded.inputs == net.inputs and loaded.outputs == net.outputs
    assert loaded.save() == packed and net.save() == packed
    net.plan()
    loaded.plan()
    for seed in range(3):
        inputs = packed_networks.random_inputs(net, seed)
        for a, b in zip(net.run(inputs), loaded.run(inputs), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_format_does_not_drift(name, request):
    path = GOLDEN / f"{name}.prunus"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(FILES[name])
    assert FILES[name] == path.read_bytes()


def test_arrays_begin_on_lines_and_the_header_says_how_much_there_is():
    for packed in FILES.values():
        magic, version, _, total, words, tensors, inputs, outputs, operators, zeros = struct.unpack(
            "<8sIIQQIIII16s", packed[:64]
        )
        assert (magic, version, zeros) == (b"PRUNUS\r\n", 1, bytes(16))
        assert total == len(packed) and total % 64 == 0
        assert 64 + 4 * words <= total and tensors > operators > inputs > 0 < outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_every_truncation_is_refused(name):
    packed = FILES[name]
    for length in range(len(packed)):
        with pytest.raises(KernelError, match="E_FILE"):
            Network.load(packed[:length])
    with pytest.raises(KernelError, match="E_FILE"):
        Network.load(packed + bytes(64))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_changed_byte_is_noticed(name):
    packed = FILES[name]
    for at in range(len(packed)):
        changed = bytearray(packed)
        changed[at] ^= 1 << at % 8
        with pytest.raises(KernelError, match="E_FILE"):
            Network.load(bytes(changed))


def accepted(packed: bytes) -> bool:
    """Whether a file loads; one that does must be the file that its network saves."""
    try:
        net = Network.load(packed)
    except KernelError as error:
        assert "E_FILE" in str(error)
        return False
    assert Network.load(net.save()).save() == net.save()
    return True


EDGES = (0, 1, 2, 5, 6, 7, 64, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 64, 2**32 - 1)


def word_count(packed: bytes) -> int:
    return struct.unpack("<Q", packed[24:32])[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_checksum_is_not_the_only_defence(name):
    """Every word of the metadata set to extreme values, the checksum made to fit: an error or another sound network."""
    packed = FILES[name]
    words = word_count(packed)
    refused = 0
    for word in range(words):
        for value in EDGES[word % 3 :: 3]:
            changed = bytearray(packed)
            changed[64 + 4 * word : 68 + 4 * word] = struct.pack("<I", value)
            refused += not accepted(sealed(changed))
    assert refused > words


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=300)
@given(data=st.data())
def test_random_damage_with_a_fitting_checksum(name, data):
    changed = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["byte", "word", "delete", "insert"]))
        at = data.draw(st.integers(0, len(changed) - 8))
        if kind == "byte":
            changed[at] = data.draw(st.integers(0, 255))
        elif kind == "word":
            changed[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<I", data.draw(st.sampled_from(EDGES)))
        elif kind == "delete":
            del changed[at // 64 * 64 : at // 64 * 64 + 64]
        else:
            changed[at // 64 * 64 : at // 64 * 64] = bytes(64)
        if len(changed) < 128:
            break
    if data.draw(st.booleans()):
        changed[16:24] = struct.pack("<Q", len(changed))
    accepted(sealed(changed))


def test_counts_that_no_file_has_room_for_allocate_nothing():
    packed = FILES["convolutions"]
    for at in range(32, 48, 4):
        changed = bytearray(packed)
        changed[at : at + 4] = struct.pack("<I", 2**32 - 1)
        with pytest.raises(KernelError, match="E_FILE"):
            Network.load(sealed(changed))
    changed = bytearray(packed)
    changed[24:32] = struct.pack("<Q", 2**62)
    with pytest.raises(KernelError, match="more words than bytes"):
        Network.load(sealed(changed))


def test_another_version_is_named():
    changed = bytearray(FILES["movements"])
    changed[8] = 9
    with pytest.raises(KernelError, match="version 9, this library reads 1"):
        Network.load(sealed(changed))


@pytest.mark.parametrize("junk", [b"", b"\x00" * 64, b"PRUNUS\n\n" + bytes(120), b"PK\x03\x04" + bytes(100)])
def test_other_files_are_no_networks(junk):
    with pytest.raises(KernelError, match="no packed network"):
        Network.load(junk)


def test_zeros_shrink_the_file():
    def bytes_at(density: float) -> int:
        net = Network()
        x = net.input("u8", [1, 64, 4, 4])
        keep = np.kron(np.random.default_rng(0).random((8, 16)) < density, np.ones((16, 4)))
        weight = (packed_networks.sparse_weight(5, 128, 64, density=1.0) * keep).astype(np.int8)
        y = net.conv2d(
            x, weight.reshape(128, 64, 1, 1), np.zeros(128, np.int32), packed_networks.f32(0.01), packed_networks.U8
        )
        net.output(y)
        return len(net.save())

    dense, quarter = bytes_at(2.0), bytes_at(0.25)
    assert dense - 128 * 64 < 2000 and quarter - 0.4 * 128 * 64 < 2000


@pytest.mark.toolchain
@pytest.mark.parametrize("name", NETWORKS)
def test_sanitizers_find_nothing(name, packed_check):
    """Some 40,000 damaged copies of each file, their checksums made to fit."""
    done = subprocess.run([packed_check, GOLDEN / f"{name}.prunus"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    refused, loaded = (int(number) for number in re.findall(r"\d+", done.stdout))
    assert refused > 10_000 and loaded > 100, "both paths are taken"


@pytest.fixture(scope="module")
def packed_check(tmp_path_factory):
    """native/packed_check.cc with the reader, built with the address and undefined-behaviour sanitizers."""
    native, root = Path(__file__).parent / "native", Path(__file__).resolve().parents[2] / "kernels"
    if not root.is_dir() or not shutil.which("g++"):
        pytest.skip("needs g++ and the repository")
    folder = tmp_path_factory.mktemp("packed")
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover", f"-I{root}/include", f"-I{root}/src"]
    c_files = [str(path) for path in sorted((root / "src/portable").glob("*.c"))]
    network = [
        p for pattern in ("builder*", "file*", "weights*") for p in sorted((root / "src/network").glob(f"{pattern}.cc"))
    ]
    subprocess.run(["gcc", "-std=c11", *flags, "-c", *c_files], check=True, cwd=folder, timeout=600)
    sources = [str(native / "packed_check.cc"), *map(str, network), *(path.name for path in folder.glob("*.o"))]
    subprocess.run(["g++", "-std=c++20", *flags, *sources, "-o", "packed_check"], check=True, cwd=folder, timeout=600)
    return folder / "packed_check"
