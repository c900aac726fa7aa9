"""FoldInput: every scalar preprocessing ends as Cast? -> Sub? -> Mul? -> movement, and computes the same."""

from __future__ import annotations

import numpy as np
import pytest

from prunus.compiler.passes.fold_input import FoldInput
from prunus.tests.compiler.passes.equivalence import build, check, normal, operators, relative_error, story

CONSTANTS = "<float c = {127.5}, float d = {0.00784313772}, float e = {1.0}, float f = {-2.0}>"


def test_golden(golden) -> None:
    model = build(
        f"""net (uint8[N,6,6,3] x) => (float[N,A,B,C] y) {CONSTANTS} {{
            t = Transpose <perm = [0, 3, 1, 2]> (x)
            v = Cast <to = 1> (t)
            s = Mul (v, d)
            m = Sub (s, e)
            y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (m, w)
        }}""",
        w=normal(4, 3, 3, 3),
    )
    golden("passes/fold_input.txt", story(model, check(FoldInput(), model)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Div (x, c) b = Sub (a, e)", ["Sub", "Mul"]),
        ("a = Add (x, c) b = Sub (a, e)", ["Sub"]),
        ("a = Mul (x, d) b = Div (a, f)", ["Mul"]),
        ("b = Sub (e, x)", ["Sub", "Mul"]),
        ("a = Add (x, e) b = Sub (a, e)", []),
        ("a = Mul (x, d) t = Transpose <perm = [0, 1, 3, 2]> (a) b = Sub (t, e)", ["Sub", "Mul", "Transpose"]),
    ],
)
def test_scalar_chains(body: str, expected: list[str]) -> None:
    model = build(f"net (float[N,3,4,4] x) => (float[N,A,B,C] y) {CONSTANTS} {{ {body} y = Relu (b) }}")
    assert operators(check(FoldInput(), model).model) == [*expected, "Relu"]


@pytest.mark.parametrize(
    "body",
    [
        "a = Sub (x, c) b = Mul (a, d)",
        "a = Sub (x, c) b = Mul (a, d) z = Relu (x)",  # x is read twice
        "b = Relu (x)",
        "a = Sub (x, c) b = Transpose <perm = [0, 1, 3, 2]> (a)",
    ],
)
def test_canonical_and_foreign_chains_stay(body: str) -> None:
    outputs = "float[N,A,B,C] y, float[N,3,4,4] z" if " z " in body else "float[N,A,B,C] y"
    model = build(f"net (float[N,3,4,4] x) => ({outputs}) {CONSTANTS} {{ {body} y = Relu (b) }}")
    check(FoldInput(), model, changes=False)


def test_constants_per_channel_stay_and_are_noted() -> None:
    text = f"net (float[N,3,4,4] x) => (float[N,3,4,4] y) {CONSTANTS} {{ a = Div (x, c) b = Sub (a, k) y = Relu (b) }}"
    result = check(FoldInput(), build(text, k=normal(3, 1, 1)))
    assert operators(result.model) == ["Mul", "Sub", "Relu"]
    assert [note.code for note in result.notes] == ["input-affine-per-channel", "input-steps-merged"]


def test_every_byte_is_preprocessed_alike() -> None:
    text = "net (uint8[N,1] x) => (float[N,1] y) {} {{ v = Cast <to = 1> (x) s = Mul (v, d) y = Sub (s, {}) }}"
    feeds = {"x": np.arange(256, dtype=np.uint8)[:, None]}
    model = build(text.format(CONSTANTS, "e"))
    after = check(FoldInput(), model, feeds=feeds, tolerance=2e-7).model
    assert relative_error(build(text.format(CONSTANTS, "d")), after, feeds) > 1e-2  # another mean is noticed
