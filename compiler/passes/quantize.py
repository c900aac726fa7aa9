"""Post-training quantization: float model in, standard int8 QDQ model out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.ranges import collect
from ..data import Data
from ..errors import UsageError
from ..integer.graph import QType
from ..model.edit import infer_shapes
from ..model.model import Model
from ..quantization.calibrate import CLIPPING, Calibrated, calibrate
from ..quantization.plan import Group, Plan, plan
from ..quantization.preprocess import Affine, Folded, fold, trace
from ..quantization.qdq import Stored, Writer
from ..quantization.refine import Refined, refine
from ..quantization.rounding import ROUNDINGS, Rounding, nearest
from ..quantization.scales import check_formats
from .affine_layers import affine_to_depthwise
from .base import Context, Note, PassResult

RANDOM_SAMPLES = 32

Array = npt.NDArray[Any]


class Quantize:
    """Turns weights into int8 and activations into u8 or s8, as `Context.formats` says, calibrated on the data.

    `Options.ranges` names the range method. Without data it raises UsageError (`needs-data`), unless
    `options.extra["calibration_data"]` is "random": then the model is calibrated on normal noise, and a note says so.
    """

    name: ClassVar[str] = "quantize"
    summary: ClassVar[str] = "Quantizes weights and activations to 8 bits or fewer (QDQ)"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        """Returns the QDQ model and one note per quantized layer, per refused operator and per clipped range."""
        if not context.options.quantize:
            return PassResult(model, False, (Note("quantize-off", "Quantization was switched off."),))
        if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph):
            return PassResult(model, False, (Note("already-quantized", "The model is quantized already."),))
        check_formats(context.formats)
        notes: list[Note] = []
        data = _data(model, context, notes)
        result = model.clone(form="quantized")
        if any(value.dtype is None or value.shape is None for node in result.graph for value in node.outputs):
            infer_shapes(result)
        notes += [
            Note("affine-layer", "The per-channel scale and shift became a depthwise layer.", name)
            for name in affine_to_depthwise(result.graph)
        ]
        rounding = _rounding(context.options.rounding)
        original = result.clone()
        planned = plan(result.graph, context.formats)
        if not planned.groups:
            notes.append(Note("nothing-to-quantize", "The model has no operator with an integer form."))
            return PassResult(model, False, (*notes, *_refusals(planned)))
        roots = [root for group in planned.groups for root in group.roots]
        axes = {linear.inputs[0]: linear.input_axis for linear in planned.linears}
        seen = collect(result, roots, data, means=axes, progress=context.progress)
        method = context.options.ranges
        chosen = [calibrate(group, seen.statistics, context.formats, method) for group in planned.groups]
        means = {value: seen.means[str(value.name)] for value in axes}
        outputs = {linear.node: str(linear.output.name) for linear in planned.linears}
        stored = _write(result, planned, chosen, means, context, notes)
        if rounding is not nearest:
            refined = refine(
                original, result, stored, outputs, data, rounding, seed=context.options.seed, progress=context.progress
            )
            notes += [_rounding_note(each, context.options.rounding) for each in refined]
        return PassResult(result, True, (*notes, *_refusals(planned)))


def _write(
    model: Model,
    planned: Plan,
    chosen: list[Calibrated],
    means: Mapping[ir.Value, Array],
    context: Context,
    notes: list[Note],
) -> list[Stored]:
    """Rewrites the graph of `model`; adds notes about layers and inputs."""
    writer = Writer(model.graph, planned)
    types: dict[ir.Value, QType] = {}
    for group, calibrated in zip(planned.groups, chosen, strict=True):
        folded = _fold_input(group, calibrated.type, context, notes)
        type_ = calibrated.type if folded is None else folded[1].type
        if calibrated.method in CLIPPING:
            notes.append(Note("range-clipped", f"Range chosen by {calibrated.method}.", str(group.roots[0].name)))
        for point in group.points:
            whole = folded if folded is not None and point.value is group.roots[0] else None
            types[writer.activation(point, type_, whole)] = type_
    stored = []
    for linear in planned.linears:
        dequantized = linear.node.inputs[0]
        assert dequantized is not None
        stored.append(writer.weights(linear, types[dequantized], means[linear.inputs[0]], context.formats))
        notes.append(_layer_note(stored[-1]))
    writer.finish()
    return stored


def _rounding(name: str) -> Rounding:
    if name not in ROUNDINGS:
        raise UsageError(
            f"There is no rounding called '{name[:64]}'.",
            code="rounding-unknown",
            hint=f"Roundings: {', '.join(ROUNDINGS)}.",
        )
    return ROUNDINGS[name]


def _rounding_note(refined: Refined, name: str) -> Note:
    figures = f"squared error of the outputs {refined.before:.2%} by rounding to the nearest, now {refined.after:.2%}"
    return Note("rounded", f"Rounded by {name}: {figures}.", refined.where)


def _fold_input(group: Group, type_: QType, context: Context, notes: list[Note]) -> tuple[Affine, Folded] | None:
    """The arithmetic between a graph input and the group's only root, where the quantizer can take it over."""
    if len(group.roots) != 1 or (affine := trace(group.roots[0])) is None:
        return None
    folded = fold(affine, type_, context.formats)
    if folded is None:
        notes.append(
            Note(
                "preprocessing-float",
                "The arithmetic on the model input stays in floating point.",
                str(group.roots[0].name),
                "Its offset is no whole number of quantization steps.",
            )
        )
        return None
    return affine, folded


def _layer_note(stored: Stored) -> Note:
    node, found, x = stored.linear.node, stored.found, stored.x
    per = "channel" if found.scale.size > 1 else "tensor"
    raised = f"; {found.raised} scales raised to keep biases in int32" if found.raised else ""
    return Note(
        "quantized",
        f"{node.op_type}: {stored.formats.weight_bits}-bit weights per {per}, input {x.dtype[0]}{x.bits}{raised}.",
        str(node.name),
    )


def _refusals(planned: Plan) -> list[Note]:
    return [
        Note(refusal.code, f"{node.op_type} stays in floating point.", str(node.name), refusal.hint)
        for node, refusal in planned.refused
        if node.graph is not None  # folded preprocessing is gone
    ]


def _data(model: Model, context: Context, notes: list[Note]) -> Data:
    """The calibration data, or random ones where the user asked for that."""
    if context.calibration is not None:
        return context.calibration
    if context.options.extra.get("calibration_data") != "random":
        raise UsageError(
            "Data is needed to calibrate the quantization.",
            code="needs-data",
            hint="Give representative samples (--data), or ask for random ones knowing that accuracy will suffer.",
        )
    notes.append(
        Note("random-calibration", "Calibrated on random numbers.", hint="Give real samples before trusting accuracy.")
    )
    rng = np.random.default_rng(context.options.seed)
    inputs = {}
    for value in model.graph.inputs:
        shape = [size if isinstance(size, int) else 1 for size in list(value.shape or [])[1:]]
        dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
        noise = rng.standard_normal((RANDOM_SAMPLES, *shape))
        inputs[str(value.name)] = (noise if dtype.kind == "f" else np.clip(noise * 64 + 128, 0, 255)).astype(dtype)
    return Data(inputs, source="random")
