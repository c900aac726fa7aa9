"""The engines that Prunus is measured against, each running one layer in its own best layout.

A peer is a module with `version()` and `prepare(problem)`; both raise `Missing` where the peer is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from . import onednn, onnxruntime_qdq, openvino_int8
from .base import Missing, Prepared

PEERS: Mapping[str, ModuleType] = {
    "onnxruntime": onnxruntime_qdq,
    "openvino": openvino_int8,
    "onednn": onednn,
}

__all__ = ["PEERS", "Missing", "Prepared"]
