"""2:4 along input channels: recognised, packed without its zeros, and restored bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.pruning.patterns import Pattern
from prunus.targets.bundle import sample_inputs
from prunus.targets.gpu.check import findings
from prunus.targets.gpu.sparse import is_two_of_four, pack, takes_part, unpack
from prunus.tests.targets.gpu.conftest import Compressed


def planted(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Weights [out, in, ...] with two random zeros at least in every four neighbouring inputs."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, shape).astype(np.int8)
    taps = int(np.prod(shape[2:], dtype=int))
    scores = rng.random((1, taps, shape[1], shape[0]))
    keep = Pattern("n_m", (2, 4)).keep(scores, 0.5)[0]  # [taps, in, out]
    return weight * keep.transpose(2, 1, 0).reshape(shape)


@given(
    out=st.integers(1, 5),
    channels=st.integers(1, 11),
    window=st.sampled_from([(), (1, 1), (3, 3)]),
    seed=st.integers(0, 99),
)
def test_packing_is_lossless_and_half_as_large(out: int, channels: int, window: tuple[int, ...], seed: int) -> None:
    weight = planted((out, channels, *window), seed)
    packed = pack(weight)
    assert np.array_equal(unpack(packed), weight)
    assert unpack(packed).dtype == weight.dtype
    groups = out * int(np.prod(window, dtype=int)) * -(-channels // 4)
    assert packed.stored_bits == groups * 2 * (8 + 2)  # of 4 * 8


def test_the_pattern_runs_along_input_channels() -> None:
    along_inputs = np.zeros((8, 8, 3, 3), np.int8)
    along_inputs[:, ::2] = 1  # two of four inputs, every output, every tap
    assert is_two_of_four(along_inputs)
    along_outputs = np.ascontiguousarray(along_inputs.swapaxes(0, 1))  # two of four outputs: all inputs of them
    assert not is_two_of_four(along_outputs)
    with pytest.raises(ValueError, match="more than two"):
        pack(along_outputs)


def test_the_pass_makes_what_the_check_finds(sparse: Compressed) -> None:
    codes = {each.layer: each.reason_code for each in findings(sparse.graph, sparse_cores=True)}
    products = [op for op in sparse.graph.ops if takes_part(op)]
    wide = [op for op in products if op.weight.shape[1] >= 4]
    assert len(wide) >= 4
    assert all(codes[op.name] == "two-of-four" for op in wide)


def test_one_weight_too_many_is_found(sparse: Compressed) -> None:
    op = next(op for op in sparse.graph.ops if takes_part(op) and op.weight.shape[1] >= 4)
    weight = op.weight.copy()
    weight[0, :4] = 1
    spoilt = replace(op, weight=weight)
    graph = replace(sparse.graph, ops=tuple(spoilt if each is op else each for each in sparse.graph.ops))
    codes = {each.layer: each.reason_code for each in findings(graph, sparse_cores=True)}
    assert codes[op.name] == "not-two-of-four"


def test_without_sparse_cores_zeros_are_no_matter(sparse: Compressed) -> None:
    assert {each.reason_code for each in findings(sparse.graph, sparse_cores=False)} <= {
        "quantized",
        "terminal-softmax",
    }


def test_results_are_bit_identical_with_zeros_materialised(sparse: Compressed) -> None:
    def restored(op: ir.Op) -> ir.Op:
        in_pattern = takes_part(op) and is_two_of_four(op.weight)
        return replace(op, weight=unpack(pack(op.weight))) if in_pattern else op

    graph = replace(sparse.graph, ops=tuple(map(restored, sparse.graph.ops)))
    feeds = sample_inputs(sparse.graph, 4)
    expected, found = ops.run(sparse.graph, feeds, keep=True), ops.run(graph, feeds, keep=True)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
