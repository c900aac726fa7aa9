"""Canonical Huffman codes over bytes, of at most 15 bits, in segments that decode side by side.

Lengths are optimal under the limit (package-merge: Larmore and Hirschberg 1990); a canonical code (Schwartz and Kallick
1964) is its lengths alone: shorter codes first, equal lengths by symbol. Every 4096 symbols a segment begins on a byte
of its own, so that a decoder follows many segments at once: the numpy one here steps through all of them in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import damaged

MAX_LENGTH = 15
SEGMENT = 4096  # symbols
_WINDOW = 24  # bits that hold a code wherever in a byte it begins: 7 + 15 at most
_LANES = 1024  # segments decoded at once, which bounds the memory of tables and windows
_BATCH = 256 * SEGMENT  # symbols encoded at once, which bounds the memory

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


def code_lengths(counts: Integers, limit: int = MAX_LENGTH) -> Bytes:
    """The code length of every symbol, minimal in Σ counts · length; 0 where a symbol does not occur.

    A lone symbol needs no bits: its length is 0, too.
    """
    lengths = np.zeros(counts.size, np.uint8)
    leaves = sorted((int(counts[symbol]), (int(symbol),)) for symbol in np.flatnonzero(counts))
    if len(leaves) < 2:
        return lengths
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(limit):
        merged = sorted(leaves + packages, key=lambda item: item[0])
        pairs = zip(merged[::2], merged[1::2], strict=False)
        packages = [(left[0] + right[0], left[1] + right[1]) for left, right in pairs]
    # the cheapest n - 1 packages are the first 2n - 2 items of the last round; each mention is one more bit
    for _, symbols in packages[: len(leaves) - 1]:
        np.add.at(lengths, list(symbols), 1)
    return lengths


def canonical_codes(lengths: Bytes) -> npt.NDArray[np.uint32]:
    """The code of every symbol, in its lowest `length` bits."""
    codes = np.zeros(lengths.size, np.uint32)
    code, previous = 0, 0
    for symbol in sorted(np.flatnonzero(lengths), key=lambda each: (lengths[each], each)):
        code <<= int(lengths[symbol]) - previous
        previous = int(lengths[symbol])
        codes[symbol] = code
        code += 1
    return codes


def entropy_bits(counts: Integers) -> float:
    """The bits that no code for single symbols can beat (Shannon 1948)."""
    present = counts[counts > 0].astype(np.float64)
    return float((present * np.log2(present.sum() / present)).sum())


# -- encoding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coded:
    """Symbols with the code that fits them best, not yet written. `bytes` is what `write` will need."""

    symbols: Bytes
    lengths: Bytes
    first: int  # of the used symbols, counted round from 255 to 0
    span: int  # symbols from the first to the last that is used
    segment_bytes: Integers
    raw: bool  # the symbols themselves are shorter than any code

    @property
    def bytes(self) -> int:
        if self.raw:
            return 1 + self.symbols.size
        return 3 + (self.span + 1) // 2 + 2 * self.segment_bytes.size + int(self.segment_bytes.sum())


def fit(symbols: Bytes) -> Coded:
    """Chooses the code of a stream of symbols."""
    counts = np.bincount(symbols, minlength=256)
    lengths = code_lengths(counts)
    first, span = _used_range(counts)
    starts = np.arange(0, symbols.size, SEGMENT)
    bits = np.add.reduceat(lengths[symbols].astype(np.int64), starts) if symbols.size else starts
    coded = Coded(symbols, lengths, first, span, (bits + 7) // 8, raw=False)
    shorter = symbols.size > 0 and coded.bytes < 1 + symbols.size
    return coded if shorter else Coded(symbols, lengths, 0, 0, starts[:0], raw=True)


def _used_range(counts: Integers) -> tuple[int, int]:
    """(first, span) of the shortest circular range of symbols that holds all that occur: int8 values lie around 0."""
    used = np.flatnonzero(counts)
    if used.size == 0:
        return 0, 0
    gaps = np.diff(used, append=used[0] + counts.size)
    widest = int(gaps.argmax())
    return int(used[(widest + 1) % used.size]), int(counts.size - gaps[widest] + 1)


def write(coded: Coded) -> bytes:
    """The stream as bytes: see FORMAT.md."""
    if coded.raw:
        return b"\0" + coded.symbols.tobytes()
    order = (coded.first + np.arange(coded.span + coded.span % 2)) % 256
    nibbles = coded.lengths[order]
    nibbles[coded.span :] = 0
    head = bytes([1, coded.first, coded.span - 1]) + (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes()
    codes = canonical_codes(coded.lengths)
    batches = range(0, coded.symbols.size, _BATCH)
    body = b"".join(_write_batch(coded.symbols[at : at + _BATCH], coded.lengths, codes) for at in batches)
    return head + coded.segment_bytes.astype("<u2").tobytes() + body


def _write_batch(symbols: Bytes, lengths: Bytes, codes: npt.NDArray[np.uint32]) -> bytes:
    """Whole segments of codes, most significant bit first. Codes share no bits, so bytes are sums."""
    bits = lengths[symbols].astype(np.int64)
    ends = np.cumsum(bits)
    segment = np.arange(symbols.size) // SEGMENT
    used = np.add.reduceat(bits, np.arange(0, symbols.size, SEGMENT))
    padding = np.cumsum(-used % 8) - (-used % 8)  # in front of each segment
    begin = ends - bits + padding[segment]
    window = codes[symbols] << (_WINDOW - bits - begin % 8).astype(np.uint32)
    total = int((ends[-1] + padding[-1] + 7) // 8)
    out = np.zeros(total + 2)
    for byte in range(3):
        out += np.bincount(begin // 8 + byte, window >> (16 - 8 * byte) & 255, total + 2)[: total + 2]
    return out[:total].astype(np.uint8).tobytes()


# -- decoding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """A stream that was read but not decoded: a table per code, and where its segments lie in the file."""

    count: int  # of symbols
    raw: Bytes | None
    lengths: Bytes  # of the code of each symbol; all 0 where only `first` occurs
    first: int
    begins: Integers  # of segments, in bytes of the file
    sizes: Integers


def read(data: Bytes, at: int, end: int, count: int) -> tuple[Stream, int]:
    """(the stream of `count` symbols that begins at `at`, where it ends). Raises InvalidModelError."""
    nothing = np.zeros(0, np.int64)
    if end - at < 1 or data[at] > 1:
        raise damaged("A stream has no kind that this version knows.")
    if data[at] == 0:
        if end - at - 1 < count:
            raise damaged("A stream of plain bytes is cut short.")
        raw = data[at + 1 : at + 1 + count]
        return Stream(count, raw, np.zeros(256, np.uint8), 0, nothing, nothing), at + 1 + count
    if end - at < 3:
        raise damaged("A code is cut short.")
    first, span = int(data[at + 1]), int(data[at + 2]) + 1
    at += 3
    segments = -(-count // SEGMENT)
    if end - at < (span + 1) // 2 + 2 * segments:
        raise damaged("A code or the sizes of its segments are cut short.")
    lengths = _lengths(data[at : at + (span + 1) // 2], first, span)
    at += (span + 1) // 2
    sizes = data[at : at + 2 * segments].copy().view("<u2").astype(np.int64)
    at += 2 * segments
    if int(sizes.sum()) > end - at:
        raise damaged("A stream's segments are cut short.")
    begins = at + np.cumsum(sizes) - sizes
    return Stream(count, None, lengths, first, begins, sizes), at + int(sizes.sum())


def _lengths(packed: Bytes, first: int, span: int) -> Bytes:
    """The code lengths in a file: a complete prefix code, or nothing but zeros for a lone symbol."""
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).ravel()
    if nibbles[span:].any():
        raise damaged("A code has a length beyond its last symbol.")
    lengths = np.zeros(256, np.uint8)
    lengths[(first + np.arange(span)) % 256] = nibbles[:span]
    used = lengths[lengths > 0].astype(np.int64)
    lone = used.size == 0 and span == 1
    if not lone and (used.size < 2 or int((1 << MAX_LENGTH - used).sum()) != 1 << MAX_LENGTH):
        raise damaged("The lengths of a code do not make a complete prefix code.")
    return lengths


def _table(stream: Stream) -> npt.NDArray[np.uint16]:
    """What the next bits mean, as many as the longest code has: symbol · 16 + length."""
    used = np.flatnonzero(stream.lengths)
    if used.size == 0:
        return np.array([stream.first << 4], np.uint16)
    order = used[np.argsort(stream.lengths[used], kind="stable")]
    lengths = stream.lengths[order].astype(np.int64)
    return np.repeat((order << 4 | lengths).astype(np.uint16), 1 << (lengths[-1] - lengths))


def decode(data: Bytes, streams: Sequence[Stream]) -> list[Bytes]:
    """The symbols of every stream; segments of all of them are decoded together. Raises InvalidModelError."""
    results = [np.empty(each.count, np.uint8) if each.raw is None else each.raw for each in streams]
    coded = [index for index, each in enumerate(streams) if each.raw is None and each.count]
    lanes = [(index, segment) for index in coded for segment in range(streams[index].sizes.size)]
    lanes.sort(key=lambda lane: min(SEGMENT, streams[lane[0]].count - lane[1] * SEGMENT), reverse=True)
    for at in range(0, len(lanes), _LANES):
        _decode_lanes(data, streams, lanes[at : at + _LANES], results)
    return results


def _decode_lanes(
    data: Bytes, streams: Sequence[Stream], lanes: Sequence[tuple[int, int]], results: Sequence[Bytes]
) -> None:
    """Steps through segments, the longest first, one symbol of each at a time."""
    owners = sorted({index for index, _ in lanes})
    tables = [_table(streams[i]) for i in owners]
    bases = dict(zip(owners, np.cumsum([0, *(each.size for each in tables[:-1])]), strict=True))
    table = np.concatenate(tables)
    base = np.array([bases[i] for i, _ in lanes])
    depth = np.array([int(streams[i].lengths.max()) for i, _ in lanes])
    counts = np.array([min(SEGMENT, streams[i].count - s * SEGMENT) for i, s in lanes])
    sizes = np.array([streams[i].sizes[s] for i, s in lanes])
    segments = [data[streams[i].begins[s] : streams[i].begins[s] + streams[i].sizes[s]] for i, s in lanes]
    # a damaged segment runs at most this far over the end
    packed = np.concatenate([*segments, np.zeros(SEGMENT * MAX_LENGTH // 8 + 3, np.uint8)]).astype(np.uint32)
    windows = (packed[:-2] << 16 | packed[1:-1] << 8 | packed[2:]).astype(np.int64)
    ends = np.cumsum(sizes) * 8
    position = ends - sizes * 8
    shift, mask = _WINDOW - depth, (1 << depth) - 1
    out = np.empty((int(counts[0]), len(lanes)), np.uint8)
    active = np.searchsorted(-counts, -np.arange(counts[0]))  # lanes that have a symbol at this step
    for step, live in enumerate(active.tolist()):
        here = position[:live]
        bits = windows[here >> 3] >> (shift[:live] - (here & 7)) & mask[:live]
        entry = table[base[:live] + bits]
        out[step, :live] = entry >> 4
        here += entry & 15
    _check_ends(packed, position, ends)
    for lane, (index, segment) in enumerate(lanes):
        results[index][segment * SEGMENT : segment * SEGMENT + counts[lane]] = out[: counts[lane], lane]


def _check_ends(packed: npt.NDArray[np.uint32], position: Integers, ends: Integers) -> None:
    """Every segment ends within its last byte, and the bits behind it are zero."""
    spare = ends - position
    if ((spare < 0) | (spare > 7)).any():
        raise damaged("A segment's codes do not end where the segment ends.")
    last = packed[np.maximum(ends // 8 - 1, 0)]
    if (last & ((1 << spare) - 1)).any():
        raise damaged("Bits behind the codes of a segment are not zero.")
