"""By how much a network scores lower than the original on samples that it has not seen, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..executor import Session
from ..metric import Judge, Metric
from ..model.model import Model
from ..pruning.schedules import held_out

PARTS = 8  # of the samples, for the standard error of a metric of the user's own


@dataclass(frozen=True)
class Drop:
    """How much lower the score is, and the standard error of that."""

    value: float
    error: float


def drop_measure(original: Model, data: Data, metric: Metric | None = None) -> Callable[[Model], Drop]:
    """A function that tells the drop of any network with the same inputs and outputs, by the score of `metric.Judge`.

    Raises what `schedules.held_out` raises.
    """
    measure = held_out(original, data, metric)
    whole = measure(original)
    name = original.graph.outputs[0].name or ""
    reference = Session(original, [name]).run(data.inputs)[name]

    def drop_of(network: Model) -> Drop:
        outputs = Session(network, [name]).run(data.inputs)[name]
        if metric is None:
            agreement = Judge(reference)(outputs)
            return Drop(whole - measure(network), float(np.sqrt(max(1 - agreement, 0.0) / len(data))))
        return Drop(whole - measure(network), _jackknife(reference, outputs, data, metric))

    return drop_of


def _jackknife(
    reference: npt.NDArray[np.generic], outputs: npt.NDArray[np.generic], data: Data, metric: Metric
) -> float:
    """The standard error of a difference of scores, each eighth of the samples left out in turn (Quenouille, 1956).

    A metric may be anything, also one that is no mean over samples.
    """
    drops = []
    for part in range(PARTS):
        stay = np.arange(len(data)) % PARTS != part
        labels = None if data.labels is None else data.labels[stay]
        judge = Judge(reference[stay], labels, metric)
        drops.append(judge(reference[stay]) - judge(outputs[stay]))
    return float(np.sqrt((PARTS - 1) * np.var(drops)))
