"""Tensors of an untrusted file, checked before their data is touched."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from ...errors import InvalidModelError, LimitError, UnsupportedError
from ..untrusted import Text, shown
from .external import ExternalData
from .limits import RAISE_HINT, Limits

Array = npt.NDArray[Any]

# element type -> (numpy type, bits, the typed field of TensorProto, numbers per entry of that field)
_TYPES: dict[int, tuple[type[Any], int, str]] = {
    onnx.TensorProto.FLOAT: (np.float32, 32, "float_data"),
    onnx.TensorProto.DOUBLE: (np.float64, 64, "double_data"),
    onnx.TensorProto.FLOAT16: (np.float16, 16, "int32_data"),
    onnx.TensorProto.BFLOAT16: (ml_dtypes.bfloat16, 16, "int32_data"),
    onnx.TensorProto.BOOL: (np.bool_, 8, "int32_data"),
    onnx.TensorProto.INT8: (np.int8, 8, "int32_data"),
    onnx.TensorProto.UINT8: (np.uint8, 8, "int32_data"),
    onnx.TensorProto.INT16: (np.int16, 16, "int32_data"),
    onnx.TensorProto.UINT16: (np.uint16, 16, "int32_data"),
    onnx.TensorProto.INT32: (np.int32, 32, "int32_data"),
    onnx.TensorProto.UINT32: (np.uint32, 32, "uint64_data"),
    onnx.TensorProto.INT64: (np.int64, 64, "int64_data"),
    onnx.TensorProto.UINT64: (np.uint64, 64, "uint64_data"),
    onnx.TensorProto.INT4: (ml_dtypes.int4, 4, "int32_data"),
    onnx.TensorProto.UINT4: (ml_dtypes.uint4, 4, "int32_data"),
}
_DATA_FIELDS = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data")


def type_name(kind: int) -> str:
    """ONNX's name of an element type, for messages."""
    known = kind in onnx.TensorProto.DataType.values()
    return onnx.TensorProto.DataType.Name(kind) if known else f"number {kind}"


def check_type(kind: int, where: Text) -> None:
    """Refuses element types that Prunus cannot carry."""
    if kind not in _TYPES:
        raise UnsupportedError(
            "The model uses an element type that Prunus cannot compile.",
            code="element-type",
            where=shown(where),
            why=f"The type is {type_name(kind)}.",
            hint="Export the model with float, integer or boolean tensors.",
        )


def byte_count(kind: int, dims: tuple[int, ...]) -> int:
    """Bytes that a tensor takes, 4-bit types packed in pairs."""
    return (math.prod(dims) * _TYPES[kind][1] + 7) // 8


def check_size(kind: int, dims: tuple[int, ...], where: Text, limits: Limits) -> int:
    """Checks one tensor's rank and size; returns its bytes."""
    if len(dims) > limits.rank:
        raise LimitError(
            "A tensor has too many dimensions.",
            code="rank-limit",
            where=shown(where),
            why=f"It has {len(dims)}; the limit is {limits.rank}.",
            hint=RAISE_HINT,
        )
    size = byte_count(kind, dims)
    if size > limits.tensor_bytes:
        raise LimitError(
            "A tensor is too large.",
            code="tensor-limit",
            where=shown(where),
            why=f"Shape {list(dims)} of {type_name(kind)} takes {readable(size)}; "
            f"the limit is {readable(limits.tensor_bytes)}.",
            hint=RAISE_HINT,
        )
    return size


def readable(size: int) -> str:
    """A number of bytes for people: 1.5 GiB."""
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):,.1f} {unit}" if size < 1 << 60 else f"more than {1 << 20:,} TiB"
    return f"{size} bytes"


def read_tensor(tensor: onnx.TensorProto, where: Text, external: ExternalData, limits: Limits) -> Array:
    """The tensor as an array (its own copy of the data).

    Raises:
        InvalidModelError: dimensions and data do not fit, or the data holds a NaN, or an infinity among other numbers.
        UnsupportedError, LimitError: the element type is foreign, the tensor too large.
    """
    dims = tuple(tensor.dims)
    check_type(tensor.data_type, where)
    if any(dim < 0 for dim in dims):
        raise _invalid("tensor-shape", where, f"Its shape {list(dims[:16])} has a negative dimension.")
    if 0 in dims and len(dims) > 1:
        raise _invalid("zero-size", where, f"Its shape {list(dims[:16])} has no elements.")
    size = check_size(tensor.data_type, dims, where, limits)
    if tensor.HasField("segment"):
        raise _invalid("tensor-data", where, "It is stored in segments, which no tool writes.")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        array = _from_raw(external.read(tensor, size), tensor.data_type, dims)
    else:
        array = _inline(tensor, where, size, dims)
    _check_finite(array, where)
    return array


def _inline(tensor: onnx.TensorProto, where: Text, size: int, dims: tuple[int, ...]) -> Array:
    """Data inside the file: raw bytes, or numbers in the one field that belongs to the type."""
    if len(tensor.external_data):
        raise _invalid("tensor-data", where, "It names external data but says that its data is inside the file.")
    filled = [name for name in _DATA_FIELDS if len(getattr(tensor, name))]
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if filled or len(raw) != size:
            raise _invalid("tensor-data", where, f"Its shape {list(dims)} needs {size} bytes; {len(raw)} are there.")
        return _from_raw(raw, tensor.data_type, dims)
    dtype, bits, field = _TYPES[tensor.data_type]
    entries = (math.prod(dims) + 1) // 2 if bits == 4 else math.prod(dims)
    if filled not in ([], [field]) or len(getattr(tensor, field)) != entries:
        found = sum(len(getattr(tensor, name)) for name in filled)
        raise _invalid(
            "tensor-data",
            where,
            f"Its shape {list(dims)} needs {entries} numbers in {field}; there are {found}, in {filled or 'no field'}.",
        )
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid("tensor-data", where, f"Its numbers do not fit its type ({str(error)[:200]}).") from error
    return np.asarray(array, dtype=dtype)


def _from_raw(raw: bytes, kind: int, dims: tuple[int, ...]) -> Array:
    dtype, bits, _ = _TYPES[kind]
    if bits == 4:
        packed = np.frombuffer(raw, dtype=np.uint8)
        nibbles = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)[: math.prod(dims)]
        signed = (nibbles.astype(np.int8) ^ 8) - 8 if kind == onnx.TensorProto.INT4 else nibbles
        return signed.astype(dtype).reshape(dims)
    array = np.frombuffer(raw, dtype=np.dtype(dtype).newbyteorder("<")).reshape(dims)
    return array.view(np.uint8).astype(bool).reshape(dims) if kind == onnx.TensorProto.BOOL else array


def _check_finite(array: Array, where: Text) -> None:
    """NaN never; an infinity only as a single number (the bound of a Clip, the filler of a mask)."""
    if array.dtype.kind not in "fV" and array.dtype != ml_dtypes.bfloat16:
        return
    if np.isnan(array).any():
        raise _invalid("weight-not-finite", where, "It holds NaN.", "The training diverged; export a sound checkpoint.")
    if array.size > 1 and np.isinf(array).any():
        hint = "Clip the weights, or write masks with a large finite number such as -1e9."
        raise _invalid("weight-not-finite", where, "It holds an infinity.", hint)


def _invalid(
    code: str, where: Text, why: str, hint: str = "The file is damaged; export the model again."
) -> InvalidModelError:
    return InvalidModelError("A tensor of the model is not valid.", code=code, where=shown(where), why=why, hint=hint)
