"""Runs ONNX models in onnxruntime: the witness for every float and QDQ model in the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _ort_errors

from .errors import InvalidModelError
from .model.model import Model

Array = npt.NDArray[Any]

# onnxruntime's errors share no base class of their own
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    _ort_errors.Fail,
    _ort_errors.InvalidArgument,
    _ort_errors.InvalidGraph,
    _ort_errors.InvalidProtobuf,
    _ort_errors.NotImplemented,
    _ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)


# quantizes the weights of a float layer that stands between quantizers, where the model means it to stay float
NOT_AS_WRITTEN = ["WeightBiasQuantization"]


def open_session(model: str | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """The one way in which sessions are opened: on the CPU, with every float layer computed as written."""
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=NOT_AS_WRITTEN)


def expose(proto: onnx.ModelProto, fetch: Sequence[str]) -> onnx.ModelProto:
    """A copy of the model with further values as graph outputs (their types are inferred by the runtime)."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    present = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in fetch if name not in present)
    return copy


class Session:
    """An onnxruntime session on one model. Models with a fixed batch are fed in pieces of that size.

    `optimise=False` switches graph optimisations off, so that every fetched value is computed as written.
    """

    def __init__(
        self,
        model: Model | onnx.ModelProto,
        fetch: Sequence[str] | None = None,
        *,
        optimise: bool = True,
        threads: int = 2,
    ) -> None:
        proto = model.to_proto() if isinstance(model, Model) else model
        self.outputs = list(fetch) if fetch is not None else [value.name for value in proto.graph.output]
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        # without VNNI the u8 x s8 kernels saturate in int16; this asks for the exact ones
        options.add_session_config_entry("session.x64quantprecision", "1")
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = open_session(expose(proto, self.outputs).SerializeToString(), options)
        except RUNTIME_ERRORS as error:
            raise InvalidModelError(
                "onnxruntime does not load the model.", code="runtime-rejects-model", why=str(error)[:2000]
            ) from error
        self.inputs = {value.name: value for value in self._session.get_inputs()}

    def _fixed_batch(self, whole: Mapping[str, Array]) -> int | None:
        samples = [value for name, value in self.inputs.items() if name not in whole]
        sizes = {v.shape[0] for v in samples if v.shape and isinstance(v.shape[0], int)}
        return min(sizes) if sizes else None

    def run(
        self, feeds: Mapping[str, Array], batch: int = 64, whole: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """All fetched values for a set of samples, [n, ...] each; at most `batch` samples at a time.

        Inputs in `whole` are the same for every sample.
        """
        whole = whole or {}
        size = self._fixed_batch(whole) or batch
        count = len(next(iter(feeds.values())))
        pieces: list[list[Array]] = []
        for start in range(0, count, size):
            piece = {
                name: whole[name] if name in whole else np.ascontiguousarray(feeds[name][start : start + size])
                for name in self.inputs
            }
            pieces.append(self._session.run(self.outputs, piece))
        return {
            name: np.concatenate(parts) for name, parts in zip(self.outputs, zip(*pieces, strict=True), strict=True)
        }


def run_model(
    model: Model | onnx.ModelProto,
    feeds: Mapping[str, Array],
    fetch: Sequence[str] | None = None,
    *,
    optimise: bool = True,
    batch: int = 64,
) -> dict[str, Array]:
    """One-off `Session(model, fetch).run(feeds)`."""
    return Session(model, fetch, optimise=optimise).run(feeds, batch)
