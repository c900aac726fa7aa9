"""Real networks: every element of every integer tensor equals the reference, here and on 64-bit Arm (emulated)."""

from __future__ import annotations

from pathlib import Path

import integer_models
import pytest

from prunus.compiler.integer import ops
from prunus.compiler.target import Emitted
from prunus.targets.catalog import device_files
from prunus.targets.tvm import TvmTarget
from prunus.tests.targets.tvm.test_exact import ISLAND_TOLERANCE, differing, island_errors

FAST = ("ds_cnn", "digits_mlp", "digits_cnn", "jet")
EVERY = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in integer_models.NAMES]
TIERS = ("neon", "neondot", "neoni8mm")  # Cortex-A53 and -A72; -A76 and -A78AE; later ones


def check(name: str, board: str, models: Path, out: Path, samples: int) -> None:
    device = device_files()[board].device("tvm")
    target = TvmTarget()
    graph, feeds = integer_models.integer_model(name, models, target.formats(device), samples)
    artifact = target.lower(graph, device, out)
    found = target.run(artifact, graph, feeds)
    if isinstance(found, Emitted):
        pytest.skip(found.reason)
    expected = ops.run(graph, feeds, keep=True)
    assert set(graph.integer_tensors()) <= set(found)
    assert differing(graph, found, expected) == []
    assert all(error <= ISLAND_TOLERANCE for error in island_errors(graph, found, expected).values())


@pytest.mark.toolchain
@pytest.mark.parametrize("name", EVERY)
def test_exact_here(name: str, models: Path, tmp_path: Path) -> None:
    check(name, "host-cpu", models, tmp_path, samples=2)


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", integer_models.NAMES)
def test_exact_on_64_bit_arm(
    name: str, tier: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNUS_ISA", f"{tier},neon,generic")
    check(name, "aarch64", models, tmp_path, samples=1)
