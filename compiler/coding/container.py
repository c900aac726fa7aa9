"""`model.prz`: an ONNX file as sections, each in its smallest form. FORMAT.md describes every byte."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import zstandard

from ..errors import LimitError
from . import huffman
from .errors import damaged
from .huffman import Bytes
from .payloads import Payload, find_payloads, without
from .tensors import MAX_EXPANSION, Method, join, read_form, smallest_form

MAGIC = b"\x89PRZ\r\n\x1a\n"  # as in PNG: shows files that were transferred as text or with seven bits
VERSION = 1
DEFAULT_LIMIT_BYTES = 2 << 30  # of an unpacked model: what protobuf can hold
SMALLEST_PAYLOAD_BYTES = 128  # smaller tensors stay with the graph, where zstd sees them together
_SMALL_MODEL_BYTES = 1 << 20  # for which the rows of many sections weigh something
_HEADER = struct.Struct("<8sIIQQII24s")  # magic, version, CRC of the file, its bytes, those of the model, CRC, sections
_SECTION = struct.Struct("<QQQIBBH")  # start, model bytes, stored bytes, CRC of the model bytes, method, bits, zero
_CRC_AT = slice(12, 16)


@dataclass(frozen=True)
class Section:
    """One row of a packed model: the graph (first) or a tensor. Positions and sizes in bytes, `bits` per element."""

    start: int  # in the model; the graph is what no tensor covers
    size: int
    stored: int
    crc: int
    method: Method
    bits: int


def pack(model: bytes) -> bytes:
    """An ONNX file as a packed model: the same bytes for the same file, without loss.

    Raises:
        InvalidModelError: not an ONNX file. UnsupportedError: it keeps weights in other files.
    """
    smallest = [SMALLEST_PAYLOAD_BYTES]
    if len(model) <= _SMALL_MODEL_BYTES:
        smallest += [8 * SMALLEST_PAYLOAD_BYTES, len(model) + 1]  # with few sections, or as one piece
    payloads = find_payloads(model, SMALLEST_PAYLOAD_BYTES)
    forms = {each: smallest_form(each.of(model), each.bits) for each in payloads}
    choices = ({each: form for each, form in forms.items() if each.size >= size} for size in smallest)
    return min((_packed(model, chosen) for chosen in choices), key=len)


def _packed(model: bytes, forms: Mapping[Payload, tuple[Method, bytes]]) -> bytes:
    """The file with these payloads as sections of their own and the rest as the graph."""
    rest = without(model, list(forms))
    method, body = smallest_form(np.frombuffer(rest, np.uint8), 8)
    rows, bodies = [_SECTION.pack(0, len(rest), len(body), zlib.crc32(rest), method, 8, 0)], [body]
    for payload, (method, body) in forms.items():
        crc = zlib.crc32(payload.of(model).tobytes())
        rows.append(_SECTION.pack(payload.start, payload.size, len(body), crc, method, payload.bits, 0))
        bodies.append(body)
    content = b"".join([*rows, *bodies])
    size = _HEADER.size + len(content)
    crc = zlib.crc32(model)
    blank = _HEADER.pack(MAGIC, VERSION, 0, size, len(model), crc, len(rows), bytes(24))
    sealed = zlib.crc32(content, _header_crc(blank))
    return _HEADER.pack(MAGIC, VERSION, sealed, size, len(model), crc, len(rows), bytes(24)) + content


def is_packed(data: bytes) -> bool:
    """Whether a file begins as a packed model does."""
    return data[: len(MAGIC)] == MAGIC


def unpack(packed: bytes, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> bytes:
    """The ONNX file that was packed, byte for byte.

    Nothing is allocated that the file's size and `limit_bytes` do not justify.

    Raises:
        InvalidModelError: not a packed model, of another version, or damaged.
        LimitError: the model is larger than `limit_bytes`.
    """
    sections, model_bytes, model_crc = _read_header(packed, limit_bytes)
    data = np.frombuffer(packed, np.uint8)
    contents = _decode(data, sections)
    for index, (section, content) in enumerate(zip(sections, contents, strict=True)):
        if zlib.crc32(content.tobytes()) != section.crc:
            raise damaged(f"The checksum of section {index} does not fit what it decodes to.", "prz-checksum")
    model = _put_together(sections, contents, model_bytes)
    if zlib.crc32(model) != model_crc:
        raise damaged("The checksum of the whole model does not fit.", "prz-checksum")
    return model


def sections(packed: bytes, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> tuple[Section, ...]:
    """The rows of a packed model, the graph first. Raises as `unpack` does."""
    return tuple(_read_header(packed, limit_bytes)[0])


def methods(packed: bytes) -> Mapping[str, int]:
    """How many tensors are stored by each method."""
    counts = Counter(section.method.name.lower().replace("_", "+") for section in sections(packed)[1:])
    return dict(sorted(counts.items()))


# -- reading ----------------------------------------------------------------------------------------------------------


def _header_crc(header: bytes) -> int:
    """The checksum of a header without the place of the checksum."""
    return zlib.crc32(header[_CRC_AT.stop :], zlib.crc32(header[: _CRC_AT.start]))


def _read_header(packed: bytes, limit_bytes: int) -> tuple[list[Section], int, int]:
    """(sections, bytes of the model, its checksum), everything checked that can be before decoding."""
    if not is_packed(packed):
        raise damaged("It does not begin as a packed model does.", "prz-magic")
    if len(packed) < _HEADER.size:
        raise damaged("It is cut short within the header.", "prz-truncated")
    _, version, crc, size, model_bytes, model_crc, count, zeros = _HEADER.unpack_from(packed)
    if version != VERSION:
        raise damaged(f"It has version {version}; this version of Prunus reads {VERSION}.", "prz-version")
    if size != len(packed):
        raise damaged(f"It should have {size} bytes and has {len(packed)}.", "prz-truncated")
    if zlib.crc32(memoryview(packed)[_HEADER.size :], _header_crc(packed[: _HEADER.size])) != crc:
        raise damaged("Its checksum does not fit.", "prz-checksum")
    if any(zeros):
        raise damaged("Spare bytes of the header are not zero.")
    if model_bytes > limit_bytes:
        raise LimitError(
            "The packed model is too large.",
            code="prz-limit",
            why=f"It unpacks to {model_bytes:,} bytes; the limit is {limit_bytes:,}.",
            hint="If you trust the file, unpack it from Python with a larger limit.",
        )
    if count < 1 or count > (size - _HEADER.size) // _SECTION.size:
        raise damaged("It names more sections than it has room for.")
    return _read_sections(packed, count, model_bytes), model_bytes, model_crc


def _read_sections(packed: bytes, count: int, model_bytes: int) -> list[Section]:
    """The table: sections lie one behind the other, tensors in the order of the model."""
    rows = []
    for index in range(count):
        start, size, stored, crc, method, bits, zero = _SECTION.unpack_from(
            packed, _HEADER.size + index * _SECTION.size
        )
        if method not in tuple(Method) or zero:
            raise damaged(f"Section {index} is stored in a way that this version does not know.")
        if size > MAX_EXPANSION * stored:
            raise damaged(f"Section {index} claims more bytes than its form can hold.")
        rows.append(Section(start, size, stored, crc, Method(method), bits))
    if sum(row.stored for row in rows) != len(packed) - _HEADER.size - count * _SECTION.size:
        raise damaged("The sections and the file have different sizes.")
    if sum(row.size for row in rows) != model_bytes:
        raise damaged("The sections and the model have different sizes.")
    position = 0
    for index, row in enumerate(rows[1:], 1):
        if row.start < position or row.start + row.size > model_bytes:
            raise damaged(f"Section {index} lies outside of the model or over another.")
        position = row.start + row.size
    if rows[0].start != 0:
        raise damaged("Section 0, the graph, has a place of its own.")
    return rows


def _decode(data: Bytes, rows: Sequence[Section]) -> list[Bytes]:
    """The model bytes of every section. All Huffman streams of the file are decoded together."""
    contents: dict[int, Bytes] = {}
    forms = {}
    at = _HEADER.size + len(rows) * _SECTION.size
    for index, row in enumerate(rows):
        end = at + row.stored
        if row.method == Method.STORED:
            if row.stored != row.size:
                raise damaged(f"Section {index} is stored with another size than it has.")
            contents[index] = data[at:end]
        elif row.method == Method.ZSTD:
            contents[index] = _decompress(data[at:end], row.size, index)
        else:
            forms[index] = read_form(data, at, end, row.method, row.size, row.bits)
        at = end
    streams = [stream for form in forms.values() for stream in form.streams]
    symbols = iter(huffman.decode(data, streams))
    for index, form in forms.items():
        contents[index] = join(form, [next(symbols) for _ in form.streams])
    return [contents[index] for index in range(len(rows))]


def _decompress(body: Bytes, size: int, index: int) -> Bytes:
    """zstd, one frame of exactly `size` bytes."""
    frame = body.tobytes()
    try:
        if zstandard.frame_content_size(frame) != size:
            raise damaged(f"Section {index} decompresses to another size than it has.")
        content = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise damaged(f"Section {index} cannot be decompressed: {error}.") from error
    return np.frombuffer(content, np.uint8)


def _put_together(rows: Sequence[Section], contents: Sequence[Bytes], model_bytes: int) -> bytes:
    """Tensors at their places, the graph around them."""
    pieces, at, taken = [], 0, 0
    for row, content in zip(rows[1:], contents[1:], strict=True):
        pieces += [contents[0][taken : taken + row.start - at], content]
        taken += row.start - at
        at = row.start + row.size
    pieces.append(contents[0][taken : taken + model_bytes - at])
    return b"".join(piece.tobytes() for piece in pieces)
