"""Calibration and test data: an `.npz` with `x` (and `y`), or one array per model input under the input's own name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .data_files import fit, read_arrays
from .errors import UsageError
from .model.model import Model

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Data:
    """Samples for a model's inputs, keyed by plain input name, sample dimension first; labels where known."""

    inputs: Mapping[str, Array]
    labels: Array | None = None
    source: str = ""
    _size: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        sizes = {len(array) for array in self.inputs.values()}
        if self.labels is not None:
            sizes.add(len(self.labels))
        if len(sizes) != 1:
            raise UsageError(
                "The arrays of the data set have different numbers of samples.",
                code="data-length-mismatch",
                where=self.source or None,
                why=f"Sample counts found: {sorted(sizes)}.",
                hint="Give every array the same first dimension.",
            )
        object.__setattr__(self, "_size", sizes.pop())

    def __len__(self) -> int:
        return self._size

    def take(self, index: Sequence[int] | slice | Array) -> Data:
        """The chosen samples."""
        labels = None if self.labels is None else self.labels[index]
        return Data({name: array[index] for name, array in self.inputs.items()}, labels, self.source)

    def first(self, count: int) -> Data:
        return self.take(slice(0, count))

    def spread(self, count: int) -> Data:
        """At most `count` samples at equal distances: neighbours are often alike (windows of one recording)."""
        return self.take(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        """Input feeds of at most `size` samples, in order."""
        for start in range(0, len(self), size):
            yield {name: array[start : start + size] for name, array in self.inputs.items()}

    def split(self, calibration: int, seed: int = 0) -> tuple[Data, Data]:
        """(calibration, scoring): disjoint, seeded; `calibration` samples in the first, the rest in the second."""
        order = np.random.default_rng(seed).permutation(len(self))
        return self.take(np.sort(order[:calibration])), self.take(np.sort(order[calibration:]))


def load_data(path: str | os.PathLike[str], model: Model) -> Data:
    """Reads data for a model and checks it: an `.npz` or `.npy` file, or a folder of them.

    One array per input, first dimension the samples, under the input's name; the only input of a model may also be
    called `x`. `y` holds labels, one per sample. Arrays that nothing asks for are ignored. A folder holds either
    `.npy` files named like the arrays (`x.npy`, `y.npy`), or `.npz` parts of one data set, joined in name order.

    An array of another type than the input's is cast where that changes no value (uint8 to float32), or where it only
    rounds floating-point numbers (float64 to float32). Nothing is scaled, transposed or guessed.

    Raises:
        UsageError: the file is missing, damaged or pickled, an array is missing, or it does not fit its input.
    """
    source = Path(path)
    return from_arrays(read_arrays(source), model, source.name)


def from_arrays(arrays: Mapping[str, Array], model: Model, source: str) -> Data:
    """Data from arrays in memory, named and checked as `load_data` does. `source` is what errors call them."""
    inputs, labels = fit(arrays, model, source)
    return Data(inputs, labels, source)
