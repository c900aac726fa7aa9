"""Zeros inside of layers: the pattern holds in the model, and refitting pays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pruning_nets import NETS, net
from real_tasks import load_task

from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import weight
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.pruning import sparsify as sparsify_module
from prunus.compiler.pruning.layers import product_layers
from prunus.compiler.pruning.patterns import Pattern, parse_pattern
from prunus.compiler.pruning.sparsify import sparsify


def samples(model: Model, count: int = 128, seed: int = 3) -> Data:
    value = model.graph.inputs[0]
    rng = np.random.default_rng(seed)
    return Data({value.name: rng.standard_normal((count, *list(value.shape)[1:])).astype(np.float32)})


def loss(model: Model, other: Model, data: Data) -> float:
    expected, found = (next(iter(run_model(each, data.inputs).values())) for each in (model, other))
    return float(np.square(found - expected).sum() / np.square(expected - expected.mean(axis=0)).sum())


@pytest.mark.parametrize("text", ["4x4", "2x2", "2:4", "weight"])
@pytest.mark.parametrize("name", ["chain", "residual"])
def test_the_pattern_holds_in_every_layer(name: str, text: str) -> None:
    """Applying the pattern to the new weights removes nothing more; small layers and the input model are untouched."""
    model, pattern = NETS[name](), parse_pattern(text)
    before = model.to_bytes()
    done = sparsify(model, pattern, 0.5, data=samples(model))
    assert model.to_bytes() == before
    small = {each.where for each in done.unfit}
    touched = 0
    for layer in product_layers(done.model)[0]:
        data = weight(layer.weight)
        assert data is not None
        if layer.node.name in small:
            assert np.count_nonzero(data) == data.size
            continue
        matrix = layer.matrix(data)
        groups, k, n = matrix.shape
        magnitude = np.square(matrix).reshape(groups, k // layer.taps, layer.taps, n).transpose(0, 2, 1, 3)
        keep = pattern.keep(magnitude, 0.5)
        assert not magnitude[~keep].any()
        touched += 1
    assert touched and done.zeroed >= 0.4 * done.weights


def test_refitting_beats_leaving_the_weights() -> None:
    model = NETS["chain"]()
    data, fresh = samples(model, 512), samples(model, 128, seed=9)
    plain = sparsify(model, Pattern("weight"), 0.5, "magnitude")
    refitted = sparsify(model, Pattern("weight"), 0.5, "magnitude", data=data)
    assert plain.zeroed == refitted.zeroed or abs(plain.zeroed - refitted.zeroed) < 0.02 * plain.zeroed
    assert loss(model, refitted.model, fresh) < 0.8 * loss(model, plain.model, fresh)


@pytest.mark.parametrize("text", ["2:4", "1:4", "4x4", "weight"])
def test_rounds_beat_zeroing_all_at_once(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs go together, so what stays can take over from what goes, if it is asked in between."""
    losses = []
    for rounds in (3, 1):
        monkeypatch.setattr(sparsify_module, "ROUNDS", rounds)
        total = 0.0
        for seed in range(3):
            rng = np.random.default_rng(seed)
            model = net(
                "y = Gemm<transB = 1>(x, w, b)",
                {"w": rng.standard_normal((16, 32)).astype(np.float32), "b": (16,)},
                x="float[N,32] x", y="float[N,16] y",
            )  # fmt: skip
            mixed = rng.standard_normal((512, 12)) @ rng.standard_normal((12, 32))
            mixed += 0.3 * rng.standard_normal((512, 32))
            data = Data({"x": mixed.astype(np.float32)})
            total += loss(model, sparsify(model, parse_pattern(text), 0.25, data=data).model, data)
        losses.append(total)
    assert losses[0] < 0.95 * losses[1]


def test_the_same_seed_gives_the_same_bytes() -> None:
    model = NETS["residual"]()
    first, second = (sparsify(model, Pattern("block", (2, 2)), 0.5, data=samples(model), seed=5) for _ in range(2))
    assert first.model.to_bytes() == second.model.to_bytes()


def test_a_trained_network_keeps_its_accuracy(models: Path) -> None:
    """ResNet-8, half of all weights: as single weights or 2:4: on 200 images at most 8 of 85.5 points."""
    task = load_task("resnet8", models)
    model = load(task.model)
    data = task.calibration_data(model)
    for text in ("weight", "2:4"):
        done = sparsify(model, parse_pattern(text), 0.5, data=data)
        assert task.score(next(iter(run_model(done.model, task.feeds(model)).values()))) >= 0.775


def test_every_layer_may_have_a_density_of_its_own() -> None:
    model = NETS["residual"]()
    layers = [layer for layer in product_layers(model)[0] if layer.inner >= 8]
    first, last = layers[0].node.name, layers[-1].node.name
    assert first and last and first != last
    done = sparsify(model, Pattern("weight"), {first: 0.25, last: 0.75}, data=samples(model))
    shares = {}
    for layer in product_layers(done.model)[0]:
        data = weight(layer.weight)
        assert data is not None
        shares[layer.node.name] = np.count_nonzero(data) / data.size
    assert shares.pop(first) == pytest.approx(0.25, abs=0.02)
    assert shares.pop(last) == pytest.approx(0.75, abs=0.02)
    assert set(shares.values()) == {1.0}
    assert not done.unfit
