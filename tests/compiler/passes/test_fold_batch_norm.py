"""FoldBatchNorm: every layer that takes a scale and shift, from either side; what cannot be folded stays, noted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, PassResult
from prunus.compiler.passes.fold_batch_norm import FoldBatchNorm
from prunus.tests.compiler.passes.equivalence import build, check, normal, operators, relative_error, story


def norm(channels: int, seed: int = 0) -> dict[str, np.ndarray]:
    """gamma, beta, mean, variance of a batch normalisation."""
    rng = np.random.default_rng(seed)
    scale, variance = rng.uniform(0.5, 1.5, (2, channels)).astype(np.float32)
    return {"g": scale, "h": normal(channels, seed=1), "m": normal(channels, seed=2), "v": variance}


def run(model: Model, changes: bool = True) -> PassResult:
    return check(FoldBatchNorm(), replace(model, form="deploy"), changes=changes)


def test_golden(golden) -> None:
    model = build(
        """net (float[N,4,6,6] x) => (float[N,6,6,6] y) {
            c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
            b = BatchNormalization <epsilon = 0.001> (c, g, h, m, v)
            s = Mul (b, f)
            t = Add (s, h3)
            both = Concat <axis = 1> (t, x)
            k = BatchNormalization (both, g8, h8, m8, v8)
            k2 = Mul (k, f8)
            r = Relu (k2)
            n = BatchNormalization (r, g8, h8, m8, v8)
            y = Conv <kernel_shape = [1, 1], group = 2> (n, w2, b2)
        }""",
        w=normal(4, 4, 3, 3),
        f=normal(4, 1, 1),
        h3=normal(1, 4, 1, 1),
        f8=normal(1, 8, 1, 1),
        w2=normal(6, 4, 1, 1),
        b2=normal(6),
        **norm(4),
        **{f"{name}8": array for name, array in norm(8).items()},
    )
    golden("passes/fold_batch_norm.txt", story(model, check(FoldBatchNorm(), model)))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("Conv <group = 2, pads = [1, 1, 1, 1]> (x, w)", (6, 2, 3, 3)),
        ("Conv <group = 4> (x, w, b)", (6, 1, 3, 3)),
        ("ConvTranspose <strides = [2, 2]> (x, w)", (4, 6, 2, 2)),
        ("ConvTranspose <group = 2, strides = [2, 2]> (x, w, b)", (4, 3, 2, 2)),
    ],
)
def test_into_the_layer_before(layer: str, shape: tuple[int, ...]) -> None:
    if shape[1] == 1:
        shape = (8, *shape[1:])
    channels = 8 if shape[1] == 1 else 6
    text = f"net (float[N,4,5,5] x) => (float[N,A,B,C] y) {{ c = {layer} y = BatchNormalization (c, g, h, m, v) }}"
    result = run(build(text, w=normal(*shape), b=normal(channels), **norm(channels)))
    assert len(operators(result.model)) == 1


@pytest.mark.parametrize("tail", ["Mul (l, s)", "Add (l, h)", "Sub (l, h)", "Sub (h, l)", "Div (l, g)", "Mul (l, one)"])
def test_constants_per_channel_into_gemm(tail: str) -> None:
    text = f"net (float[N,4] x) => (float[N,3] y) {{ l = Gemm <transB = 1> (x, w, b) y = {tail} }}"
    weights = {"w": normal(3, 4), "b": normal(3), "s": normal(1, 3), "one": np.array(0.5, np.float32), **norm(3)}
    assert operators(run(build(text, **weights)).model) == ["Gemm"]


def test_matmul_keeps_one_add() -> None:
    text = """net (float[N,7,4] x) => (float[N,7,3] y) {
        l = MatMul (x, w) a = Add (l, h) s = Mul (a, g) y = Sub (s, m)
    }"""
    result = run(build(text, w=normal(4, 3), **norm(3)))
    assert operators(result.model) == ["MatMul", "Add"]


def test_matmul_with_its_bias_is_left_alone() -> None:
    text = "net (float[N,7,4] x) => (float[N,7,3] y) { l = MatMul (x, w) y = Add (l, h) }"
    run(build(text, w=normal(4, 3), **norm(3)), changes=False)


@pytest.mark.parametrize(
    ("layer", "weight", "folds"),
    [
        ("Conv (r, w, b)", (6, 4, 3, 3), True),
        ("Conv <group = 2> (r, w)", (6, 2, 3, 3), True),
        ("Conv <pads = [0, 1, 0, 0]> (r, w, b)", (6, 4, 3, 3), False),  # the border would see the shift
        ("Conv <auto_pad = \"SAME_UPPER\"> (r, w, b)", (6, 4, 3, 3), False),
        ("ConvTranspose (r, w)", (4, 6, 3, 3), False),
    ],
)  # fmt: skip
def test_into_the_layer_behind(layer: str, weight: tuple[int, ...], folds: bool) -> None:
    text = f"""net (float[N,4,5,5] x) => (float[N,A,B,C] y) {{
        c = Relu (x) r = BatchNormalization (c, g, h, m, v) y = {layer}
    }}"""
    result = run(build(text, w=normal(*weight), b=normal(6), **norm(4)), changes=folds)
    assert ("BatchNormalization" in operators(result.model)) != folds
    assert ("batch-norm-kept" in [note.code for note in result.notes]) != folds


@pytest.mark.parametrize("layer", ["Conv <pads = [1, 1, 1, 1]> (r, w)", "ConvTranspose <group = 2> (r, u)"])
def test_a_pure_factor_passes_padding(layer: str) -> None:
    text = f"net (float[N,4,5,5] x) => (float[N,A,B,C] y) {{ r = Mul (x, s) y = {layer} }}"
    result = run(build(text, w=normal(6, 4, 3, 3), u=normal(4, 3, 2, 2), s=normal(4, 1, 1)))
    assert len(operators(result.model)) == 1


def test_into_all_readers_or_none() -> None:
    text = """net (float[N,4] x) => (float[N,3] y, float[N,3] z) {{
        r = Mul (x, g) a = Add (r, h) y = Gemm <transB = 1> (a, w) z = {} }}"""
    weights = {"w": normal(3, 4), **norm(4)}
    assert operators(run(build(text.format("Gemm <transB = 1> (a, w)"), **weights)).model) == ["Gemm", "Gemm"]
    run(build(text.format("Gemm <transB = 0> (a, w2)"), w2=normal(4, 3), **weights), changes=False)


@pytest.mark.parametrize(
    "text",
    [
        # the value in between is a graph output; it has a second reader; the constant varies along the map
        "(float[N,3,5,5] y, float[N,3,5,5] c) { c = Conv (x, w) y = BatchNormalization (c, g, h, m, v) }",
        "(float[N,3,5,5] y) { c = Conv (x, w) d = Relu (c) e = BatchNormalization (c, g, h, m, v) y = Add (d, e) }",
        "(float[N,3,5,5] y) { c = Conv (x, w) y = Mul (c, map) }",
    ],
)
def test_what_must_not_be_folded(text: str) -> None:
    run(build(f"net (float[N,3,5,5] x) => {text}", w=normal(3, 3, 1, 1), map=normal(5, 5), **norm(3)), changes=False)


def test_shared_weights_are_copied_before_they_change() -> None:
    text = """net (float[N,3,5,5] x) => (float[N,3,5,5] y, float[N,3,5,5] z) {
        a = Conv (x, w) y = BatchNormalization (a, g, h, m, v) z = Conv (x, w) }"""
    assert operators(run(build(text, w=normal(3, 3, 1, 1), **norm(3))).model) == ["Conv", "Conv"]


def test_zeros_stay_zeros() -> None:
    w = normal(8, 4, 3, 3)
    w[:, 1::2] = 0
    text = "net (float[N,4,5,5] x) => (float[N,A,B,C] y) { c = Conv (x, w) y = BatchNormalization (c, g, h, m, v) }"
    result = run(build(text, w=w, **norm(8)))
    folded = result.model.graph[0].inputs[1].const_value.numpy()
    assert not folded[:, 1::2].any()
    assert folded[:, ::2].all()


def test_a_wrong_statistic_is_caught() -> None:
    text = "net (float[N,4,5,5] x) => (float[N,A,B,C] y) { c = Conv (x, w) y = BatchNormalization (c, g, h, m, v) }"
    weights = norm(8)
    model = build(text, w=normal(8, 4, 3, 3), **weights)
    weights["v"] = weights["v"] + np.float32(1e-3)
    wrong = FoldBatchNorm().run(build(text, w=normal(8, 4, 3, 3), **weights), Context()).model
    assert relative_error(model, wrong) > 1e-5
