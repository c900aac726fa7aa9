"""Two models side by side: how far apart values are, layer by layer, and which layer brings the error in.

Matching
--------
Values of two models belong together when they have the same original name (`Model.original`); a value that Prunus made
goes by its plain name. Passes keep a value's name as long as it means the same, so a compressed model matches the model
that it came from, in memory or after either was saved and loaded. In a quantized model the dequantized value stands in
for the float value that was quantized. A tensor of an integer graph is matched through `Op.origin`: the output of the
last of those nodes that the reference has. Where the one consumer of a value is gone (a batch normalisation folded into
its convolution), the candidate's value stands for the consumer's output. Values of different shapes (channels cut away,
other layouts) are left out, and so are values that equalising rescaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir

from ..data import Data
from ..errors import UsageError
from ..executor import Session
from ..integer import graph as ir
from ..integer import ops
from ..model import shapes
from ..model.model import Model

Array = npt.NDArray[Any]

NOTICEABLE_DB = 60.0  # an error below -60 dB is arithmetic noise, whatever the other layers do
OUTLIER_DB = 20.0  # a layer this much worse than the median layer is bad
HOPELESS_DB = 10.0  # and so is one this bad by itself


@dataclass(frozen=True)
class Parity:
    """How a candidate differs from its reference.

    `sqnr_db`: 10 log10(sum ref^2 / sum (ref - cand)^2); inf when equal, -inf for NaN, infinities or a silent reference.
    `max_relative_error`: the largest absolute error over the largest absolute reference value.
    `agreement`: share of samples (first dimension) whose largest element is the same.
    """

    sqnr_db: float
    max_abs_error: float
    max_relative_error: float
    agreement: float
    elements: int


def compare(reference: Array, candidate: Array) -> Parity:
    """Compares two arrays of one shape, [samples, ...]. Raises UsageError (`parity-shape`) when shapes differ."""
    if reference.shape != candidate.shape:
        raise UsageError(
            "Arrays of different shapes cannot be compared.",
            code="parity-shape",
            why=f"The reference is {reference.shape}, the candidate {candidate.shape}.",
        )
    old, new = reference.astype(np.float64), candidate.astype(np.float64)
    rows = len(old) if old.ndim else 1
    agreement = 1.0
    if old.size:
        agreement = float(np.mean(old.reshape(rows, -1).argmax(axis=1) == new.reshape(rows, -1).argmax(axis=1)))
    same = old == new  # infinities of one sign are equal
    error = np.subtract(old, new, where=~same, out=np.zeros_like(old))
    if not np.isfinite(error).all():
        return Parity(-np.inf, np.inf, np.inf, agreement, old.size)
    largest, peak = float(np.abs(error).max(initial=0.0)), float(np.abs(old).max(initial=0.0))
    if largest == 0:
        return Parity(np.inf, 0.0, 0.0, agreement, old.size)
    unit = max(largest, peak)  # keeps the squares in range
    signal, noise = float(np.sum((old / unit) ** 2)), float(np.sum((error / unit) ** 2))
    sqnr = 10 * np.log10(signal / noise) if signal > 0 else -np.inf
    return Parity(float(sqnr), largest, largest / peak if peak else np.inf, agreement, old.size)


@dataclass(frozen=True)
class LayerParity:
    """One layer: `layer` is the plain name of the reference's node, `value` of its output.

    `parity` compares the values as the two models compute them, errors of earlier layers included. `introduced`
    compares with what the candidate's layer computes from the reference's own inputs: the error of this layer alone,
    or, where the layers before it have no match, of the `span` layers up to this one.
    """

    layer: str
    value: str
    parity: Parity
    introduced: Parity
    span: int = 1

    @property
    def sqnr_db(self) -> float:
        """Signal to noise of the layer (or its span) alone."""
        return self.introduced.sqnr_db


def layer_parity(reference: Model, candidate: Model | ir.Graph, data: Data) -> tuple[LayerParity, ...]:
    """Every matched layer in the reference's order. `data` is keyed by the reference's inputs."""
    reference = _with_shapes(reference)
    values = _layers(reference)
    expected = _run(reference, data.inputs, values)
    if isinstance(candidate, Model):
        candidate = _with_shapes(candidate)
        pairs = match_values(reference, candidate)
        whole, alone = _model_values(candidate, pairs, expected, _feeds(reference, candidate, data))
    else:
        pairs = match_tensors(reference, candidate)
        whole, alone = _graph_values(candidate, pairs, expected, data.inputs)
    rows, span = [], 1
    for name, layer in values.items():
        if name in pairs and expected[name].shape == whole[name].shape:
            parity, introduced = (compare(expected[name], found[name]) for found in (whole, alone))
            rows.append(LayerParity(layer, name, parity, introduced, span))
            span = 0
        span += 1
    return tuple(rows)


def first_bad_layer(
    reference: Model, candidate: Model | ir.Graph, data: Data, *, threshold_db: float | None = None
) -> LayerParity | None:
    """The first layer that brings in a large error itself, computed from the reference's inputs; None without one.

    Large means an SQNR below `threshold_db`. By default: below 60 dB, and 20 dB below the median layer or below 10 dB.
    Errors of layers that are compared together add up, so a row that spans n may be 10 log10(n) dB worse.
    """
    rows = layer_parity(reference, candidate, data)
    layers = [float(np.clip(row.sqnr_db, -300, 300)) for row in rows for _ in range(row.span)]
    median = float(np.median(layers)) if layers else 0.0
    for row in rows:
        outlier_db = median - OUTLIER_DB - 10 * np.log10(row.span)
        limit_db = min(NOTICEABLE_DB, max(HOPELESS_DB, outlier_db)) if threshold_db is None else threshold_db
        if row.sqnr_db < limit_db:
            return row
    return None


# -- matching ---------------------------------------------------------------------------------------------------------


def _with_shapes(model: Model) -> Model:
    if all(value.dtype is not None and value.shape is not None for node in model.graph for value in node.outputs):
        return model
    model = model.clone()
    shapes.infer(model.ir)
    return model


def _layers(model: Model) -> dict[str, str]:
    """The float values of a model that carry the batch in front, with the nodes that compute them."""
    first = model.graph.inputs[0].shape
    batch = None if first is None or not first.rank() else first[0]
    return {
        str(value.name): str(node.name)
        for node in model.graph
        for value in node.outputs
        if value.dtype == onnx_ir.DataType.FLOAT
        and value.shape is not None
        and value.shape.rank()
        and value.shape[0] == batch
    }


def match_values(reference: Model, candidate: Model) -> dict[str, str]:
    """Plain names of the reference's values -> plain names of the candidate's."""
    theirs = {str(value.name): value for node in candidate.graph for value in node.outputs if value.name}
    ours = {str(value.name): value for node in reference.graph for value in node.outputs if value.name}
    names = _same_names(reference, candidate, ours, theirs)
    matched, comparable = set(names.values()), _layers(candidate)
    pairs: dict[str, str] = {}
    for old, new in names.items():
        meant = _meant(ours[old], lambda user: any(str(value.name) in names for value in user.outputs))
        if new in comparable and meant is not None:
            pairs[str(meant.name)] = _stand_in(theirs[new], matched)
    return pairs


def _same_names(reference: Model, candidate: Model, ours: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """Values of one original name, or, where more are found so, of the reference's plain name.

    The latter is for a candidate that Prunus made from the reference, saved and loaded again: its file holds the
    reference's plain names, and the user's for graph outputs.
    """
    by_original = {candidate.original(name): name for name in theirs}
    outputs = {str(value.name) for value in reference.graph.outputs}
    user_names = {name: by_original.get(reference.original(name)) for name in ours}
    plain_names = {name: by_original.get(name) or (user_names[name] if name in outputs else None) for name in ours}
    found = [{old: new for old, new in way.items() if new is not None} for way in (user_names, plain_names)]
    return max(found, key=len)


def _meant(value: onnx_ir.Value, survives: Callable[[onnx_ir.Node], bool]) -> onnx_ir.Value | None:
    """The reference's value that a candidate's value of this name stands for; None where that is not clear."""
    while True:
        gone = [user for user in value.consumers() if not survives(user)]
        if not gone or value.is_graph_output():
            return value
        if len(gone) > 1 or len(value.uses()) > 1:
            return None
        value = gone[0].outputs[0]


def _stand_in(value: onnx_ir.Value, matched: set[str]) -> str:
    """The dequantized value behind a quantized one, or the value itself.

    The Clip that narrows a range to fewer bits is passed over; a Clip of the model's own is a layer.
    """
    current = value
    for expected in ("QuantizeLinear", "DequantizeLinear"):
        following = list(current.consumers())
        clips = [n for n in following if n.op_type == "Clip" and str(n.outputs[0].name) not in matched]
        if expected == "QuantizeLinear" and len(clips) == 1:
            following = list(clips[0].outputs[0].consumers())
        following = [node for node in following if node.op_type == expected]
        if len(following) != 1:
            return str(value.name)
        current = following[0].outputs[0]
    return str(current.name)


def match_tensors(reference: Model, graph: ir.Graph) -> dict[str, str]:
    """Plain names of the reference's values -> tensors of an integer graph that was made from it."""
    outputs = {str(node.name): node.outputs[0] for node in reference.graph if len(node.outputs) == 1}
    values = {str(value.name) for value in outputs.values()}
    present = {name for op in graph.ops for name in op.origin}
    pairs: dict[str, str] = {}
    for op in graph.ops:
        known = [outputs[name] for name in op.origin if name in outputs]
        for tensor in op.outputs:
            if isinstance(op, ir.Island) and tensor in values:
                pairs[tensor] = tensor
            elif known and not isinstance(op, ir.Island | ir.Quantize | ir.Dequantize):
                meant = _meant(known[-1], lambda user: user.name in present)
                if meant is not None:
                    pairs[str(meant.name)] = tensor
    return pairs


