"""From layers to the planner and back: their work, their streams' depths, and the schedule as findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from .options import LAYER_LUT, Option, Work, buffer_lut, stream_bram
from .reuse import Budget, Schedule, plan, strategy_in_words
from .spec import HlsLayer, IoType

_JOINS = ("Merge", "Concatenate")
_MIN_DEPTH = 2


def stream_depths(layers: Sequence[HlsLayer]) -> dict[str, int]:
    """Depth of each layer's output stream, in pixels.

    A stream into a join holds a whole map: so no branch ever waits for another, and the design cannot deadlock. All
    other streams hold one row, which only evens out the pace of neighbours.
    """
    joined = {source for layer in layers if layer.class_name in _JOINS for source in layer.inputs}
    depths = {}
    for layer in layers:
        pixels = prod(layer.shape[:-1])
        row = layer.shape[-2] if len(layer.shape) > 1 else 1
        depths[layer.name] = pixels if layer.name in joined else max(_MIN_DEPTH, min(pixels, row))
    return depths


def work_of(layer: HlsLayer, source: HlsLayer | None, depth: int, stream: bool) -> Work:
    """The planner's view of a layer. `source`: the layer whose output it reads; `depth`: of its own output stream."""
    single = layer.class_name in ("DepthwiseConv2D", "BatchNormalization")
    input_bits = _bits(source.types["result"]) if source else 8
    weight = next((layer.arrays[key] for key in ("weight_data", "depthwise_data") if key in layer.arrays), None)
    height = int(layer.attributes.get("filt_height", 1))
    in_shape = source.shape if source else ()
    pixels = prod(in_shape[:-1]) if stream and len(in_shape) > 1 else 0
    lines = buffer_lut(height, in_shape[-2], in_shape[-1], input_bits) if height > 1 and len(in_shape) > 1 else 0.0
    return Work(
        n_in=layer.n_in,
        n_out=layer.n_out,
        calls=layer.calls,
        depthwise=single,
        weight_bits=_bits(layer.types.get("weight", layer.types.get("scale", "fixed<8,8>"))),
        input_bits=input_bits,
        nonzero=1.0 if weight is None else round(float(np.count_nonzero(weight)) / max(weight.size, 1), 4),
        pixels=pixels,
        lut=LAYER_LUT + lines,
        bram=stream_bram(layer.shape[-1], _bits(layer.types["result"]), depth) if stream and layer.shape else 0,
    )


def _bits(kind: str) -> int:
    """The width of a type as hls4ml writes it."""
    return int(kind.partition("<")[2].partition(",")[0])


def schedule(layers: Sequence[HlsLayer], budget: Budget, io_type: IoType) -> tuple[tuple[HlsLayer, ...], Schedule]:
    """The layers with strategies, reuse factors and stream depths, and the schedule."""
    stream = io_type == "io_stream"
    depths = stream_depths(layers) if stream else {}
    by_name = {layer.name: layer for layer in layers}
    sources = [by_name.get(layer.inputs[0]) if layer.inputs else None for layer in layers]
    works = [work_of(layer, s, depths.get(layer.name, 0), stream) for layer, s in zip(layers, sources, strict=True)]
    found = plan(works, budget)
    chosen = tuple(
        layer.scheduled(option.strategy, option.reuse, depths.get(layer.name, 0))
        for layer, option in zip(layers, found.options, strict=True)
    )
    return chosen, found


def reasons(layers: Sequence[HlsLayer], found: Schedule) -> Mapping[str, str]:
    """By layer that multiplies: what was chosen and why, in words."""
    slowest = found.interval_cycles
    return {
        layer.name: _reason(option, slowest)
        for layer, option in zip(layers, found.options, strict=True)
        if layer.products
    }


def _reason(option: Option, slowest: int) -> str:
    pace = "sets the interval" if option.cycles == slowest else f"within the interval of {slowest:,} cycles"
    return (
        f"{option.strategy}, reuse factor {option.reuse} ({option.multipliers} multipliers, {option.cycles:,} cycles, "
        f"{pace}): {strategy_in_words(option.strategy)}."
    )
