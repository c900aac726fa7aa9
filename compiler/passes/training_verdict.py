"""Whether a training helped: with few samples a network can unlearn what it knew.

The samples that judge are kept out of pruning and refitting, too: a network is better on those that it was refitted on
than on others, and training would seem to make it worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..executor import Session
from ..metric import Metric
from ..model.model import Model
from ..pruning.prove import compared_values
from ..pruning.sampling import fixed_batch
from ..search.drop import Drop, drop_measure
from ..search.loss import log_softmax, relative_entropy
from ..training.plans import WHILE_TRAINING
from ..training.tuning import Loss
from .base import Context, Note

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
SHARE = 8  # of the samples, one is kept out
LEAST = 8  # samples that can tell
TEMPERATURES = np.exp(np.linspace(-1.5, 2.5, 81))


def with_judging(context: Context, model: Model) -> Context:
    """Where training follows that does not prune itself, some of the samples to learn from are kept out of all else."""
    options = context.options
    judged = options.qat_epochs or (options.training.epochs and options.schedule not in WHILE_TRAINING)
    if not judged or context.judging is not None:
        return context
    data = context.training or context.calibration
    if data is None:
        return context
    learning, judging = kept_out(model, data, options.seed)
    if context.training is not None:
        return replace(context, judging=judging, training=learning)
    return replace(context, judging=judging, calibration=learning)


def kept_out(model: Model, data: Data, seed: int) -> tuple[Data, Data | None]:
    """(samples to learn from, samples that judge); no judge where they would be too few."""
    batch = fixed_batch(model) or 1
    count = len(data) // SHARE // batch * batch
    if count < LEAST:
        return data, None
    judging, learning = data.split(count, seed)
    return learning, judging


def rise(
    before: Model, after: Model, original: Model, judging: Data, metric: Metric | None = None, loss: Loss = "auto"
) -> Drop:
    """By how much training made the network worse on samples, and the standard error of that.

    The user's metric tells, with labels; the cross-entropy, with labels of classes; else how far answers are from the
    original's: in nats where it ends in a softmax or the training's `loss` is the cross-entropy, or the squared error
    relative to the mean square. Each network's logits are divided by the temperature that suits it best (Guo et al., On
    Calibration of Modern Neural Networks, 2017): to be surer of the same decisions is no harm.
    """
    if _scored(judging, metric):
        return drop_measure(before, judging, metric)(after)
    heads = [compared_values(each)[-1] for each in (original, before, after)]
    outputs = {value.name for value in original.graph.outputs}
    wanted, *found = (
        Session(each, [head]).run(judging.inputs)[head]
        for each, head in zip((original, before, after), heads, strict=True)
    )
    if wanted.ndim == 2 and judging.labels is not None and np.issubdtype(judging.labels.dtype, np.integer):
        labels = np.eye(wanted.shape[1])[judging.labels.reshape(-1)]
        losses = [_tempered(lambda logits: -(labels * log_softmax(logits)).sum(axis=1), each) for each in found]
    elif loss == "cross_entropy" or (loss == "auto" and heads[0] not in outputs):  # logits before a softmax
        losses = [_tempered(partial(relative_entropy, wanted), each) for each in found]
    else:
        power = max(float(np.square(wanted, dtype=np.float64).mean()), np.finfo(np.float64).tiny)
        losses = [np.square(each - wanted, dtype=np.float64) / power for each in found]
    rises = (losses[1] - losses[0]).reshape(len(judging), -1).mean(axis=1)
    return Drop(float(rises.mean()), float(rises.std() / np.sqrt(len(rises))))


def harmed(found: Drop, judging: Data, metric: Metric | None) -> bool:
    """Whether to undo it. A loss has the last word; a score, which takes few values, only beyond its standard error."""
    return found.value > (found.error if _scored(judging, metric) else 0)


def _scored(judging: Data, metric: Metric | None) -> bool:
    return metric is not None and judging.labels is not None


def _tempered(loss: Callable[[Array], Floats], logits: Array) -> Floats:
    """The losses of all samples at the temperature where their mean is the least."""
    return min((loss(logits / temperature) for temperature in TEMPERATURES), key=np.mean)


def undone_note(found: Drop, judging: Data) -> Note:
    """That training is undone."""
    return Note(
        "training-undone",
        f"The training is undone: on {len(judging)} samples that it did not see, the network did not become "
        f"better (worse by {found.value:.3g} ± {found.error:.2g}).",
        hint="Give more samples (--training-data, --transfer), vary them (--augment), or lower --learning-rate.",
    )