# -- evaluation -------------------------------------------------------------------------------------------------------


def _run(model: Model | onnx.ModelProto, feeds: Mapping[str, Array], fetch: Iterable[str]) -> dict[str, Array]:
    """Values exactly as the model states them, without the runtime's fusions."""
    return Session(model, list(fetch), optimise=False).run(feeds)


def _feeds(reference: Model, candidate: Model, data: Data) -> dict[str, Array]:
    """The data under the candidate's input names; inputs correspond by position."""
    names = [
        [str(value.name) for value in model.graph.inputs if not value.is_initializer()]
        for model in (reference, candidate)
    ]
    if len(names[0]) != len(names[1]):
        raise UsageError("The two models have different numbers of inputs.", code="models-differ")
    return {new: data.inputs[old] for old, new in zip(*names, strict=True)}


def _model_values(
    candidate: Model, pairs: Mapping[str, str], expected: Mapping[str, Array], feeds: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """(values as computed, values of each layer fed with the reference's), both under the reference's names."""
    found = _run(candidate, feeds, dict.fromkeys(pairs.values()))
    same = {old: new for old, new in pairs.items() if found[new].shape == expected[old].shape}
    fed = {f"{new}_reference": expected[old] for old, new in same.items()}
    alone = _run(_cut(candidate, same.values(), fed), {**feeds, **fed}, dict.fromkeys(pairs.values()))
    return {old: found[new] for old, new in pairs.items()}, {old: alone[new] for old, new in pairs.items()}


def _cut(model: Model, values: Iterable[str], fed: Mapping[str, Array]) -> onnx.ModelProto:
    """The model with every consumer of the given values reading a new graph input instead."""
    proto = model.to_proto()
    cut = set(values)
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            if name in cut:
                node.input[index] = f"{name}_reference"
    for name, array in fed.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        dims = ["batch", *array.shape[1:]] if array.ndim else []
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, dims))
    return proto


