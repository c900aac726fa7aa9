"""Whether a training helped, on samples that it did not see: with few samples a network can unlearn what it knew."""

from __future__ import annotations

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
from ..training.tuning import Loss
from .base import Note

Array = npt.NDArray[Any]
SHARE = 8  # of the samples, one is kept out
LEAST = 8  # samples that can tell


def kept_out(model: Model, data: Data, seed: int) -> tuple[Data, Data | None]:
    """(samples to train on, samples that judge); no judge where they would be too few."""
    batch = fixed_batch(model) or 1
    count = len(data) // SHARE // batch * batch
    if count < LEAST:
        return data, None
    judging, training = data.split(count, seed)
    return training, judging


def rise(
    before: Model, after: Model, original: Model, judging: Data, metric: Metric | None = None, loss: Loss = "auto"
) -> Drop:
    """By how much training made the network worse on samples, and the standard error of that.

    The user's metric tells, with labels; the cross-entropy, with labels of classes; else how far answers are from the
    original's: in nats where it ends in a softmax or the training's `loss` is the cross-entropy, or the squared error
    relative to the mean square.
    """
    if metric is not None and judging.labels is not None:
        return drop_measure(before, judging, metric)(after)
    heads = [compared_values(each)[-1] for each in (original, before, after)]
    outputs = {value.name for value in original.graph.outputs}
    wanted, *found = (
        Session(each, [head]).run(judging.inputs)[head]
        for each, head in zip((original, before, after), heads, strict=True)
    )
    if wanted.ndim == 2 and judging.labels is not None and np.issubdtype(judging.labels.dtype, np.integer):
        expected = np.eye(wanted.shape[1])[judging.labels.reshape(-1)]
        losses = [-(expected * log_softmax(each)).sum(axis=1) for each in found]
    elif loss == "cross_entropy" or (loss == "auto" and heads[0] not in outputs):  # logits before a softmax
        losses = [relative_entropy(wanted, each) for each in found]
    else:
        power = max(float(np.square(wanted, dtype=np.float64).mean()), np.finfo(np.float64).tiny)
        losses = [np.square(each - wanted, dtype=np.float64) / power for each in found]
    rises = (losses[1] - losses[0]).reshape(len(judging), -1).mean(axis=1)
    return Drop(float(rises.mean()), float(rises.std() / np.sqrt(len(rises))))


def undone_note(found: Drop, judging: Data) -> Note:
    """That training is undone."""
    return Note(
        "training-undone",
        f"The training is undone: on {len(judging)} samples that it did not see, the network became worse, by "
        f"{found.value:.3g} ± {found.error:.2g}.",
        hint="Give more samples (--training-data, --transfer), vary them (--augment), or lower --learning-rate.",
    )
