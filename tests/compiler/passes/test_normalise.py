"""Normalise: each rule on a small graph, exact or within 1e-5 of the largest output, and golden texts of the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from light import light_proto
from onnx import version_converter

from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.passes.normalise import Normalise
from prunus.tests.compiler.passes.equivalence import build, check, normal, operators, story


def run(model: Model, **options: object) -> Model:
    return check(Normalise(), replace(model, form="trainable"), **options).model


def test_golden_convolutional_net(golden) -> None:
    model = build(
        """net (float[N,3,9,9] x) => (float[N,5] y)
        <float zero = {0.0}, float six = {6.0}> {
            c = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w, b)
            r = Max (zero, c)
            k = Min (r, six)
            d, mask = Dropout (k)
            t = Constant <value = float {3.0}> ()
            s = Div (d, t)
            u = Sum (s, k, s)
            axes = Constant <value_ints = [2, 3]> ()
            m = ReduceMean <keepdims = 0> (u, axes)
            f = Flatten (m)
            y = Gemm <alpha = 0.5, beta = 2.0> (f, v, q)
        }""",
        shapes=False,
        w=normal(4, 3, 3, 3),
        b=normal(4),
        v=normal(4, 5),
        q=normal(1, 5),
    )
    result = check(Normalise(), model)
    golden("passes/normalise.txt", story(model, result))


def test_golden_fully_connected_net(golden) -> None:
    model = build(
        """net (float[N,1,1,6] x) => (float[N,2] p) {
            shape = Shape (x)
            zero = Constant <value = int64 {0}> ()
            n = Gather (shape, zero)
            axis = Constant <value_ints = [0]> ()
            rows = Unsqueeze (n, axis)
            rest = Constant <value_ints = [6]> ()
            both = Concat <axis = 0> (rows, rest)
            flat = Reshape (x, both)
            h = MatMul (flat, w)
            a = Add (b, h)
            r = Relu (a)
            wt = Transpose (w2)
            o = MatMul (r, wt)
            p = Softmax (o)
        }""",
        shapes=False,
        w=normal(6, 3),
        b=normal(3),
        w2=normal(2, 3),
    )
    golden("passes/normalise_fully_connected.txt", story(model, check(Normalise(), model)))


def test_symbolic_batch_stays_symbolic() -> None:
    model = build("net (float[N,4,2,2] x) => (float[N,16] y) { y = Flatten (x) }")
    after = run(model)
    assert operators(after) == ["Reshape"]
    assert str(after.graph.outputs[0].shape[0]) == "batch"
    assert after.graph[0].inputs[1].const_value.numpy().tolist() == [-1, 16]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize(
    "node",
    [
        "Conv <strides = [2, 3], %s> (x, w)",
        "ConvTranspose <strides = [2, 3], %s> (x, w)",
        "MaxPool <kernel_shape = [3, 2], strides = [2, 2], %s> (x)",
        "AveragePool <kernel_shape = [2, 3], strides = [1, 2], %s> (x)",
    ],
)
def test_automatic_padding(auto_pad: str, size: int, node: str) -> None:
    text = node % f'auto_pad = "{auto_pad}"'
    model = build(f"net (float[N,2,{size},{size}] x) => (float[N,C,H,W] y) {{ y = {text} }}", w=normal(2, 2, 4, 3))
    after = run(model)
    attributes = after.graph[0].attributes
    assert attributes["auto_pad"].as_string() == "NOTSET"
    assert len(attributes["pads"].as_ints()) == 4


@pytest.mark.parametrize(
    ("pad", "merges"),
    [
        ("Pad (x, all)", True),
        ("Pad (x, two, zero, axes)", True),
        ("Pad (x, all, one)", False),
        ("Pad (x, channel)", False),
        ('Pad <mode = "reflect"> (x, all)', False),
    ],
)
def test_zero_padding_moves_into_the_convolution(pad: str, merges: bool) -> None:
    text = f"net (float[N,2,5,5] x) => (float[N,A,B,C] y) {{ p = {pad} y = Conv <pads = [1, 0, 0, 1]> (p, w) }}"
    model = build(
        text,
        w=normal(3, 3 if "channel" in pad else 2, 3, 3),
        all=np.array([0, 0, 1, 2, 0, 0, 3, 0]),
        two=np.array([2, 1, 0, 3]),
        axes=np.array([-1, 2]),
        channel=np.array([0, 1, 0, 0, 0, 0, 0, 0]),
        zero=np.array(0, np.float32),
        one=np.array(1, np.float32),
    )
    assert operators(run(model)) == (["Conv"] if merges else ["Pad", "Conv"])


@pytest.mark.parametrize("attributes", ["output_shape = [10, 11]", 'output_shape = [10, 11], auto_pad = "SAME_UPPER"'])
def test_output_shape_of_transposed_convolution(attributes: str) -> None:
    text = (
        f"net (float[N,2,5,5] x) => (float[N,C,H,W] y) {{ y = ConvTranspose <strides = [2, 2], {attributes}> (x, w) }}"
    )
    after = run(build(text, w=normal(2, 3, 4, 3)))
    assert "output_shape" not in after.graph[0].attributes


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Clip (x, lo, )", ["Clip"]),
        ("y = Clip (x, zero, )", ["Relu"]),
        ("r = Relu (x) y = Clip (r, lo, six)", ["Clip"]),
        ("r = Clip (x, lo, six) y = Relu (r)", ["Clip"]),
        ("r = Relu (x) y = Relu (r)", ["Relu"]),
        ("y = Max (zero, x)", ["Relu"]),
        ("y = Clip (x)", ["Identity"]),
        ("r = Relu (x) z = Min (r, six) y = Add (r, z)", ["Relu", "Clip", "Add"]),  # r is read twice
    ],
)
def test_one_kind_of_clipping(body: str, expected: list[str]) -> None:
    constants = "<float lo = {-0.5}, float zero = {0.0}, float six = {0.6}>"
    after = run(build(f"net (float[N,5] x) => (float[N,5] y) {constants} {{ {body} }}"))
    assert operators(after) == expected
    for node in after.graph:
        if node.op_type == "Clip":
            assert all(value.const_value.shape.rank() == 0 for value in node.inputs[1:])


@pytest.mark.parametrize(
    "body",
    [
        "a = Identity (x) y = Relu (a)",
        "a = Cast <to = 1> (x) y = Relu (a)",
        "a = Pad (x, zeros) y = Relu (a)",
        "a = Transpose <perm = [0, 1, 2]> (x) y = Relu (a)",
        "a = Concat <axis = 1> (x) y = Relu (a)",
        "a = Mul (x, one) y = Relu (a)",
        "a = Add (x, zero) y = Relu (a)",
        "a = Sum (x) y = Relu (a)",
        "a = Reshape (x, same) y = Relu (a)",
        "r = Relu (x) y = Identity (r)",
    ],
)
def test_what_changes_nothing_is_removed(body: str) -> None:
    text = f"net (float[N,2,3] x) => (float[N,2,3] y) <float one = {{1.0}}, float zero = {{0.0}}> {{ {body} }}"
    zeros, same = np.zeros(6, np.int64), np.array([-1, 2, 3], np.int64)
    assert operators(run(build(text, zeros=zeros, same=same))) == ["Relu"]


@pytest.mark.parametrize(
    "body",
    ["y = Identity (x)", "y = Relu (x) z = Identity (y)", "y = Add (x, wide)"],
)
def test_what_only_looks_useless_stays(body: str) -> None:
    outputs = "float[N,A,B] y, float[N,2,3] z" if " z " in body else "float[N,A,B] y"
    model = build(f"net (float[N,2,3] x) => ({outputs}) {{ {body} }}", wide=np.zeros((4, 1, 2, 3), np.float32))
    check(Normalise(), replace(model, form="trainable"), changes=False)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Div (x, c) y = Mul (a, d)", ["Mul"]),
        ("a = Mul (c, x) y = Div (a, d)", ["Mul"]),
        ("a = Mul (x, c) y = Add (a, a)", ["Mul", "Add"]),
        ("a = Mul (x, c) b = Mul (a, d) y = Add (a, b)", ["Mul", "Mul", "Add"]),
        ("y = Div (c, x)", ["Div"]),
    ],
)
def test_constant_factors(body: str, expected: list[str]) -> None:
    model = build(f"net (float[N,2,3] x) => (float[N,2,3] y) {{ {body} }}", c=normal(2, 3), d=normal(2, 1))
    assert operators(run(model, changes=expected not in (["Div"], ["Mul", "Add"], ["Mul", "Mul", "Add"]))) == expected


def test_factors_are_not_merged_into_a_larger_constant() -> None:
    text = "net (float[N,20,30] x) => (float[N,20,30] y) { a = Mul (x, c) y = Mul (a, d) }"
    assert operators(run(build(text, c=normal(30), d=normal(20, 1)), changes=False)) == ["Mul", "Mul"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Gemm <transA = 1> (x, v)", ["Transpose", "Gemm"]),
        ("y = Gemm <transB = 1, alpha = 2.0> (x, w, s)", ["Gemm"]),
        ("y = MatMul (x, v)", ["Gemm"]),
        ("a = MatMul (x, v) y = Add (a, c)", ["Gemm"]),
        ("a = MatMul (x, v) y = Add (a, m)", ["Gemm", "Add"]),  # m differs from row to row
    ],
)
def test_one_kind_of_fully_connected_layer(body: str, expected: list[str]) -> None:
    weights = {"v": normal(4, 3), "w": normal(3, 4), "s": normal(1), "c": normal(1, 3), "m": normal(4, 3)}
    after = run(build(f"net (float[4,4] x) => (float[4,3] y) {{ {body} }}", **weights))
    assert operators(after) == expected
    gemm = next(node for node in after.graph if node.op_type == "Gemm")
    assert [gemm.attributes[key].value for key in ("alpha", "beta", "transA", "transB")] == [1, 1, 0, 1]
    assert gemm.inputs[1].const_value.shape == (3, 4)
    assert len(gemm.inputs) < 3 or gemm.inputs[2].const_value.shape == (3,)


def test_matmul_of_higher_rank_stays() -> None:
    model = build(
        "net (float[N,5,4] x) => (float[N,5,3] y) { a = MatMul (x, v) y = Add (a, b) }", v=normal(4, 3), b=normal(3)
    )
    assert operators(run(model, changes=False)) == ["MatMul", "Add"]


def test_split_sizes_are_written_out() -> None:
    text = "net (float[N,7] x) => (float[N,A] a, float[N,B] b) { a, b = Split <axis = -1, num_outputs = 2> (x) }"
    node = run(build(text)).graph[0]
    assert node.inputs[1].const_value.numpy().tolist() == [4, 3]
    assert node.attributes["axis"].as_int() == 1
    assert "num_outputs" not in node.attributes


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
def test_mean_over_the_map_is_global_pooling(keepdims: int, axes: list[int]) -> None:
    shape = "float[N,4,1,1]" if keepdims else "float[N,4]"
    text = f"net (float[N,4,5,6] x) => ({shape} y) {{ y = ReduceMean <keepdims = {keepdims}> (x, axes) }}"
    after = run(build(text, axes=np.array(axes, np.int64)))
    assert operators(after) == ["GlobalAveragePool", "Reshape"][: 2 - keepdims]


def test_mean_over_channels_stays() -> None:
    text = "net (float[N,4,5,6] x) => (float[N,1,5,6] y) { y = ReduceMean (x, axes) }"
    assert operators(run(build(text, axes=np.array([1], np.int64)), changes=True)) == ["ReduceMean"]


def test_training_batch_norm_becomes_inference_and_is_noted() -> None:
    model = build(
        """net (float[N,3,4,4] x) => (float[N,3,4,4] y) {
            y, m, v = BatchNormalization <training_mode = 1> (x, s, s, s, s)
        }""",
        s=np.abs(normal(3)) + 0.5,
    )
    result = Normalise().run(model, Context())
    assert result.notes[0].code == "training-batch-norm"
    (node,) = result.model.graph
    assert node.attributes["training_mode"].as_int() == 0
    assert len(node.outputs) == 1


def test_initializers_leave_the_inputs_and_fills_become_weights() -> None:
    proto = version_converter.convert_version(light_proto("squeezenet"), 21)
    assert len(proto.graph.input) > 1
    result = Normalise().run(Model(ir.from_proto(proto)), Context())
    assert [value.name for value in result.model.graph.inputs] == ["data_0"]
    assert not {"Constant", "ConstantOfShape"} & {node.op_type for node in result.model.graph}


def test_a_huge_fill_is_refused() -> None:
    text = "net (float[1,4] x) => (float[A,B,C] y) { z = ConstantOfShape (shape) y = Add (x, z) }"
    model = build(text, shape=np.array([2**15, 2**15, 4], np.int64))
    result = Normalise().run(model, Context())
    assert "constant-too-large" in [note.code for note in result.notes]
    assert "ConstantOfShape" in operators(result.model)


def test_a_seeded_fault_is_caught() -> None:
    """The comparison that the other tests rest on notices one wrong weight in a hundred."""
    model = build("net (float[N,10] x) => (float[N,10] y) { y = MatMul (x, v) }", v=normal(10, 10))
    wrong = normal(10, 10)
    wrong[3, 4] += 1e-3
    other = build("net (float[N,10] x) => (float[N,10] y) { y = MatMul (x, v) }", v=wrong)

    class Faulty(Normalise):
        def run(self, model, context):
            return replace(super().run(model, context), model=super().run(other, context).model)

    with pytest.raises(AssertionError):
        check(Faulty(), model)
