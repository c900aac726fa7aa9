"""What criteria lack, and removals that cannot be: named errors that say what to do, word by word."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from planted import samples
from pruning_nets import NETS

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.errors import PrunusError, ToolError, UsageError
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.blocks import shorten
from prunus.compiler.pruning.criteria import importance
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.patterns import parse_pattern
from prunus.compiler.pruning.select import select
from prunus.compiler.pruning.sparsify import sparsify

FEW, MANY = samples(4), samples(32)


def score(criterion: str, data: Data | None) -> object:
    model = NETS["residual"]()
    return importance(model, channel_groups(model), criterion, data=data)


def zero(criterion: str, data: Data | None) -> object:
    return sparsify(NETS["residual"](), parse_pattern("weight"), 0.5, criterion, data=data)


def remove(everything: bool) -> Model:
    """All channels of the first prunable group, or one that is pinned."""
    model = NETS["chain"]()
    channels = channel_groups(model)
    removed = channels.keep_all()
    pinned = next(group for group in channels.groups if group.pinned_because is not None)
    removed[channels.prunable[0].units if everything else pinned.units[:1]] = True
    return cut(model, channels, removed)


def labelled(labels: np.ndarray) -> Data:
    return Data(MANY.inputs, labels)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "criterion-unknown": (lambda: score("best", MANY), "unknown-criterion"),
    "criterion-without-data": (lambda: score("wanda", None), "needs-data"),
    "criterion-without-labels": (lambda: score("mrmr", MANY), "needs-labels"),
    "criterion-with-one-label": (lambda: score("mrmr", labelled(np.zeros(32, int))), "one-label"),
    "criterion-with-too-few-samples": (lambda: score("mrmr", Data(FEW.inputs, np.arange(4))), "too-few-samples"),
    "criterion-share-of-all": (lambda: select(NETS["chain"](), channel_groups(NETS["chain"]()), 1.0), "bad-sparsity"),
    "criterion-of-weights-unknown": (lambda: zero("best", MANY), "unknown-criterion"),
    "criterion-of-weights-without-data": (lambda: zero("wanda", None), "needs-data"),
    "criterion-of-blocks-unknown": (lambda: shorten(NETS["residual"](), 0.5, "best"), "unknown-criterion"),
    "criterion-of-blocks-without-data": (lambda: shorten(NETS["residual"](), 0.5, "influence"), "needs-data"),
    "removal-of-a-whole-group": (lambda: remove(everything=True), "empty-group"),
    "removal-of-a-pinned-channel": (lambda: remove(everything=False), "pinned-channel"),
}
WITH_TORCH: dict[str, tuple[Callable[[], object], str]] = {
    "gradients-without-data": (lambda: score("taylor", None), "needs-data"),
    "gradients-of-too-few-samples": (lambda: score("obd", FEW), "too-few-samples"),
    "gradients-of-too-few-samples-for-weights": (lambda: zero("obd", FEW), "too-few-samples"),
    "gradients-of-other-classes": (lambda: score("obd", labelled(np.full(32, 7))), "bad-labels"),
    "gradients-of-labels-of-another-size": (lambda: score("taylor", labelled(np.ones((32, 3)))), "bad-labels"),
    "gradients-of-nan": (
        lambda: score("taylor", Data({"x": np.full_like(MANY.inputs["x"], 1e38)})),
        "gradients-not-finite",
    ),
}


def refusal(ask: Callable[[], object], error: type[PrunusError], code: str) -> str:
    with pytest.raises(PrunusError) as caught:
        ask()
    assert type(caught.value) is error and caught.value.code == code
    return f"{caught.value}\n  code: {code} (exit code {caught.value.exit_code})\n"


@pytest.mark.parametrize("name", REFUSED)
def test_bad_requests_are_refused(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"errors/{name}.txt", refusal(REFUSED[name][0], UsageError, REFUSED[name][1]))


@pytest.mark.parametrize("name", WITH_TORCH)
def test_gradients_that_cannot_be_are_refused(name: str, golden: Callable[[str, str], None]) -> None:
    pytest.importorskip("torch")
    golden(f"errors/{name}.txt", refusal(WITH_TORCH[name][0], UsageError, WITH_TORCH[name][1]))


def test_without_torch_gradients_say_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    asked = (lambda: score("obd", MANY), lambda: zero("taylor", MANY))
    texts = {refusal(ask, ToolError, "missing-extra") for ask in asked}
    golden("errors/gradients-without-torch.txt", texts.pop())
    assert not texts
