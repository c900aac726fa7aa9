"""FoldConstants: what is constant is computed; what is large, random or quantized is not."""

from __future__ import annotations

import numpy as np

from prunus.compiler.passes.base import Context
from prunus.compiler.passes.fold_constants import FoldConstants
from prunus.tests.compiler.passes.equivalence import build, check, normal, operators, story


def test_golden(golden) -> None:
    model = build(
        """net (float[N,3,4,4] x) => (float[N,3,4,4] y, float[N,3,4,4] z) <float[3] s = {1.0, 2.0, 3.0}> {
            axes = Constant <value_ints = [1, 2]> ()
            u = Unsqueeze (s, axes)
            e = Exp (u)
            wt = Transpose <perm = [1, 0]> (w)
            size = Size (wt)
            f = Cast <to = 1> (size)
            m = Mul (x, e)
            y = Div (m, f)
            c = ConstantOfShape <value = float[1] {2.0}> (shape)
            z = Add (x, c)
        }""",
        shapes=False,
        w=normal(5, 2),
        shape=np.array([3, 1, 1], np.int64),
    )
    golden("passes/fold_constants.txt", story(model, check(FoldConstants(), model)))


def test_never_larger_than_the_limit() -> None:
    text = """net (float[N,8] x) => (float[N,8] y) <float one = {1.0}> {
        wide = Expand (one, shape) total = ReduceSum <keepdims = 0> (wide, axes) y = Mul (x, total)
    }"""
    model = build(text, shapes=False, shape=np.array([1024, 1025], np.int64), axes=np.array([0, 1]))
    result = check(FoldConstants(), model, changes=False)
    (note,) = result.notes
    assert note.code == "constant-too-large"
    check(FoldConstants(max_elements=2**21), model)


def test_a_large_weight_that_does_not_grow_is_folded() -> None:
    text = "net (float[N,16] x) => (float[N,8] y) { t = Transpose <perm = [1, 0]> (w) y = MatMul (x, t) }"
    assert operators(check(FoldConstants(max_elements=4), build(text, w=normal(8, 16))).model) == ["MatMul"]


def test_quantized_weights_and_random_values_stay() -> None:
    text = """net (float[N,4] x) => (float[N,4] y, float[N,4] z) <float s = {0.5}> {
        d = DequantizeLinear (q, s) y = Mul (x, d)
        r = RandomNormalLike <seed = 1.0> (w) o = Mul (r, zero) z = Add (x, o)
    }"""
    weights = {"q": np.arange(4, dtype=np.int8), "w": normal(4), "zero": np.zeros(4, np.float32)}
    assert not FoldConstants().run(build(text, **weights), Context()).changed


def test_what_may_cost_more_than_its_size_stays() -> None:
    text = """net (float[N,1] x) => (float[N,1] y, float[1,1,A,A] z) {
        e = Einsum <equation = "a,b,c->"> (w, w, w) y = Mul (x, e)
        c = Conv (maps, kernel) s = Relu (c) z = Add (s, x) }"""
    weights = {"w": normal(9), "maps": normal(1, 1, 9, 9), "kernel": normal(1, 1, 8, 8)}
    result = FoldConstants().run(build(text.replace("float[N,1] x", "float[1,1] x"), **weights), Context())
    assert not result.changed
    assert [note.code for note in result.notes] == ["constant-not-folded"] * 2


def test_a_constant_graph_output_stays_a_node() -> None:
    model = build("net (float[N,4] x) => (float[N,4] y, float[2] z) { y = Relu (x) z = Neg (w) }", w=normal(2))
    assert operators(check(FoldConstants(), model, changes=False).model) == ["Relu", "Neg"]
