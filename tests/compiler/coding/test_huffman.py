"""Codes are as short as they can be, within 1 % of the entropy, and nothing malformed is read."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packed_models import bell

from prunus.compiler.coding import huffman
from prunus.compiler.coding.tensors import smallest_form
from prunus.compiler.errors import InvalidModelError


def bits(counts: np.ndarray, limit: int = huffman.MAX_LENGTH) -> int:
    return int((counts * huffman.code_lengths(counts, limit)).sum())


def unlimited_bits(counts: np.ndarray) -> int:
    """The total of Huffman's own algorithm: a second definition."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def round_trip(symbols: np.ndarray) -> np.ndarray:
    coded = huffman.fit(symbols)
    written = np.frombuffer(huffman.write(coded), np.uint8)
    assert written.size == coded.bytes
    stream, end = huffman.read(written, 0, written.size, symbols.size)
    assert end == written.size
    return huffman.decode(written, [stream])[0]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=256))
def test_lengths_are_those_of_huffman(counts):
    array = np.array(counts)
    assert bits(array) == unlimited_bits(array) or (array > 0).sum() < 2


def test_the_limit_holds_and_costs_little():
    fibonacci = [1, 1]
    while len(fibonacci) < 30:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    counts = np.array(fibonacci)
    lengths = huffman.code_lengths(counts)
    assert lengths.max() == 15 and (2.0 ** -lengths.astype(float)).sum() == 1
    assert unlimited_bits(counts) < bits(counts) < 1.001 * unlimited_bits(counts)


def test_no_complete_code_of_that_depth_is_shorter():
    """Every code of five symbols with lengths up to 3, by enumeration."""
    counts = np.array([40, 9, 5, 2, 1])
    lengths = np.array(np.meshgrid(*[range(1, 4)] * 5)).reshape(5, -1)
    complete = (2.0**-lengths).sum(axis=0) == 1
    assert bits(counts, limit=3) == (counts @ lengths[:, complete]).min()


def test_codes_are_canonical():
    lengths = np.array([2, 0, 1, 3, 3], np.uint8)
    assert huffman.canonical_codes(lengths).tolist() == [0b10, 0, 0b0, 0b110, 0b111]


@given(st.lists(st.integers(0, 255), max_size=300), st.integers(1, 40))
def test_symbols_come_back(symbols, repeats):
    array = np.tile(np.array(symbols, np.uint8), repeats)
    np.testing.assert_array_equal(round_trip(array), array)


@pytest.mark.parametrize("count", [4095, 4096, 4097, 12_288, 20_000])
def test_segments_come_back(count):
    array = bell(np.random.default_rng(count), (count,)).view(np.uint8)
    np.testing.assert_array_equal(round_trip(array), array)


@pytest.mark.parametrize("density", [1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2])
def test_within_one_percent_of_the_entropy(density):
    """Everything that is written of a tensor: codes, their lengths, segment sizes, places of zeros."""
    symbols = bell(np.random.default_rng(1), (300_000,), density).view(np.uint8)
    _, form = smallest_form(symbols, 8)
    assert 8 * len(form) <= 1.01 * huffman.entropy_bits(np.bincount(symbols))


def test_entropy_is_shannons():
    assert huffman.entropy_bits(np.array([0, 5, 5])) == 10
    assert huffman.entropy_bits(np.array([7])) == 0


def test_a_wrong_length_is_seen():
    """Companion: a code that is one bit too long somewhere misses the bound."""
    symbols = bell(np.random.default_rng(1), (300_000,)).view(np.uint8)
    counts = np.bincount(symbols, minlength=256)
    worse = (huffman.code_lengths(counts) + (np.arange(256) < 4)) * counts
    assert worse.sum() > 1.01 * huffman.entropy_bits(counts)


def damaged(change) -> str:
    """What the reader says of a stream of 5000 symbols that `change` has altered."""
    symbols = bell(np.random.default_rng(2), (5000,), width=3).view(np.uint8)
    written = np.frombuffer(huffman.write(huffman.fit(symbols)), np.uint8).copy()
    with pytest.raises(InvalidModelError) as caught:
        data = change(written)
        stream, _ = huffman.read(data, 0, data.size, symbols.size)
        huffman.decode(data, [stream])
    return str(caught.value.why)


def test_damaged_streams_are_refused():
    def at(index: int, value: int):
        def change(data):
            data[index] = value
            return data

        return change

    assert "no kind" in damaged(at(0, 2))
    assert "complete prefix code" in damaged(at(3, 0xFF))
    assert "cut short" in damaged(lambda data: data[:-1])
    assert "cut short" in damaged(lambda data: data[:10])
    assert "cut short" in damaged(lambda data: data[:2])
    assert "no kind" in damaged(lambda data: data[:0])
    assert "do not end" in damaged(at(-40, 0)) or "not zero" in damaged(at(-40, 0))
    assert "not zero" in damaged(lambda data: np.concatenate([data[:-1], data[-1:] | 1]))
