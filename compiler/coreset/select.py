"""The methods of data pruning by name, and the choice of samples by one of them.

| method     | needs         | keeps                                          | source                               |
| ---------- | ------------- | ---------------------------------------------- | ------------------------------------ |
| `el2n`     | labels        | the samples that the model gets most wrong     | Paul, Ganguli and Dziugaite, 2021    |
| `grand`    | labels, torch | those with the largest gradient of the loss    | Paul, Ganguli and Dziugaite, 2021    |
| `k-center` | nothing       | those that leave no sample far from a kept one | Sener and Savarese, 2018             |
| `dedup`    | nothing       | one of each kind of (nearly) equal samples     | Abbas et al., SemDeDup, 2023         |
| `random`   | nothing       | any: the baseline that the others have to beat |                                      |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..errors import UsageError
from ..model.model import Model
from ..target import Progress, no_progress
from .cover import k_center, representatives
from .features import features
from .hardness import el2n, grand

Index = npt.NDArray[np.intp]
Method = Callable[[Data, Model, int, int, Progress], Index]  # (data, model, count, seed, progress)


@dataclass(frozen=True)
class Coreset:
    """What the user asked for: a method of `METHODS`, and how many samples it keeps."""

    method: str
    count: int

    def __str__(self) -> str:
        return f"{self.method}:{self.count}"


def _hardest(scores: npt.NDArray[np.float64], count: int) -> Index:
    return np.argsort(-scores, kind="stable")[:count]


def _el2n(data: Data, model: Model, count: int, seed: int, progress: Progress) -> Index:
    return _hardest(el2n(data, model), count)


def _grand(data: Data, model: Model, count: int, seed: int, progress: Progress) -> Index:
    return _hardest(grand(data, model, seed, progress), count)


def _k_center(data: Data, model: Model, count: int, seed: int, progress: Progress) -> Index:
    return k_center(features(data, model), count)


def _deduplicate(data: Data, model: Model, count: int, seed: int, progress: Progress) -> Index:
    order = np.random.default_rng(seed).permutation(len(data))  # of equal samples any may stay
    return order[representatives(features(data, model)[order], count)]


def _random(data: Data, model: Model, count: int, seed: int, progress: Progress) -> Index:
    return np.random.default_rng(seed).permutation(len(data))[:count]


METHODS: Mapping[str, Method] = {
    "el2n": _el2n,
    "grand": _grand,
    "k-center": _k_center,
    "dedup": _deduplicate,
    "random": _random,
}


def select(data: Data, model: Model, method: str, count: int, seed: int = 0, progress: Progress = no_progress) -> Data:
    """`count` samples of the data, in their order; fewer where `dedup` finds no more that differ.

    Raises:
        UsageError: there is no such method (code `unknown-coreset`), fewer samples than asked for
            (`too-few-samples`), or the method needs labels (`needs-labels`, `bad-labels`).
        ToolError: `grand` needs torch (`missing-extra`).
    """
    method = _known(method)
    if not 0 < count <= len(data):
        raise UsageError(
            f"{count} samples cannot be selected from {len(data)}.",
            code="too-few-samples",
            where=data.source or None,
            hint=f"Ask for 1 to {len(data)}, or give more data.",
        )
    return data.take(np.sort(METHODS[method](data, model, count, seed, progress)))


def reduced(data: Data, model: Model, coreset: str | None, seed: int = 0, progress: Progress = no_progress) -> Data:
    """The samples that a setting `METHOD:COUNT` asks for; all of them without one. Errors are those of `select`."""
    if coreset is None:
        return data
    asked = parse_coreset(coreset)
    return select(data, model, asked.method, asked.count, seed, progress)


def parse_coreset(text: str) -> Coreset:
    """`k-center:256`. Raises UsageError (code `bad-coreset` or `unknown-coreset`)."""
    match = re.fullmatch(r"([a-z0-9-]+):([1-9]\d{0,8})", text)
    if match is None:
        raise UsageError(
            f"'{text[:40]}' does not say which samples to select.",
            code="bad-coreset",
            hint=f"Write METHOD:COUNT, such as k-center:256. Methods: {', '.join(METHODS)}.",
        )
    return Coreset(_known(match[1]), int(match[2]))


def _known(method: str) -> str:
    if method not in METHODS:
        raise UsageError(
            f"There is no way to select samples called '{method[:64]}'.",
            code="unknown-coreset",
            hint=f"Methods: {', '.join(METHODS)}.",
        )
    return method
