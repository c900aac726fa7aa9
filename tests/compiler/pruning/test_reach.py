"""How much of an error in one layer reaches the outputs."""

from __future__ import annotations

import numpy as np
import pytest
from planted import branches, samples
from pruning_nets import net

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.analysis.channels.shapes import with_shapes
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.model import Model
from prunus.compiler.pruning import reach as module
from prunus.compiler.pruning.layers import consumer_layers
from prunus.compiler.pruning.reach import ERROR, LEAST, reach


def measured(model: Model, data: Data) -> dict[str, float]:
    model, channels = with_shapes(model), channel_groups(model)
    return reach(model, consumer_layers(model, channels), channels.macs(), data, seed=0)


@pytest.mark.parametrize("factor", [3.0, 1.0, 0.3])
def test_of_a_branch_that_is_added_it_is_its_share(factor: float) -> None:
    """Behind the addition all is linear: an error counts as much as the branch itself does."""
    model, data = branches(factor), samples(96)
    found = measured(model, data)
    values = run_model(model, data.inputs, fetch=["y", "ah", "bh"])
    first, second = (
        np.square(path - path.mean(axis=0)).sum()
        for path in (values[name].mean(axis=(2, 3)) @ weight(model, "wy").T for name in ("ah", "bh"))
    )
    whole = np.square(values["y"] - values["y"].mean(axis=0)).sum()
    assert found["va"] == pytest.approx(factor**2 * first / whole, rel=0.35)
    assert found["vb"] == pytest.approx(second / whole, rel=0.35)
    assert found["wy"] == 1


def weight(model: Model, name: str) -> np.ndarray:
    return np.asarray(model.graph.initializers[name].const_value.numpy())


def test_what_reaches_nothing_is_not_free() -> None:
    assert measured(branches(1e-6), samples(32))["va"] == LEAST


def test_the_error_has_the_size_that_it_is_said_to_have() -> None:
    """And the result's variance stays: a share of it is exchanged for another sample's."""
    result = np.random.default_rng(0).standard_normal((64, 5, 4, 4)).astype(np.float32) + 3
    (error,) = module._errors([result], 1, 0.5)
    centred = result - result.mean(axis=(0, 2, 3), keepdims=True)
    change = np.square(error).sum() / np.square(centred).sum()
    assert change == pytest.approx(2 - 2 * np.sqrt(1 - ERROR), rel=0.02) == pytest.approx(ERROR, rel=0.05)
    assert np.square(centred + error).sum() == pytest.approx(np.square(centred).sum(), rel=0.03)


def test_pieces_make_no_difference() -> None:
    """A network with a batch of one gets its samples one by one."""
    body = """a = Conv(x, w1)  r = Relu(a)  h = Conv(r, w2)  p = GlobalAveragePool(h)  f = Flatten(p)
              y = Gemm<transB = 1>(f, wy)"""
    constants = {"w1": (8, 3, 3, 3), "w2": (6, 8, 1, 1), "wy": (5, 6)}
    free, fixed = net(body, constants), net(body, constants, x="float[1,3,8,8] x", y="float[1,5] y")
    one, other = measured(free, samples(24)), measured(fixed, samples(24))
    assert one.keys() == other.keys() and one["w2"] != 1
    for name, value in one.items():
        assert other[name] == pytest.approx(value, rel=1e-4)


def test_one_sample_tells_nothing() -> None:
    assert set(measured(branches(0.3), samples(1)).values()) == {1.0}


def test_large_networks_are_measured_on_fewer_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = branches(0.3), samples(96)
    runs: list[int] = []
    before = module._NoisyModel.run
    monkeypatch.setattr(
        module._NoisyModel, "run", lambda self, feeds, noise: runs.append(len(feeds)) or before(self, feeds, noise)
    )
    whole = measured(model, data)
    thorough = sum(runs)
    runs.clear()
    monkeypatch.setattr(module, "MAX_MACS", 0)
    quick = measured(model, data)
    assert sum(runs) < thorough / 10
    assert quick["va"] == pytest.approx(whole["va"], rel=0.5)


def test_the_same_input_gives_the_same_answer() -> None:
    assert measured(branches(0.3), samples(40)) == measured(branches(0.3), samples(40))
