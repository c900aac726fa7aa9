"""Every criterion on a case that is planted for it: what it removes costs less than what chance removes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
from planted import CONSTANTS, LOST, PLANTED, READ, WIDTH, hardly_read, loss, lowest, normal, samples
from pruning_nets import NETS, net

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.analysis.channels.shapes import with_shapes
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.passes.fold_batch_norm import FoldBatchNorm
from prunus.compiler.pruning.criteria import CRITERIA, importance
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.masked import MaskedModel
from prunus.compiler.pruning.prove import random_inputs, relative_error, zero_consumers
from prunus.compiler.pruning.scoring.relevance import _bins, _information


def faint_patterns(count: int = 96, seed: int = 5) -> Data:
    """The last channel has a faint pattern of rank one, the others noise."""
    x, rng = samples(count, seed).inputs["x"].copy(), np.random.default_rng(seed)
    rows, columns = rng.uniform(0.05, 0.2, (2, count, 8))
    x[:, 2] = rows[:, :, None] * columns[:, None, :]
    return Data({"x": x})


def small_scales(seed: int = 11) -> Model:
    """Batch normalisation gives the planted channels little, though their filters are the largest.

    Its statistics are those of standard normal inputs, as training would have left them.
    """
    w1 = normal(WIDTH, 3, 3, 3, seed=seed)
    w1[PLANTED] *= 4
    scale = np.where(np.isin(np.arange(WIDTH), PLANTED), 0.05, 1).astype(np.float32) * np.linspace(
        0.8, 1.2, WIDTH, dtype=np.float32
    )
    return net(
        "a = Conv(x, w1)  n = BatchNormalization<epsilon = 1e-6>(a, g, b, m, v)  c = Relu(n)  " + READ,
        {
            "w1": w1, "g": scale, "b": np.zeros(WIDTH, np.float32), "m": np.zeros(WIDTH, np.float32),
            "v": np.square(w1).sum(axis=(1, 2, 3)), **CONSTANTS,
        },
    )  # fmt: skip


def near_the_median(seed: int = 11) -> Model:
    """The planted filters are large and almost mixtures of one another; the small ones are unique."""
    w1 = 0.5 * normal(WIDTH, 3, 3, 3, seed=seed)
    w1[PLANTED] = 1.5 * normal(3, 3, 3, seed=seed + 1) + 0.02 * normal(LOST, 3, 3, 3, seed=seed + 2)
    w1[PLANTED[0]] *= 3  # the one that may stay stands far from all
    return net("a = Conv(x, w1)  c = Relu(a)  " + READ, {"w1": w1, **CONSTANTS})


def silent(seed: int = 11) -> Model:
    """Large filters whose bias keeps them below zero nearly always."""
    w1, b1 = normal(WIDTH, 3, 3, 3, seed=seed), 0.3 * normal(WIDTH, seed=seed)
    w1[PLANTED] *= 3
    b1[PLANTED] = -3 * np.sqrt(np.square(w1[PLANTED]).sum(axis=(1, 2, 3)))
    return net("a = Conv(x, w1, b1)  c = Relu(a)  " + READ, {"w1": w1, "b1": b1, **CONSTANTS})


def flat_maps(seed: int = 11) -> Model:
    """The planted filters are the largest, but read only the input's last channel, whose maps have rank one."""
    w1 = normal(WIDTH, 3, 1, 1, seed=seed)
    w1[:, 2] = 0
    w1[PLANTED, :2], w1[PLANTED, 2] = 0, np.linspace(3, 5, LOST, dtype=np.float32).reshape(-1, 1, 1)
    return net("a = Conv(x, w1)  c = Relu(a)  " + READ, {"w1": w1, **CONSTANTS})


def small_filters(seed: int = 11) -> Model:
    """The planted filters are small, and nothing else is special."""
    w1 = normal(WIDTH, 3, 3, 3, seed=seed)
    w1[PLANTED] *= 0.05
    return net("a = Conv(x, w1)  c = Relu(a)  " + READ, {"w1": w1, **CONSTANTS})


