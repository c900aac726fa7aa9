"""A packed model beside its ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ToolError
from .container import methods, pack, unpack


@dataclass(frozen=True)
class Packed:
    """What packing brought: bytes of both files, and how many tensors are stored by each method."""

    onnx_bytes: int
    packed_bytes: int
    methods: Mapping[str, int]


def pack_file(onnx: Path) -> Packed:
    """Writes model.prz beside model.onnx, unpacks it again and compares.

    Raises:
        ToolError: what comes back is not the same file (code `prz-not-equal`).
    """
    model = onnx.read_bytes()
    packed = pack(model)
    if unpack(packed) != model:
        raise ToolError(
            "The packed model does not unpack to the model.",
            code="prz-not-equal",
            where=str(onnx),
            hint="This is a fault of Prunus; please report it with the model. Without --pack no such file is written.",
        )
    onnx.with_suffix(".prz").write_bytes(packed)
    return Packed(len(model), len(packed), methods(packed))
