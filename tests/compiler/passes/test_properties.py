"""Properties: zeros of weights are counted and defended; a bias may be filled."""

from __future__ import annotations

import numpy as np
import pytest
from float_nets import FloatNet

from prunus.compiler.errors import InvalidModelError
from prunus.compiler.model.edit import set_weight
from prunus.compiler.model.model import Model
from prunus.compiler.passes.properties import check


def changed(rank: int) -> tuple[Model, Model]:
    """A net with zeros in one tensor of that rank, and the same without them."""
    net = FloatNet((4, 5, 5), seed=3)
    before = net.model(net.conv(net.input, 6)).clone()
    [value] = [
        v for v in before.graph.initializers.values() if v.const_value is not None and len(v.shape or ()) == rank
    ]
    array = np.array(value.const_value.numpy())  # type: ignore[union-attr]
    array.reshape(-1)[:3] = 0
    set_weight(value, array)
    after = before.clone()
    set_weight(after.graph.initializers[str(value.name)], np.where(array == 0, 1, array).astype(np.float32))
    return before, after


def test_a_weight_that_loses_zeros_is_noticed() -> None:
    with pytest.raises(InvalidModelError, match="had 3 zeros and now has 0") as caught:
        check("some_pass", ("sparsity",), *changed(rank=4))
    assert caught.value.code == "pass-broke-property"


def test_a_bias_may_be_filled() -> None:
    check("some_pass", ("sparsity",), *changed(rank=1))
