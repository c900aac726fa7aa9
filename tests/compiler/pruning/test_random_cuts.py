"""Random cuts of random networks: every one is valid, proven, and needs the MACs that were predicted."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from pruning_nets import random_removal
from random_zoo import random_zoo

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.prove import prove, random_inputs
from prunus.compiler.pruning.reconstruct import reconstruct


def check(seed: int) -> None:
    model = random_zoo(seed)
    channels = channel_groups(model, whole_heads=seed % 2 == 1)
    removed = random_removal(channels, float(np.random.default_rng(seed).choice([0.3, 0.5, 0.7])), seed)
    result = cut(model, channels, removed)
    onnx.checker.check_model(result.to_proto(), full_check=True)
    assert channel_groups(result).macs() == channels.macs(removed)
    assert (channels.macs(removed) < channels.macs()) == removed.any()
    assert prove(model, channels, removed, result).max_relative_error <= 1e-5
    refitted = reconstruct(model, result, channels, removed, Data(random_inputs(model, 32, seed)))
    onnx.checker.check_model(refitted.model.to_proto(), full_check=True)


@pytest.mark.parametrize("seed", range(15))
def test_random_networks(seed: int) -> None:
    check(seed)


@pytest.mark.slow
def test_many_random_networks() -> None:
    for seed in range(100, 500):
        check(seed)
