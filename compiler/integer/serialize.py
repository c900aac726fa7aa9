"""Operators and graphs as plain data: JSON-ready metadata plus named arrays, the form of the golden vectors.

Needs numpy only to be read: `meta` holds every scalar field, the arrays stand beside it under `FIELD` or
`FIELD.multiplier` / `FIELD.shift`. `island` operators are not serialised (their content is an ONNX model).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from . import graph as ir

OPS: Mapping[str, type[ir.Op]] = {
    cls.kind: cls
    for cls in (
        ir.QConv,
        ir.QDepthwise,
        ir.QGemm,
        ir.QAdd,
        ir.QMul,
        ir.QConcat,
        ir.QMaxPool,
        ir.QAvgPool,
        ir.QRequant,
        ir.QLut,
        ir.QSoftmax,
        ir.QReshape,
        ir.QTranspose,
        ir.QSlice,
        ir.QPad,
        ir.QResize,
        ir.Quantize,
        ir.Dequantize,
    )
}


def _window(window: ir.Window) -> dict[str, list[int]]:
    return {f.name: list(getattr(window, f.name)) for f in fields(window)}


def op_meta(op: ir.Op) -> dict[str, Any]:
    """The operator's scalar fields; requantizations as {scheme, bits}, windows as their four geometry lists."""
    meta: dict[str, Any] = {"kind": op.kind}
    for f in fields(op):
        value = getattr(op, f.name)
        if isinstance(value, np.ndarray):
            continue
        if isinstance(value, ir.Requant):
            value = {"scheme": value.scheme, "bits": value.bits}
        elif isinstance(value, ir.Window):
            value = _window(value)
        elif isinstance(value, tuple):
            value = list(value)
        meta[f.name] = value
    return meta


def op_from_meta(meta: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> ir.Op:
    """The inverse of `op_meta` and `Op.arrays`."""
    cls = OPS[meta["kind"]]
    values: dict[str, Any] = {}
    for f in fields(cls):
        if f.name in arrays:
            values[f.name] = arrays[f.name]
        elif f.name == "requant":
            values[f.name] = ir.Requant(
                scheme=meta["requant"]["scheme"],
                multiplier=arrays["requant.multiplier"],
                shift=arrays["requant.shift"],
                bits=meta["requant"]["bits"],
            )
        elif f.name == "window":
            values[f.name] = ir.Window(**{key: tuple(value) for key, value in meta["window"].items()})
        else:
            value = meta[f.name]
            values[f.name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


def tensor_meta(tensor: ir.Tensor) -> dict[str, Any]:
    """Name, shape, element type and quantization of a tensor."""
    quant = tensor.quant
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "quant": None
        if quant is None
        else {"dtype": quant.dtype, "scale": quant.scale, "zero_point": quant.zero_point, "bits": quant.bits},
    }


def tensor_from_meta(meta: Mapping[str, Any]) -> ir.Tensor:
    """The inverse of `tensor_meta`."""
    quant = meta["quant"]
    return ir.Tensor(
        meta["name"], tuple(meta["shape"]), None if quant is None else ir.QType(**quant), meta.get("dtype", "float32")
    )


def pack_case(
    graph: ir.Graph, feeds: Mapping[str, npt.NDArray[Any]], results: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """A whole graph with inputs and expected results as arrays for `numpy.savez`.

    Keys: `meta` (UTF-8 JSON: scheme, inputs, outputs, tensors, ops), `op.I.FIELD`, `in.NAME`, `out.NAME`.
    """
    meta = {
        "name": graph.name,
        "scheme": graph.scheme,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "tensors": [tensor_meta(tensor) for _, tensor in sorted(graph.tensors.items())],
        "ops": [op_meta(op) for op in graph.ops],
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "meta": np.frombuffer(json.dumps(meta, sort_keys=True).encode(), dtype=np.uint8)
    }
    for index, op in enumerate(graph.ops):
        arrays |= {f"op.{index}.{key}": value for key, value in op.arrays().items()}
    arrays |= {f"in.{name}": value for name, value in feeds.items()}
    return arrays | {f"out.{name}": value for name, value in results.items()}


def unpack_case(
    arrays: Mapping[str, npt.NDArray[Any]],
) -> tuple[ir.Graph, dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """The inverse of `pack_case`: (graph, feeds, results)."""
    meta = json.loads(bytes(arrays["meta"]).decode())
    ops = []
    for index, op in enumerate(meta["ops"]):
        prefix = f"op.{index}."
        ops.append(op_from_meta(op, {k[len(prefix) :]: arrays[k] for k in arrays if k.startswith(prefix)}))
    tensors = {t["name"]: tensor_from_meta(t) for t in meta["tensors"]}
    graph = ir.Graph(
        meta["name"], tuple(meta["inputs"]), tuple(meta["outputs"]), tensors, tuple(ops), scheme=meta["scheme"]
    )
    feeds = {k[3:]: arrays[k] for k in arrays if k.startswith("in.")}
    return graph, feeds, {k[4:]: arrays[k] for k in arrays if k.startswith("out.")}
