"""How hard a sample is: scores of Paul, Ganguli and Dziugaite, Deep Learning on a Data Diet (2021).

Both are meant for a network that has seen the data a few times, which a trained one has; a wrong label is hard too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..errors import UsageError
from ..executor import Session
from ..model.match import is_op
from ..model.model import Model
from ..pruning.sampling import fixed_batch
from ..target import Progress, no_progress

Floats = npt.NDArray[np.float64]


def el2n(data: Data, model: Model) -> Floats:
    """The norm of the error: of the classes' probabilities, or of the outputs where labels are no classes."""
    labels = _labels(data, "el2n")
    value = model.graph.outputs[0]
    name = value.name or ""
    outputs = Session(model, [name], optimise=False).run(data.inputs)[name].astype(np.float64)
    if labels.size == len(data) and labels.dtype.kind in "iu" and outputs.ndim == 2 and outputs.shape[1] > 1:
        if labels.min() < 0 or labels.max() >= outputs.shape[1]:
            raise _bad_labels(f"The network tells {outputs.shape[1]} classes apart.")
        chances = outputs if is_op(value.producer(), "Softmax") else _softmax(outputs)
        return np.asarray(np.linalg.norm(chances - np.eye(outputs.shape[1])[labels.reshape(-1)], axis=1))
    if labels.size != outputs.size:
        raise _bad_labels(f"Labels of shape {labels.shape} for outputs of shape {outputs.shape}.")
    return np.asarray(np.linalg.norm((outputs - labels.reshape(outputs.shape)).reshape(len(data), -1), axis=1))


def grand(data: Data, model: Model, seed: int, progress: Progress = no_progress) -> Floats:
    """The norm of the gradient of the loss for all weights; needs the extra `train`."""
    _labels(data, "grand")
    from ..training import gradient_norms  # torch is an extra

    return gradient_norms(model, data, fixed_batch(model) or 1, seed, progress)


def _labels(data: Data, method: str) -> npt.NDArray[Any]:
    if data.labels is None:
        raise UsageError(
            f"Selecting samples by '{method}' compares answers with labels: it needs labels.",
            code="needs-labels",
            where=data.source or None,
            hint="Give the labels as array y of the data file, or select by k-center or dedup.",
        )
    return np.asarray(data.labels)


def _bad_labels(why: str) -> UsageError:
    hint = "Give the numbers of the classes from 0 on, or select by k-center or dedup."
    return UsageError("The labels do not fit the model's output.", code="bad-labels", why=why, hint=hint)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
