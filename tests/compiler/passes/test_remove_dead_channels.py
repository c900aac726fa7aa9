"""RemoveDeadChannels: what is constant or unread goes, exactly; what only looks dead stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, PassResult
from prunus.compiler.passes.fold_batch_norm import FoldBatchNorm
from prunus.compiler.passes.normalise import Normalise
from prunus.compiler.passes.remove_dead_channels import RemoveDeadChannels
from prunus.tests.compiler.passes.equivalence import build, check, normal, story


def run(model: Model, changes: bool = True) -> PassResult:
    return check(RemoveDeadChannels(), model, changes=changes)


def weights_of(model: Model) -> list[tuple[int, ...]]:
    """Shapes of the second input of every layer."""
    layers = [node for node in model.graph if node.op_type in ("Conv", "Gemm", "MatMul", "ConvTranspose")]
    return [tuple(node.inputs[1].const_value.shape) for node in layers]


def rows(*shape: int, dead: list[int], value: float = 0.0, seed: int = 0) -> np.ndarray:
    """Random weights of which some rows are all `value`."""
    array = normal(*shape, seed=seed)
    array[dead] = value
    return array


def test_golden(golden) -> None:
    model = build(
        """net (float[N,2,6,6] x) => (float[N,3] y) {
            c = Conv <kernel_shape = [1, 1]> (x, w1, b1)
            r = Relu (c)
            d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 6> (r, w2, b2)
            k = Clip (d, lo, hi)
            e = Conv <kernel_shape = [1, 1]> (k, w3, b3)
            p = GlobalAveragePool (e)
            f = Reshape (p, flat)
            y = Gemm <transB = 1> (f, w4)
        }""",
        w1=rows(6, 2, 1, 1, dead=[0, 1, 2], value=1e-30),
        b1=np.array([-1, 2, -3, 0.5, 1, -0.5], np.float32),  # 0 and 2 die in the Relu, 1 lives on at the border
        w2=rows(6, 1, 3, 3, dead=[5]),
        b2=np.array([0.7, 0.2, 0.1, 0.3, -0.2, 0.4], np.float32),
        lo=np.array(0, np.float32),
        hi=np.array(6, np.float32),
        w3=rows(4, 6, 1, 1, dead=[1]),
        b3=np.array([1, 2, 3, 4], np.float32),
        w4=normal(3, 4),
        flat=np.array([-1, 4]),
    )
    result = run(model)
    assert weights_of(result.model) == [(3, 2, 1, 1), (3, 1, 3, 3), (3, 3, 1, 1), (3, 3)]
    golden("passes/remove_dead_channels.txt", story(model, result))


@pytest.mark.parametrize("bias", [-1.0, 0.0, 0.8])
@pytest.mark.parametrize("pads", [0, 1])
def test_a_constant_moves_into_the_bias_unless_it_meets_a_border(bias: float, pads: int) -> None:
    text = f"""net (float[N,2,6,6] x) => (float[N,3,A,B] y) {{
        c = Conv (x, w1, b1) r = LeakyRelu <alpha = 0.5> (c) y = Conv <pads = [{pads}, 0, 0, {pads}]> (r, w2) }}"""
    model = build(text, w1=rows(4, 2, 1, 1, dead=[2]), b1=np.full(4, bias, np.float32), w2=normal(3, 4, 3, 3))
    stays = bool(pads) and bias != 0
    result = run(model, changes=not stays)
    assert weights_of(result.model)[1] == (3, 4 if stays else 3, 3, 3)
    assert [note.code for note in result.notes] == ["dead-channels-kept" if stays else "dead-channels-removed"]


def test_unread_channels_go_with_what_computes_them() -> None:
    """The third layer reads nothing of one channel, the second alone needs another of the first."""
    w2, w3 = normal(5, 4), normal(3, 5, seed=1)
    w3[:, 2] = 0
    w2[[0, 1, 3, 4], 1] = 0
    text = """net (float[N,6] x) => (float[N,3] y) {
        a = Gemm <transB = 1> (x, w1) r = Sigmoid (a) b = Gemm <transB = 1> (r, w2) s = Tanh (b)
        y = Gemm <transB = 1> (s, w3) }"""
    result = run(build(text, w1=normal(4, 6), w2=w2, w3=w3))
    assert weights_of(result.model) == [(3, 6), (4, 3), (3, 4)]


def test_a_sum_needs_both_sides_dead() -> None:
    text = """net (float[N,2,5,5] x) => (float[N,3,A,B] y) {
        a = Conv (x, w1, b1) b = Conv (x, w2, b1) s = Add (a, b) r = Relu (s) y = Conv (r, w3) }"""
    weights = {"b1": np.array([1, -2, 0.5, 1], np.float32), "w3": normal(3, 4, 1, 1)}
    one = build(text, w1=rows(4, 2, 1, 1, dead=[0, 2]), w2=rows(4, 2, 1, 1, dead=[2, 3], seed=1), **weights)
    assert weights_of(run(one).model) == [(3, 2, 1, 1), (3, 2, 1, 1), (3, 3, 1, 1)]
    neither = build(text, w1=rows(4, 2, 1, 1, dead=[0]), w2=rows(4, 2, 1, 1, dead=[3], seed=1), **weights)
    run(neither, changes=False)


def test_through_concatenation_pooling_and_flattening() -> None:
    text = """net (float[N,2,6,6] x) => (float[N,3] y) {
        a = Conv (x, w1, b) c = Concat <axis = 1> (a, x) m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
        p = AveragePool <kernel_shape = [2, 2]> (m) f = Reshape (p, flat) y = Gemm <transB = 1> (f, w2) }"""
    b, flat = np.array([1, 2, -3], np.float32), np.array([-1, 20])
    result = run(build(text, w1=rows(3, 2, 1, 1, dead=[1]), b=b, w2=normal(3, 20), flat=flat))
    assert weights_of(result.model) == [(2, 2, 1, 1), (3, 16)]


def test_one_channel_always_stays() -> None:
    text = "net (float[N,2] x) => (float[N,3] y) { a = Gemm <transB = 1> (x, w1, b) y = Gemm <transB = 1> (a, w2) }"
    result = run(build(text, w1=np.zeros((4, 2), np.float32), b=normal(4), w2=normal(3, 4)))
    assert weights_of(result.model) == [(1, 2), (3, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "(float[N,4,A,B] y) { y = Conv (x, w1) }",  # the caller reads it
        "(float[N,3,A,B] y, float[N,4,A,B] c) { c = Conv (x, w1) y = Conv (c, w2) }",
        "(float[N,3,A,B] y) { c = Conv (x, w1) s = Softmax <axis = 1> (c) y = Conv (s, w2) }",  # works across channels
    ],
)
def test_what_is_seen_outside_stays(text: str) -> None:
    weights = {"w1": rows(4, 2, 1, 1, dead=[1]), "w2": normal(3, 4, 1, 1)}
    run(build(f"net (float[N,2,5,5] x) => {text}", **weights), changes=False)


def test_small_is_not_dead_when_it_matters() -> None:
    """Weights of 1e-7 behind which a factor of 1e7 stands: the comparison of outputs refuses, exact zeros still go."""
    text = """net (float[N,2] x) => (float[N,1] y) {
        a = Gemm <transB = 1> (x, w1) r = Relu (a) y = Gemm <transB = 1> (r, w2) }"""
    w1 = np.array([[1, 1], [3e-7, -2e-7], [0, 0]], np.float32)
    result = run(build(text, w1=w1, w2=np.array([[1, 1e7, 1]], np.float32)))
    assert [note.code for note in result.notes] == ["dead-channels-not-proven", "dead-channels-removed"]
    assert weights_of(result.model) == [(2, 2), (1, 2)]


def test_the_comparison_uses_calibration_data() -> None:
    """On the user's own data the small weights do not matter, so they may go."""
    text = """net (float[N,2] x) => (float[N,1] y) {
        a = Gemm <transB = 1> (x, w1) r = Relu (a) y = Gemm <transB = 1> (r, w2) }"""
    w1 = np.array([[1, 1], [0, 2e-7]], np.float32)
    model = build(text, w1=w1, w2=np.array([[1, 1e7]], np.float32))
    data = Data({"x": np.array([[1.0, 0.0], [2.0, 0.0]], np.float32)})
    assert RemoveDeadChannels().run(model, Context(calibration=data)).changed
    assert not RemoveDeadChannels().run(model, Context()).changed


def test_visual_wake_words_loses_a_third_of_its_channels(models: Path) -> None:
    model = load(models / "mlperf_vww_mobilenetv1_025_96_fp32.onnx")
    for each in (Normalise(), FoldBatchNorm()):
        model = each.run(model, Context()).model
    result = RemoveDeadChannels().run(model, Context())
    (removed,) = [note for note in result.notes if note.code == "dead-channels-removed"]
    assert removed.text.startswith("971 ")
    sizes = [sum(value.const_value.size for value in m.graph.initializers.values()) for m in (model, result.model)]
    assert sizes[1] < sizes[0] / 6
    images = np.load(models / "data_vww_coco128_256.npz")["x"][:24].astype(np.float32) / 255
    before, after = (next(iter(run_model(m, {m.graph.inputs[0].name: images}).values())) for m in (model, result.model))
    assert np.abs(before - after).max() <= 1e-5
