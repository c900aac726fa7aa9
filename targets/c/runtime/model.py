"""The model for Python, through build/libprunus_model.so (`make library`). Needs Python 3.10 and numpy."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
LIBRARY = HERE / "build" / "libprunus_model.so"

Value = dict[str, Any]  # an input or output as bundle.json describes it


class Model:
    """One sample after the other, on the library's own static memory: one thread at a time."""

    def __init__(self, library: str | Path = LIBRARY) -> None:
        self._library = ctypes.CDLL(str(library))
        description = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
        self.inputs: list[Value] = description["inputs"]
        self.outputs: list[Value] = description["outputs"]

    def __call__(self, *arrays: Any) -> dict[str, np.ndarray]:
        """Arrays [n, ...], one per input: real numbers, or integers of the input's own type where the model takes such.
        Returns {name: [n, ...]}: real numbers, or integers where the model gives such."""
        feeds = [self._batch(value, array) for value, array in zip(self.inputs, arrays, strict=True)]
        rows = [self._run(sample) for sample in zip(*feeds, strict=True)]
        return {value["name"]: np.stack([row[i] for row in rows]) for i, value in enumerate(self.outputs)}

    def _batch(self, value: Value, array: Any) -> np.ndarray:
        batch = np.ascontiguousarray(array, _dtype(value))
        if list(batch.shape[1:]) != value["shape"]:
            raise ValueError(f"{value['name']}: shape [n, {', '.join(map(str, value['shape']))}] expected")
        return batch

    def _run(self, sample: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        for value, x in zip(self.inputs, sample, strict=True):
            if value["float"]:
                self._convert("quantize", value, x.ctypes.data, self._place(value))
            else:
                ctypes.memmove(self._place(value), x.ctypes.data, x.nbytes)
        if self._library.prunus_model_run():
            raise RuntimeError("The model and its kernels do not belong together.")
        return [self._read(value) for value in self.outputs]

    def _read(self, value: Value) -> np.ndarray:
        y = np.empty(value["shape"], _dtype(value))
        if value["float"]:
            self._convert("dequantize", value, self._place(value), y.ctypes.data)
        else:
            ctypes.memmove(y.ctypes.data, self._place(value), y.nbytes)
        return y

    def _place(self, value: Value) -> int:
        """The address of an input or output in the arena."""
        function = getattr(self._library, f"prunus_model_{value['symbol']}")
        function.restype = ctypes.c_void_p
        return int(function())

    def _convert(self, what: str, value: Value, source: int, target: int) -> None:
        function = getattr(self._library, f"prunus_model_{what}_{value['symbol']}")
        function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        function(source, int(np.prod(value["shape"])), target)


def _dtype(value: Value) -> str:
    return "float32" if value["float"] else str(value["dtype"])


if __name__ == "__main__":
    model = Model(*sys.argv[1:])
    for name, y in model(*(np.zeros((1, *value["shape"])) for value in model.inputs)).items():
        sys.stdout.write(f"{name} {y.shape} {y.ravel()[:10]}\n")
