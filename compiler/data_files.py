"""Reads data sets from disk: `.npz`, `.npy`, or a folder of them, and fits their arrays to a model's inputs."""

from __future__ import annotations

import difflib
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .errors import LimitError, UsageError
from .model.model import Model
from .model.untrusted import shown

Array = npt.NDArray[Any]
_MAGIC = (b"PK", b"\x93NUMPY")  # of .npz and .npy
_MAX_BYTES = 16 << 30  # of one unpacked .npz


class DataWarning(UserWarning):
    """The data can be used, but hardly as meant."""


def read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of a file or folder by name.

    Raises:
        UsageError: no such file, not a data file, damaged, or of Python objects.
        LimitError: it unpacks to an absurd size.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise UsageError(
            "The data file cannot be opened." if not path.exists() else "The data is not a regular file.",
            code="data-file",
            where=str(path),
            hint="Give an .npz file with an array x of input samples (and y of labels).",
        )
    return _read_file(path)


def _read_folder(folder: Path) -> dict[str, Array]:
    parts = sorted(folder.glob("*.npz"))
    single = sorted(folder.glob("*.npy"))
    if bool(parts) == bool(single):
        raise UsageError(
            "The data folder holds no data." if not parts else "The data folder holds both .npz and .npy files.",
            code="data-empty" if not parts else "data-file",
            where=str(folder),
            hint="Put x.npy (and y.npy) into it, or .npz files that are parts of one data set.",
        )
    if single:
        return {file.stem: _read_file(file)["x"] for file in single}
    read = [_read_file(file) for file in parts]
    names = sorted(set.intersection(*(set(arrays) for arrays in read)))
    try:
        return {name: np.concatenate([arrays[name] for arrays in read]) for name in names}
    except ValueError as error:
        raise UsageError(
            "The parts of the data set do not fit together.",
            code="data-shape",
            where=str(folder),
            why=str(error),
            hint="Give each array the same shape in every file, but for the first dimension.",
        ) from error


def _read_file(path: Path) -> dict[str, Array]:
    hint = "Save plain numeric arrays with numpy.savez(FILE, x=..., y=...)."
    try:
        with path.open("rb") as file:
            if not file.read(6).startswith(_MAGIC):  # numpy would take it for a pickle
                raise ValueError("It does not begin like one.")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            _check_unpacked_size(sum(entry.file_size for entry in loaded.zip.infolist()), path)
            arrays = {name: loaded[name] for name in loaded.files}
        return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError) as error:
        if "Object arrays" in str(error):
            why = "Unpickling would run code from the file."
            raise _unfit("data-pickle", "The data holds Python objects.", str(path), why, hint) from error
        what = "The data file is damaged, or not an .npz or .npy file."
        raise _unfit("data-file", what, str(path), str(error)[:200], hint) from error


def _check_unpacked_size(size: int, path: Path) -> None:
    if size > _MAX_BYTES:
        raise LimitError(
            "The data set is too large.",
            code="data-limit",
            where=str(path),
            why=f"Unpacked it takes {size:,} bytes; the limit is {_MAX_BYTES:,}.",
            hint="Give fewer samples; a few hundred are enough to calibrate and to score.",
        )


def fit(arrays: Mapping[str, Array], model: Model, where: str) -> tuple[dict[str, Array], Array | None]:
    """(inputs by plain name, labels), each checked against the model."""
    inputs: dict[str, Array] = {}
    used = set()
    for value in model.graph.inputs:
        key = _key(arrays, value, model, where)
        used.add(key)
        inputs[value.name or ""] = _fit_input(arrays[key], key, value, where)
    labels = arrays.get("y") if "y" not in used else None
    if labels is not None:
        labels = _fit_labels(labels, where)
    else:
        _warn_of_near_labels(arrays, used, where)
    if any(len(array) == 1 for array in inputs.values()):
        warnings.warn(
            f"{where} holds a single sample; ranges and accuracy will mean little.", DataWarning, stacklevel=4
        )
    return inputs, labels


def _key(arrays: Mapping[str, Array], value: ir.Value, model: Model, where: str) -> str:
    """The name under which the data holds an input."""
    plain = value.name or ""
    original = model.original(plain)
    for name in (original, plain, "x") if len(model.graph.inputs) == 1 else (original, plain):
        if name in arrays:
            return name
    wanted = "x" if len(model.graph.inputs) == 1 else shown(original)
    near = difflib.get_close_matches(original, sorted(arrays), 1) or difflib.get_close_matches(
        wanted, sorted(arrays), 1, 0.2
    )
    hint = f"Save it under the name {wanted}, with the values and the type that the model was trained on."
    if near:
        hint = f"Is it {shown(near[0])}? {hint}"
    raise UsageError(
        f"The data has no array for input {shown(original)}.",
        code="data-missing-input",
        where=where,
        why="Its arrays are: " + (", ".join(shown(name) for name in sorted(arrays)[:12]) or "none") + ".",
        hint=hint,
    )


