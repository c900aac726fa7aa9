"""The pass: what it changes, what it says, and that it refuses a cut it cannot prove."""

from __future__ import annotations

import numpy as np
import pytest
from pruning_nets import NETS

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.analysis.channels.labels import Free
from prunus.compiler.analysis.channels.rules import RULES
from prunus.compiler.data import Data
from prunus.compiler.errors import InvalidModelError, UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options, PassResult
from prunus.compiler.passes.properties import check
from prunus.compiler.passes.prune_channels import PruneChannels
from prunus.compiler.target import Formats


def samples(model: Model, count: int = 64) -> Data:
    value = model.graph.inputs[0]
    rng = np.random.default_rng(7)
    return Data({value.name: rng.standard_normal((count, *list(value.shape)[1:])).astype(np.float32)})


def prune(model: Model, data: Data | None = None, formats: Formats | None = None, **options) -> PassResult:
    context = Context(formats=formats or Formats(), options=Options(**options), calibration=data)
    result = PruneChannels().run(model, context)
    if result.changed:
        check(PruneChannels.name, ("valid", "sparsity"), model, result.model)
    return result


def codes(result: PassResult) -> list[str]:
    return [note.code for note in result.notes]


def test_a_sparsity_of_zero_changes_nothing() -> None:
    model = NETS["residual"]()
    result = prune(model, sparsity=0.0)
    assert result == PassResult(model, False)


@pytest.mark.parametrize("name", [name for name in NETS if name not in ("embedding", "tied_embedding")])
def test_prunes_every_kind_of_network(name: str) -> None:
    model = NETS[name]()
    before = model.to_bytes()
    data = samples(model)
    result = prune(model, data, sparsity=0.3, criterion="auto")
    assert result.changed and "cut-proven" in codes(result)
    assert channel_groups(result.model).macs() < channel_groups(model).macs()
    outputs = run_model(result.model, data.first(2).inputs, optimise=False)
    assert all(np.isfinite(value).all() for value in outputs.values())
    assert model.to_bytes() == before


def test_the_notes_say_what_happened() -> None:
    model = NETS["chain"]()
    result = prune(model, samples(model), sparsity=0.5)
    notes = {note.code: note for note in result.notes}
    assert set(notes) == {"graph-input", "softmax-axis", "channels-removed", "cut-proven", "layers-refitted"}
    assert notes["graph-input"].where == "x" and notes["graph-input"].text.startswith("3 channels stay.")
    before, after = (channel_groups(m).macs() for m in (model, result.model))
    assert f"{before} MACs become {after}" in notes["channels-removed"].text
    assert after <= before / 2
    assert "on 5 random inputs" in notes["cut-proven"].text
    assert "on 64 samples" in notes["layers-refitted"].text


def test_pinned_groups_come_with_a_hint() -> None:
    model = NETS["free_batch"]()
    notes = {note.code: note for note in prune(model, sparsity=0.5).notes}
    assert notes["no-calibration-data"].hint
    assert "softmax-axis" not in notes
    attention = {note.code: note for note in prune(NETS["attention"](), sparsity=0.1).notes}
    assert attention["graph-input"].where == "x"


def test_without_data_nothing_is_refitted_and_a_note_says_so() -> None:
    model = NETS["residual"]()
    result = prune(model, sparsity=0.4)
    assert result.changed and "no-calibration-data" in codes(result) and "layers-refitted" not in codes(result)


def test_the_reconstruction_can_be_switched_off() -> None:
    model = NETS["residual"]()
    result = prune(model, samples(model), sparsity=0.4, reconstruct=False)
    assert "reconstruction-off" in codes(result) and "layers-refitted" not in codes(result)


def test_a_target_out_of_reach_is_reported() -> None:
    result = prune(NETS["residual"](), sparsity=0.99)
    assert result.changed and "sparsity-not-reached" in codes(result)


def test_a_network_without_free_channels_stays() -> None:
    model = NETS["free_batch"]()
    pinned = prune(model, sparsity=0.5, formats=Formats(channel_multiple=8))  # eight channels: one step is all of them
    assert not pinned.changed and pinned.model is model and "sparsity-not-reached" in codes(pinned)


