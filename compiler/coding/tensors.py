"""One tensor as bytes: the smallest of several lossless forms, and back.

A tensor is a row of elements of 4 to 64 bits. Its Huffman form writes them as symbols: elements of up to 8 bits as
they are, others byte by byte in planes, or as indices of a palette where few values occur (weight sharing: Han, Mao
and Dally, Deep Compression, 2016). The sparse form leaves out one element, usually 0, and codes the gaps, or a bitmap.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import numpy as np
import zstandard

from . import huffman
from .errors import damaged
from .huffman import Bytes, Integers

MAX_EXPANSION = 1 << 16  # bytes of a tensor per byte of its form; zstd reaches 2^15
_HEAD = struct.Struct("<BBHBBxx")  # layout, elements per symbol, palette entries, element that is left out, places
_SPARSE = struct.Struct("<QQ")  # elements that are kept, symbols that say where
_GAPS, _BITMAP = range(2)
_SYMBOLS, _PALETTE, _PLANES = range(3)
_FILLER = 255  # a gap of 255 after which no element follows
_SAMPLE = 4096  # elements that show whether a palette is worth a sort of all
_PROMISING = 1.15  # how much larger than the best other form a quick zstd may be to be tried with patience


class Method(IntEnum):
    """How a section is stored."""

    STORED = 0
    ZSTD = 1
    HUFFMAN = 2
    SPARSE_HUFFMAN = 3


# -- encoding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """A form of a tensor and its size; `write` makes the bytes."""

    method: Method
    size: int
    write: Callable[[], bytes]


def smallest_form(data: Bytes, bits: int) -> tuple[Method, bytes]:
    """The method and the bytes of the smallest form of a tensor; the earlier method where two are equal."""
    candidates = [_stored(data), *_huffman_forms(data, bits)]
    quick = _zstd(data, 3)
    promising = quick.size <= _PROMISING * min(each.size for each in candidates)
    candidates.append(_zstd(data, 19) if promising else quick)
    admissible = (each for each in candidates if data.size <= MAX_EXPANSION * each.size)
    best = min(admissible, key=lambda each: (each.size, each.method))
    return best.method, best.write()


def _stored(data: Bytes) -> Candidate:
    return Candidate(Method.STORED, data.size, data.tobytes)


def _zstd(data: Bytes, level: int) -> Candidate:
    packed = zstandard.ZstdCompressor(level=level, write_content_size=True).compress(data.tobytes())
    return Candidate(Method.ZSTD, len(packed), lambda: packed)


def _huffman_forms(data: Bytes, bits: int) -> Iterator[Candidate]:
    """Dense and sparse, by each layout that fits the elements."""
    if data.size == 0:
        return
    if bits <= 8:
        elements = _nibbles(data) if bits == 4 else data
        yield from _symbol_forms(elements, bits, _SYMBOLS, b"")
    else:
        yield from _plane_forms(data, bits // 8)
    if bits > 4:
        elements = data.view(f"<u{bits // 8}")
        if np.unique(elements[:_SAMPLE]).size > 256:
            return
        values, indices = np.unique(elements, return_inverse=True)
        if values.size <= 256:
            yield from _symbol_forms(indices.astype(np.uint8), _index_bits(values.size), _PALETTE, values.tobytes())


def _nibbles(data: Bytes) -> Bytes:
    """4-bit elements, the lower half of a byte first as in ONNX."""
    return np.stack([data & 15, data >> 4], axis=1).ravel()


def _index_bits(entries: int) -> int:
    """The narrowest of 1, 2, 4 and 8 bits that hold an index."""
    return next(bits for bits in (1, 2, 4, 8) if entries <= 1 << bits)


def _symbol_forms(elements: Bytes, bits: int, layout: int, palette: bytes) -> Iterator[Candidate]:
    """Elements of up to 8 bits: one per symbol, several per symbol (a finer fit to skewed counts), and sparse."""
    counts = np.bincount(elements, minlength=256)
    entries = np.unique(elements).size if layout == _PALETTE else 0
    for per_symbol in (1, 2, 4, 8):
        if per_symbol * bits <= 8:
            head = _HEAD.pack(layout, per_symbol, entries, 0, 0) + palette
            yield _form(Method.HUFFMAN, head, [huffman.fit(_grouped(elements, bits, per_symbol))])
    left_out = int(counts.argmax())
    kept = np.flatnonzero(elements != left_out)
    for places in (_GAPS, _BITMAP):
        head = _HEAD.pack(layout, 1, entries, left_out, places) + palette
        yield _sparse_form(head, places, kept, elements.size, [elements[kept]])


def _grouped(elements: Bytes, bits: int, per_symbol: int) -> Bytes:
    """`per_symbol` neighbours in one byte, the first in its lowest bits, zeros behind the last."""
    padded = np.concatenate([elements, np.zeros(-elements.size % per_symbol, np.uint8)]).reshape(-1, per_symbol)
    shifted = padded << (bits * np.arange(per_symbol, dtype=np.uint8))
    return np.asarray(np.bitwise_or.reduce(shifted, axis=1), np.uint8)


def _plane_forms(data: Bytes, width: int) -> Iterator[Candidate]:
    """Elements of several bytes: all first bytes, all second bytes … since exponents repeat and mantissas do not."""
    elements = data.reshape(-1, width)
    planes = [huffman.fit(np.ascontiguousarray(plane)) for plane in elements.T]
    yield _form(Method.HUFFMAN, _HEAD.pack(_PLANES, 1, 0, 0, 0), planes)
    kept = np.flatnonzero(elements.any(axis=1))
    if kept.size == len(elements):
        return
    for places in (_GAPS, _BITMAP):
        head = _HEAD.pack(_PLANES, 1, 0, 0, places)
        yield _sparse_form(head, places, kept, len(elements), [np.ascontiguousarray(p) for p in elements[kept].T])


def _form(method: Method, head: bytes, streams: list[huffman.Coded]) -> Candidate:
    size = len(head) + sum(stream.bytes for stream in streams)
    return Candidate(method, size, partial(_write_form, head, streams))


def _write_form(head: bytes, streams: list[huffman.Coded]) -> bytes:
    return head + b"".join(huffman.write(stream) for stream in streams)


def _sparse_form(head: bytes, places: int, kept: Integers, count: int, planes: list[Bytes]) -> Candidate:
    """`kept` are the positions of the elements that `planes` hold, of `count`."""
    where = _gaps(kept) if places == _GAPS else _bitmap(kept, count)
    head += _SPARSE.pack(kept.size, where.size)
    return _form(Method.SPARSE_HUFFMAN, head, [huffman.fit(each) for each in (where, *planes)])


def _bitmap(kept: Integers, count: int) -> Bytes:
    """A bit per element, eight in a symbol: where gaps are short, a finer fit to how often elements are kept."""
    flags = np.zeros(count, bool)
    flags[kept] = True
    return np.packbits(flags, bitorder="little")


def _gaps(kept: Integers) -> Bytes:
    """How many elements are left out before each kept one: fillers of 255, then what remains."""
    distances = np.diff(kept, prepend=-1) - 1
    fillers, rest = distances // _FILLER, distances % _FILLER
    gaps = np.full(kept.size + int(fillers.sum()), _FILLER, np.uint8)
    gaps[np.cumsum(fillers + 1) - 1] = rest
    return gaps


# -- decoding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A Huffman form that was read but not decoded. `count` elements of `bits` each."""

    count: int
    bits: int
    layout: int
    per_symbol: int
    palette: Bytes  # [entries, bytes of an element]
    left_out: int
    kept: int | None  # elements in the streams of a sparse form
    places: int
    streams: tuple[huffman.Stream, ...]


