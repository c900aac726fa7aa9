"""PushTransposes: what frameworks with channels last leave behind vanishes; the function stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from light import random_light_model

from prunus.compiler.model.edit import infer_shapes
from prunus.compiler.model.model import Model
from prunus.compiler.model.rewrite import insert_after, insert_before
from prunus.compiler.passes.base import Context
from prunus.compiler.passes.normalise import Normalise
from prunus.compiler.passes.push_transposes import PushTransposes
from prunus.tests.compiler.passes.equivalence import build, check, normal, operators, relative_error, story

TO_FIRST, TO_LAST = "Transpose <perm = [0, 3, 1, 2]>", "Transpose <perm = [0, 2, 3, 1]>"
NET = f"""net (float[N,8,8,3] x) => (float[N,5] y) {{
    x1 = {TO_FIRST} (x)   c1 = Conv <pads = [1, 1, 1, 1]> (x1, w1)   t1 = {TO_LAST} (c1)
    a1 = Add (t1, b1)    r1 = Relu (a1)
    x2 = {TO_FIRST} (r1)  c2 = Conv <pads = [1, 1, 1, 1]> (x2, w2)   t2 = {TO_LAST} (c2)
    s = Add (t2, r1)
    x3 = {TO_FIRST} (s)   p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x3)   t3 = {TO_LAST} (p)
    k = Clip (t3, lo, hi)
    f = Reshape (k, flat)
    y = Gemm <transB = 1> (f, w3)
}}"""
WEIGHTS = {
    "w1": normal(6, 3, 3, 3),
    "b1": normal(6),
    "w2": normal(6, 6, 3, 3),
    "w3": normal(5, 96),
    "lo": np.array(-1.5, np.float32),
    "hi": np.array(1.5, np.float32),
    "flat": np.array([-1, 96], np.int64),
}


def transposes(model: Model) -> int:
    return operators(model).count("Transpose")


def test_golden(golden) -> None:
    model = build(NET, **WEIGHTS)
    result = check(PushTransposes(), model)
    assert transposes(result.model) == 1
    golden("passes/push_transposes.txt", story(model, result))


@pytest.mark.parametrize(
    "body",
    [
        "k = Relu (t) z = Concat <axis = 3> (t, k, k)",
        "z = Softmax <axis = -1> (t)",
        "z, z2 = Split <axis = 2> (t, sizes)",
        "z = Pad (t, pads)",
        "z = Pad (t, pads2, , axes2)",
        "z = Slice (t, starts, ends, axes2)",
        "z = Slice (t, starts, ends)",
        "z = ReduceMax <keepdims = 1> (t, axes2)",
        "z = PRelu (t, slope)",
        "m = ReduceMean <keepdims = 1> (t, axes2) g = Sigmoid (m) z = Mul (t, g)",
        "z = Where (mask, t, slope)",
    ],
)
def test_operators_with_axes_follow_the_layout(body: str) -> None:
    text = f"net (float[N,4,6,6] x) => (float[N,A,B,C] y) {{ t = {TO_LAST} (x) {body} y = {TO_FIRST} (z) }}"
    model = build(
        text,
        sizes=np.array([2, 4]),
        pads=np.array([0, 1, 2, 0, 0, 3, 4, 0]),
        pads2=np.array([1, 0, 2, 3]),
        axes2=np.array([1, -2]),
        starts=np.array([0, 1]),
        ends=np.array([100, 5]),
        slope=normal(4),
        mask=np.array([[True], [False], [True], [True], [False], [True]]),
    )  # fmt: skip
    assert transposes(check(PushTransposes(), model).model) == 0


@pytest.mark.parametrize("keepdims", [0, 1])
def test_mean_over_the_map_becomes_global_pooling(keepdims: int) -> None:
    flat = "y = Identity (m)" if keepdims == 0 else "y = Reshape (m, flat)"
    text = f"""net (float[N,4,6,5] x) => (float[N,4] y) {{
        t = {TO_LAST} (x) r = Relu (t) m = ReduceMean <keepdims = {keepdims}> (r, axes) {flat} }}"""
    model = build(text, axes=np.array([1, 2]), flat=np.array([-1, 4]))
    after = check(PushTransposes(), model).model
    assert {"Transpose", "ReduceMean"}.isdisjoint(operators(after))
    assert "GlobalAveragePool" in operators(after)


def test_flattened_features_are_permuted_in_the_weights() -> None:
    text = f"""net (float[N,4,3,5] x) => (float[N,7] y, float[N,2] z) {{
        t = {TO_LAST} (x) f = Reshape (t, flat) r = Relu (f)
        y = Gemm <transB = 1> (r, w) z = Gemm <transB = 1> (f, v)
    }}"""
    after = check(PushTransposes(), build(text, flat=np.array([-1, 60]), w=normal(7, 60), v=normal(2, 60))).model
    assert transposes(after) == 0


@pytest.mark.parametrize(
    "tail",
    [
        "y = Reshape (t, flat)",  # the caller sees the order
        "f = Reshape (t, flat) y = Softmax <axis = 1> (f)",  # an operator on the flattened axis
        "f = Reshape (t, flat) y = Add (f, w)",
    ],
)
def test_where_the_order_is_visible_it_stays(tail: str) -> None:
    text = f"net (float[N,4,3,5] x) => (float[N,60] y) {{ t = {TO_LAST} (x) {tail} }}"
    result = check(PushTransposes(), build(text, flat=np.array([-1, 60]), w=normal(60)), changes=False)
    assert [note.code for note in result.notes] == []  # the input's own order is the model's business


def test_transposing_only_ones_is_a_reshape() -> None:
    text = f"net (float[N,9,7,1] x) => (float[N,A,B,C] y) {{ t = {TO_FIRST} (x) y = Conv (t, w) }}"
    assert operators(check(PushTransposes(), build(text, w=normal(2, 1, 3, 3))).model) == ["Reshape", "Conv"]


def test_equal_transpositions_are_shared() -> None:
    text = f"""net (float[N,4,3,5] x) => (float[N,A,B,C] y, float[N,A,B,C] z) {{
        t = {TO_LAST} (x) u = {TO_LAST} (x) y = MatMul (t, w) z = MatMul (u, v) }}"""
    assert transposes(check(PushTransposes(), build(text, w=normal(4, 2), v=normal(4, 3))).model) == 1


def test_what_is_not_worth_it_stays() -> None:
    """One transposition in front of a region or one behind it: the same cost, so nothing moves."""
    text = f"net (float[N,4,3,5] x) => (float[N,A,B,C] y) {{ r = Relu (x) t = {TO_LAST} (r) y = MatMul (t, w) }}"
    result = check(PushTransposes(), build(text, w=normal(4, 2)), changes=False)
    assert [note.code for note in result.notes] == ["transpose-kept"]


def channels_last(model: Model) -> Model:
    """The network as a framework with channels last writes it: transpositions around what needs channels first."""
    clone = model.clone()
    for node in list(clone.graph):
        if node.op_type not in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "BatchNormalization", "LRN"):
            continue
        output = node.outputs[0]
        last = insert_before(node, "Transpose", [node.inputs[0]], {"perm": (0, 2, 3, 1)})
        node.replace_input_with(0, insert_before(node, "Transpose", [last], {"perm": (0, 3, 1, 2)}))
        readers = list(output.uses())
        back = insert_after(node, "Transpose", [output], {"perm": (0, 2, 3, 1)})
        assert isinstance(back.producer(), ir.Node)
        again = insert_after(back.producer(), "Transpose", [back], {"perm": (0, 3, 1, 2)})
        for user, index in readers:
            user.replace_input_with(index, again)
    infer_shapes(clone)
    return clone


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", pytest.param("inception_v1", marks=pytest.mark.slow)])
def test_a_whole_network_loses_all_that_was_added(name: str) -> None:
    model = Normalise().run(Model(ir.from_proto(random_light_model(name))), Context()).model
    wrapped = channels_last(model)
    assert transposes(wrapped) > 4 * operators(model).count("Conv")
    after = PushTransposes().run(wrapped, Context()).model
    assert transposes(after) == transposes(model)
    assert relative_error(model, after) <= 1e-5


def test_a_wrong_permutation_is_caught() -> None:
    model = build(NET, **WEIGHTS)
    wrong = build(NET.replace("perm = [0, 2, 3, 1]", "perm = [0, 3, 2, 1]", 1), **WEIGHTS)  # the maps are square
    assert relative_error(model, PushTransposes().run(wrong, Context()).model) > 1e-2
