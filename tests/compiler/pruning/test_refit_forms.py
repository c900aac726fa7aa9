"""Refitting brings every kind of layer that a cut reaches closer to the original, on samples that it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from pruning_nets import NETS, net, random_removal
from zoo import ZOO

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.forms import Form, form_of
from prunus.compiler.pruning.prove import compared_values, random_inputs
from prunus.compiler.pruning.reconstruct import Reconstruction, reconstruct


def depthwise() -> Model:
    """The depthwise layer stands between the layer that loses its input and the only one behind."""
    return net(
        """a = Conv(x, w1)  c = Relu(a)  d = Conv(c, w2, b2)  e = Conv<group = 5, pads = [1,1,1,1]>(d, w3, b3)
           p = GlobalMaxPool(e)  y = Flatten(p)""",
        {"w1": (12, 3, 3, 3), "w2": (5, 12, 1, 1), "b2": (5,), "w3": (5, 1, 3, 3), "b3": (5,)},
    )


def einsum() -> Model:
    """Inner width 16 of rank six, with a weight for every head in front of it."""
    return net(
        """q = Einsum<equation = "nld,dhk->nhlk">(x, wq)  r = Relu(q)
           o = Einsum<equation = "nhlk,hkm->nlm">(r, wo)  y = ReduceMean<keepdims = 0>(o, one)""",
        {"wq": (6, 2, 16), "wo": (2, 16, 5), "one": np.array([1])},
        x="float[N,7,6] x",
    )


def left_constant() -> Model:
    """Weights on the left of their products, as in a mixer without transpositions."""
    return net(
        "a = MatMul(w1, x)  c = Relu(a)  d = MatMul(w2, c)  y = ReduceMean<keepdims = 0>(d, last)",
        {"w1": (16, 7), "w2": (5, 16), "last": np.array([2])},
        x="float[N,7,6] x",
    )


def scaled_gemm() -> Model:
    return net(
        "a = Gemm(x, w1)  c = Relu(a)  y = Gemm<alpha = 0.5, transB = 1>(c, w2, b2)",
        {"w1": (6, 16), "w2": (5, 16), "b2": (5,)},
        x="float[N,6] x",
    )


# name: the network, the share of the channels to cut, and the share of the error that may be left
CASES: dict[str, tuple[Callable[[], Model], float, float]] = {
    "depthwise": (depthwise, 0.3, 0.75),
    "depthwise in a network": (ZOO["mobilenet_v3"], 0.3, 0.5),
    "transposed convolution": (NETS["transposed"], 0.3, 0.5),
    "transposed convolution in a network": (ZOO["unet"], 0.3, 0.75),
    "einsum": (einsum, 0.3, 0.5),
    "constant on the left": (left_constant, 0.3, 0.5),
    "scaled gemm": (scaled_gemm, 0.3, 0.6),
    "lstm": (NETS["lstm"], 0.3, 0.5),
    "lstm with everything": (NETS["peepholes"], 0.3, 0.75),
    "gru": (NETS["gru"], 0.3, 0.5),
    "gru, reset behind the product": (NETS["gru_reset"], 0.3, 0.5),
    "rnn": (NETS["rnn"], 0.3, 0.5),
    "weight used twice in a row": (NETS["shared_weight"], 0.3, 0.5),
    "weight on two branches": (NETS["siamese"], 0.3, 0.5),
    "weight on two scales": (ZOO["feature_pyramid"], 0.3, 0.75),
    "bias behind the product": (ZOO["vit"], 0.3, 0.75),
}


def refitted(model: Model, share: float) -> tuple[Model, Reconstruction]:
    channels = channel_groups(model)
    removed = random_removal(channels, share)
    pruned = cut(model, channels, removed)
    return pruned, reconstruct(model, pruned, channels, removed, Data(random_inputs(model, 256, seed=0)))


def error(original: Model, other: Model) -> float:
    """Relative squared error of the compared outputs, on fresh samples."""
    names, feeds = compared_values(original), random_inputs(original, 64, seed=5)
    expected, found = (run_model(model, feeds, names) for model in (original, other))
    return sum(float(np.square(found[name] - expected[name]).sum()) for name in names)


@pytest.mark.parametrize("name", CASES)
def test_refitting_lowers_the_error_of_the_output(name: str) -> None:
    build, share, most = CASES[name]
    model = build()
    pruned, result = refitted(model, share)
    assert result.fits and not result.unfit and all(fit.after < fit.before for fit in result.fits)
    assert error(model, result.model) <= most * error(model, pruned)


def test_every_use_of_a_shared_weight_counts() -> None:
    """Fitting the weight to one of two branches only would ruin the other."""
    model = NETS["siamese"]()
    _, result = refitted(model, 0.3)
    assert len(result.fits) == 2  # one for each of two weights, though four layers read them


def test_a_weight_that_is_used_in_two_ways_keeps_its_numbers_and_says_so() -> None:
    model = NETS["tied_autoencoder"]()
    pruned, result = refitted(model, 0.3)
    assert {each.code for each in result.unfit} == {"shared-weight"} and not result.fits
    assert result.model.to_bytes() == pruned.to_bytes()


def test_recurrent_layers_that_cannot_be_refitted_say_why() -> None:
    proto = NETS["gru"]().to_proto()
    for node in proto.graph.node:
        if node.op_type == "GRU":
            directions = 2 if any(each.s == b"bidirectional" for each in node.attribute) else 1
            node.attribute.append(helper.make_attribute("activations", ["HardSigmoid", "Tanh"] * directions))
    _, result = refitted(Model(ir.from_proto(proto)), 0.3)
    assert [each.code for each in result.unfit] == ["unsupported-form"] * 2


FORMS = [
    ("Conv", {"pads": [1, 1, 1, 1], "strides": [2, 1]}, (2, 6, 7, 8), (5, 6, 3, 3)),
    ("Conv", {"group": 2, "auto_pad": "SAME_UPPER"}, (2, 6, 7, 8), (4, 3, 2, 2)),
    ("ConvTranspose", {}, (2, 6, 5, 4), (6, 5, 3, 2)),
    ("ConvTranspose", {"strides": [2, 3], "pads": [1, 0, 0, 2]}, (2, 6, 5, 4), (6, 5, 3, 4)),
    ("ConvTranspose", {"strides": [2, 2], "output_padding": [1, 0], "dilations": [2, 1]}, (2, 6, 5, 4), (6, 5, 3, 3)),
    ("ConvTranspose", {"group": 3, "strides": [2, 2]}, (2, 6, 5, 4), (6, 2, 2, 2)),
    ("ConvTranspose", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, (2, 6, 5, 4), (6, 5, 3, 3)),
    ("ConvTranspose", {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, (2, 6, 5, 4), (6, 5, 3, 3)),
    ("ConvTranspose", {"strides": [2, 2], "output_shape": [9, 9]}, (2, 6, 5, 4), (6, 5, 3, 3)),
    ("ConvTranspose", {"pads": [2, 2]}, (2, 6, 9), (6, 5, 2)),
    ("MatMul", {}, (2, 3, 6), (6, 5)),
    ("MatMul", {}, (4, 2, 3, 6), (2, 6, 5)),
    ("Gemm", {"transB": 1, "alpha": 2.0}, (7, 6), (5, 6)),
    ("Gemm", {"transA": 1}, (6, 7), (6, 5)),
    ("Einsum", {"equation": "nlhd,hdm->nlm"}, (2, 3, 2, 6), (2, 6, 5)),
    ("Einsum", {"equation": "...d,hd->h..."}, (2, 3, 6), (5, 6)),
    ("Einsum", {"equation": "bhk,hkm->bmh"}, (4, 2, 6), (2, 6, 5)),
]


@pytest.mark.parametrize(("op_type", "attributes", "x_shape", "w_shape"), FORMS, ids=str)
def test_rows_times_weights_are_the_operator(op_type: str, attributes: dict, x_shape, w_shape) -> None:
    """Every form, against onnxruntime; and back from the matrix to the weight."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
    _, form, y = run_alone(op_type, attributes, x, w)
    assert form is not None
    chosen = np.arange(form.count(y))
    rows, goals = form.rows(x, y, chosen)
    matrix = form.matrix(w)
    np.testing.assert_allclose(np.einsum("rgk,gkn->rgn", rows, matrix), goals, atol=1e-4)
    assert rows.shape[0] * goals.shape[1] * goals.shape[2] == y.size
    np.testing.assert_array_equal(form.unmatrix(matrix, w), w)


def run_alone(op_type: str, attributes: dict, x: np.ndarray, w: np.ndarray) -> tuple[ir.Node, Form | None, np.ndarray]:
    node = helper.make_node(op_type, ["x", "w"], ["y"], **attributes)
    inputs = [helper.make_tensor_value_info("x", 1, x.shape)]
    outputs = [helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph([node], "g", inputs, outputs, [numpy_helper.from_array(w, "w")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (y,) = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    found = ir.from_proto(proto).graph.node(0)
    weight = found.inputs[1]
    assert weight is not None
    return found, form_of(found, weight, attributes.get("group", 1)), y


@pytest.mark.parametrize("equation", ["nii,ij->nj", "nij,jk->nk", "nj,jk->n"])
def test_equations_that_are_no_products_have_no_form(equation: str) -> None:
    """A diagonal, and letters that only one operand has and the result lacks."""
    shapes = {"nii,ij->nj": ((2, 6, 6), (6, 5)), "nij,jk->nk": ((2, 3, 6), (6, 5)), "nj,jk->n": ((2, 6), (6, 5))}
    x, w = (np.ones(shape, np.float32) for shape in shapes[equation])
    assert run_alone("Einsum", {"equation": equation}, x, w)[1] is None