def read_form(data: Bytes, at: int, end: int, method: Method, size: int, bits: int) -> Form:
    """Reads the form of a tensor of `size` bytes that lies from `at` to `end`. Raises InvalidModelError."""
    if bits not in (4, 8, 16, 32, 64) or size * 8 % bits:
        raise damaged("A tensor's bytes are no whole number of its elements.")
    if end - at < _HEAD.size:
        raise damaged("The form of a tensor is cut short.")
    layout, per_symbol, entries, left_out, places = _HEAD.unpack(data[at : at + _HEAD.size].tobytes())
    if data[at + 6 : at + _HEAD.size].any() or places > (_BITMAP if method == Method.SPARSE_HUFFMAN else 0):
        raise damaged("Spare bytes of a form are not zero.")
    at += _HEAD.size
    width = bits // 8 if layout == _PALETTE else 0
    _check_layout(layout, per_symbol, entries, left_out, bits)
    if end - at < entries * width:
        raise damaged("A palette is cut short.")
    palette = data[at : at + entries * width].reshape(entries, width)
    at += entries * width
    count, kept, streams = size * 8 // bits, None, []
    held = count
    if method == Method.SPARSE_HUFFMAN:
        if end - at < _SPARSE.size:
            raise damaged("The form of a tensor is cut short.")
        kept, symbols = _SPARSE.unpack(data[at : at + _SPARSE.size].tobytes())
        fits = symbols == -(-count // 8) if places == _BITMAP else kept <= symbols <= kept + count // _FILLER
        if kept > count or not fits:
            raise damaged("A sparse tensor names more elements than it has.")
        held = kept
        stream, at = huffman.read(data, at + _SPARSE.size, end, symbols)
        streams.append(stream)
    for _ in range(bits // 8 if layout == _PLANES else 1):
        stream, at = huffman.read(data, at, end, -(-held // per_symbol))
        streams.append(stream)
    if at != end:
        raise damaged("Bytes behind the form of a tensor belong to nothing.")
    return Form(count, bits, layout, per_symbol, palette, left_out, kept, places, tuple(streams))


def _check_layout(layout: int, per_symbol: int, entries: int, left_out: int, bits: int) -> None:
    known = {
        _SYMBOLS: bits <= 8 and entries == 0 and left_out < 1 << bits,
        _PALETTE: bits >= 8 and 0 < entries <= 256 and left_out < entries,
        _PLANES: bits >= 16 and entries == 0 and left_out == 0 and per_symbol == 1,
    }
    if not known.get(layout, False):
        raise damaged("A tensor has a layout that does not fit its elements.")
    if per_symbol not in (1, 2, 4, 8) or per_symbol * _symbol_bits(layout, entries, bits) > 8:
        raise damaged("A tensor has more elements in a symbol than fit.")


def _symbol_bits(layout: int, entries: int, bits: int) -> int:
    """Bits of an element in a symbol."""
    return _index_bits(entries) if layout == _PALETTE else min(bits, 8)


def join(form: Form, symbols: list[Bytes]) -> Bytes:
    """The tensor's bytes from the decoded streams of its form. Raises InvalidModelError."""
    planes = symbols if form.kept is None else symbols[1:]
    held = form.count if form.kept is None else form.kept
    if form.layout == _PLANES:
        elements = np.stack(planes, axis=1)
        nothing = np.zeros(form.bits // 8, np.uint8)
    else:
        codes = _ungrouped(planes[0], _symbol_bits(form.layout, len(form.palette), form.bits), form.per_symbol, held)
        nothing = np.full(1, form.left_out, np.uint8)
        if form.layout == _PALETTE:
            if codes.size and int(codes.max()) >= len(form.palette):
                raise damaged("An index is beyond its palette.")
            elements, nothing = form.palette[codes], form.palette[form.left_out]
        else:
            elements = codes[:, np.newaxis]
            if form.bits == 4 and codes.size and int(codes.max()) > 15:
                raise damaged("A 4-bit element has more than four bits.")
    if form.kept is not None:
        positions = (_of_gaps if form.places == _GAPS else _of_bitmap)(symbols[0], form.count)
        if positions.size != form.kept or (positions.size and int(positions[-1]) >= form.count):
            raise damaged("A sparse tensor's places do not fit its elements.")
        everything = np.empty((form.count, nothing.size), np.uint8)
        everything[:] = nothing
        everything[positions] = elements
        elements = everything
    flat = elements.reshape(-1)
    return np.asarray(flat[::2] | flat[1::2] << 4, np.uint8) if form.bits == 4 else flat


def _ungrouped(symbols: Bytes, bits: int, per_symbol: int, count: int) -> Bytes:
    """The inverse of `_grouped`; a symbol of one element stays as it is."""
    if per_symbol == 1:
        return symbols
    shifts = bits * np.arange(per_symbol, dtype=np.uint8)
    elements = (symbols[:, np.newaxis] >> shifts & np.uint8((1 << bits) - 1)).ravel()
    if elements[count:].any() or (per_symbol * bits < 8 and (symbols >> per_symbol * bits).any()):
        raise damaged("Spare bits of a symbol are not zero.")
    return elements[:count]


def _of_gaps(gaps: Bytes, count: int) -> Integers:
    """The inverse of `_gaps`."""
    ends = np.cumsum(gaps.astype(np.int64) + (gaps != _FILLER))
    if ends.size and int(ends[-1]) > count:
        raise damaged("The gaps of a sparse tensor lead beyond its end.")
    positions: Integers = ends[gaps != _FILLER] - 1
    return positions


def _of_bitmap(symbols: Bytes, _: int) -> Integers:
    """The inverse of `_bitmap`; bits behind the last element count as elements beyond the end."""
    return np.flatnonzero(np.unpackbits(symbols, bitorder="little"))
