"""The random networks that other tests lean on: reproducible, runnable, and sensitive to their weights."""

from __future__ import annotations

import numpy as np
import pytest
from light import LARGE_LIGHT_NAMES, LIGHT_NAMES, SMALL_LIGHT_NAMES, random_light_model

from prunus.compiler.executor import run_model

NAMES = [
    *SMALL_LIGHT_NAMES,
    *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_LIGHT_NAMES),
]


def test_nine_networks() -> None:
    assert len(LIGHT_NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_does_not_saturate(name: str) -> None:
    proto = random_light_model(name, seed=3)
    assert not any(node.op_type == "ConstantOfShape" for node in proto.graph.node)
    assert len(proto.graph.input) == 1
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    (output,) = run_model(proto, {proto.graph.input[0].name: x}).values()
    assert np.isfinite(output).all()
    assert output.std() > 1e-6
    assert output.max() < 0.999 or name == "densenet121"  # DenseNet ends in logits, all others in a Softmax


def test_same_seed_same_bytes() -> None:
    first, again, other = (
        random_light_model("squeezenet", seed).SerializeToString(deterministic=True) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
