"""`cluster_weights`: weights of a layer share few values, for files that hold a codebook and short indices."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..coding.cluster import cluster
from ..errors import UsageError
from ..model.edit import set_weight, weight
from ..model.model import Model
from .base import Context, Note, PassResult

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_INTEGERS = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4)

Array = npt.NDArray[Any]


class ClusterWeights:
    """Gives every weight of Conv, ConvTranspose, Gemm and MatMul at most 2^`options.cluster` values (k-means).

    Of a quantized model the integers are clustered, by integers, so that scales and ranges stay what they were. Zeros
    stay. The step loses accuracy and is therefore only taken when asked for; a note per layer says how much.

    Raises:
        UsageError: the number of bits is not from 2 to 8 (code `bad-cluster`).
    """

    name: ClassVar[str] = "cluster_weights"
    summary: ClassVar[str] = "Sharing values among weights"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        bits = context.options.cluster
        if bits is None:
            return PassResult(model, False)
        if not 2 <= bits <= 8:
            raise UsageError(
                f"Weights cannot share values by {bits} bits.",
                code="bad-cluster",
                hint="Give a number from 2 (four values per layer) to 8.",
            )
        result = model.clone()
        done: dict[ir.Value, Note | None] = {}
        for node in result.graph:
            if node.op_type in LINEAR and (value := _weight_of(node)) is not None and value not in done:
                done[value] = _share(value, bits, str(node.name))
        notes = [note for note in done.values() if note is not None]
        return PassResult(result, True, tuple(notes)) if notes else PassResult(model, False)


def _weight_of(node: ir.Node) -> ir.Value | None:
    """The initializer with a layer's weights: its own, or the integers in front of a DequantizeLinear."""
    value = node.inputs[1]
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type == "DequantizeLinear":
        centre = weight(producer.inputs[2]) if len(producer.inputs) > 2 else None
        value = producer.inputs[0] if centre is None or not centre.any() else None
    return value if weight(value) is not None else None


def _share(value: ir.Value, bits: int, where: str) -> Note | None:
    """Clusters one weight in place; None where it has no more values than it may have."""
    before = weight(value)
    assert before is not None
    plain = before.astype(np.int8 if np.any(before < 0) else np.uint8) if value.dtype in _INTEGERS else before
    after = cluster(plain, bits)
    if np.array_equal(after, plain):
        return None
    set_weight(value, after.astype(before.dtype))
    signal, noise = (
        np.square(plain, dtype=np.float64).sum(),
        np.square(np.subtract(after, plain, dtype=np.float64)).sum(),
    )
    return Note(
        "weights-shared",
        f"{np.unique(after).size} values instead of {np.unique(plain).size}, SQNR of the weights "
        f"{10 * np.log10(signal / noise):.1f} dB.",
        where,
        "This loses accuracy; compare it with the report's, or with `prunus diff`.",
    )
