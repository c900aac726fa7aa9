"""Prunus and the engines that it is measured against, each running one layer in its own best layout.

An engine is a module with `version()`, `prepare(problem, alone)` and `empty_call()`, which raise `Missing` where the
engine is not installed. `alone` asks for the layer with NCHW on both sides instead of the engine's own layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from . import onednn, onnxruntime_qdq, openvino_int8, prunus_kernels, torch_int8
from .base import Missing, Prepared

PEERS: Mapping[str, ModuleType] = {
    "onnxruntime": onnxruntime_qdq,
    "openvino": openvino_int8,
    "onednn": onednn,
    "torch": torch_int8,
}
ENGINES: Mapping[str, ModuleType] = PEERS | {"prunus": prunus_kernels}

__all__ = ["ENGINES", "PEERS", "Missing", "Prepared"]