CASES: dict[str, tuple[Callable[[int], Model], Callable[..., Data], bool]] = {
    # criterion: network, samples, whether the next layer is refitted
    "bn": (small_scales, samples, False),
    "fpgm": (near_the_median, samples, True),
    "activation": (silent, samples, False),
    "apoz": (silent, samples, False),
    "hrank": (flat_maps, faint_patterns, True),
    "wanda": (hardly_read, samples, False),
    "sensitivity": (hardly_read, samples, False),
}


@pytest.mark.parametrize("seed", [11, 12, 13])
@pytest.mark.parametrize("criterion", CASES)
def test_a_criterion_beats_chance_and_magnitude_where_it_should(criterion: str, seed: int) -> None:
    build, draw, refit = CASES[criterion]
    model = build(seed)
    found = loss(model, criterion, draw, refit)
    by_chance = [loss(model, "random", draw, refit, each) for each in range(4)]
    assert found < 0.3 * np.mean(by_chance)
    assert found < 0.3 * loss(model, "l2", draw, refit)


@pytest.mark.parametrize("seed", [11, 12, 13])
@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_magnitude_of_filters_beats_chance(criterion: str, seed: int) -> None:
    model = small_filters(seed)
    by_chance = [loss(model, "random", samples, False, each) for each in range(4)]
    assert loss(model, criterion, samples, False) < 0.1 * np.mean(by_chance)
    assert lowest(model, criterion, None).tolist() == sorted(PLANTED.tolist())


@pytest.mark.parametrize("criterion", [name for name in CASES if name != "fpgm"])
def test_a_criterion_finds_what_was_planted_for_it(criterion: str) -> None:
    build, draw, _ = CASES[criterion]
    assert lowest(build(11), criterion, draw()).tolist() == sorted(PLANTED.tolist())


def test_the_geometric_median_keeps_unique_filters() -> None:
    removed = set(lowest(near_the_median(), "fpgm", None).tolist())
    assert removed >= set(PLANTED[1:].tolist()) and PLANTED[0] not in removed


def test_scales_are_recovered_after_folding() -> None:
    """The deviation of a folded layer's output is the scale that was folded."""
    model = small_scales()
    folded = FoldBatchNorm().run(model, Context()).model
    assert not any(node.op_type == "BatchNormalization" for node in folded.graph)
    before, after = channel_groups(model), channel_groups(folded)
    known = importance(model, before, "bn")[before.units["w1", 0]]
    name = folded.graph.node(0).inputs[1].name
    recovered = importance(folded, after, "bn", data=samples(256))[after.units[name, 0]]
    np.testing.assert_allclose(recovered, known, rtol=0.05)


def test_scales_without_samples_fall_back_to_magnitude() -> None:
    """Of the second layer, which no normalisation follows: its relative norms at the size of the known scales."""
    model = small_scales()
    channels = channel_groups(model)
    units = channels.units["w2", 0]
    scale = np.abs(model.graph.initializers["g"].const_value.numpy()).mean()
    found, norms = (importance(model, channels, name)[units] for name in ("bn", "l2"))
    np.testing.assert_allclose(found, norms * scale, rtol=1e-6)


def test_wanda_is_weight_times_norm_of_the_input() -> None:
    """Against the definition, on a grouped convolution and a product behind a flattening."""
    model = net(
        """a = Conv(x, w1)  c = Relu(a)  d = Conv<group = 2>(c, w2)  e = Flatten(d)  y = Gemm<transB = 1>(e, wy)""",
        {"w1": (4, 3, 1, 1), "w2": (6, 2, 3, 3), "wy": (5, 6 * 36)},
    )
    channels, data = channel_groups(model), samples()
    values = run_model(model, data.inputs, ["c", "d"])
    w2, wy = (np.abs(model.graph.initializers[name].const_value.numpy()) for name in ("w2", "wy"))
    reads = w2.reshape(2, 3, 2, 9).sum(axis=(1, 3)).ravel() * np.sqrt(np.square(values["c"]).sum(axis=(0, 2, 3)))
    scores = importance(model, channels, "wanda", data=data)
    units = channels.units["w1", 0]  # the same positions of both groups go together
    expected = np.array([reads[units == unit].mean() for unit in units]) / reads.mean()
    np.testing.assert_allclose(scores[units], expected, rtol=1e-5)
    flat = np.sqrt(np.square(values["d"]).sum(axis=0)).ravel() * wy.sum(axis=0)
    units = channels.units["w2", 0]
    of_channel = flat.reshape(6, 36).mean(axis=1)
    expected = np.array([of_channel[units == unit].mean() for unit in units]) / flat.mean()
    np.testing.assert_allclose(scores[units], expected, rtol=1e-5)


