"""Which samples a compilation calibrates on, learns from, and is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .coreset import reduced
from .data import Array, Data, from_arrays, load_data
from .errors import UsageError
from .model.model import Model

CALIBRATION_SAMPLES = 256

# A file or folder, a data set, or the user's own function that returns arrays by name (x and y, or one per input).
Source = Path | Data | Callable[[], Mapping[str, Array]] | None


@dataclass(frozen=True)
class Samples:
    """`calibration` is what the passes see; `scoring` what nothing sees but the verdict; `training`, where given, what
    fine-tuning learns from in place of the calibration samples, and `transfer` what it learns from besides."""

    calibration: Data
    scoring: Data
    training: Data | None = None
    transfer: Data | None = None


def choose_samples(
    model: Model,
    data: Source,
    calibration: Source,
    training: Source,
    coreset: str | None = None,
    seed: int = 0,
    transfer: Source = None,
) -> Samples:
    """Reads the sources. One data set is split by the seed, at most half of it and 256 samples for calibration; where a
    coreset is asked for, half of it to choose from. Samples to learn from are reduced to a coreset, too.

    Raises:
        UsageError: there is neither data nor calibration data (code `needs-data`), or see `data.load_data`.
    """
    scoring, calibrating = read(model, data), read(model, calibration)
    if scoring is None and calibrating is None:
        raise UsageError(
            "Data is needed to calibrate the quantization.",
            code="needs-data",
            hint="Give an .npz file with an array x of input samples (and y of labels): --data FILE.npz",
        )
    if calibrating is None:
        assert scoring is not None
        if len(scoring) == 1:
            calibrating = scoring
        else:
            half = len(scoring) // 2
            calibrating, scoring = scoring.split(half if coreset else min(CALIBRATION_SAMPLES, half), seed)
    learning = read(model, training)
    return Samples(
        reduced(calibrating, model, coreset, seed),
        scoring if scoring is not None else calibrating,
        None if learning is None else reduced(learning, model, coreset, seed),
        read(model, transfer),
    )


def read(model: Model, source: Source) -> Data | None:
    """The samples of one source, fitted to the model's inputs."""
    if source is None or isinstance(source, Data):
        return source
    if isinstance(source, Path):
        return load_data(source, model)
    return from_arrays(source(), model, getattr(source, "__name__", "function"))
