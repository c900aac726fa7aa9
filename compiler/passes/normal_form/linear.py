"""Fully connected layers: one form, Gemm with weights [out, in] and factors of one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...model.edit import replace_initializer, weight
from ...model.match import Array, constant_operand, dims, is_float, is_plain_gemm, only_producer, operand, rank
from ...model.rewrite import bypass, constant, graph_of, insert_before, retype, set_attribute
from .journal import Journal

_ATTRIBUTES: dict[str, int | float] = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}


def matmul_to_gemm(node: ir.Node, journal: Journal) -> bool:
    """MatMul(x [n, k], W [k, m]) -> Gemm(x, W^T, transB = 1). MatMul of more dimensions stays."""
    array = weight(operand(node, 1))
    source = node.inputs[0]
    if array is None or array.ndim != 2 or source is None or rank(source) != 2 or not is_float(source):
        return False
    retype(node, "Gemm", [source, node.inputs[1]])
    replace_initializer(graph_of(node), node, 1, np.ascontiguousarray(array.T))
    _write_attributes(node)
    journal.did("gemms")
    return True


def normal_gemm(node: ir.Node, journal: Journal) -> bool:
    """alpha op(A) op(B) + beta C -> A W^T + b, where B and C are constant: W = alpha op(B)^T [m, k], b = beta C [m]."""
    a, b, c = (operand(node, index) for index in range(3))
    w, bias = weight(b), weight(c)
    if a is None or not is_float(a):
        return False
    if w is None or (c is not None and bias is None):
        if not is_plain_gemm(node):
            journal.declined("gemm-not-constant", node, "A Gemm with computed weights or bias keeps its factors.")
        return False
    features = w.shape[0] if node.attributes.get_int("transB", 0) else w.shape[1]
    row = None if bias is None else _as_row(bias, features)
    if bias is not None and row is None:
        journal.declined("gemm-bias-by-row", node, "A Gemm whose bias differs from sample to sample keeps its form.")
        return False
    if is_plain_gemm(node) and (row is None or (bias is not None and row.shape == bias.shape)):
        return False
    alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
    if alpha != 1.0 or not node.attributes.get_int("transB", 0):
        turned = w if node.attributes.get_int("transB", 0) else w.T
        replace_initializer(graph_of(node), node, 1, _scaled(turned, alpha))
    if row is not None:
        replace_initializer(graph_of(node), node, 2, _scaled(row, beta))
    if node.attributes.get_int("transA", 0):
        shape = (dims(a) or ())[::-1]
        node.replace_input_with(0, insert_before(node, "Transpose", [a], {"perm": (1, 0)}, like=a, shape=shape))
    _write_attributes(node)
    journal.did("gemms")
    return True


def _write_attributes(node: ir.Node) -> None:
    for name, value in _ATTRIBUTES.items():
        set_attribute(node, name, value)


def _scaled(array: Array, factor: float) -> Array:
    """factor * array, rounded once, in the array's own type."""
    if factor == 1.0:
        return np.ascontiguousarray(array)
    return np.ascontiguousarray((array.astype(np.float64) * factor).astype(array.dtype))


def _as_row(bias: Array, features: int) -> Array | None:
    """The bias as [features], or None where it differs between rows."""
    if bias.size == 1 or (bias.size == features and bias.shape[-1:] == (features,)):
        return np.broadcast_to(bias.reshape(-1), (features,))
    return None


def add_to_gemm_bias(node: ir.Node, journal: Journal) -> bool:
    """Add(Gemm(x, W), b) -> Gemm(x, W, b)."""
    found = constant_operand(node)
    gemm = only_producer(found[0], "Gemm") if found is not None else None
    w = weight(operand(gemm, 1)) if gemm is not None else None
    if found is None or gemm is None or w is None or found[2] == 0:
        return False
    if operand(gemm, 2) is not None or not is_plain_gemm(gemm) or found[1].ndim > 2:
        return False
    row = _as_row(found[1], w.shape[0])
    if row is None:
        return False
    gemm.resize_inputs(3)
    gemm.replace_input_with(2, constant(node, np.ascontiguousarray(row)))
    bypass(node)
    journal.did("gemms")
    return True
