"""Least squares on layers, and the reconstruction of whole networks."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from pruning_nets import NETS, net, random_removal

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.analysis.channels.shapes import with_shapes
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.forms import spatial_attributes
from prunus.compiler.pruning.layers import changed_layers
from prunus.compiler.pruning.least_squares import NormalEquations, patches, solve_masked
from prunus.compiler.pruning.prove import compared_values, relative_error
from prunus.compiler.pruning.reconstruct import reconstruct
from prunus.compiler.pruning.select import select
from prunus.compiler.pruning.stages import StagedRun, peak_bytes


def feeds_of(model: Model, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    value = model.graph.inputs[0]
    return {value.name: rng.standard_normal((count, *list(value.shape)[1:])).astype(np.float32)}


def error(original: Model, other: Model, count: int = 256) -> float:
    """Relative squared error of what goes into the last layer's activation, on fresh samples."""
    name = compared_values(original)[-1]
    feeds = feeds_of(original, count, seed=99)
    expected, found = (run_model(model, feeds, [name])[name] for model in (original, other))
    return float(np.square(found - expected).sum() / np.square(expected - expected.mean(axis=0)).sum())


CONVOLUTIONS = [
    {"x": (2, 6, 9, 8), "w": (5, 6, 3, 3), "pads": [1, 1, 1, 1]},
    {"x": (2, 6, 9, 8), "w": (5, 6, 3, 2), "pads": [0, 1, 2, 0], "strides": [2, 1]},
    {"x": (2, 6, 9, 9), "w": (4, 6, 3, 3), "dilations": [2, 1], "strides": [1, 3]},
    {"x": (3, 6, 7, 7), "w": (6, 1, 3, 3), "group": 6, "pads": [1, 1, 1, 1]},
    {"x": (3, 6, 7, 7), "w": (4, 3, 2, 2), "group": 2, "auto_pad": "SAME_UPPER"},
    {"x": (3, 6, 8, 8), "w": (4, 6, 3, 3), "auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"x": (2, 4, 20), "w": (6, 4, 5), "pads": [2, 2], "strides": [2]},
    {"x": (1, 2, 4, 5, 6), "w": (3, 2, 2, 2, 2)},
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_patches_times_weights_are_the_convolution(case: dict) -> None:
    """Every kind of window, against onnxruntime."""
    rng = np.random.default_rng(0)
    case = dict(case)
    x, w = (rng.standard_normal(case.pop(name)).astype(np.float32) for name in ("x", "w"))
    node = helper.make_node("Conv", ["x", "w"], ["y"], **case)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, x.shape)], [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    y = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    kernel, groups = w.shape[2:], case.get("group", 1)
    places = np.stack(np.unravel_index(np.arange(y.size // y.shape[1]), (len(y), *y.shape[2:])))
    windows = spatial_attributes(ir.from_proto(node), kernel, x.shape[2:], y.shape[2:])
    rows = patches(x, places, kernel, **windows).reshape(places.shape[1], groups, -1)
    matrix = w.reshape(groups, len(w) // groups, -1)
    found = np.einsum("rgk,gnk->rgn", rows, matrix).reshape(len(rows), -1)
    np.testing.assert_allclose(found, np.moveaxis(y, 1, -1)[tuple(places)], atol=1e-4)


def random_problem(groups: int = 3, k: int = 6, n: int = 4, rows: int = 200) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1)
    a = rng.standard_normal((rows, groups, k)) + 0.5
    w = rng.standard_normal((groups, k, n))
    y = (
        np.einsum("rgk,gkn->rgn", a, w)
        + rng.standard_normal((groups, n))
        + 0.1 * rng.standard_normal((rows, groups, n))
    )
    return a, w, y


def equations_of(a: np.ndarray, y: np.ndarray, pieces: int = 4) -> NormalEquations:
    equations = NormalEquations()
    for part, goal in zip(np.array_split(a, pieces), np.array_split(y, pieces), strict=True):
        equations.add(part, goal)
    return equations


def test_the_solution_is_that_of_lstsq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunus.compiler.pruning.least_squares.RIDGE", 1e-12)
    a, w, y = random_problem()
    weights, bias = equations_of(a, y).solve(np.ones_like(w), with_bias=True)
    for group in range(3):
        expected = np.linalg.lstsq(np.column_stack([a[:, group], np.ones(len(a))]), y[:, group], rcond=None)[0]
        np.testing.assert_allclose(weights[group], expected[:-1], atol=1e-6)
        np.testing.assert_allclose(bias[group], expected[-1], atol=1e-6)


@pytest.mark.parametrize("with_bias", [False, True])
def test_the_error_is_that_of_the_rows(with_bias: bool) -> None:
    a, w, y = random_problem()
    equations = equations_of(a, y)
    weights, bias = equations.solve(w, with_bias)
    direct = np.square(np.einsum("rgk,gkn->rgn", a, weights) + bias - y).sum() / np.square(y).sum()
    assert equations.error(weights, bias) == pytest.approx(direct, rel=1e-6)
    assert direct <= np.square(np.einsum("rgk,gkn->rgn", a, w) - y).sum() / np.square(y).sum()


def test_without_information_the_weights_stay() -> None:
    a, w, y = random_problem()
    a[:, 1, 2] = 0
    a[:, 2] = 0
    weights, _ = equations_of(a, y).solve(w, with_bias=True)
    np.testing.assert_allclose(weights[1, 2], w[1, 2])
    np.testing.assert_allclose(weights[2], w[2])


def test_zeros_stay_and_the_rest_is_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each column against a dense solve without its zeros."""
    monkeypatch.setattr("prunus.compiler.pruning.least_squares.CG_TOLERANCE", 1e-9)
    rng = np.random.default_rng(2)
    a, w, _ = random_problem(k=20, n=7)
    gram = np.einsum("rgk,rgl->gkl", a, a) + np.eye(20)
    goal = rng.standard_normal(w.shape)
    free = rng.random(w.shape) < 0.4
    found = solve_masked(gram, goal, w * free, free)
    assert not found[~free].any()
    for group, column in np.ndindex(3, 7):
        at = np.flatnonzero(free[group, :, column])
        expected = np.linalg.solve(gram[group][np.ix_(at, at)], goal[group, at, column])
        np.testing.assert_allclose(found[group, at, column], expected, atol=1e-8)


def test_a_staged_run_computes_what_a_whole_run_computes() -> None:
    model = NETS["branches"]()
    names = [node.outputs[0].name for node in model.graph]
    feeds = feeds_of(model, 6)
    expected = run_model(model, feeds, names)
    run = StagedRun(model, [{"x": half} for half in np.split(feeds["x"], 2)])
    for position, name in enumerate(names):
        run.run_until(position + 1, keep=[name])
        found = np.concatenate([values[name] for values in run.values])
        assert relative_error(expected[name], found) < 1e-6
    assert set(run.values[0]) == {"y"}  # everything else was dropped after its last use
    assert peak_bytes(with_shapes(model)) >= 4 * 2 * expected["a"][0].size  # the parts of a split beside the whole


def redundant(seed: int = 0) -> Model:
    """A residual network in which channels repeat each other: half of them say nothing new."""
    rng = np.random.default_rng(seed)

    def doubled(*shape: int) -> np.ndarray:
        half = rng.standard_normal((shape[0] // 2, *shape[1:])).astype(np.float32) * np.float32(
            np.sqrt(2 / shape[1] / 9)
        )
        factors = rng.uniform(0.5, 2, (shape[0] // 2, 1, 1, 1)).astype(np.float32)
        return np.concatenate([half, factors * half])[rng.permutation(shape[0])]

    return net(
        """a = Conv<pads = [1,1,1,1]>(x, w1)  c = Relu(a)  d = Conv<pads = [1,1,1,1]>(c, w2)  e = Relu(d)
           g = Conv<pads = [1,1,1,1]>(e, w3, b3)  k = Add(c, g)  h = Relu(k)
           l = Conv<group = 16, pads = [1,1,1,1]>(h, w4, b4)  m = Conv(l, w5, b5)  r = Relu(m)
           p = GlobalAveragePool(r)  f = Flatten(p)  y0 = Gemm<transB = 1>(f, wy, by)  y = Softmax(y0)""",
        {
            "w1": doubled(16, 3, 3, 3), "w2": doubled(24, 16, 3, 3), "w3": (16, 24, 3, 3), "b3": (16,),
            "w4": (16, 1, 3, 3), "b4": (16,), "w5": doubled(24, 16, 1, 1), "b5": (24,), "wy": (5, 24), "by": (5,),
        },
    )  # fmt: skip


@pytest.mark.parametrize("criterion", ["l2", "random", "obs"])
def test_refitting_recovers_most_of_what_a_cut_loses(criterion: str) -> None:
    model = redundant()
    channels = channel_groups(model)
    data = Data(feeds_of(model, 256))
    chosen = select(model, channels, 0.4, criterion, data=data)
    pruned = cut(model, channels, chosen.removed)
    refitted = reconstruct(model, pruned, channels, chosen.removed, data)
    before, after = error(model, pruned), error(model, refitted.model)
    assert after < before / 4
    assert all(fit.after <= fit.before * 1.001 for fit in refitted.fits)
    assert not refitted.unfit and refitted.samples == 256
    if criterion == "obs":  # it removes the repetitions, and nothing of importance is lost
        assert after < 0.02


def test_fitting_to_the_wrong_samples_is_noticed() -> None:
    """The gain comes from the right goals: samples of another distribution do not give it."""
    model = redundant()
    channels = channel_groups(model)
    chosen = select(model, channels, 0.4)
    pruned = cut(model, channels, chosen.removed)
    right, wrong = Data(feeds_of(model, 256)), Data({"x": np.zeros((256, 3, 8, 8), np.float32)})
    good, bad = (
        error(model, reconstruct(model, pruned, channels, chosen.removed, data).model) for data in (right, wrong)
    )
    assert good < bad / 4


def test_a_layer_makes_up_for_the_error_of_its_shortcut() -> None:
    """With the sum as its goal, the layer before an addition repairs what the shortcut lost."""
    model = redundant()
    channels = channel_groups(model)
    removed = random_removal(channels)
    pruned = cut(model, channels, removed)
    layers, _ = changed_layers(pruned, channels, removed)
    assert {layer.result: layer.skip for layer in layers} == {
        "d": None, "g": "c", "l": None, "m": None, "y0": None,
    }  # fmt: skip


def test_activations_that_are_not_finite_leave_the_layer_as_it_is() -> None:
    model = redundant()
    channels = channel_groups(model)
    removed = random_removal(channels)
    pruned = cut(model, channels, removed)
    x = feeds_of(model, 32)["x"]
    x[3] = np.nan
    refitted = reconstruct(model, pruned, channels, removed, Data({"x": x}))
    assert {each.code for each in refitted.unfit} == {"not-finite"} and not refitted.fits
    assert refitted.model.to_bytes() == pruned.to_bytes()


def test_refitting_keeps_zeros_and_the_given_models() -> None:
    model = redundant()
    value = model.graph.initializers["w3"]
    sparse = value.const_value.numpy().copy()
    sparse[np.random.default_rng(0).random(sparse.shape) < 0.5] = 0
    set_weight(value, sparse)
    channels = channel_groups(model)
    removed = random_removal(channels)
    pruned = cut(model, channels, removed)
    snapshots = model.to_bytes(), pruned.to_bytes()
    refitted = reconstruct(model, pruned, channels, removed, Data(feeds_of(model, 128)))
    before, after = (m.graph.initializers["w3"].const_value.numpy() for m in (pruned, refitted.model))
    assert not after[before == 0].any() and (after != before).any()
    assert (model.to_bytes(), pruned.to_bytes()) == snapshots
    assert error(model, refitted.model) < error(model, pruned)


UNFED = ("quantized", "quantized_residual", "embedding", "tied_embedding")  # no float weights, or no float input


@pytest.mark.parametrize("name", [name for name in NETS if name not in UNFED])
def test_every_kind_of_network_comes_closer_to_the_original(name: str) -> None:
    """On the samples themselves, the sum of the layers' errors never grows."""
    model = NETS[name]()
    channels = channel_groups(model)
    removed = random_removal(channels)
    pruned = cut(model, channels, removed)
    data = Data(feeds_of(model, 64))
    refitted = reconstruct(model, pruned, channels, removed, data)
    assert refitted.samples == (64 if refitted.fits else 0)
    assert all(fit.after <= fit.before * 1.001 + 1e-9 for fit in refitted.fits)
    assert {each.code for each in refitted.unfit} <= {"shared-weight", "unsupported-form"}
    run_model(refitted.model, feeds_of(model, 2))


def test_the_reconstruction_is_deterministic() -> None:
    model = NETS["residual"]()
    channels = channel_groups(model)
    removed = random_removal(channels)
    pruned = cut(model, channels, removed)
    data = Data(feeds_of(model, 64))
    first, second, other = (
        reconstruct(model, pruned, channels, removed, data, samples=32, seed=seed).model.to_bytes()
        for seed in (0, 0, 1)
    )
    assert first == second != other
