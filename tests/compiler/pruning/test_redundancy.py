"""What a layer repeats: planted copies, ranks, zeros and dead channels are counted, and nothing else."""

from __future__ import annotations

import numpy as np
from pruning_nets import NETS, net

from prunus.compiler.model.edit import set_weight
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.redundancy import Redundancy, redundancy

HEAD = "r = Relu(c)  p = GlobalAveragePool(r)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)"


def normal(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def upright(outputs: int, inputs: int, *kernel: int) -> np.ndarray:
    """Filters at right angles to one another, of length one."""
    columns = np.linalg.qr(normal(inputs * int(np.prod(kernel)), outputs).astype(np.float64))[0]
    return columns.T.reshape(outputs, inputs, *kernel).astype(np.float32)


def of_first(w: np.ndarray) -> Redundancy:
    return redundancy(net(f"c = Conv(x, w)  {HEAD}", {"w": w, "wy": (5, 16), "by": (5,)}))[0]


def test_a_random_layer_has_nothing_to_spare() -> None:
    found = of_first(upright(16, 3, 3, 3))
    assert (found.channels, found.weights, found.duplicates, found.dead) == (16, 432, 0, 0)
    assert found.rank == found.full_rank == 16 and found.near_zero < 0.03


def test_copies_count_once_whatever_their_size() -> None:
    """Three copies at other scales, with a little noise; the mirrored filter is none."""
    w = normal(16, 3, 3, 3)
    w[[4, 9, 15]] = np.array([0.1, 1, 5], np.float32).reshape(3, 1, 1, 1) * w[2] + 1e-3 * normal(3, 3, 3, 3, seed=9)
    w[7] = -w[2]
    found = of_first(w)
    assert found.duplicates == 3 and found.rank is not None and found.rank <= 12


def test_low_rank_is_seen() -> None:
    w = (normal(16, 4) @ normal(4, 27, seed=5)).reshape(16, 3, 3, 3)
    found = of_first(w + 1e-3 * normal(16, 3, 3, 3, seed=7))
    assert found.rank == 4 and found.duplicates == 0


def test_zeros_and_dead_channels_are_counted() -> None:
    w = upright(16, 3, 3, 3)
    w[[3, 8]] = 0
    w[0] *= 1e-6
    found = of_first(w)
    assert found.dead == 2 and 3 / 16 <= found.near_zero < 3 / 16 + 0.03
    assert found.duplicates == 0 and found.rank == 13


def test_groups_are_compared_within() -> None:
    """Equal filters of two groups read other channels: they are no copies. Depthwise layers have none."""
    model = net(
        "a = Conv(x, w1)  b = Conv<group = 2>(a, w2)  c = Conv<group = 8>(b, w3)  " + HEAD,
        {
            "w1": normal(8, 3, 1, 1), "w2": np.tile(upright(4, 4, 1, 1), (2, 1, 1, 1)),
            "w3": np.ones((8, 1, 3, 3), np.float32), "wy": (5, 8), "by": (5,),
        },
    )  # fmt: skip
    _, grouped, depthwise, _ = redundancy(model)
    assert (grouped.duplicates, grouped.rank, grouped.full_rank) == (0, 8, 8)
    assert (depthwise.duplicates, depthwise.rank, depthwise.full_rank) == (0, 8, 8)


def every_layer(model: Model) -> list[str]:
    return [each.layer for each in redundancy(model)]


def test_layers_are_named_by_their_nodes() -> None:
    for name in ("chain", "transposed", "quantized", "attention"):
        model = NETS[name]()
        nodes = {node.name for node in model.graph}
        assert every_layer(model) and set(every_layer(model)) <= nodes, name


def test_integer_weights_count_with_their_scales() -> None:
    """All codes are large; the scale of one channel makes its weights near zero beside the others."""
    model = NETS["quantized"]()
    before = redundancy(model)[0].near_zero
    scales = model.graph.initializers["s1"].const_value.numpy().copy()
    scales[3] *= 1e-4
    set_weight(model.graph.initializers["s1"], scales)
    assert redundancy(model)[0].near_zero > before + 0.1
