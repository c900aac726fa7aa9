"""Runs float islands of the integer graph in onnxruntime, one cached session per island."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy.typing as npt
import onnxruntime as ort

from ..executor import open_session
from .graph import Island

_sessions: WeakKeyDictionary[Island, ort.InferenceSession] = WeakKeyDictionary()


def run_island(op: Island, inputs: tuple[npt.NDArray[Any], ...]) -> tuple[npt.NDArray[Any], ...]:
    """Evaluates the island's ONNX model on arrays that carry the batch as dimension 0."""
    session = _sessions.get(op)
    if session is None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = _sessions[op] = open_session(op.model, options)
    names = [value.name for value in session.get_inputs()]
    return tuple(session.run(None, dict(zip(names, inputs, strict=True))))
