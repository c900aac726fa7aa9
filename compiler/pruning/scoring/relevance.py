"""mRMR: what a channel says about the labels, minus what channels that stay say already.

Peng, Long and Ding, Feature Selection Based on Mutual Information: Criteria of Max-Dependency, Max-Relevance, and
Min-Redundancy (2005), on neurons. In each group the next channel to keep is the one with the largest

    I(channel; label) - mean over kept channels k of I(channel; k),

both in parts of the labels' entropy. A channel's value is its mean over the places of a sample, in bins of equal
frequency; the plug-in estimate of the mutual information is corrected for its bias (Miller and Madow, 1955).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...analysis.channels import Channels
from ...data import Data
from ...errors import UsageError
from ...model.model import Model
from .base import Array, Scores, needed
from .observe import Reader, observe

SAMPLES = 1024
MIN_SAMPLES = 16
MAX_BINS = 8
Codes = npt.NDArray[np.intp]


def relevance_minus_redundancy(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """The score of every unit; infinite where no operator reads it as it is. What never varies goes first.

    Raises:
        UsageError: there is no data (code `needs-data`), there are no labels (`needs-labels`), one label only
            (`one-label`), or too few samples (`too-few-samples`).
    """
    found, pieces, chosen = observe(model, channels, _labelled(needed(data, "mrmr")), SAMPLES, seed)
    features = _features(channels.count, found, [[x.reshape(*x.shape[:2], -1).mean(axis=2) for x in p] for p in pieces])
    assert chosen.labels is not None  # _labelled
    labels = np.unique(chosen.labels, return_inverse=True)[1].reshape(-1)
    entropy = _information(labels, labels)
    scores = np.full(channels.count, np.inf)
    for group in channels.prunable:
        columns = features[:, group.units]
        if np.isfinite(columns).all():
            scores[group.units] = _greedy([_bins(column) for column in columns.T], labels, entropy)
    return scores


def _labelled(data: Data) -> Data:
    """The data, if it has labels to be relevant to."""
    if data.labels is None:
        raise UsageError(
            "The pruning criterion 'mrmr' measures what channels say about the labels: it needs labels.",
            code="needs-labels",
            hint="Give the labels as array y of the data file, or take a criterion that needs none, such as obs.",
        )
    if np.asarray(data.labels).size != len(data) or len(np.unique(data.labels)) < 2:
        raise UsageError(
            "The pruning criterion 'mrmr' needs one label a sample, and at least two different ones.",
            code="one-label",
            where=data.source or None,
            hint="Give samples of several classes, or take a criterion that needs no labels, such as obs.",
        )
    if len(data) < MIN_SAMPLES:
        raise UsageError(
            f"The pruning criterion 'mrmr' cannot estimate information from {len(data)} samples.",
            code="too-few-samples",
            hint=f"Give at least {MIN_SAMPLES}, better some hundred.",
        )
    return data


def _features(count: int, found: list[Reader], pieces: list[list[Array]]) -> Scores:
    """[samples, units]: the mean over a unit's positions where it is read first; not a number where nobody reads it."""
    samples = sum(len(piece[0]) for piece in pieces) if found else 0
    features = np.full((samples, count), np.nan)
    for number, reader in enumerate(found):
        values = np.concatenate([piece[number] for piece in pieces]).astype(np.float64)
        units = np.unique(reader.units[reader.units >= 0])
        new = units[np.isnan(features[0, units])] if len(values) == samples else units[:0]
        for unit in new.tolist():
            features[:, unit] = values[:, reader.units == unit].mean(axis=1)
    return features


def _bins(values: Scores) -> Codes:
    """Bin numbers; bins have equal frequency, equal values always one bin."""
    count = int(np.clip(round(len(values) ** (1 / 3)), 2, MAX_BINS))
    edges = np.quantile(values, np.arange(1, count) / count)
    return np.asarray(np.searchsorted(edges, values, side="left"), dtype=np.intp)


def _information(a: Codes, b: Codes) -> float:
    """I(a; b) in nats, never below zero."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1)
    tables = joint.sum(axis=1), joint.sum(axis=0), joint.ravel()
    one, other, both = (_entropy(table[table > 0]) for table in tables)
    return max(one + other - both, 0.0)


def _entropy(counts: Scores) -> float:
    total = counts.sum()
    return float(-(counts / total * np.log(counts / total)).sum() + (len(counts) - 1) / (2 * total))


def _greedy(columns: list[Codes], labels: Codes, entropy: float) -> Scores:
    """The value of every column when it is chosen, never more than that of one chosen before it."""
    relevance = np.array([_information(column, labels) for column in columns]) / entropy
    constant = np.array([column.min() == column.max() for column in columns])
    redundancy, values = np.zeros(len(columns)), np.zeros(len(columns))
    left, lowest = np.ones(len(columns), dtype=np.bool_), np.inf
    for chosen in range(len(columns)):
        gains = relevance - redundancy / max(chosen, 1) - np.where(constant, len(columns), 0)
        best = int(np.argmax(np.where(left, gains, -np.inf)))
        lowest = min(float(np.nextafter(lowest, -np.inf)), float(gains[best]))
        values[best], left[best] = lowest, False
        for column in np.flatnonzero(left):
            redundancy[column] += _information(columns[column], columns[best]) / entropy
    return values
