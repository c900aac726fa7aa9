"""Post-training quantization: float model in, standard int8 QDQ model out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..data import Data
from ..errors import UsageError
from ..model.edit import infer_shapes
from ..model.model import Model
from ..quantization.asked import asked_formats
from ..quantization.calibrate import CLIPPING
from ..quantization.fidelity import logits_sqnr_db
from ..quantization.mixed import Assignment, assign_bits
from ..quantization.plan import Plan, plan
from ..quantization.qdq import Stored
from ..quantization.quantizer import Quantized, Quantizer
from ..quantization.refine import Refined
from ..quantization.rounding import ROUNDINGS, Rounding, nearest
from ..quantization.scales import check_formats
from ..quantization.wanted import wanted_bits
from .affine_layers import affine_to_depthwise
from .base import Context, Note, Options, PassResult

RANDOM_SAMPLES = 32


class Quantize:
    """Turns weights into int8 and activations into u8 or s8, as `Context.formats` says, calibrated on the data.

    `Options` says more: `ranges`, `rounding`, `bias_correction`, narrower `weight_bits` and `activation_bits`, `scales`
    and `granularity`, and with `mixed_precision` the signal-to-noise ratio that decides the bits of each layer.
    Without data it raises UsageError (`needs-data`), unless `options.random_calibration` asks for normal noise; a note
    says so then.
    """

    name: ClassVar[str] = "quantize"
    summary: ClassVar[str] = "Quantizes weights and activations to 8 bits or fewer (QDQ)"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        """Returns the QDQ model and one note per quantized layer, per refused operator and per clipped range."""
        options = context.options
        if not options.quantize:
            return PassResult(model, False, (Note("quantize-off", "Quantization was switched off."),))
        if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph):
            return PassResult(model, False, (Note("already-quantized", "The model is quantized already."),))
        check_formats(context.formats)
        formats = asked_formats(context.formats, options)
        notes: list[Note] = []
        rounding = _rounding(options.rounding, with_data=context.calibration is not None)
        data = _data(model, context, notes)
        prepared = model.clone()
        if any(value.dtype is None or value.shape is None for node in prepared.graph for value in node.outputs):
            infer_shapes(prepared)
        notes += [
            Note("affine-layer", "The per-channel scale and shift became a depthwise layer.", name)
            for name in affine_to_depthwise(prepared.graph)
        ]
        planned = plan(prepared.graph, formats)
        if not planned.groups:
            notes.append(Note("nothing-to-quantize", "The model has no operator with an integer form."))
            return PassResult(model, False, (*notes, *_refusals(planned)))
        quantizer = Quantizer(prepared, formats, data, options, context.progress)
        if options.mixed_precision is None:
            found = quantizer.attempt(rounding, _chosen_bits(prepared, options))
        else:
            assigned = _assign(quantizer, planned, rounding, options.mixed_precision)
            notes += _mixed_notes(assigned, planned, options.mixed_precision)
            found = quantizer.attempt(rounding, assigned.bits, assigned.floating)
        return PassResult(found.model, True, (*notes, *_notes(found, rounding)))


def _chosen_bits(model: Model, options: Options) -> dict[str, int]:
    """The bits of layers that the budget decided, unless the user gives those of all."""
    return {} if options.weight_bits is not None else wanted_bits(model.graph)


def _rounding(name: str, with_data: bool) -> Rounding | None:
    """None: to the nearest, without looking at the data."""
    if name == "auto":
        return ROUNDINGS["gptq"] if with_data else None
    if name not in ROUNDINGS:
        raise UsageError(
            f"There is no rounding called '{name[:64]}'.",
            code="rounding-unknown",
            hint=f"Roundings: auto, {', '.join(ROUNDINGS)}.",
        )
    return None if ROUNDINGS[name] is nearest else ROUNDINGS[name]


def _assign(quantizer: Quantizer, planned: Plan, rounding: Rounding | None, bound_db: float) -> Assignment:
    """The fewest bits of every layer that keep the bound on the calibration data."""

    def measure(bits: Mapping[str, int], floating: tuple[str, ...], quick: bool) -> float:
        attempt = trial.attempt(None if quick else rounding, bits, floating)
        return logits_sqnr_db(quantizer.model, attempt.model, quantizer.data)

    trial = replace(quantizer, progress=lambda _what, _fraction: None)
    weights = {str(each.node.name): each.weight.const_value.size for each in planned.linears if each.weight.const_value}
    return assign_bits(weights, measure, bound_db, quantizer.formats.weight_bits, quantizer.progress)


def _mixed_notes(assigned: Assignment, planned: Plan, bound_db: float) -> list[Note]:
    figures = f"{assigned.sqnr_db:.1f} dB for {bound_db:g} dB asked"
    if assigned.sqnr_db < bound_db:
        hint = "Lower the bound, or look for what else stays in integers."
        return [Note("mixed-precision-missed", f"Even all layers in floating point give {figures}.", hint=hint)]
    narrow, floating = len(assigned.bits), len(assigned.floating)
    text = f"Of {len(planned.linears)} layers, {narrow} narrowed and {floating} in floating point: {figures}."
    return [Note("mixed-precision", text)]


def _notes(found: Quantized, rounding: Rounding | None) -> list[Note]:
    notes = [
        Note("range-clipped", f"Range chosen by {calibrated.method}.", str(root.name))
        for root, calibrated in found.chosen.items()
        if calibrated.method in CLIPPING
    ]
    for value in found.kept_affine:
        text = "The arithmetic on the model input stays in floating point."
        notes.append(
            Note("preprocessing-float", text, str(value.name), "Its offset is no whole number of quantization steps.")
        )
    refined = {each.where: each for each in found.refined}
    notes += [_layer_note(each, refined.get(str(each.linear.node.name)), rounding) for each in found.stored]
    return [*notes, *_refusals(found.plan)]


def _layer_note(stored: Stored, refined: Refined | None, rounding: Rounding | None) -> Note:
    node, found, x = stored.linear.node, stored.found, stored.x
    per = "channel" if found.scale.size > 1 else "tensor"
    text = f"{node.op_type}: {stored.formats.weight_bits}-bit weights per {per}, input {x.dtype[0]}{x.bits}"
    if found.raised:
        text += f"; {found.raised} scales raised to keep biases in int32"
    if rounding is not None and refined is not None:
        name = rounding.__name__
        text += (
            f"; squared error of its outputs {refined.before:.1e} rounded to the nearest, {refined.after:.1e} by {name}"
        )
    elif rounding is not None:
        text += "; rounded to the nearest, since it sums over too many inputs for anything better"
    return Note("quantized", f"{text}.", str(node.name))


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
    if not context.options.random_calibration:
        raise UsageError(
            "Data is needed to calibrate the quantization.",
            code="needs-data",
            hint="Give some hundred samples: --data FILE.npz. --random-calibration loses accuracy.",
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
