"""What zeros are worth: nothing on a dense array, energy when gated, time when skipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from asic_layers import altered, conv, node

from prunus.compiler.model.workload import Workload
from prunus.compiler.model.zeros import Sparsity
from prunus.targets.asic.architecture_file import catalogue
from prunus.targets.asic.compare import gain
from prunus.targets.asic.model import estimate
from prunus.targets.asic.network import run_network
from prunus.targets.asic.problem import problem_of
from prunus.targets.asic.sparsity import correlated, effect, stored_bytes

HALF = conv(zero_fraction=0.5, sparsity=Sparsity("weight", 0.5))


def npu(**skipping):
    return altered(lambda data: node(data, "array").update(skipping=skipping))


def test_a_dense_array_gains_nothing_and_says_so() -> None:
    chip = catalogue()["npu-16nm"]
    dense, zeros = (estimate(Workload((layer,)), chip) for layer in (conv(), HALF))
    assert dense.costs == zeros.costs
    assert "skips none of them" in " ".join(zeros.layers[0].notes)
    assert not any("zero" in note for note in dense.layers[0].notes)


def test_gating_saves_energy_and_no_time() -> None:
    chip = npu(weights="gate")
    dense, zeros = (estimate(Workload((layer,)), chip) for layer in (conv(), HALF))
    assert zeros.costs["latency_cycles"].value == dense.costs["latency_cycles"].value
    assert zeros.parts["energy_j"]["mac"].value == pytest.approx(dense.parts["energy_j"]["mac"].value / 2)
    assert any("energy but no time" in note for note in zeros.notes)


def test_skipping_saves_time_less_the_imbalance() -> None:
    found = effect(problem_of(HALF), npu(weights="skip"))
    assert 0.5 < found.time < 0.55
    few_lanes = altered(lambda data: node(data, "array").update(rows=1, columns=1, skipping={"weights": "skip"}))
    assert effect(problem_of(HALF), few_lanes).time == 0.5


def test_imbalance_is_the_expected_maximum() -> None:
    """Beside a simulation of 1,024 lanes that draw their work at random."""
    problem = problem_of(HALF)
    lanes, n = 1024, problem.macs // 1024
    worst = np.random.default_rng(0).binomial(n, 0.5, (20, lanes)).max(axis=1).mean() / n
    assert effect(problem, npu(weights="skip")).time == pytest.approx(worst, rel=0.01)


def test_blocks_and_patterns_need_hardware_that_knows_them() -> None:
    blocks = conv(zero_fraction=0.5, sparsity=Sparsity("block", 0.5, (16, 4)))
    assert effect(problem_of(blocks), npu(block=[16, 4])).time == pytest.approx(0.5, abs=0.05)
    assert effect(problem_of(blocks), npu(block=[4, 4])).time == pytest.approx(0.5, abs=0.05)
    wrong = effect(problem_of(blocks), npu(block=[32, 4]))
    assert wrong.time == 1.0
    assert "does not divide" in wrong.unused
    pattern = conv(zero_fraction=0.5, sparsity=Sparsity("n_m", 0.5, (2, 4)))
    found = effect(problem_of(pattern), npu(n_m=[2, 4]))
    assert found.time == pytest.approx(0.5, abs=0.05)
    assert found.weight_bytes == pytest.approx(0.5 * (8 + 2) / 8)
    assert "2:4" in effect(problem_of(replace(pattern, sparsity=Sparsity("n_m", 0.5, (4, 8)))), npu(n_m=[2, 4])).unused


@pytest.mark.parametrize(("name", "metadata"), [("bitmask", 1 / 8), ("rle", 5 / 8), ("csr", 10 / 8), ("none", 0.0)])
def test_density_one_is_dense_plus_metadata(name: str, metadata: float) -> None:
    chip = npu(format=name)
    problem = problem_of(conv())
    assert stored_bytes(problem, chip.array.skipping, 1.0) == pytest.approx(1.0 + metadata)
    plain, stored = (estimate(Workload((conv(),)), each) for each in (npu(), chip))
    extra = stored.costs["dram_bytes"].value - plain.costs["dram_bytes"].value
    assert extra == pytest.approx(metadata * conv().weight_bytes, abs=1) or name == "none"


def test_less_density_is_never_slower_and_never_larger() -> None:
    chip = npu(weights="skip", format="bitmask")
    found = [effect(replace(problem_of(HALF), weight_density=d), chip) for d in (0.1, 0.3, 0.6, 0.9, 1.0)]
    assert [each.time for each in found] == sorted(each.time for each in found)
    assert [each.weight_bytes for each in found] == sorted(each.weight_bytes for each in found)


def test_correlation_matters_only_where_both_operands_have_zeros() -> None:
    assert correlated(1.0, 0.5, 0.1) == correlated(0.5, 1.0, 0.1) == correlated(0.5, 0.5, 0.0) == 1.0
    generator = np.random.default_rng(0)
    base = generator.random(400_000)
    mixed = np.where(generator.random(base.size) < 0.1, base, generator.random(base.size))
    w, x = base < 0.6, mixed < 0.6  # correlation coefficient 0.1
    assert (w & x).mean() / (w.mean() * x.mean()) == pytest.approx(correlated(0.6, 0.6, 0.1), rel=0.01)


def test_the_unused_part_of_a_gain_is_named_and_adds_up() -> None:
    chip = catalogue()["npu-16nm"]
    before, zeros, pruned = (run_network(Workload((layer,)), chip) for layer in (conv(), HALF, conv(channels=32)))
    unused = gain(before, zeros)
    assert unused.promised == pytest.approx(2)
    assert unused.real == 1
    parts = unused.zeros_cycles + unused.waiting_cycles + unused.rounding_cycles
    assert unused.promised_cycles + parts == pytest.approx(unused.after_cycles)
    assert any("multiplications by zero" in sentence for sentence in unused.in_words())
    used = gain(before, pruned)
    assert used.real > 1.9
    assert not any("multiplications by zero" in sentence for sentence in used.in_words())
