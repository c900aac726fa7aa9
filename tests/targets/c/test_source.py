"""The generated text: golden, made of numbers and plain names alone, free of collisions."""

from __future__ import annotations

import re
from dataclasses import replace

import graphs
import numpy as np
import pytest

from prunus.compiler.errors import InvalidModelError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets.c import CTarget
from prunus.targets.c.documents import describe
from prunus.targets.c.program import program
from prunus.targets.c.source import border_source, constant, header, model_source, vectors_source, weights_source
from prunus.targets.c.toolchain import toolchain_of
from prunus.tests.targets.c.conftest import device_of, differing, lowered, need


def _texts(graph: ir.Graph) -> dict[str, str]:
    tools = toolchain_of(device_of("cortex-m4"))
    made = program(graph, tools)
    return {
        "model.h": header(made.model, made.plan, describe(graph, made, tools, {})),
        "model.c": model_source(made.model, made.plan, made.codes),
        "model_weights.h": weights_source(made.codes),
        "model_float.c": border_source(made.model),
    }


def test_golden(golden) -> None:
    graph, _ = graphs.mlp("fixed", features=(4, 6, 3))
    for name, text in _texts(graph).items():
        golden(f"c/{name}", text)


def test_lines_fit() -> None:
    graph, feeds = graphs.residual_cnn("fixed")
    made = program(graph, toolchain_of(device_of("linux")))
    vectors = vectors_source(made.model, ops.run(graph, feeds, keep=True))
    for text in (_texts(graph)["model_weights.h"], _texts(graph)["model.c"], vectors):
        assert max(map(len, text.splitlines())) <= 120


def test_extreme_numbers_survive_the_text() -> None:
    text = constant("x", np.array([-(2**31), 2**31 - 1], np.int32))
    assert "{\n  -2147483648, 2147483647};" in text
    values = np.array([1e-38, 0.1, 3.4e38], np.float32)
    found = [float.fromhex(word.rstrip("f")) for word in re.findall(r"0x[^,}]+", constant("m", values))]
    assert np.array_equal(np.array(found, np.float32), values)


@pytest.mark.parametrize("name", ["a b", 'x"; system("rm', "*/ int", "é", "1x", "", "a" * 65])
def test_hostile_names_are_refused(name: str, tmp_path) -> None:
    graph, _ = graphs.mlp("fixed")
    first = graph.ops[0]
    tensors = {**graph.tensors, name: replace(graph.tensors[first.output], name=name)}
    operators = (replace(first, output=name), replace(graph.ops[1], inputs=(name,)), *graph.ops[2:])
    hostile = replace(graph, tensors=tensors, ops=operators)
    with pytest.raises(InvalidModelError, match="plain identifier"):
        CTarget().lower(hostile, device_of("linux"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.toolchain
def test_keywords_and_the_code_s_own_names_are_harmless(tmp_path) -> None:
    """Plain identifiers that mean something in C, or that the generated files use themselves."""
    need("cc")
    graph, feeds = graphs.mlp("fixed", features=(4, 6, 3))
    words = iter(
        ["int", "arena", "status", "main", "TRACE", "op_int", "prunus_model_run", "VECTORS", "for", *"abcdefghij"]
    )
    names = {old: next(words) for old in (*graph.tensors, *(op.name for op in graph.ops)) if old != graph.inputs[0]}
    names[graph.inputs[0]] = "char"
    renamed = ir.Graph(
        "g",
        tuple(names[name] for name in graph.inputs),
        tuple(names[name] for name in graph.outputs),
        {names[name]: replace(tensor, name=names[name]) for name, tensor in graph.tensors.items()},
        tuple(
            replace(op, name=names[op.name], inputs=tuple(names[n] for n in op.inputs), output=names[op.output])
            for op in graph.ops
        ),
        graph.scheme,
    )
    built = lowered(renamed, {"char": feeds[graph.inputs[0]]}, "linux", tmp_path)
    assert differing(built.artifact, renamed, built.feeds, built.expected) == []
