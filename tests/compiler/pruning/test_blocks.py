"""Whole residual blocks: which can go, that their removal is what was meant, and that the right ones go first."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from light import random_light_model
from pruning_nets import NETS, net
from real_tasks import load_task

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load, load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.block_criteria import BLOCK_CRITERIA
from prunus.compiler.pruning.blocks import prove_blocks, shorten
from prunus.compiler.pruning.residual import residual_blocks, without_blocks

FAINT = (1, 4)  # of six blocks
GRADIENT = pytest.mark.skipif(find_spec("torch") is None, reason="needs the extra train")
CRITERIA = [
    pytest.param(name, marks=GRADIENT if name in ("taylor", "obd") else ())
    for name in BLOCK_CRITERIA
    if name != "random"
]


def tower(seed: int = 0) -> Model:
    """Six residual blocks of equal shape; the branches of two of them hardly count. One widens before the last ones."""
    lines, constants = ["b0 = Conv<pads = [1,1,1,1]>(x, ws)"], {"ws": (8, 3, 3, 3)}
    for number in range(6):
        rng = np.random.default_rng(100 * seed + number)
        size = 0.01 if number in FAINT else 0.2
        lines.append(
            f"p{number} = Conv<pads = [1,1,1,1]>(b{number}, u{number})  q{number} = Relu(p{number})"
            f"  r{number} = Conv<pads = [1,1,1,1]>(q{number}, v{number})  b{number + 1} = Add(r{number}, b{number})"
        )
        constants[f"u{number}"] = (0.2 * rng.standard_normal((8, 8, 3, 3))).astype(np.float32)
        constants[f"v{number}"] = (size * rng.standard_normal((8, 8, 3, 3))).astype(np.float32)
    lines.append("h = Relu(b6)  p = GlobalAveragePool(h)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)")
    return net("  ".join(lines), {**constants, "wy": (5, 8), "by": (5,)})


def samples(count: int = 96, seed: int = 5) -> Data:
    return Data({"x": np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)})


def loss(model: Model, other: Model) -> float:
    """Relative squared error of the output on fresh samples."""
    feeds = samples(200, seed=77).inputs
    expected, found = (run_model(each, feeds)["y"] for each in (model, other))
    return float(np.square(found - expected).sum() / np.square(expected - expected.mean(axis=0)).sum())


def test_every_branch_of_a_tower_is_a_block() -> None:
    model = tower()
    blocks = residual_blocks(model)
    assert [block.end for block in blocks if block.branch == 0] == [f"b{number}" for number in range(1, 7)]
    assert all(block.macs == 2 * 8 * 8 * 9 * 64 for block in blocks if block.branch == 0)
    assert blocks[0].operators == {"p0", "q0", "r0"}


def test_a_shortcut_that_others_read_is_no_block_of_its_own() -> None:
    assert [(block.end, block.branch) for block in residual_blocks(NETS["residual"]())] == [("k", 1)]
    assert residual_blocks(NETS["chain"]()) == []


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("seed", range(3))
def test_faint_blocks_go_first_and_chance_does_worse(criterion: str, seed: int) -> None:
    model, data, fraction = tower(seed), samples(), 0.3
    found = shorten(model, fraction, criterion, data=data, reconstruct=False)
    assert found.met and {block.end for block in found.blocks} == {f"b{number + 1}" for number in FAINT}
    assert found.macs_after == channel_groups(found.model).macs() <= (1 - fraction) * found.macs_before
    by_chance = [
        loss(model, shorten(model, fraction, "random", reconstruct=False, seed=each).model) for each in range(6)
    ]
    assert loss(model, found.model) < 0.1 * np.mean(by_chance)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.7])
def test_removals_are_proven(fraction: float) -> None:
    found = shorten(tower(), fraction, "random", seed=3)
    assert found.met and found.proof_error < 1e-5
    onnx.checker.check_model(found.model.to_proto())
    assert not any(node.op_type == "Identity" for node in found.model.graph)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.7])
def test_removals_from_a_real_topology_are_proven(fraction: float) -> None:
    model = load_proto(random_light_model("resnet50"))
    found = shorten(model, fraction, "random", seed=1)
    assert found.met and found.proof_error < 1e-5 and len(found.blocks) > 3


def test_another_block_than_the_intended_one_is_noticed() -> None:
    model = tower()
    first, second = (block for block in residual_blocks(model) if block.end in ("b1", "b3") and block.branch == 0)
    assert prove_blocks(model, [first], without_blocks(model, [first])) < 1e-6
    assert prove_blocks(model, [first], without_blocks(model, [second])) > 1e-3


def test_refitting_makes_up_for_a_block() -> None:
    model, data = tower(), samples(256)
    bare, refitted = (shorten(model, 0.4, data=data, reconstruct=again) for again in (False, True))
    assert bare.blocks == refitted.blocks and refitted.refitted > 4
    assert loss(model, refitted.model) < 0.5 * loss(model, bare.model)


def test_blocks_inside_of_blocks_are_counted_once() -> None:
    """The outer branch holds an addition with a branch of its own."""
    model = net(
        """a = Conv(x, w1)  c = Conv(a, w2)  d = Conv(c, w3)  e = Add(c, d)  g = Conv(e, w4)  k = Add(a, g)
           p = GlobalAveragePool(k)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": (8, 3, 1, 1), "w2": (8, 8, 1, 1), "w3": (8, 8, 1, 1), "w4": (8, 8, 1, 1), "wy": (5, 8), "by": (5,)},
    )
    assert {(block.end, len(block.operators)) for block in residual_blocks(model)} == {("e", 1), ("k", 4)}
    found = shorten(model, 0.9, "random")
    assert not found.met and found.macs_after == 64 * 24 + 40


@pytest.mark.parametrize(
    ("fraction", "criterion", "code"),
    [(1.0, "random", "bad-sparsity"), (0.5, "best", "unknown-criterion"), (0.5, "influence", "needs-data")],
)
def test_rejects_wrong_requests(fraction: float, criterion: str, code: str) -> None:
    with pytest.raises(UsageError) as failure:
        shorten(tower(), fraction, criterion)
    assert failure.value.code == code


def test_a_block_of_a_trained_network_costs_less_when_chosen_and_refitted(models: Path) -> None:
    task = load_task("resnet8", models)
    loaded = load(task.model)
    calibration = task.calibration_data(loaded)
    model = Pipeline.default(last="fold_batch_norm").run(loaded, Context(calibration=calibration)).model
    bare, refitted = (shorten(model, 0.2, data=calibration, reconstruct=again) for again in (False, True))
    before, after = (
        task.score(next(iter(run_model(found.model, task.feeds(model)).values()))) for found in (bare, refitted)
    )
    assert refitted.met and refitted.macs_after < 0.8 * refitted.macs_before
    assert after > before + 0.1
