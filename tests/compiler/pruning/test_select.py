"""Criteria, structures and the selection that meets a MACs target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from light import random_light_model
from pruning_nets import NETS, net

from prunus.compiler.analysis.channels import Channels, channel_groups
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.criteria import CRITERIA, importance, resolve
from prunus.compiler.pruning.select import select
from prunus.compiler.pruning.structures import ChannelStructure, unit_width


@pytest.fixture(scope="module")
def squeezenet() -> tuple[Model, Channels]:
    model = load_proto(random_light_model("squeezenet"))
    return model, channel_groups(model)


def samples(model: Model, count: int = 64) -> Data:
    rng = np.random.default_rng(5)
    value = model.graph.inputs[0]
    return Data({value.name: rng.standard_normal((count, *value.shape[1:])).astype(np.float32)})


@pytest.mark.parametrize("name", ["l1", "l2", "random"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
def test_meets_the_target_and_not_much_more(squeezenet, name: str, fraction: float) -> None:
    model, channels = squeezenet
    chosen = select(model, channels, fraction, name)
    assert chosen.met
    assert fraction <= chosen.fraction < fraction + 0.02
    assert chosen.macs_after == channels.macs(chosen.removed)
    for group in channels.groups:
        gone = chosen.removed[group.units].sum()
        assert gone == 0 if group.pinned_because else gone <= 0.9 * group.size


def test_keeps_whole_multiples_of_channels(squeezenet) -> None:
    model, channels = squeezenet
    chosen = select(model, channels, 0.4, structure=ChannelStructure(multiple=8))
    stay = [group.size - chosen.removed[group.units].sum() for group in channels.prunable]
    assert chosen.met and any(chosen.removed)
    assert all(count % 8 == 0 for count in stay)


def test_what_additions_join_keeps_its_width_in_the_scope_inner(squeezenet) -> None:
    """The stream of a residual network; where nothing is joined, inner is global."""
    model = NETS["residual"]()
    channels = channel_groups(model)
    add = next(node for node in model.graph if node.op_type == "Sum")
    stream = np.unique(channels.places[add.outputs[0].name][1])
    assert stream.min() >= 0
    chosen, free = (select(model, channels, 0.2, "l2", scope=scope) for scope in ("inner", "global"))
    assert chosen.met and free.removed[stream].any()
    assert chosen.removed.any() and not chosen.removed[stream].any()
    far = select(model, channels, 0.95, "l2", scope="inner")
    assert not far.met and not far.removed[stream].any()
    plain = (select(*squeezenet, 0.5, "l2", scope=scope).removed for scope in ("inner", "global"))
    np.testing.assert_array_equal(*plain)


def test_says_when_the_target_is_out_of_reach() -> None:
    model = NETS["residual"]()
    channels = channel_groups(model)
    chosen = select(model, channels, 0.99)
    assert not chosen.met and 0 < chosen.fraction < 0.99
    assert all((~chosen.removed[group.units]).any() for group in channels.groups)


def test_nothing_is_removed_for_a_sparsity_of_zero() -> None:
    model = NETS["chain"]()
    assert not select(model, channel_groups(model), 0.0).removed.any()


@pytest.mark.parametrize(
    ("fraction", "criterion", "code"),
    [
        (1.0, "l2", "bad-sparsity"),
        (-0.1, "l2", "bad-sparsity"),
        (0.5, "best", "unknown-criterion"),
        (0.5, "obs", "needs-data"),
    ],
)
def test_rejects_wrong_requests(fraction: float, criterion: str, code: str) -> None:
    model = NETS["chain"]()
    with pytest.raises(UsageError) as failure:
        select(model, channel_groups(model), fraction, criterion)
    assert failure.value.code == code


def test_auto_is_the_best_criterion_that_there_is_data_for() -> None:
    assert resolve("auto", None) == "l2"
    assert resolve("auto", samples(NETS["chain"]())) == "obs"


@pytest.mark.parametrize("order", [1, 2])
def test_magnitude_is_the_norm_of_the_weights_that_compute_a_channel(order: int) -> None:
    model = NETS["residual"]()
    channels = channel_groups(model)
    weights = [model.graph.initializers[name].const_value.numpy().reshape(8, -1) for name in ("w1", "w3")]
    norms = [np.linalg.norm(weight, ord=order, axis=1) for weight in weights]
    expected = (norms[0] / norms[0].mean() + norms[1] / norms[1].mean()) / 2
    found = importance(model, channels, f"l{order}")
    np.testing.assert_allclose(found[channels.units["w1", 0]], expected, rtol=1e-6)


def test_random_scores_follow_the_seed() -> None:
    model = NETS["chain"]()
    channels = channel_groups(model)
    first, same, other = (importance(model, channels, "random", seed) for seed in (1, 1, 2))
    assert np.array_equal(first, same) and not np.array_equal(first, other)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_dead_channels_go_first(criterion: str) -> None:
    """Channels whose weights and biases are zero are the first to go under every criterion but chance."""
    model = dead_channels(np.array([1, 4]))
    channels = channel_groups(model)
    data = samples(model)
    if criterion == "mrmr":
        data = Data(data.inputs, np.arange(len(data)) % 3)
    scores = importance(model, channels, criterion, data=data)[channels.units["w2", 0]]
    found = set(np.argsort(scores, kind="stable")[:2].tolist())
    assert (found == {1, 4}) == (criterion != "random")


def dead_channels(dead: np.ndarray) -> Model:
    rng = np.random.default_rng(3)
    w2 = rng.standard_normal((6, 8, 3, 3)).astype(np.float32)
    w2[dead] = 0
    return net(
        """a = Conv(x, w1)  c = Relu(a)  d = Conv(c, w2)  e = Relu(d)  h = Conv(e, w3)
           p = GlobalAveragePool(h)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": (8, 3, 1, 1), "w2": w2, "w3": (7, 6, 1, 1), "wy": (5, 7), "by": (5,)},
    )


@given(st.integers(1, 300), st.integers(1, 16), st.integers(0, 400), st.sampled_from([1, 2, 3, 4]))
def test_what_may_remain_of_a_group(size: int, multiple: int, wanted: int, width: int) -> None:
    structure = ChannelStructure(multiple, minimum_share=0.1)
    group = channel_groups(NETS["chain"]()).prunable[0]
    gone = structure.removable(group.__class__(group.members, size, 0), width, wanted)
    stay = size - gone
    assert 0 <= gone <= wanted and stay >= max(1, 0.1 * size)
    assert gone == 0 or stay * width % multiple == 0


def test_a_unit_of_a_grouped_convolution_is_several_channels() -> None:
    channels = channel_groups(NETS["shuffle"]())
    widths = {group.producers[0].initializer: unit_width(channels, group) for group in channels.prunable}
    assert widths == {"w1": 3, "w2": 9, "w4": 3}