def test_respects_the_channel_multiple_of_the_device() -> None:
    model = NETS["residual"]()
    result = prune(model, sparsity=0.3, formats=Formats(channel_multiple=4))
    sizes = {name: result.model.graph.initializers[name].shape[0] for name in ("w1", "w2", "w3")}
    assert all(size % 4 == 0 or size == 6 for size in sizes.values()) and sizes != {"w1": 8, "w2": 6, "w3": 8}


def test_a_cut_that_cannot_be_proven_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rule that mixes up the order of a concatenation's inputs."""
    right = RULES["Gather"]

    def wrong(trace, node):
        (dims,) = right(trace, node)
        return [[dims[0], Free(dims[1].labels[::-1].copy()), *dims[2:]]]

    monkeypatch.setitem(RULES, "Gather", wrong)
    with pytest.raises(InvalidModelError) as failure:
        prune(NETS["picked"](), sparsity=0.4, criterion="random")
    assert failure.value.code == "proof-failed"


def test_the_pass_is_deterministic() -> None:
    model = NETS["residual"]()
    first, second = (prune(model, samples(model), sparsity=0.4, criterion="auto", seed=3) for _ in range(2))
    assert first.model.to_bytes() == second.model.to_bytes() and first.notes == second.notes


def test_rejects_a_wrong_sparsity() -> None:
    with pytest.raises(UsageError) as failure:
        prune(NETS["chain"](), sparsity=1.5)
    assert failure.value.code == "bad-sparsity"


def test_the_iterative_schedule_says_how_far_it_came() -> None:
    model = NETS["residual"]()
    data = samples(model, 256)
    result = prune(model, data, sparsity=0.99, schedule="iterative", max_drop=0.05, criterion="l2")
    assert result.changed and "sparsity-not-reached" in codes(result)
    text = result.notes[-1].text
    assert "128 held-out samples (allowed drop 0.05)" in text and "steps kept" in text
    assert channel_groups(result.model).macs() < channel_groups(model).macs()


@pytest.mark.parametrize(
    ("options", "count", "code"),
    [
        ({"schedule": "iterative"}, 64, "needs-max-drop"),
        ({"schedule": "iterative", "max_drop": 0.1}, 0, "needs-data"),
        ({"schedule": "iterative", "max_drop": 0.1}, 10, "too-few-samples"),
        ({"schedule": "sudden"}, 64, "unknown-schedule"),
        ({"scope": "row"}, 64, "unknown-scope"),
        ({"criterion": "mrmr"}, 64, "needs-labels"),
    ],
)
def test_schedules_and_scopes_that_cannot_work_are_named(options: dict, count: int, code: str) -> None:
    model = NETS["chain"]()
    with pytest.raises(UsageError) as failure:
        prune(model, samples(model, count) if count else None, sparsity=0.5, **options)
    assert failure.value.code == code


@pytest.mark.parametrize("with_data", [True, False])
def test_the_criterion_bn_says_what_took_the_place_of_folded_scales(with_data: bool) -> None:
    """Of the chain's layers only the second has a batch normalisation behind it."""
    model = NETS["chain"]()
    result = prune(model, samples(model) if with_data else None, sparsity=0.3, criterion="bn")
    text = next(note.text for note in result.notes if note.code == "batch-norm-folded")
    assert text.startswith("18 channels") and ("deviation" in text) == with_data


def test_the_option_heads_removes_whole_heads() -> None:
    model = NETS["attention"]()
    result = prune(model, samples(model), sparsity=0.4, heads="whole", criterion="l2")
    heads = next(node for node in result.model.graph if node.op_type == "Reshape").inputs[1]
    assert heads.const_value.numpy().tolist() == [0, 7, 1, 4] and "cut-proven" in codes(result)
    with pytest.raises(UsageError) as failure:
        prune(model, samples(model), sparsity=0.2, heads="whole", schedule="iterative", max_drop=0.1)
    assert failure.value.code == "heads-at-once"
