"""Weight bits that a pass before quantization chose layer by layer: written on the nodes, as ONNX metadata."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from ..model.model import Model

KEY = "prunus.weight-bits"


def want_bits(model: Model, bits: Mapping[str, int]) -> Model:
    """A copy whose layers (by plain node name) will be quantized to so many bits; all others to the device's own."""
    result = model.clone()
    for node in result.graph:
        node.metadata_props.pop(KEY, None)
        if (count := bits.get(str(node.name))) is not None:
            node.metadata_props[KEY] = str(count)
    return result


def wanted_bits(graph: ir.Graph) -> dict[str, int]:
    """What `want_bits` wrote, by plain node name. Loading a file drops all metadata, so that no file can ask."""
    return {str(node.name): int(node.metadata_props[KEY]) for node in graph if KEY in node.metadata_props}
