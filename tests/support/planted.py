"""Networks with channels that are planted to be removed, and what their removal costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pruning_nets import net

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.criteria import importance
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.reconstruct import reconstruct

WIDTH, LOST = 16, 8  # channels of the layer `w1`, and how many of them go
PLANTED = np.random.default_rng(7).permutation(WIDTH)[:LOST]  # those that a good criterion removes
READ = """h = Conv(c, w2, b2)  r = Relu(h)  p = GlobalAveragePool(r)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)"""
CONSTANTS = {"w2": (12, WIDTH, 3, 3), "b2": (12,), "wy": (5, 12), "by": (5,)}


def samples(count: int = 96, seed: int = 5) -> Data:
    return Data({"x": np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)})


def normal(*shape: int, seed: int = 11) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def lowest(model: Model, criterion: str, data: Data | None, seed: int = 0) -> np.ndarray:
    """The positions of the layer `w1` that the criterion removes."""
    channels = channel_groups(model)
    scores = importance(model, channels, criterion, seed, data)[channels.units["w1", 0]]
    return np.sort(np.argsort(scores, kind="stable")[:LOST])


def without(model: Model, criterion: str, data: Data, refit: bool = False, seed: int = 0) -> Model:
    """The model without those channels."""
    channels = channel_groups(model)
    removed = channels.keep_all()
    removed[channels.units["w1", 0][lowest(model, criterion, data, seed)]] = True
    pruned = cut(model, channels, removed)
    return reconstruct(model, pruned, channels, removed, data).model if refit else pruned


def loss(model: Model, criterion: str, draw: Callable[..., Data], refit: bool, seed: int = 0) -> float:
    """Relative squared error of the output without those channels, on fresh samples."""
    pruned = without(model, criterion, draw(), refit, seed)
    feeds = draw(200, seed=77).inputs
    expected, found = (run_model(each, feeds)["y"] for each in (model, pruned))
    return float(np.square(found - expected).sum() / np.square(expected - expected.mean(axis=0)).sum())


def hardly_read(seed: int = 11) -> Model:
    """Loud channels which the next layer multiplies by next to nothing."""
    w1, w2 = normal(WIDTH, 3, 3, 3, seed=seed), 0.3 * normal(12, WIDTH, 3, 3, seed=seed)
    w1[PLANTED] *= 5
    w2[:, PLANTED] *= 0.01
    return net("a = Conv(x, w1)  c = Relu(a)  " + READ, {**CONSTANTS, "w1": w1, "w2": w2})


def raising_all_classes(seed: int = 11) -> tuple[Model, Callable[..., Data]]:
    """The loudest channels add the same to the logits of all classes: outputs change without them, decisions do not.

    The samples are labelled by the network itself.
    """
    rng = np.random.default_rng(seed)
    w1, w2, wy = (
        0.5 * rng.standard_normal(shape).astype(np.float32) for shape in ((WIDTH, 3, 3, 3), (12, WIDTH, 3, 3), (5, 12))
    )
    w1[PLANTED] *= 3
    w2[:8, PLANTED], w2[8:] = 0, 0
    w2[8:, PLANTED] = rng.standard_normal((4, LOST, 3, 3))
    wy[:, :8] -= wy[:, :8].mean(axis=1, keepdims=True)  # so that no class wins always
    wy[:, 8:] = 0.5
    model = net(
        "a = Conv(x, w1)  c = Relu(a)  " + READ,
        {**CONSTANTS, "w1": w1, "w2": w2, "wy": wy, "by": np.zeros(5, np.float32)},
    )

    def draw(count: int = 96, seed: int = 5) -> Data:
        inputs = samples(count, seed).inputs
        return Data(inputs, run_model(model, inputs)["y"].argmax(axis=1))

    return model, draw


def branches(factor: float) -> Model:
    """Two equal branches of 12 channels that are added; what the first one gives is scaled by a factor before."""
    first, second = np.split(0.3 * normal(24, 3, 3, 3, seed=2), 2)
    return net(
        """a = Conv(x, wa)  ar = Relu(a)  ah = Conv(ar, va)  b = Conv(x, wb)  br = Relu(b)  bh = Conv(br, vb)
           small = Mul(ah, factor)  h = Add(small, bh)  p = GlobalAveragePool(h)  f = Flatten(p)
           y = Gemm<transB = 1>(f, wy, by)""",
        {
            "wa": first,
            "wb": second,
            "va": (6, 12, 1, 1),
            "vb": (6, 12, 1, 1),
            "factor": np.array(factor, np.float32),
            "wy": (5, 6),
            "by": (5,),
        },
    )


def pooled_classifier(channels: int) -> Model:
    """The mean of every channel decides: the last layer sees one row of inputs for each sample."""
    return net(
        """a = Conv(x, w1)  r = Relu(a)  h = Conv(r, w2)  s = Relu(h)  p = GlobalAveragePool(s)  f = Flatten(p)
           y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": (24, 3, 3, 3), "w2": (channels, 24, 3, 3), "wy": (5, channels), "by": (5,)},
    )