def test_integer_weights_count_with_their_scales() -> None:
    """Per-channel int8 weights all reach 127: only the scales tell which filter is small."""
    model = NETS["quantized"]()
    scales = np.array([3, 1, 5, 2, 8, 4, 7, 6], np.float32) / 100
    rng = np.random.default_rng(0)
    weights = np.stack([rng.permutation(np.arange(-13, 14)).reshape(3, 3, 3) for _ in range(8)]).astype(np.int8)
    for name, array in (("s1", scales), ("w1", weights)):
        set_weight(model.graph.initializers[name], array)
    channels = channel_groups(model)
    found = importance(model, channels, "l2")[channels.units["w1", 0]]
    assert np.argsort(found).tolist() == np.argsort(scales).tolist()


# -- relevance and redundancy -------------------------------------------------------------------------------------


def labelled(count: int = 512, seed: int = 3) -> tuple[Model, Data]:
    """Four classes told apart by two weak bits; six loud channels carry the first bit, two quiet ones the second,
    and eight carry noise of middling size."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    x = rng.standard_normal((count, 3, 8, 8)).astype(np.float32)
    x[:, 0] += (labels % 2 * 2 - 1).reshape(-1, 1, 1)
    x[:, 1] += (labels // 2 * 2 - 1).reshape(-1, 1, 1)
    w1 = np.zeros((WIDTH, 3, 1, 1), np.float32)
    w1[:6, 0] = np.linspace(3, 4, 6).reshape(6, 1, 1)
    w1[6:8, 1] = np.array([0.5, 0.6]).reshape(2, 1, 1)
    w1[8:, 2] = np.linspace(1, 2, 8).reshape(8, 1, 1)
    model = net("a = Conv(x, w1)  c = Relu(a)  " + READ, {"w1": w1, **CONSTANTS})
    return model, Data({"x": x}, labels)


def accuracy_of_a_probe(model: Model, data: Data, kept: np.ndarray) -> float:
    """How well a linear classifier tells the labels from what the pruned network computes: fitted on one half."""
    channels = channel_groups(model)
    removed = channels.keep_all()
    removed[channels.units["w1", 0][np.setdiff1d(np.arange(WIDTH), kept)]] = True
    features = run_model(cut(model, channels, removed), data.inputs, ["c"])["c"].mean(axis=(2, 3))
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    goals, half = np.eye(4)[data.labels], len(features) // 2
    solution = np.linalg.lstsq(features[:half], goals[:half], rcond=None)[0]
    return float(((features[half:] @ solution).argmax(axis=1) == data.labels[half:]).mean())


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_mrmr_drops_copies_that_magnitude_keeps(seed: int) -> None:
    model, data = labelled(seed=seed)
    channels = channel_groups(model)
    units = channels.units["w1", 0]

    def kept(criterion: str, count: int, draw: int = 0) -> np.ndarray:
        return np.argsort(-importance(model, channels, criterion, draw, data)[units], kind="stable")[:count]

    first, second = sorted(kept("mrmr", 2).tolist())
    assert first < 6 <= second < 8  # one channel of each bit
    assert set(kept("l2", 2).tolist()) <= set(range(6))  # two copies of one bit
    mrmr, magnitude, *chance = (
        accuracy_of_a_probe(model, data, kept(name, 2, draw))
        for name, draw in (("mrmr", 0), ("l2", 0), *(("random", draw) for draw in range(5)))
    )
    assert mrmr > 0.95 and magnitude < 0.6
    assert mrmr > np.mean(chance) + 0.3


def test_mrmr_says_what_it_lacks() -> None:
    model = labelled(32)[0]
    inputs = samples(32).inputs
    for data, code in (
        (None, "needs-data"),
        (Data(inputs), "needs-labels"),
        (Data(inputs, np.zeros(32, int)), "one-label"),
        (Data(inputs, np.arange(32) % 2).first(8), "too-few-samples"),
    ):
        with pytest.raises(UsageError) as failure:
            importance(model, channel_groups(model), "mrmr", data=data)
        assert failure.value.code == code


def test_mutual_information_is_near_its_true_value() -> None:
    """Of a label and a copy of it with errors: 1 - h(0.1) bits; of independent values next to nothing."""
    rng = np.random.default_rng(0)
    bit = rng.integers(0, 2, 20_000)
    copy = bit ^ (rng.random(20_000) < 0.1)
    true = np.log(2) + 0.1 * np.log(0.1) + 0.9 * np.log(0.9)
    assert _information(bit, copy) == pytest.approx(true, rel=0.02)
    noise = _bins(rng.standard_normal(256))
    assert _information(noise, rng.integers(0, 4, 256)) < 0.03


# -- sensitivity --------------------------------------------------------------------------------------------------


def bottleneck(seed: int = 0) -> Model:
    """Three layers of which only the middle one matters: the others are side branches at a hundredth."""
    shapes = {
        "w1": (8, 3, 3, 3), "v1": (8, 8, 1, 1), "u1": (6, 8, 1, 1), "w2": (8, 3, 3, 3), "u2": (6, 8, 1, 1),
        "w3": (8, 3, 3, 3), "u3": (6, 8, 1, 1), "wy": (5, 6), "by": (5,),
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    weights = {name: 0.3 * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return net(
        """a = Conv(x, w1)  c = Relu(a)  s1 = Conv(c, v1)  q1 = Relu(s1)  t1 = Conv(q1, u1)
           d = Conv(x, w2)  e = Relu(d)  t2 = Conv(e, u2)  k = Conv(x, w3)  l = Relu(k)  t3 = Conv(l, u3)
           m1 = Mul(t1, small)  m3 = Mul(t3, small)  g = Sum(m1, t2, m3)  h = Relu(g)
           p = GlobalAveragePool(h)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {**weights, "small": np.float32(0.01)},
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labels", [False, True])
def test_sensitivity_ranks_a_planted_critical_layer_last(labels: bool, seed: int) -> None:
    model, data = bottleneck(seed), samples(seed=seed)
    if labels:  # what the network itself decides
        data = Data(data.inputs, run_model(model, data.inputs)["y"].argmax(axis=1))
    channels = channel_groups(model)
    scores, norms = (importance(model, channels, name, data=data) for name in ("sensitivity", "l2"))
    critical = channels.units["w2", 0]
    others = np.concatenate([channels.units[name, 0] for name in ("w1", "v1", "w3")])
    assert np.median(scores[critical]) > 10 * np.max(np.abs(scores[others]))
    if not labels:
        assert scores[critical].min() > scores[others].max()
    assert norms[critical].min() < norms[others].max()  # which magnitude does not see


