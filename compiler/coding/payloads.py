"""Where the numbers of an ONNX file lie: byte ranges of its tensors, found on the wire without building the model.

A file that is cut at these ranges and put together again is the same file, whatever wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from ..errors import InvalidModelError, UnsupportedError

# Message -> field number -> message in that field, on every way from a model to its tensors (onnx.proto).
_INNER: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA, _EXTERNAL = 2, 4, 9, 10, 13
_FIXED_BITS: dict[int, int] = {_FLOAT_DATA: 32, _DOUBLE_DATA: 64}  # packed fields of one width whatever the type
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

# Element type -> bits; types that are not named are taken byte by byte.
_BITS: dict[int, int] = {
    **dict.fromkeys((TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1), 4),
    **dict.fromkeys((TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT16, TensorProto.UINT16), 16),
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32), 32),
    **dict.fromkeys((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT64), 64),
}


@dataclass(frozen=True)
class Payload:
    """The bytes of one tensor: `bits` wide elements, little-endian, 4-bit ones in pairs, from `start` to `stop`."""

    start: int
    stop: int
    bits: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def of(self, model: bytes) -> npt.NDArray[np.uint8]:
        return np.frombuffer(model, np.uint8, self.size, self.start)


def find_payloads(model: bytes, smallest: int) -> list[Payload]:
    """Payloads of at least `smallest` bytes, in the order of the file.

    Raises:
        InvalidModelError: the bytes are no protobuf message.
        UnsupportedError: a tensor lies in another file.
    """
    found: list[Payload] = []
    waiting = [(0, len(model), "model")]
    try:
        while waiting:
            start, stop, kind = waiting.pop()
            if kind == "tensor":
                found += _of_tensor(model, start, stop)
                continue
            for number, wire_type, begin, end in _fields(model, start, stop):
                inner = _INNER[kind].get(number) if wire_type == _LENGTH else None
                if inner is not None:
                    waiting.append((begin, end, inner))
    except (IndexError, ValueError) as error:
        raise InvalidModelError(
            "The file is not an ONNX model, or it is damaged.",
            code="not-onnx",
            why="It breaks off, or is not a protobuf message at all.",
            hint="Export the model again, or download it again and compare its size.",
        ) from error
    return sorted((each for each in found if each.size >= smallest), key=lambda each: each.start)


def _of_tensor(model: bytes, start: int, stop: int) -> list[Payload]:
    bits, ranges = 8, []
    for number, wire_type, begin, end in _fields(model, start, stop):
        if number == _DATA_TYPE and wire_type == _VARINT:
            bits = _BITS.get(_varint(model, begin)[0], 8)
        elif number == _EXTERNAL and wire_type == _LENGTH:
            raise UnsupportedError(
                "The model keeps weights in other files.",
                code="external-data",
                why="A packed model holds one ONNX file.",
                hint="Save it as one file first: onnx.save(onnx.load(IN), OUT).",
            )
        elif wire_type == _LENGTH and number in (_RAW_DATA, *_FIXED_BITS):
            ranges.append((number, begin, end))
    widths = ((begin, end, _FIXED_BITS.get(number, bits)) for number, begin, end in ranges)
    return [Payload(begin, end, width if (end - begin) * 8 % width == 0 else 8) for begin, end, width in widths]


def _fields(model: bytes, position: int, stop: int) -> list[tuple[int, int, int, int]]:
    """(number, wire type, begin and end of the content) of every field of a message."""
    fields = []
    while position < stop:
        tag, position = _varint(model, position)
        wire_type, begin = tag & 7, position
        if wire_type == _VARINT:
            _, position = _varint(model, position)
        elif wire_type == _LENGTH:
            size, begin = _varint(model, position)
            position = begin + size
        elif wire_type in (_FIXED64, _FIXED32):
            position += 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError("a group, or no field at all")
        if position > stop:
            raise ValueError("a field reaches beyond its message")
        fields.append((tag >> 3, wire_type, begin, position))
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, position after it)"""
    value, shift = 0, 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def without(model: bytes, payloads: list[Payload]) -> bytes:
    """The rest of the file."""
    bounds = [0, *(edge for each in payloads for edge in (each.start, each.stop)), len(model)]
    return b"".join(model[begin:end] for begin, end in zip(bounds[::2], bounds[1::2], strict=True))
