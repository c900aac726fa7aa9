"""The forms of weights: lossless, as small as they say, and refused when damaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus import kernels
from prunus.kernels import KernelError, PackedWeights, _core, pack, unpack

FORMS = _core.weight_forms()
BLOCKS = {"qb4": (4, 4), "qb16": (16, 4), "qb32": (32, 4), "ts32x64": (32, 64)}


def random_weight(seed: int, shape: tuple[int, ...], density: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(-127, 128, shape) * (rng.random(shape) < density)).astype(np.int8)


def block_weight(shape: tuple[int, int], block: tuple[int, int], density: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    kept = rng.random((-(-shape[0] // block[0]), -(-shape[1] // block[1]))) < density
    return rng.integers(1, 128, shape).astype(np.int8) * np.kron(kept, np.ones(block, np.int8))[: shape[0], : shape[1]]


@pytest.mark.parametrize("form", [*FORMS, "smallest"])
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 3), st.integers(1, 3)),
    density=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_every_form_is_lossless(form, seed, shape, density):
    weight = random_weight(seed, shape, density)
    packed = pack(weight, form)
    np.testing.assert_array_equal(unpack(packed), weight)
    assert packed.nbytes == packed.data.nbytes


@pytest.mark.parametrize("form, block", BLOCKS.items())
def test_blocks_cost_their_weights_and_a_bit_each(form, block):
    weight = block_weight((128, 256), block, 0.25)
    blocks = weight.size // (block[0] * block[1])
    present = np.count_nonzero(weight) // (block[0] * block[1])
    assert 0 < present < blocks
    assert pack(weight, form).nbytes == -(-blocks // 8) + present * block[0] * block[1]


@pytest.mark.parametrize("form, block", BLOCKS.items())
def test_the_smallest_form_follows_the_structure(form, block):
    assert pack(block_weight((256, 512), block, 0.25)).form == form


def test_the_smallest_form_of_other_weights():
    assert pack(random_weight(0, (64, 64), 1.0)).form == "dense"
    assert pack(random_weight(0, (64, 64), 0.3)).form == "bitmask"
    zeros = pack(np.zeros((512, 512), np.int8))
    assert zeros.nbytes * 64 >= 512 * 512, "nothing small may unfold into something huge"


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_decoded_but_never_crash(form, data):
    packed = pack(random_weight(3, (20, 9, 3), 0.2), form)
    damaged = bytearray(packed.data.tobytes())
    change = data.draw(st.sampled_from(["flip", "cut", "grow"]))
    at = data.draw(st.integers(0, len(damaged) - 1))
    if change == "flip":
        damaged[at] ^= data.draw(st.integers(1, 255))
    damaged = damaged[:at] if change == "cut" else damaged + bytes(at + 1) if change == "grow" else damaged
    other = PackedWeights(form, packed.shape, np.frombuffer(bytes(damaged), np.uint8))
    if change != "flip":
        with pytest.raises(KernelError, match="E_FILE"):
            unpack(other)
        return
    try:
        assert not np.array_equal(unpack(other), unpack(packed)), "two encodings of the same weights"
    except KernelError as error:
        assert "E_FILE" in str(error)


@pytest.mark.parametrize("n, m", [(2, 4), (1, 4), (4, 8), (3, 3)])
def test_n_of_m(n, m):
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 128, (8, 4 * m, 3, 3)).astype(np.int8)
    order = np.argsort(rng.random((8, 4, m, 3, 3)), axis=2).reshape(weight.shape)
    weight[order >= n] = 0
    packed = pack(weight, f"{n}:{m}")
    np.testing.assert_array_equal(unpack(packed), weight)
    assert packed.data.shape == (8, 9, 4, n) and packed.indices.shape == packed.data.shape
    assert (np.diff(packed.indices.astype(int), axis=-1) > 0).all()
    values = weight.size * n // m
    assert packed.nbytes == values + -(-values * (m - 1).bit_length() // 8)


def test_two_of_four_is_five_eighths_of_dense():
    weight = np.tile(np.array([0, 5, 0, -7], np.int8), (16, 8))
    assert pack(weight, "2:4").nbytes == weight.size * 5 // 8  # 8-bit values, 2-bit indices


@pytest.mark.parametrize(
    "weight, form, error",
    [
        (np.ones((4, 8), np.int8), "2:4", "E_RANGE"),
        (np.zeros((4, 6), np.int8), "2:4", "E_SHAPE"),
        (np.zeros((4, 8), np.int8), "5:4", "E_TYPE"),
        (np.zeros((4, 8), np.int8), "qb8", "E_TYPE"),
        (np.zeros(8, np.int8), "dense", "E_SHAPE"),
        (np.zeros((0, 8), np.int8), "dense", "E_SHAPE"),
    ],
)
def test_what_cannot_be_packed(weight, form, error):
    with pytest.raises(KernelError, match=error):
        pack(weight, form)


def test_only_int8_is_packed():
    for form in ("dense", "2:4"):
        with pytest.raises(TypeError, match="int8"):
            pack(np.zeros((4, 8), np.int16), form)


def test_indices_beyond_m_are_refused():
    packed = kernels.pack(np.tile(np.array([0, 5, 0, -7], np.int8), (4, 1)), "2:4")
    with pytest.raises(KernelError, match="E_FILE"):
        unpack(PackedWeights("2:4", packed.shape, packed.data, packed.indices + 4))
