"""`Model`: the thin owner of an ONNX graph whose names are plain, and of the map back to the user's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import onnx
import onnx_ir

from .untrusted import shown

NormalForm = Literal["loaded", "trainable", "deploy", "quantized"]
IR_VERSION = 10  # the newest that every consumer here reads
OPSET = 21


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX model in memory.

    `ir` is the graph (opset 21 after loading, every name plain: nodes n0001…, values t0001…).
    `names` maps plain names of nodes and values to the user's; use `original()` and escape what it returns.
    A pass never changes a model in place: it works on `clone()`.
    """

    ir: onnx_ir.Model
    names: Mapping[str, str] = field(default_factory=dict)
    form: NormalForm = "loaded"
    provenance: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def graph(self) -> onnx_ir.Graph:
        return self.ir.graph

    def original(self, name: str) -> str:
        """The user's own name for a plain name (untrusted text), or the plain name where Prunus made it."""
        return self.names.get(name, name)

    def shown(self, name: str) -> str:
        """The user's own name as a terminal, a log or an error message may show it: one short line."""
        return shown(self.original(name))

    def clone(self, form: NormalForm | None = None) -> Model:
        """A copy that may be changed freely; weights are shared until they are replaced."""
        return replace(self, ir=self.ir.clone(), form=form or self.form)

    def to_proto(self) -> onnx.ModelProto:
        """The model as a protobuf at IR version 10, weights inside."""
        proto: onnx.ModelProto = onnx_ir.to_proto(self.ir)
        proto.ir_version = IR_VERSION
        return proto

    def to_bytes(self) -> bytes:
        """Serialised deterministically: the same model gives the same bytes."""
        data: bytes = self.to_proto().SerializeToString(deterministic=True)
        return data