def _fit_input(array: Array, key: str, value: ir.Value, where: str) -> Array:
    """The array as the input wants it."""
    assert value.shape is not None
    assert value.dtype is not None
    name, dims = shown(key), [dim if isinstance(dim, int) else "n" for dim in value.shape]
    got = list(array.shape)
    if array.ndim and len(array) == 0:
        raise _unfit("data-empty", f"Array {name} has no samples.", where, f"Its shape is {got}.", "Give some samples.")
    if len(got) != len(dims) or got[1:] != dims[1:]:
        expected = ["n", *dims[1:]]
        raise _unfit(
            "data-shape",
            f"Array {name} does not have the shape of the input.",
            where,
            f"Expected {_text(expected)}, got {_text(got)}.",
            _shape_hint(name, got, expected),
        )
    if isinstance(dims[0], int) and got and got[0] % dims[0]:
        why = f"The model takes {dims[0]} samples at a time; there are {got[0]}."
        raise _unfit("data-batch", f"Array {name} does not divide into batches.", where, why, "Leave some samples out.")
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        bad = int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(axis=1)))
        why = f"The first such sample is number {bad}."
        raise _unfit("data-not-finite", f"Array {name} holds NaN or infinity.", where, why, "Clean the data first.")
    return _cast(array, np.dtype(value.dtype.numpy()), name, where)


def _cast(array: Array, wanted: np.dtype[Any], name: str, where: str) -> Array:
    """Casts where no value changes; floating-point numbers may be rounded, but must not overflow."""
    if array.dtype == wanted:
        return array
    if array.dtype.kind in "biuf":
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(wanted)
            rounding = array.dtype.kind == "f" and wanted.kind == "f"
            fits = np.isfinite(cast).all() if rounding else np.array_equal(cast.astype(array.dtype), array)
        if fits:
            return cast
    raise _unfit(
        "data-type",
        f"Array {name} does not have the type of the input.",
        where,
        f"Expected {wanted}, got {array.dtype}, and converting it would change values.",
        f"Convert it yourself, as the model was trained: scale and shift included, then .astype('{wanted}').",
    )


def _fit_labels(labels: Array, where: str) -> Array:
    if labels.ndim == 0 or labels.dtype.kind not in "biuf" or not np.isfinite(labels).all():
        why = f"It has type {labels.dtype} and shape {list(labels.shape)}."
        raise _unfit(
            "data-labels", "The labels y are not one finite number per sample.", where, why, "Give class numbers."
        )
    return labels


def _warn_of_near_labels(arrays: Mapping[str, Array], used: set[str], where: str) -> None:
    near = [
        name for name in sorted(set(arrays) - used) if name.lower() in ("y", "label", "labels", "target", "targets")
    ]
    if near:
        warnings.warn(
            f"{where} has no labels y; its array {shown(near[0])} is not used. Call it y if it holds the labels.",
            DataWarning,
            stacklevel=5,
        )


def _text(dims: list[Any]) -> str:
    return "[" + ", ".join(map(str, dims)) + "]"


def _shape_hint(name: str, got: list[Any], expected: list[Any]) -> str:
    rest = expected[1:]
    if got == rest:
        return f"Add the sample dimension: {name}[None]."
    if len(got) == len(expected) == 4 and [got[3], got[1], got[2]] == rest:
        return f"The channels are last in the data and first in the model: {name}.transpose(0, 3, 1, 2)."
    if len(got) == len(expected) == 4 and [got[2], got[3], got[1]] == rest:
        return f"The channels are first in the data and last in the model: {name}.transpose(0, 2, 3, 1)."
    if got and all(isinstance(dim, int) for dim in rest) and np.prod(got[1:]) == np.prod(rest):
        return f"The number of elements fits: {name}.reshape(-1, {', '.join(map(str, rest))})."
    return "Give samples of the shape that the model was trained on."


def _unfit(code: str, what: str, where: str, why: str, hint: str) -> UsageError:
    return UsageError(what, code=code, where=where, why=why, hint=hint)