@pytest.mark.parametrize("name", ["chain", "residual", "shuffle", "attention", "quantized", "transposed"])
def test_switching_channels_off_equals_zeroing_consumers(name: str) -> None:
    model = with_shapes(NETS[name]())
    channels = channel_groups(model)
    removed = channels.keep_all()
    for group in channels.prunable:
        removed[group.units[:-1:2]] = True
    value = model.graph.inputs[0]
    data = Data({value.name: np.random.default_rng(0).standard_normal((6, *value.shape[1:])).astype(np.float32)})
    found = MaskedModel(model, channels).run(data, 4, removed)[0]
    expected = run_model(zero_consumers(model, channels, removed), data.inputs, optimise=False)
    expected = expected[model.graph.outputs[0].name]
    assert relative_error(expected, found) < 1e-6


@pytest.mark.parametrize("name", NETS)
def test_every_criterion_scores_every_kind_of_network(name: str) -> None:
    """No score is missing (not a number), and the same seed gives the same scores."""
    model = NETS[name]()
    channels = channel_groups(model)
    feeds = random_inputs(model, 32, 0)
    data = Data(feeds, np.arange(32) % 3)
    for criterion in CRITERIA if find_spec("torch") else CRITERIA.keys() - {"taylor", "obd"}:
        first, second = (importance(model, channels, criterion, 1, data) for _ in range(2))
        assert first.shape == (channels.count,) and not np.isnan(first).any(), criterion
        assert np.array_equal(first, second), criterion
