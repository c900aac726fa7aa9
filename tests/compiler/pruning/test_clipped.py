"""Refitting for what a ReLU lets through."""

from __future__ import annotations

import numpy as np
import pytest
from pruning_nets import net

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.pruning import clipped, refit
from prunus.compiler.pruning.clipped import ClippedEquations
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.least_squares import NormalEquations
from prunus.compiler.pruning.reconstruct import reconstruct
from prunus.compiler.pruning.select import select

CONSTANTS = {"w1": (12, 3, 3, 3), "w2": (8, 12, 1, 1), "b2": (8,), "wy": (5, 8), "by": (5,)}
TAIL = "p = GlobalAveragePool(r)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)"
PLAIN = f"a = Conv(x, w1)  c = Relu(a)  h = Conv(c, w2, b2)  r = Relu(h)  {TAIL}"
SHORTCUT = f"""s = Conv(x, w0)  a = Conv(x, w1)  c = Relu(a)  h = Conv(c, w2, b2)  t = Add(s, h)  r = Relu(t)  {TAIL}"""


def behind_relu(array: np.ndarray) -> np.ndarray:
    return np.maximum(array, 0)


def test_gets_more_right_above_zero_than_plain_least_squares() -> None:
    """Six of sixteen inputs are gone; most of the wanted outputs are far below zero."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((600, 16)).astype(np.float32), rng.standard_normal((16, 5)).astype(np.float32)
    y = x @ w - 3
    a = x[:, None, :10]
    errors = {}
    for equations in (NormalEquations(), ClippedEquations()):
        if isinstance(equations, ClippedEquations):
            equations.add_clipped(a, y[:, None], np.zeros(1, np.float32))
        else:
            equations.add(a, y[:, None])
        weights, bias = equations.solve(w[None, :10].astype(np.float64), with_bias=True)
        errors[type(equations)] = np.square(behind_relu(a[:, 0] @ weights[0] + bias) - behind_relu(y)).sum()
    assert errors[ClippedEquations] < 0.97 * errors[NormalEquations]


@pytest.mark.parametrize("body", [PLAIN, SHORTCUT], ids=["plain", "shortcut"])
def test_reconstruction_is_closer_behind_the_relu(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = {**CONSTANTS, "w0": (8, 3, 3, 3)} if "w0" in body else CONSTANTS
    constants = {**constants, "b2": np.full(8, -0.7, np.float32)}
    model = net(body, constants)
    data = Data({"x": np.random.default_rng(5).standard_normal((128, 3, 8, 8)).astype(np.float32)})
    channels = channel_groups(model)
    removed = channels.keep_all()
    removed[channels.units["w1", 0][:6]] = True
    pruned = cut(model, channels, removed)
    wanted = run_model(model, data.inputs, ["r"])["r"]

    def error() -> float:
        found = run_model(reconstruct(model, pruned, channels, removed, data).model, data.inputs, ["r"])["r"]
        return float(np.square(found - wanted).sum())

    aware = error()
    monkeypatch.setattr(refit, "floors", lambda layer, values: None)
    assert aware < 0.97 * error()


def test_only_what_a_relu_clips_has_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}

    def spy(layer, values):
        found[layer.result] = answer = clipped.floors(layer, values)
        return answer

    monkeypatch.setattr(refit, "floors", spy)
    model = net(SHORTCUT, {**CONSTANTS, "w0": (8, 3, 3, 3)})
    channels = channel_groups(model)
    data = Data({"x": np.random.default_rng(5).standard_normal((16, 3, 8, 8)).astype(np.float32)})
    removed = select(model, channels, 0.4).removed
    reconstruct(model, cut(model, channels, removed), channels, removed, data)
    assert found["y"] is None
    assert found["h"] is not None and found["h"][0].ndim == 4
