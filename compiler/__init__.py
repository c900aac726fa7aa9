"""Prunus, the compiler: graph in, graph out.

    from prunus.compiler import Options, Request, compile

    result = compile(Request(model=Path("model.onnx"), target="pynq-z2", out=Path("out"), data=Path("data.npz")))
    print(result.report.verdict.met)

Names are imported on first use, so that the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from .data import Data, load_data
    from .driver import Compiled, Request, compile
    from .integer.from_qdq import read_qdq
    from .integer.graph import Graph
    from .model.load import load, load_proto
    from .model.model import Model
    from .model.save import save
    from .model.workload import Workload, workload
    from .passes.base import Context, Options
    from .pipeline import Pipeline
    from .quantity import Estimate, Quantity
    from .registry import resolve
    from .report.schema import ReportData
    from .target import Device, Formats, Target

_HOMES = {
    "Compiled": "driver",
    "Context": "passes.base",
    "Data": "data",
    "Device": "target",
    "Estimate": "quantity",
    "Formats": "target",
    "Graph": "integer.graph",
    "Model": "model.model",
    "Options": "passes.base",
    "Pipeline": "pipeline",
    "Quantity": "quantity",
    "ReportData": "report.schema",
    "Request": "driver",
    "Target": "target",
    "Workload": "model.workload",
    "compile": "driver",
    "load": "model.load",
    "load_data": "data",
    "load_proto": "model.load",
    "read_qdq": "integer.from_qdq",
    "resolve": "registry",
    "save": "model.save",
    "workload": "model.workload",
}

__all__ = [
    "Compiled",
    "Context",
    "Data",
    "Device",
    "Estimate",
    "Formats",
    "Graph",
    "Model",
    "Options",
    "Pipeline",
    "Quantity",
    "ReportData",
    "Request",
    "Target",
    "Workload",
    "compile",
    "errors",
    "load",
    "load_data",
    "load_proto",
    "read_qdq",
    "resolve",
    "save",
    "workload",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
