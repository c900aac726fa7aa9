"""Weights in the forms of the packed file, and as N:M pairs for machines that multiply those. All lossless.

| form | what is stored |
|---|---|
| `dense` | every weight |
| `qb4`, `qb16`, `qb32` | blocks of 4, 16, 32 output x 4 input channels that have a nonzero, and a bit per block |
| `ts32x64` | the same with blocks of 32 x 64: what an AMX tile multiplies |
| `bitmask` | the nonzeros, and a bit per weight |
| `n:m` such as `2:4` | n of every m consecutive input channels, and where each stands: sparse tensor cores |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._core import KernelError, decode_weights, encode_weights, smallest_weight_form

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PackedWeights:
    """int8 weights [out, in, ...] in one form.

    `data` holds the bytes of the form; for n:m the values [out, taps, in / m, n] as int8, and `indices` of the same
    shape says which of the m channels each is, in ascending order. `nbytes` counts indices with as few bits as needed.
    """

    form: str
    shape: tuple[int, ...]
    data: Array
    indices: Array | None = None

    @property
    def nbytes(self) -> int:
        if self.indices is None:
            return int(self.data.nbytes)
        _, m = _n_m(self.form)
        return int(self.data.size + -(-self.indices.size * (m - 1).bit_length() // 8))


def pack(weight: Array, form: str = "smallest") -> PackedWeights:
    """int8 weights [out, in, ...] in a form of the table above; `smallest` is what a packed file would choose.

    KernelError for an unknown form, and where weights do not fit into n:m.
    """
    if re.fullmatch(r"\d+:\d+", form):
        return _pack_n_m(weight, form)
    chosen = smallest_weight_form(weight) if form == "smallest" else form
    return PackedWeights(chosen, weight.shape, encode_weights(weight, chosen))


def unpack(packed: PackedWeights) -> Array:
    """The weights that were packed."""
    if packed.indices is None:
        return decode_weights(packed.data, packed.form, packed.shape)
    return _unpack_n_m(packed)


def _n_m(form: str) -> tuple[int, int]:
    n, m = (int(number) for number in form.split(":"))
    if not 1 <= n <= m <= 256:
        raise KernelError(f"weights: E_TYPE: {form} is no n:m form, 1 <= n <= m <= 256")
    return n, m


def _taps_first(weight: Array) -> Array:
    return weight.reshape(*weight.shape[:2], -1).swapaxes(1, 2)


def _pack_n_m(weight: Array, form: str) -> PackedWeights:
    n, m = _n_m(form)
    if weight.dtype != np.int8:
        raise TypeError("weights must be an array of int8")
    if weight.ndim < 2 or weight.size == 0 or weight.shape[1] % m:
        raise KernelError(f"weights: E_SHAPE: {form} needs input channels in multiples of {m}, found {weight.shape}")
    rows = _taps_first(weight)
    groups = rows.reshape(*rows.shape[:2], -1, m)
    most = int(np.count_nonzero(groups, axis=-1).max())
    if most > n:
        raise KernelError(f"weights: E_RANGE: {most} of {m} consecutive weights are not zero, {form} holds {n}")
    kept = np.argsort(groups == 0, axis=-1, kind="stable")[..., :n]  # the nonzeros first, filled up with zeros
    indices = np.sort(kept, axis=-1).astype(np.uint8)
    return PackedWeights(form, weight.shape, np.take_along_axis(groups, indices.astype(np.int64), -1), indices)


def _unpack_n_m(packed: PackedWeights) -> Array:
    _, m = _n_m(packed.form)
    if packed.indices is None or packed.indices.shape != packed.data.shape or packed.indices.max(initial=0) >= m:
        raise KernelError(f"weights: E_FILE: indices that {packed.form} does not have")
    groups = np.zeros((*packed.data.shape[:-1], m), np.int8)
    np.put_along_axis(groups, packed.indices.astype(np.int64), packed.data, -1)
    rows = groups.reshape(*groups.shape[:2], -1)
    return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(packed.shape)
