"""Data augmentation: every batch shows its samples changed at random, so that a few hundred of them last for long.

A teacher answers the changed samples themselves: with strong augmentation and patience a student learns the teacher's
function from little unlabelled data (Beyer et al., Knowledge Distillation: A Good Teacher Is Patient and Consistent,
2022). Labels of classes are mixed as the samples are.

* `flip`     mirrored left to right, every other sample
* `shift`    moved by up to an eighth of height and width, mirrored at the border (the padded crop of He et al., 2016)
* `crop`     a window of half to all of the area, stretched to full size (Szegedy et al., 2015)
* `rotate`   turned by up to 15 degrees
* `colour`   contrast and brightness by up to a fifth, and a tenth for each channel on its own
* `noise`    normal noise of up to a tenth of the data's deviation
* `erase`    every other sample loses a rectangle to the mean (DeVries and Taylor, 2017; Zhong et al., 2020)
* `mixup`    the weighted mean with another sample (Zhang et al., 2018)
* `cutmix`   a rectangle of another sample (Yun et al., 2019)

They are applied in this order; of `mixup` and `cutmix`, where both are asked for, each batch takes one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..data import Data
from ..errors import UsageError
from ..model.match import dims
from ..model.model import Model
from .picture import Layout, layout_of

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

_SHIFT = 1 / 8  # of height and width
_SMALLEST_AREA = 0.5  # of a crop
_STRETCH = 4 / 3  # of a crop's height against its width, either way
_TURN_RADIANS = math.radians(15)
_COLOUR = 0.2
_NOISE = 0.1  # of the data's standard deviation
_ERASED_AREA = (0.02, 0.25)


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples as a step sees them. Each has the share `share` [n] of itself, the rest of the sample `partner` [n].

    `index` are their places in the data, `partner` the places of what was mixed into them.
    """

    arrays: Mapping[str, Array]
    index: Indices
    partner: Indices | None = None
    share: Floats | None = None


@dataclass(frozen=True, eq=False)
class _Sight:
    """What an augmentation may ask about the data: its mean, its deviation, and how pictures lie in an array."""

    mean: float
    deviation: float


class Augmenter:
    """Changes batches at random, by the seed and the numbers of epoch and step alone.

    Raises:
        UsageError: the model has several inputs (`augment-inputs`), one without height and width that an augmentation
            needs (`augment-no-picture`), or labels for each pixel, that would have to move too (`augment-labels`).
    """

    def __init__(self, model: Model, data: Data, names: Sequence[str], seed: int) -> None:
        self._names, self._seed, self._input = tuple(names), seed, ""
        if not names:
            return
        self._input, self._layout = _picture(model, names)
        if data.labels is not None and data.labels.ndim > 2:
            raise UsageError(
                "Labels with a value for every place of a picture cannot be augmented.",
                code="augment-labels",
                where=data.source or None,
                why=f"Their shape is {data.labels.shape}; they would have to be changed with the pictures.",
                hint="Augment without labels: a teacher answers what is shown to it.",
            )
        array = data.inputs[self._input]
        self._dtype, self._low, self._high = array.dtype, array.min(), array.max()
        self._sight = _Sight(float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64)))

    def __bool__(self) -> bool:
        return bool(self._names)

    def __call__(self, arrays: Mapping[str, Array], index: Indices, epoch: int, step: int) -> Batch:
        """The changed samples, in the data's own type and range."""
        if not self._names:
            return Batch(arrays, index)
        rng = np.random.default_rng([self._seed, epoch, step, 1])
        pictures = self._layout.pictures(arrays[self._input]).astype(np.float32)
        for name in (name for name in SINGLE if name in self._names):
            pictures = SINGLE[name](pictures, rng, self._sight)
        mixing = [name for name in MIXING if name in self._names]
        partner, share = None, None
        if mixing:
            order = rng.permutation(len(index))
            pictures, share = MIXING[mixing[rng.integers(len(mixing))]](pictures, pictures[order], rng)
            partner = index[order]
        found = np.clip(pictures, self._low, self._high)
        if self._dtype.kind in "iu":
            found = np.rint(found)
        array = self._layout.restored(found, arrays[self._input].shape).astype(self._dtype, copy=False)
        return Batch({**arrays, self._input: array}, index, partner, share)


def _picture(model: Model, names: Sequence[str]) -> tuple[str, Layout]:
    inputs = [value for value in model.graph.inputs if value.const_value is None]
    if len(inputs) != 1:
        raise UsageError(
            "Samples of several inputs cannot be augmented.",
            code="augment-inputs",
            why=f"The model takes {len(inputs)} inputs, and what changes one need not fit the others.",
            hint="Change the samples before they are given, and train without augmentation.",
        )
    layout = layout_of(inputs[0])
    needy = next((name for name in names if name in _NEED_PLACES), None)
    if layout is None and needy is not None:
        raise UsageError(
            f"The augmentation '{needy}' needs pictures or signals.",
            code="augment-no-picture",
            where=model.original(inputs[0].name or ""),
            why=f"The input has the shape {dims(inputs[0])}, and no convolution tells which axes are height and width.",
            hint="mixup and noise work on any input.",
        )
    return inputs[0].name or "", layout or Layout.flat(len(dims(inputs[0]) or ()))


# -- of one sample: pictures [n, channels, height, width] ---------------------------------------------------------


def _flip(pictures: Floats, rng: np.random.Generator, _sight: _Sight) -> Floats:
    chosen = rng.random(len(pictures)) < 0.5
    return np.where(chosen[:, None, None, None], pictures[..., ::-1], pictures)


