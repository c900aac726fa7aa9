"""Every golden vector through the kernels: the same bytes, or it is a bug."""

from __future__ import annotations

import dataclasses

import numpy as np

from prunus.compiler.integer import graph as ir


def test_equals_the_golden_vector(vector, run_kernels):
    graph, feeds, expected = vector
    values = run_kernels(graph, feeds)
    for name, array in expected.items():
        assert values[name].dtype == array.dtype
        np.testing.assert_array_equal(values[name], array)


def corrupted(op: ir.Op) -> ir.Op:
    """The operator with its multipliers 1/8 larger (shifts of `pow2`: one less), or itself where it has none."""
    if not isinstance(op, ir.Fused):
        return op
    m = op.requant
    if m.scheme == "pow2":
        return dataclasses.replace(op, requant=dataclasses.replace(m, shift=m.shift - 1))
    larger = (m.multiplier * 1.125).astype(m.multiplier.dtype)
    if m.scheme == "fixed":
        larger = np.minimum(larger, 2**31 - 1)
    return dataclasses.replace(op, requant=dataclasses.replace(m, multiplier=larger))


def test_a_corrupted_multiplier_is_seen(vectors, run_kernels):
    """Companion: no vector of an operator that requantizes is blind to its multipliers."""
    blind = []
    for name, (graph, feeds, expected) in vectors.items():
        ops = tuple(corrupted(op) for op in graph.ops)
        if ops == graph.ops:
            continue
        values = run_kernels(dataclasses.replace(graph, ops=ops), feeds)
        if all(np.array_equal(values[key], array) for key, array in expected.items()):
            blind.append(name)
    assert not blind


def test_batches_do_not_mix(vectors, run_kernels):
    """A batch of two is two batches of one."""
    graph, feeds, expected = vectors["net_f32"]
    for i in range(2):
        values = run_kernels(graph, {name: array[i : i + 1] for name, array in feeds.items()})
        for name, array in expected.items():
            np.testing.assert_array_equal(values[name], array[i : i + 1])
