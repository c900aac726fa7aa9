"""What criteria would do: the figures are those of really cutting, and the best criterion of a planted case shows."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from planted import hardly_read, samples
from pruning_nets import NETS

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.workload import workload
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.survey import Survey
from prunus.compiler.pruning.criteria import CRITERIA
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.outlook import NEED_DATA, SLOW, outlooks, possible
from prunus.compiler.pruning.prove import random_inputs
from prunus.compiler.pruning.select import select
from prunus.compiler.registry import resolve
from prunus.compiler.target import Formats, quantized_like


def test_figures_are_those_of_the_cut_network() -> None:
    model, data = hardly_read(), samples(128)
    place = resolve("npu-16nm")
    formats = place[0].formats(place[1])
    found = outlooks(model, 0.4, ("l2", "wanda"), data=data, formats=formats, target=place)
    held_out, seen = data.split(64, 0)
    channels = channel_groups(model)
    assert found.macs == channels.macs() and found.samples == 64 and found.loss_kind == "relative error"
    for each in found.found:
        chosen = select(model, channels, 0.4, each.criterion, data=seen)
        pruned = cut(model, channels, chosen.removed)
        assert each.macs == channel_groups(pruned).macs()
        assert each.channels == chosen.removed.sum()
        assert each.layers["n0000"] == (16, 16 - pruned.graph.initializers["w1"].shape[0])
        estimate = place[0].cost([quantized_like(workload(pruned), formats)], place[1])[0]
        assert each.estimate is not None
        assert each.estimate.costs["energy_j"].value == pytest.approx(estimate.costs["energy_j"].value, rel=1e-6)
        expected, outputs = (run_model(net, held_out.inputs)["y"] for net in (model, pruned))
        loss = np.square(outputs - expected).sum() / np.square(expected - expected.mean(axis=0)).sum()
        assert each.loss == pytest.approx(loss, rel=1e-3)


def test_the_criterion_that_suits_a_network_shows() -> None:
    found = outlooks(hardly_read(), 0.4, ("wanda", "l2", "random"), data=samples(128), refit=True)
    loss = {each.criterion: each.loss for each in found.found}
    assert loss["wanda"] < 0.2 * min(loss["l2"], loss["random"])
    assert all(each.refitted_loss is not None and each.refitted_loss < each.loss for each in found.found)


def test_labels_turn_the_loss_into_cross_entropy() -> None:
    model, inputs = hardly_read(), samples(96).inputs
    labels = run_model(model, inputs)["y"].argmax(axis=1)
    assert outlooks(model, 0.4, ("wanda",), data=Data(inputs, labels)).loss_kind == "cross-entropy"


def test_what_cannot_be_asked_is_said() -> None:
    asked, skipped = possible(None)
    assert set(skipped) == NEED_DATA and set(asked) == CRITERIA.keys() - NEED_DATA
    _, skipped = possible(samples())
    assert skipped["mrmr"] == "needs-labels" and all(skipped[name] == "slow" for name in SLOW)
    found = outlooks(NETS["chain"](), 0.3)
    assert found.loss_kind == "" and [each.loss for each in found.found] == [None] * len(found.found)


def test_a_criterion_asked_for_by_name_must_be_possible() -> None:
    with pytest.raises(UsageError) as failure:
        outlooks(NETS["chain"](), 0.3, ("wanda",))
    assert failure.value.code == "needs-data"


@pytest.mark.parametrize("name", NETS)
def test_every_kind_of_network_can_be_asked(name: str) -> None:
    """Without labels, with refitting and with costs."""
    model, place = NETS[name](), resolve("npu-16nm")
    criteria = ("l2", "obd") if find_spec("torch") else ("l2",)
    data = Data(random_inputs(model, 24, 0))
    for each in outlooks(model, 0.3, criteria, data=data, target=place, refit=True).found:
        assert each.loss is not None and each.refitted_loss is not None and each.estimate is not None
        assert np.isfinite([each.loss, each.refitted_loss]).all()


def test_the_pass_changes_nothing_and_tells() -> None:
    model = NETS["residual"]()
    before = model.to_bytes()
    quick = Survey().run(model, Context())
    assert quick.model is model and not quick.changed and model.to_bytes() == before
    assert [note.code for note in quick.notes] == ["redundancy"] and quick.details.keys() == {"redundancy"}
    told = Survey().run(model, Context(options=Options(explain=True, sparsity=0.3), formats=Formats()))
    assert told.details["outlook"]["fraction"] == 0.3 and told.details["outlook"]["cost"] == {}
    assert model.to_bytes() == before
