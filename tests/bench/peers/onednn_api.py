"""The small part of oneDNN's C interface (version 3) that one int8 layer needs, through ctypes.

The library comes from the PyPI package onednn-cpu-gomp, which brings no headers: the constants are those of
`dnnl_types.h` of version 3.2. Names are oneDNN's own. A status other than success raises `OneDnnError`.
"""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CPU, IN_ORDER, FORWARD_INFERENCE, CONVOLUTION_AUTO, TAG_ANY = 1, 1, 96, 3, 1
SRC, DST, WEIGHTS, BIAS, SCALES = 1, 17, 33, 41, 4096
QUERY_IMPLEMENTATION, QUERY_SRC, QUERY_WEIGHTS, QUERY_DST = 8, 129, 131, 133
DATA_TYPES: Mapping[Any, int] = {np.dtype(np.float32): 3, np.dtype(np.int8): 5, np.dtype(np.uint8): 6}
ALLOCATE = c.c_void_p(-1)
MAX_DIMENSIONS = 12


class OneDnnError(RuntimeError):
    """A call that failed, with oneDNN's status number."""


class _Version(c.Structure):
    _fields_ = [("major", c.c_int), ("minor", c.c_int), ("patch", c.c_int), ("hash", c.c_char_p)]


class ExecArg(c.Structure):
    _fields_ = [("arg", c.c_int), ("memory", c.c_void_p)]


def library_path() -> Path | None:
    """libdnnl.so of the package onednn-cpu-gomp, or None where that is not installed."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        listed = files("onednn-cpu-gomp") or []
    except PackageNotFoundError:
        return None
    found = sorted(Path(os.fspath(each.locate())).resolve() for each in listed if each.name == "libdnnl.so")
    return found[0] if found else None


def dims(values: Sequence[int]) -> c.Array[c.c_int64]:
    return (c.c_int64 * MAX_DIMENSIONS)(*values)


class OneDnn:
    """The loaded library with one CPU engine and one stream. Lives as long as the process, as do its objects."""

    def __init__(self, path: Path):
        self.library = c.CDLL(str(path))
        self.library.dnnl_version.restype = c.POINTER(_Version)
        found = self.library.dnnl_version().contents
        self.version = f"{found.major}.{found.minor}.{found.patch}"
        if found.major != 3:
            raise OneDnnError(f"oneDNN {self.version} has another interface than version 3")
        self.engine, self.stream = c.c_void_p(), c.c_void_p()
        self.call("engine_create", c.byref(self.engine), CPU, c.c_size_t(0))
        self.call("stream_create", c.byref(self.stream), self.engine, IN_ORDER)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, f"dnnl_{name}")(*arguments)
        if status:
            raise OneDnnError(f"dnnl_{name}: status {status}")

    def create(self, name: str, *arguments: Any) -> c.c_void_p:
        """Calls dnnl_NAME, whose first argument receives the new object."""
        made = c.c_void_p()
        self.call(name, c.byref(made), *arguments)
        return made

    # -- memory ---------------------------------------------------------------------------------------------------

    def any_layout(self, shape: Sequence[int], dtype: Any) -> c.c_void_p:
        return self.create("memory_desc_create_with_tag", len(shape), dims(shape), DATA_TYPES[np.dtype(dtype)], TAG_ANY)

    def strided(self, shape: Sequence[int], dtype: Any, order: Sequence[int] | None = None) -> c.c_void_p:
        """Dense, the dimensions from the outermost to the innermost in `order` (default: as they are)."""
        strides, step = [0] * len(shape), 1
        for axis in reversed(order if order is not None else range(len(shape))):
            strides[axis], step = step, step * shape[axis]
        kind = DATA_TYPES[np.dtype(dtype)]
        return self.create("memory_desc_create_with_strides", len(shape), dims(shape), kind, dims(strides))

    def memory(self, description: c.c_void_p) -> c.c_void_p:
        return self.create("memory_create", description, self.engine, ALLOCATE)

    def copy_in(self, memory: c.c_void_p, array: npt.NDArray[Any]) -> None:
        pointer = c.c_void_p()
        self.call("memory_get_data_handle", memory, c.byref(pointer))
        dense = np.ascontiguousarray(array)
        c.memmove(pointer, dense.ctypes.data, dense.nbytes)

    def copy_out(self, memory: c.c_void_p, shape: Sequence[int], dtype: Any) -> npt.NDArray[Any]:
        array = np.empty(tuple(shape), dtype)
        pointer = c.c_void_p()
        self.call("memory_get_data_handle", memory, c.byref(pointer))
        c.memmove(array.ctypes.data, pointer, array.nbytes)
        return array

    def plain(self, array: npt.NDArray[Any]) -> c.c_void_p:
        """A memory of the array's own layout with its contents."""
        memory = self.memory(self.strided(array.shape, array.dtype))
        self.copy_in(memory, array)
        return memory

    # -- primitives -----------------------------------------------------------------------------------------------

    def description_of(self, primitive_desc: c.c_void_p, what: int) -> c.c_void_p:
        query = self.library.dnnl_primitive_desc_query_md
        query.restype = c.c_void_p
        found = query(primitive_desc, what, 0)
        if not found:
            raise OneDnnError(f"no memory description for query {what}")
        return c.c_void_p(found)

    def implementation(self, primitive_desc: c.c_void_p) -> str:
        text = c.c_char_p()
        self.call("primitive_desc_query", primitive_desc, QUERY_IMPLEMENTATION, 0, c.byref(text))
        return (text.value or b"").decode()

    def execute(self, primitive: c.c_void_p, arguments: c.Array[ExecArg]) -> None:
        self.call("primitive_execute", primitive, self.stream, len(arguments), arguments)

    def reorder(self, source: c.c_void_p, description: c.c_void_p) -> c.c_void_p:
        """A new memory of this description with the contents of `source`."""
        target = self.memory(description)
        from_desc, to_desc = c.c_void_p(), c.c_void_p()
        self.call("memory_get_memory_desc", source, c.byref(from_desc))
        self.call("memory_get_memory_desc", target, c.byref(to_desc))
        made = self.create("reorder_primitive_desc_create", from_desc, self.engine, to_desc, self.engine, c.c_void_p())
        self.execute(self.create("primitive_create", made), arguments({SRC: source, DST: target}))
        return target


def arguments(memories: Mapping[int, c.c_void_p]) -> c.Array[ExecArg]:
    return (ExecArg * len(memories))(*(ExecArg(key, memory) for key, memory in memories.items()))
