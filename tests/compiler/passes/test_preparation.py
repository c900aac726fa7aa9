"""The passes before pruning, in order, on real networks: same outputs, batch still symbolic, no work left to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from light import LARGE_LIGHT_NAMES, LIGHT_NAMES, random_light_model
from onnx import numpy_helper

from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load, load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.passes.fold_batch_norm import FoldBatchNorm
from prunus.compiler.passes.fold_constants import FoldConstants
from prunus.compiler.passes.fold_input import FoldInput
from prunus.compiler.passes.normalise import Normalise
from prunus.compiler.passes.properties import check
from prunus.compiler.passes.push_transposes import PushTransposes
from prunus.compiler.passes.remove_dead_channels import RemoveDeadChannels
from prunus.compiler.pruning.prove import compared_values
from prunus.tests.compiler.passes.equivalence import HEADER, TOLERANCE, build, normal, operators, relative_error
from prunus.tests.compiler.passes.random_networks import random_network

PREPARATION = (Normalise, FoldConstants, PushTransposes, FoldBatchNorm, FoldInput, RemoveDeadChannels)
SLOW_LIGHT_NAMES = ("densenet121", "inception_v2", *LARGE_LIGHT_NAMES)
LIGHT = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW_LIGHT_NAMES else name for name in LIGHT_NAMES]
SHARED = [
    "face_ultraface_rfb320",
    "imagenet_mobilenetv2_1.0_224_dequant",
    "jet_mlp3",
    "jet_mlp3_pruned70",
    "jet_mlp3_pruned95",
    "mlperf_ad_autoencoder",
    "mlperf_ic_resnet8",
    "mlperf_kws_dscnn",
    "mlperf_sww_1dconv",
    "mlperf_vww_mobilenetv1_025_96",
    "sr_espcn_x2",
]


def prepare(model: Model) -> Model:
    """Runs all passes, each checked for its declared properties and for idempotence."""
    for each in PREPARATION:
        result = each().run(model, Context())
        if result.changed:
            check(each.name, each.ensures, model, result.model)
        again = each().run(result.model, Context())
        assert not again.changed, f"{each.name} is not idempotent: {again.notes}"
        model = result.model
    return model


def feeds(model: Model, samples: int = 2) -> dict[str, np.ndarray]:
    """Inputs of the magnitude that the networks were trained on, so that no Softmax saturates."""
    rng = np.random.default_rng(0)
    (value,) = model.graph.inputs
    shape = [dim if isinstance(dim, int) else samples for dim in value.shape]
    if value.dtype == ir.DataType.UINT8:
        return {value.name: rng.integers(0, 256, shape).astype(np.uint8)}
    return {value.name: rng.uniform(0, 1, shape).astype(np.float32)}


def assert_same(before: Model, after: Model) -> None:
    """Outputs, and what goes into a final Softmax, within 1e-5 of their largest magnitude."""
    inputs = feeds(before)
    pairs = zip(compared_values(before), compared_values(after), strict=True)
    expected = run_model(before, inputs, compared_values(before), optimise=False)
    found = run_model(after, inputs, compared_values(after), optimise=False)
    for old, new in pairs:
        reference = expected[old].astype(np.float64).reshape(len(expected[old]), -1)
        actual = found[new].astype(np.float64).reshape(reference.shape)
        assert reference.std() > 0
        assert np.abs(actual - reference).max() <= TOLERANCE * np.abs(reference).max()


@pytest.mark.parametrize("name", LIGHT)
def test_light_networks(name: str) -> None:
    model = load_proto(random_light_model(name, seed=1))
    after = prepare(model)
    assert_same(model, after)
    assert {"Sum", "Dropout", "Identity", "Constant", "Unsqueeze", "Flatten"}.isdisjoint(operators(after))
    norms = 62 if name == "densenet121" else 0  # behind its concatenations
    assert operators(after).count("BatchNormalization") == norms
    assert {"Mul", "Sub", "Div"}.isdisjoint(operators(after))


@pytest.mark.parametrize("name", SHARED)
def test_trained_networks(models: Path, name: str) -> None:
    model = load(models / f"{name}_fp32.onnx")
    after = prepare(model)
    assert_same(model, after)
    assert str(after.graph.outputs[0].shape) == str(model.graph.outputs[0].shape)
    assert "BatchNormalization" not in operators(after)
    if name.startswith("mlperf"):
        assert operators(after).count("Transpose") <= 1
        assert not after.graph.outputs[0].shape.is_static(0)


def test_autoencoder_is_ten_gemms(models: Path) -> None:
    """MatMul, Add, Mul, Add, Relu as written by the trainer becomes Gemm, Relu."""
    after = prepare(load(models / "mlperf_ad_autoencoder_fp32.onnx"))
    assert operators(after) == ["Gemm", "Relu"] * 9 + ["Gemm"]


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed: int) -> None:
    """Every spelling of everything, in any order."""
    model = load_proto(random_network(seed))
    after = prepare(model)
    assert relative_error(model, after) <= TOLERANCE
    assert str(after.graph.outputs[0].shape) == "[batch,5]"
    leftover = {"Sum", "Identity", "Max", "Min", "Flatten", "Squeeze", "ReduceMean", "MatMul", "Div"}
    assert leftover.isdisjoint(operators(after))


def test_one_dimension_and_three() -> None:
    text = """net (float[N,4,{size}] x) => (float[N,3] y) {{
        c = Conv <auto_pad = "SAME_UPPER"> (x, w) b = BatchNormalization (c, s, h, h, s) r = Relu (b)
        t = ConvTranspose (r, v) k = BatchNormalization (t, s, h, h, s) m = ReduceMean <keepdims = 0> (k, axes)
        y = MatMul (m, f) }}"""
    for size in ((9,), (5, 4, 6)):
        spatial = len(size)
        model = build(
            text.format(size=",".join(map(str, size))),
            w=normal(6, 4, *[3] * spatial),
            v=normal(6, 6, *[2] * spatial),
            s=np.abs(normal(6)) + 0.5,
            h=normal(6, seed=1),
            f=normal(6, 3),
            axes=np.arange(2, 2 + spatial),
        )
        after = prepare(model)
        assert relative_error(model, after) <= TOLERANCE
        assert operators(after) == ["Conv", "Relu", "ConvTranspose", "GlobalAveragePool", "Reshape", "Gemm"]


@pytest.mark.parametrize("condition", [True, False])
def test_values_read_inside_of_branches(condition: bool) -> None:
    """Branches read the outer graph's values: those are edges too, and the branches themselves stay as they are."""
    text = """net (float[N,2,4,4] x, bool c) => (float[N,A,B,C] y) {
        k = Conv (x, w)  m = Mul (x, z)  t = Transpose <perm = [0, 2, 3, 1]> (k)
        y = If (c) <
            then_branch = one () => (float[N,3,4,4] a) {
                q = Mul (k, s) u = Transpose <perm = [0, 3, 1, 2]> (t) a = Add (q, u) },
            else_branch = two () => (float[N,3,4,4] b) { b = Conv (m, w) }>
    }"""
    weights = {"w": normal(3, 2, 1, 1), "z": normal(2, 1, 1), "s": normal(3, 1, 1)}
    proto = onnx.parser.parse_model(f"{HEADER} {text}")
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    model = load_proto(proto)
    after = prepare(model)
    image, flag = (value.name for value in model.graph.inputs)
    inputs = {image: normal(1, 2, 4, 4), flag: np.array(condition)}
    expected, found = (onnxruntime.InferenceSession(each.to_bytes()).run(None, inputs)[0] for each in (model, after))
    assert np.abs(expected - found).max() <= TOLERANCE * np.abs(expected).max()
