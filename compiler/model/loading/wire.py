"""A first look at a model file's bytes: how many parts, how deeply nested, before the protobuf parser builds them all.

Two bytes can stand for an empty node that takes a hundred in memory, so the parts are counted on the wire first. The
contents of tensors and strings are skipped, not read.
"""

from __future__ import annotations

import onnx

from ...errors import InvalidModelError
from ..untrusted import shown
from .limits import Limits, too_large


def _message_fields() -> dict[str, dict[int, str]]:
    """Message type -> field number -> type of the message in that field, for everything inside a model."""
    found: dict[str, dict[int, str]] = {}
    waiting = [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        inner = [field for field in message.fields if field.message_type is not None]
        found[message.full_name] = {field.number: field.message_type.full_name for field in inner}
        waiting += [field.message_type for field in inner if field.message_type.full_name not in found]
    return found


_MESSAGES = _message_fields()
_MODEL, _GRAPH = onnx.ModelProto.DESCRIPTOR.full_name, onnx.GraphProto.DESCRIPTOR.full_name
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def check_wire(data: bytes, where: str, limits: Limits) -> None:
    """Walks over the fields of all messages.

    Raises:
        InvalidModelError: the bytes are no protobuf message. LimitError: too many fields, or graphs nested too deeply.
    """
    try:
        _walk(data, limits)
    except (IndexError, ValueError) as error:
        raise InvalidModelError(
            "The file is not an ONNX model, or it is damaged.",
            code="not-onnx",
            where=shown(where),
            why="It breaks off, or is not a protobuf message at all.",
            hint="Export the model again, or download it again and compare its size.",
        ) from error


def _walk(data: bytes, limits: Limits) -> None:
    fields = 0
    waiting = [(0, len(data), _MODEL, 0)]  # start, end, type, how many graphs around it
    while waiting:
        position, end, kind, depth = waiting.pop()
        inner = _MESSAGES[kind]
        while position < end:
            fields += 1
            if fields > limits.fields:
                raise too_large("The model file has too many parts.", "field-limit", fields, limits.fields)
            tag = data[position]
            position += 1
            if tag > 127:
                tag, position = _varint(data, position - 1)
            wire_type = tag & 7
            if wire_type == _LENGTH:
                size, position = _varint(data, position)
                child = inner.get(tag >> 3)
                if child is not None:
                    level = depth + (child == _GRAPH)
                    if level > limits.nesting:
                        raise too_large("The model nests graphs too deeply.", "nesting-limit", level, limits.nesting)
                    waiting.append((position, position + size, child, level))
                position += size
            elif wire_type == _VARINT:
                _, position = _varint(data, position)
            elif wire_type in (_FIXED64, _FIXED32):
                position += 8 if wire_type == _FIXED64 else 4
            else:
                raise ValueError("a group, or no field at all")
        if position != end:
            raise ValueError("a field reaches beyond its message")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, position after it)"""
    byte = data[position]
    position += 1
    if byte < 128:
        return byte, position
    value, shift = byte & 127, 7
    while byte >= 128:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise ValueError("a number of more than ten bytes")
    return value, position
