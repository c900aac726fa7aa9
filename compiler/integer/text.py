"""An integer graph as text, one line per operator: for golden tests, reports and curious users."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

import numpy as np

from . import graph as ir

_COMMON = frozenset({"name", "inputs", "output", "origin", "extra_outputs", "model", "hint"})


def describe(graph: ir.Graph) -> str:
    """The graph, deterministic and complete up to the content of long arrays, of which it shows a hash.

    graph mlp, scheme f32
    input  t0001  float32[640]
    n0003  gemm  (t0004: u8[640]) -> t0007: u8[128] s=0.0235294 z=3  requant=f32x128#1f0c…  qmin=3
    """
    lines = [f"graph {graph.name}, scheme {graph.scheme}"]
    lines += [f"input {_tensor(graph, name)}" for name in graph.inputs]
    lines += [_line(graph, op) for op in graph.ops]
    lines += [f"output {name}" for name in graph.outputs]
    return "\n".join(lines) + "\n"


def _line(graph: ir.Graph, op: ir.Op) -> str:
    inputs = ", ".join(op.inputs)
    outputs = ", ".join(_tensor(graph, name) for name in op.outputs)
    details = " ".join(f"{f.name}={_value(getattr(op, f.name))}" for f in fields(op) if f.name not in _COMMON)
    origin = f"  <- {' '.join(op.origin)}" if op.origin else ""
    return f"{op.name} {op.kind}({inputs}) -> {outputs}{'  ' if details else ''}{details}{origin}"


def _tensor(graph: ir.Graph, name: str) -> str:
    tensor = graph.tensors[name]
    dims = ",".join(map(str, tensor.shape))
    quant = tensor.quant
    if quant is None:
        return f"{name}: {tensor.dtype}[{dims}]"
    return f"{name}: {quant.dtype[0]}{quant.bits}[{dims}] s={quant.scale:.9g} z={quant.zero_point}"


def _value(value: Any) -> str:
    if isinstance(value, ir.Requant):
        return f"{value.scheme}({_array(value.multiplier)} >> {_array(value.shift)})"
    if isinstance(value, ir.Window):
        parts = ("x".join(map(str, value.kernel)), f"/{_list(value.strides)}", f"+{_list(value.pads)}")
        return "".join(parts) + (f"*{_list(value.dilations)}" if value.dilations != (1, 1) else "")
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, tuple):
        return f"[{_list(value)}]"
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _list(values: tuple[Any, ...]) -> str:
    return ",".join(map(str, values))


def _array(array: np.ndarray) -> str:
    if array.size <= 4:
        return "[" + " ".join(_value(value) for value in array.reshape(-1).tolist()) + "]"
    little = array.astype(array.dtype.newbyteorder("<"))
    digest = hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()[:8]
    return f"{array.dtype}[{'x'.join(map(str, array.shape))}]#{digest}"