def _shift(pictures: Floats, rng: np.random.Generator, _sight: _Sight) -> Floats:
    count, channels, height, width = pictures.shape
    rows, columns = (_moved(size, count, rng) for size in (height, width))
    places = np.arange(count)[:, None, None, None], np.arange(channels)[None, :, None, None]
    return np.asarray(pictures[(*places, rows[:, None, :, None], columns[:, None, None, :])])


def _moved(size: int, count: int, rng: np.random.Generator) -> Indices:
    """[count, size]: the places of each sample along one axis, moved and mirrored at the ends."""
    farthest = round(size * _SHIFT)
    places = np.arange(size) + rng.integers(-farthest, farthest + 1, size=(count, 1))
    last = max(size - 1, 1)
    return np.asarray(last - np.abs(last - np.abs(places)) if size > 1 else np.zeros_like(places))


def _crop(pictures: Floats, rng: np.random.Generator, _sight: _Sight) -> Floats:
    count, _, height, width = pictures.shape
    area = rng.uniform(_SMALLEST_AREA, 1, count)
    if 1 in (height, width):  # a signal: one axis alone can be cut
        tall, wide = (np.ones(count) if size == 1 else area for size in (height, width))
    else:
        stretch = np.exp(rng.uniform(-1, 1, count) * math.log(_STRETCH) / 2)
        tall, wide = np.minimum(np.sqrt(area) * stretch, 1), np.minimum(np.sqrt(area) / stretch, 1)
    matrix = np.zeros((count, 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 1, 1] = wide, tall
    matrix[:, 0, 2], matrix[:, 1, 2] = (rng.uniform(-1, 1, count) * (1 - side) for side in (wide, tall))
    return _warp(pictures, matrix)


def _rotate(pictures: Floats, rng: np.random.Generator, _sight: _Sight) -> Floats:
    count, _, height, width = pictures.shape
    angle = rng.uniform(-_TURN_RADIANS, _TURN_RADIANS, count)
    matrix = np.zeros((count, 2, 3), np.float32)
    matrix[:, 0, 0] = matrix[:, 1, 1] = np.cos(angle)
    matrix[:, 0, 1], matrix[:, 1, 0] = -np.sin(angle) * height / width, np.sin(angle) * width / height
    return _warp(pictures, matrix)


def _warp(pictures: Floats, matrix: Floats) -> Floats:
    """Looks each pixel up where an affine map [n, 2, 3] of the square from -1 to 1 sends it."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures))
    grid = F.affine_grid(torch.from_numpy(matrix), list(tensor.shape), align_corners=False)
    found = F.grid_sample(tensor, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return np.asarray(found.numpy())


def _colour(pictures: Floats, rng: np.random.Generator, sight: _Sight) -> Floats:
    count, channels = pictures.shape[:2]
    contrast = 1 + rng.uniform(-_COLOUR, _COLOUR, (count, 1, 1, 1))
    brightness = rng.uniform(-_COLOUR, _COLOUR, (count, 1, 1, 1))
    if channels > 1:
        brightness = brightness + rng.uniform(-_COLOUR / 2, _COLOUR / 2, (count, channels, 1, 1))
    middle = pictures.mean(axis=(1, 2, 3), keepdims=True)
    changed = (pictures - middle) * contrast + middle + brightness * sight.deviation
    return np.asarray(changed, dtype=np.float32)


def _noise(pictures: Floats, rng: np.random.Generator, sight: _Sight) -> Floats:
    strength = (rng.random((len(pictures), 1, 1, 1)) * _NOISE * sight.deviation).astype(np.float32)
    return pictures + strength * rng.standard_normal(pictures.shape, dtype=np.float32)


def _erase(pictures: Floats, rng: np.random.Generator, sight: _Sight) -> Floats:
    area = rng.uniform(*_ERASED_AREA, len(pictures)) * (rng.random(len(pictures)) < 0.5)
    return np.where(_rectangles(pictures, area, rng), np.float32(sight.mean), pictures)


def _rectangles(pictures: Floats, area: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """[n, 1, height, width]: for each sample a rectangle of about this share of the area, anywhere."""
    count, _, height, width = pictures.shape
    signal = 1 in (height, width)
    inside = []
    for size in (height, width):
        side = area if signal else np.sqrt(area)
        length = np.full(count, size) if size == 1 else np.rint(side * size)
        start = np.floor(rng.random(count) * (size - length + 1))
        places = np.arange(size)
        inside.append((places >= start[:, None]) & (places < (start + length)[:, None]))
    rows, columns = inside
    return np.asarray(rows[:, None, :, None] & columns[:, None, None, :])


# -- of two samples: (the mixed pictures, the share of the first in each) ------------------------------------------


def _mixup(pictures: Floats, others: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    share = rng.random(len(pictures), dtype=np.float32)
    weight = share[:, None, None, None]
    return weight * pictures + (1 - weight) * others, share


def _cutmix(pictures: Floats, others: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    inside = _rectangles(pictures, rng.random(len(pictures)), rng)
    return np.where(inside, others, pictures), (1 - inside.mean(axis=(1, 2, 3))).astype(np.float32)


Single = Callable[[Floats, np.random.Generator, _Sight], Floats]
Mixing = Callable[[Floats, Floats, np.random.Generator], tuple[Floats, Floats]]
SINGLE: Mapping[str, Single] = {
    "flip": _flip,
    "shift": _shift,
    "crop": _crop,
    "rotate": _rotate,
    "colour": _colour,
    "noise": _noise,
    "erase": _erase,
}
MIXING: Mapping[str, Mixing] = {"mixup": _mixup, "cutmix": _cutmix}
_NEED_PLACES = (SINGLE.keys() | MIXING.keys()) - {"noise", "mixup"}
