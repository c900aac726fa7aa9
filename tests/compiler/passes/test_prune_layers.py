"""The pass: what it removes, what it says, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from pruning_nets import NETS

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options, PassResult
from prunus.compiler.passes.properties import check
from prunus.compiler.passes.prune_layers import PruneLayers

LEFT = ["Conv", "Relu", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]


def samples(count: int = 64) -> Data:
    return Data({"x": np.random.default_rng(7).standard_normal((count, 3, 8, 8)).astype(np.float32)})


def prune(model: Model, data: Data | None = None, **options) -> PassResult:
    result = PruneLayers().run(model, Context(options=Options(**options), calibration=data))
    if result.changed:
        check(PruneLayers.name, ("valid", "sparsity"), model, result.model)
    return result


def test_nothing_asked_for_changes_nothing() -> None:
    model = NETS["residual"]()
    assert prune(model, samples()) == PassResult(model, False)


def test_a_block_goes_and_the_notes_say_so() -> None:
    model = NETS["residual"]()
    before = model.to_bytes()
    result = prune(model, samples(), layer_sparsity=0.5)
    assert [note.code for note in result.notes] == ["block-removed", "blocks-removed"]
    assert result.notes[0].where == "k" and "1 layers refitted" in result.notes[1].text
    assert channel_groups(result.model).macs() < 0.5 * channel_groups(model).macs()
    assert [node.op_type for node in result.model.graph] == LEFT
    assert model.to_bytes() == before


def test_a_network_without_blocks_says_that_none_can_go() -> None:
    model = NETS["chain"]()
    result = prune(model, samples(), layer_sparsity=0.5)
    assert not result.changed and [note.code for note in result.notes] == ["sparsity-not-reached"]


def test_without_data_only_chance_decides() -> None:
    model = NETS["residual"]()
    with pytest.raises(UsageError) as failure:
        prune(model, layer_sparsity=0.5)
    assert failure.value.code == "needs-data"
    assert prune(model, layer_sparsity=0.5, layer_criterion="random").changed
