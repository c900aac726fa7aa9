"""The stored integer network, executed with the C kernels, equals the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import graphs
import numpy as np
import pytest

from prunus.compiler.errors import UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets.network import integer_part, load_network, run_network, save_network

NETWORKS = (graphs.mlp, graphs.residual_cnn, graphs.depthwise_cnn)


@pytest.mark.parametrize("scheme", ["f32", "fixed", "pow2"])
@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_stored_network_equals_the_reference(tmp_path: Path, build, scheme: str) -> None:
    graph, feeds = build(scheme)
    save_network(integer_part(graph), tmp_path / "network.npz")
    found = run_network(load_network(tmp_path / "network.npz"), feeds)
    want = ops.run(graph, feeds, keep=True)
    assert len(found) >= 4
    for name, value in found.items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)


def test_one_wrong_weight_is_seen(tmp_path: Path) -> None:
    graph, feeds = graphs.residual_cnn("fixed")
    index = next(i for i, op in enumerate(graph.ops) if isinstance(op, ir.QConv))
    conv = graph.ops[index]
    weight = conv.weight.copy()
    weight.flat[np.abs(weight).argmax()] -= 1 if weight.flat[np.abs(weight).argmax()] > 0 else -1
    changed = replace(graph, ops=(*graph.ops[:index], replace(conv, weight=weight), *graph.ops[index + 1 :]))
    want = ops.run(graph, feeds, keep=True)
    found = run_network(integer_part(changed), feeds)
    assert any((value != want[name]).any() for name, value in found.items())


def test_the_file_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_network(integer_part(graphs.mlp("f32")[0]), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_island_in_the_middle_is_refused() -> None:
    graph, _ = graphs.mlp("f32")
    first = next(op for op in graph.ops if isinstance(op, ir.QGemm))
    island = ir.Island(name="i", inputs=first.inputs, output=first.output, model=b"", reason="float")
    broken = replace(graph, ops=tuple(island if op is first else op for op in graph.ops))
    with pytest.raises(UnsupportedError) as caught:
        integer_part(broken)
    assert caught.value.code == "inner-island"
