"""Model coding: ONNX files as small as their numbers allow, and back without losing a bit.

    from prunus.compiler.coding import pack, unpack

    packed = pack(Path("model.onnx").read_bytes())
    assert unpack(packed) == Path("model.onnx").read_bytes()

FORMAT.md beside this file describes `model.prz`. `prunus.kernels.unpack_model` reads the same files in C++.
"""

from __future__ import annotations

from .container import Section, is_packed, methods, pack, sections, unpack
from .files import Packed, pack_file
from .tensors import Method

__all__ = ["Method", "Packed", "Section", "is_packed", "methods", "pack", "pack_file", "sections", "unpack"]
