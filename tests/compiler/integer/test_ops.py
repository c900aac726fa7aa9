"""`ops.py` against a second, slow definition of the integer contract, and against its worst cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import definition
import integer_strategies
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.compiler.errors import UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops, serialize

VECTORS = sorted((Path(__file__).resolve().parents[2] / "golden" / "int").glob("*.npz"))
INT32_MAX = 2**31 - 1
Array = np.ndarray


def load(path: Path) -> tuple[ir.Graph, dict[str, Array], dict[str, Array]]:
    with np.load(path) as archive:
        return serialize.unpack_case(dict(archive))


def assert_follows_the_definition(graph: ir.Graph, feeds: Mapping[str, Array]) -> None:
    expected, values = definition.run(graph, feeds), ops.run(graph, feeds, keep=True)
    for op in graph.ops:
        assert values[op.output].dtype == expected[op.output].dtype
        np.testing.assert_array_equal(values[op.output], expected[op.output], err_msg=op.kind)


@pytest.mark.parametrize("path", VECTORS, ids=[path.stem for path in VECTORS])
def test_golden_vectors_follow_the_definition(path):
    graph, feeds, results = load(path)
    assert_follows_the_definition(graph, feeds)
    for name, array in ops.run(graph, feeds).items():
        np.testing.assert_array_equal(array, results[name])


@pytest.mark.parametrize("kind", integer_strategies.EVERY_OPERATOR)
@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_operators_follow_the_definition(kind, data):
    assert_follows_the_definition(*data.draw(integer_strategies.EVERY_OPERATOR[kind]))


# -- seeded faults ------------------------------------------------------------------------------------------------


def half_away(value: Array) -> Array:
    return (np.sign(value) * np.floor(np.abs(value) + 0.5)).astype(np.int64)


def clamped(value: Array) -> Array:
    return np.clip(value, np.float32(-(2**15)), np.float32(2**15))


def shift_half_away(value: Array, shift: Array) -> Array:
    right = np.maximum(shift, 1)
    rounded = np.sign(value) * ((np.abs(value) + (np.int64(1) << (right - 1))) >> right)
    return np.where(shift > 0, rounded, value << np.maximum(-shift, 0))


def shift_twice(value: Array, shift: Array) -> Array:
    """gemmlowp: a rounding doubling high multiplication, then a rounding division by a power of two."""
    first = np.minimum(shift, 31)
    return ops_round_shift(ops_round_shift(value, first), shift - first)


def shift_down(value: Array, shift: Array) -> Array:
    return np.where(shift > 0, value >> np.maximum(shift, 0), value << np.maximum(-shift, 0))


def zero_point_first(value: Array, zero_point: int, qmin: int, qmax: int, dtype: ir.IntType) -> Array:
    """Adds the zero point in float32 before rounding (`_round_f32` only clamps)."""
    summed = np.rint(np.asarray(value, np.float32) + np.float32(zero_point))
    return np.clip(summed, qmin, qmax).astype(ir.NUMPY_TYPE[dtype])


def float64_multiply(acc: Array, requant: ir.Requant, entry: object = slice(None), axis: int | None = None) -> Array:
    """Keeps the product in double precision."""
    if requant.scheme != "f32":
        return ops_multiply(acc, requant, entry, axis)
    wide = dataclasses.replace(requant, multiplier=requant.multiplier.astype(np.float64))
    shape = [-1 if d == axis else 1 for d in range(acc.ndim)]
    multiplier = wide.multiplier[entry]
    if axis is not None and requant.size > 1:
        multiplier = multiplier.reshape(shape)
    return np.rint(np.clip(acc * multiplier, -(2**15), 2**15)).astype(np.int64)


ops_round_shift, ops_multiply = ops.round_shift, ops.multiply
FAULTS: dict[str, tuple[str, dict[str, Callable[..., Array]]]] = {
    "zero point before rounding": ("f32", {"_round_f32": clamped, "saturate": zero_point_first}),
    "half away from zero, f32": ("f32", {"_round_f32": lambda value: half_away(clamped(value))}),
    "half away from zero, fixed": ("fixed", {"round_shift": shift_half_away}),
    "half away from zero, pow2": ("pow2", {"round_shift": shift_half_away}),
    "two roundings": ("fixed", {"round_shift": shift_twice}),
    "truncation": ("pow2", {"round_shift": shift_down}),
    "product in double precision": ("f32", {"multiply": float64_multiply}),
    "centred inputs in 8 bits": (
        "f32",
        {"_centred": lambda graph, name, x: np.clip(definition_centred(graph, name, x), -128, 127)},
    ),
}


def definition_centred(graph: ir.Graph, name: str, x: Array) -> Array:
    return x.astype(np.int64) - graph.quant(name).zero_point


@pytest.mark.parametrize(("scheme", "patches"), FAULTS.values(), ids=FAULTS.keys())
def test_a_seeded_fault_is_caught(scheme, patches, monkeypatch):
    """Companion: the golden vectors of the scheme notice each classical mistake."""
    cases = [case for case in map(load, VECTORS) if case[0].scheme == scheme]
    for name, function in patches.items():
        monkeypatch.setattr(ops, name, function)
    caught = [
        graph.name
        for graph, feeds, results in cases
        if any(not np.array_equal(array, results[name]) for name, array in ops.run(graph, feeds).items())
    ]
    assert caught


# -- exact sums ---------------------------------------------------------------------------------------------------


def one_linear(kind: type[ir.Linear], weight: Array, bias: int, quant: ir.QType, shape: tuple[int, ...], **fields):
    """A graph of one operator with multiplier 1 and weights of one output channel."""
    tensors = {"x": ir.Tensor("x", shape, quant), "y": ir.Tensor("y", (), ir.QType("s8", 1.0))}
    op = kind(
        name="op",
        inputs=("x",),
        output="y",
        weight=weight.astype(np.int8),
        bias=np.array([bias], np.int32),
        weight_scale=np.ones(1, np.float32),
        requant=ir.Requant("pow2", np.ones(1, np.int64), np.zeros(1, np.int32)),
        qmin=-128,
        qmax=127,
        **fields,
    )
    return ir.Graph("g", ("x",), ("y",), tensors, (op,), "pow2"), op


# Σ|w| max|x - z| around 2^24, where float32 stops being exact, and as far as bias and sum both fit int32.
LENGTHS = [517, 518, 519, 520, 1036, 33_155]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("dtype", ["u8", "s8"])
def test_worst_sums_are_exact(length, alternating, dtype):
    """Products are as large as possible; the bias takes the sum back to a few units, where an error of one shows."""
    quant = ir.QType("u8", 1.0, 0) if dtype == "u8" else ir.QType("s8", 1.0, 127)
    data = np.full(length, quant.qmax if dtype == "u8" else quant.qmin, ir.NUMPY_TYPE[dtype])
    data[::3] += 1 if dtype == "s8" else 0
    weight = np.full(length, 127)
    weight[1::2] = -127 if alternating else 126
    total = sum((int(q) - quant.zero_point) * int(w) for q, w in zip(data, weight, strict=True))
    for remainder in (-128, 0, 1):
        bias = remainder - total
        graph, op = one_linear(ir.QGemm, weight[None], bias, quant, (length,))
        assert ops.accumulator_bound(op, quant) <= INT32_MAX
        assert ops.run(graph, {"x": data[None]})["y"].tolist() == [[remainder]]
        window = ir.Window(kernel=(1, length))
        for kind in (ir.QConv, ir.QDepthwise):
            graph, _ = one_linear(kind, weight[None, None, None], bias, quant, (1, 1, length), window=window)
            assert ops.run(graph, {"x": data[None, None, None]})["y"].ravel().tolist() == [remainder]


def test_an_inexact_sum_would_show(monkeypatch):
    """Companion: the same sums in float32 throughout."""
    monkeypatch.setattr(ops, "_matmul_type", lambda op, x: np.float32)
    with pytest.raises(AssertionError):
        test_worst_sums_are_exact(33_155, False, "u8")


@pytest.mark.parametrize("quant", [ir.QType("u8", 1.0, 1, bits=2), ir.QType("s8", 1.0, -1, bits=2)])
def test_accumulator_bounds_hold_and_are_reached(quant):
    """Brute force over all inputs: the bound is the larger of what both forms of the accumulator can reach."""
    weight, bias = np.array([[3, -2, 1], [0, 0, 0], [-5, -5, 2]]), np.array([4, -9, -30])
    reached = np.zeros(3, np.int64)
    for x in product(range(quant.qmin, quant.qmax + 1), repeat=3):
        reached = np.maximum(reached, np.abs(bias + weight @ (np.array(x) - quant.zero_point)))
    bounds = ops.accumulator_bounds(weight, bias, quant)
    assert (reached <= bounds).all()
    folded = np.abs(bias - quant.zero_point * weight.sum(axis=1)) + np.abs(weight).sum(axis=1) * max(
        abs(quant.qmin), quant.qmax
    )
    centred = np.abs(bias) + np.abs(weight).sum(axis=1) * quant.max_abs
    np.testing.assert_array_equal(bounds, np.maximum(folded, centred))


# -- whole graphs -------------------------------------------------------------------------------------------------


def test_run_gives_outputs_or_everything():
    graph, feeds, results = load(next(path for path in VECTORS if path.stem == "net_f32"))
    assert set(ops.run(graph, feeds)) == set(graph.outputs) == set(results)
    assert set(ops.run(graph, feeds, keep=True)) == set(graph.tensors)


def test_an_unknown_operator_is_named():
    class Strange(ir.Op):
        kind = "strange"

    op = Strange(name="op", inputs=(), output="y")
    with pytest.raises(UnsupportedError, match="strange") as raised:
        ops.evaluate(ir.Graph("g", (), ("y",), {}, (op,)), op, ())
    assert raised.value.code == "unknown-op"