def _graph_values(
    graph: ir.Graph, pairs: Mapping[str, str], expected: Mapping[str, Array], feeds: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The same for an integer graph; integer tensors are dequantized, the reference's values quantized to be fed."""
    computed = ops.run(graph, {name: feeds[name] for name in graph.inputs}, keep=True)
    names = {tensor: name for name, tensor in pairs.items()}
    fed: dict[str, Array] = dict(feeds)
    alone: dict[str, Array] = {}
    for op in graph.ops:
        results = ops.evaluate(graph, op, tuple(fed[name] for name in op.inputs))
        for tensor, result in zip(op.outputs, results, strict=True):
            alone[tensor] = result
            known = expected.get(names.get(tensor, ""))
            matched = known is not None and known.shape == result.shape
            fed[tensor] = _quantized(graph, tensor, known) if known is not None and matched else result
    whole, single = (
        {name: _real(graph, tensor, found[tensor]) for name, tensor in pairs.items()} for found in (computed, alone)
    )
    return whole, single


def _quantized(graph: ir.Graph, tensor: str, value: Array) -> Array:
    quant = graph.tensors[tensor].quant
    if quant is None:
        return value.astype(np.float32)
    steps = np.rint(value.astype(np.float64) / quant.scale) + quant.zero_point
    return np.asarray(np.clip(steps, quant.qmin, quant.qmax), ir.NUMPY_TYPE[quant.dtype])


def _real(graph: ir.Graph, tensor: str, value: Array) -> Array:
    quant = graph.tensors[tensor].quant
    return value if quant is None else np.asarray((value.astype(np.float64) - quant.zero_point) * quant.scale)
