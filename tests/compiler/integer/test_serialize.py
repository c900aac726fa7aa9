"""Graphs survive the way through plain data, exactly."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path

import integer_strategies
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops, serialize

VECTORS = sorted((Path(__file__).resolve().parents[2] / "golden" / "int").glob("*.npz"))


def assert_same(old: object, new: object) -> None:
    """Equal type and content; arrays and operators are compared field by field."""
    assert type(new) is type(old)
    if isinstance(old, np.ndarray):
        assert isinstance(new, np.ndarray) and new.dtype == old.dtype
        np.testing.assert_array_equal(new, old)
    elif isinstance(old, ir.Op | ir.Requant | ir.Window):
        for f in fields(old):
            assert_same(getattr(old, f.name), getattr(new, f.name))
    else:
        assert new == old


def assert_same_graph(old: ir.Graph, new: ir.Graph) -> None:
    assert (new.name, new.inputs, new.outputs, new.scheme) == (old.name, old.inputs, old.outputs, old.scheme)
    assert dict(new.tensors) == dict(old.tensors)
    assert len(new.ops) == len(old.ops)
    for mine, theirs in zip(old.ops, new.ops, strict=True):
        assert_same(mine, theirs)


def through_npz(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `numpy.savez` and `numpy.load` make of them, without pickling."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    with np.load(io.BytesIO(file.getvalue()), allow_pickle=False) as archive:
        return dict(archive)


@pytest.mark.parametrize("path", VECTORS, ids=[path.stem for path in VECTORS])
def test_golden_vectors_survive(path):
    with np.load(path, allow_pickle=False) as archive:
        packed = dict(archive)
    graph, feeds, results = serialize.unpack_case(packed)
    again = serialize.pack_case(graph, feeds, results)
    assert set(again) == set(packed)
    for key, array in packed.items():
        np.testing.assert_array_equal(again[key], array)
    assert_same_graph(graph, serialize.unpack_case(again)[0])


@pytest.mark.parametrize("kind", integer_strategies.EVERY_OPERATOR)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_graphs_survive(kind, data):
    graph, feeds = data.draw(integer_strategies.EVERY_OPERATOR[kind])
    results = ops.run(graph, feeds)
    new, new_feeds, new_results = serialize.unpack_case(through_npz(serialize.pack_case(graph, feeds, results)))
    assert_same_graph(graph, new)
    for old, read in ((feeds, new_feeds), (results, new_results), (results, ops.run(new, new_feeds))):
        assert set(old) == set(read)
        for name, array in old.items():
            assert_same(array, read[name])


@settings(derandomize=True)
@given(scale=st.floats(2.0**-120, 2.0**120), zero_point=st.integers(-128, 255), bits=st.integers(2, 8))
def test_quantizations_survive_json_exactly(scale, zero_point, bits):
    tensor = ir.Tensor("x", (3, 4), ir.QType("u8", scale, zero_point, bits))
    assert serialize.tensor_from_meta(json.loads(json.dumps(serialize.tensor_meta(tensor)))) == tensor


def test_float_tensors_keep_their_type():
    tensor = ir.Tensor("x", (), None, "int64")
    assert serialize.tensor_from_meta(json.loads(json.dumps(serialize.tensor_meta(tensor)))) == tensor


def test_the_table_knows_every_operator_but_the_island():
    def leaves(cls: type[ir.Op]) -> set[type[ir.Op]]:
        below = [cls for cls in cls.__subclasses__() if cls.__module__ == ir.__name__]
        return set().union(*map(leaves, below)) if below else {cls}

    assert set(serialize.OPS.values()) == leaves(ir.Op) - {ir.Island}
    assert all(kind == cls.kind for kind, cls in serialize.OPS.items())


def test_metadata_does_not_depend_on_the_order_of_tensors():
    with np.load(VECTORS[0]) as archive:
        graph, feeds, results = serialize.unpack_case(dict(archive))
    shuffled = ir.Graph(
        graph.name,
        graph.inputs,
        graph.outputs,
        dict(reversed(graph.tensors.items())),
        graph.ops,
        graph.scheme,
    )
    packed = [serialize.pack_case(g, feeds, results)["meta"].tobytes() for g in (graph, shuffled)]
    assert packed[0] == packed[1]


def test_a_changed_array_is_seen():
    """Companion: the comparison above notices one unit in one weight."""
    with np.load(next(path for path in VECTORS if path.stem == "gemm_f32")) as archive:
        packed = dict(archive)
    graph = serialize.unpack_case(packed)[0]
    packed["op.0.weight"] = packed["op.0.weight"] ^ 1
    with pytest.raises(AssertionError):
        assert_same_graph(graph, serialize.unpack_case(packed)[0])
