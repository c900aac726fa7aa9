"""What a network would cost as an hls4ml project, from its workload alone: a model, with wide ranges.

No vendor-free estimate of hls4ml designs exists (hls4ml issue 163), and this one has not been compared with synthesised
designs. The closed forms of `options` follow the structure of the code that hls4ml 1.3 generates, under the schedule
that `reuse` finds. Beyond them:

DSP      a product of 8 bits and less may also be built from LUTs, so the range starts at 0
LUT      at most w * a per multiplier more, where its product is LUTs
FF       1.5 accumulator widths per multiplier, and 200 per layer
cycles   the slowest layer is the interval. A sample takes at least that and at most the sum; the value starts a layer
         when its first window has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

from ....compiler.model.workload import Layer, Workload
from ....compiler.quantity import UNITS, Combine, Estimate, LayerCost, Quantity
from ....compiler.target import Device
from . import settings
from .lower import MAX_PARALLEL_WEIGHTS
from .options import LAYER_LUT, Option, Work, buffer_lut, stream_bram
from .reuse import Schedule, does_not_fit, plan

SOURCE = "closed forms of hls4ml 1.3 designs, not synthesised"
_BITS = 8  # this backend quantizes weights and activations to at most 8 bits
_RESOURCES = ("lut", "ff", "dsp", "bram")
_ERROR = {"lut": (0.4, 2.5), "ff": (0.3, 3.0), "bram": (0.3, 2.0), "cycles": (0.7, 3.0)}  # factors around the value
LEAST = {"lut": _ERROR["lut"][0], "dsp": 0.0, "bram": _ERROR["bram"][0]}  # of the value, what a design takes at least


@dataclass(frozen=True)
class _Run:
    """One layer as the schedule builds it."""

    layer: Layer
    work: Work
    option: Option

    @property
    def cycles(self) -> int:
        return self.option.cycles


def works_of(workload: Workload) -> list[Work]:
    """The planner's view of all layers."""
    images = any(layer.op in ("conv", "depthwise", "pool") for layer in workload.layers)
    stream = images or workload.weights > MAX_PARALLEL_WEIGHTS
    joins = [layer for layer in workload.layers if layer.op in ("add", "mul", "concat")]
    joined = {name for layer in joins for name in layer.producers or ()}
    return [_work_of(layer, stream, layer.name in joined) for layer in workload.layers]


def _work_of(layer: Layer, stream: bool, joined: bool) -> Work:
    """`joined`: whether the output goes to a join, whose streams hold a whole map."""
    weight_bits, input_bits = min(layer.weight_bits, _BITS), min(layer.input_bits, _BITS)
    image = len(layer.in_shape) == 3
    lines = buffer_lut(layer.kernel[0], layer.in_shape[-1], layer.in_shape[0], input_bits) if image else 0.0
    depth = prod(layer.out_shape[1:]) if joined else (layer.out_shape[-1] if len(layer.out_shape) == 3 else 1)
    shape = _product(layer)
    return Work(
        *shape,
        weight_bits=weight_bits,
        input_bits=input_bits,
        nonzero=round(1 - layer.zero_fraction, 4),
        pixels=prod(layer.in_shape[1:]) if stream else 0,
        lut=LAYER_LUT + lines,
        bram=stream_bram(layer.out_shape[0], _BITS, depth) if stream and len(layer.out_shape) == 3 else 0,
    )


def _product(layer: Layer) -> tuple[int, int, int, bool]:
    """(n_in, n_out, calls, depthwise) of a layer; n_in = 0 where nothing is multiplied by constants."""
    if layer.op not in ("conv", "depthwise", "gemm") or not layer.macs:
        return 0, 0, 1, False
    if layer.op == "gemm":
        return layer.in_channels, layer.out_channels, max(1, layer.macs // max(layer.weights, 1)), False
    window, calls = prod(layer.kernel), prod(layer.out_shape[1:])
    single = layer.op == "depthwise" and layer.in_channels == layer.out_channels
    return window * layer.in_channels, layer.out_channels, calls, single


def estimate(workload: Workload, device: Device) -> Estimate:
    """The modelled cost of one workload. Keys: lut, ff, dsp, bram, interval_cycles, latency_cycles, latency_s,
    throughput_per_s; notes say which resource the device does not have enough of."""
    works = works_of(workload)
    schedule = plan(works, settings.budget(device))
    runs = [_Run(*each) for each in zip(workload.layers, works, schedule.options, strict=True)]
    layers = tuple(LayerCost(run.layer.name, _layer_costs(run)) for run in runs)
    costs = {key: _total(key, sum, layers) for key in _RESOURCES}
    costs["interval_cycles"] = _total("interval_cycles", max, layers)
    costs |= _latency(runs, settings.clock_period_ns(device))
    combine: dict[str, Combine] = dict.fromkeys(_RESOURCES, "sum")
    combine["interval_cycles"] = "max"
    combine |= dict.fromkeys(("latency_cycles", "latency_s", "throughput_per_s"), "opaque")
    return Estimate(costs, layers, combine, tuple(_notes(costs, device, schedule)))


def _layer_costs(run: _Run) -> dict[str, Quantity]:
    work, option = run.work, run.option
    lut = option.lut + work.lut
    constant = option.strategy == "Latency"
    products = 0.0 if constant else option.multipliers * work.weight_bits * work.input_bits  # as LUTs, at most
    low, high = _ERROR["lut"]
    return {
        "lut": Quantity(lut, lut * low, (lut + products) * high, UNITS["lut"], "modelled", SOURCE),
        "ff": _within("ff", 1.5 * option.multipliers * work.sum_bits + 200, "ff"),
        "dsp": Quantity(option.dsp, 0, option.dsp, UNITS["dsp"], "modelled", SOURCE),
        "bram": _within("bram", option.bram + work.bram, "bram"),
        "interval_cycles": _within("cycles", option.cycles, "interval_cycles"),
    }


def _within(error: str, value: float, key: str) -> Quantity:
    low, high = _ERROR[error]
    return Quantity(value, value * low, value * high, UNITS[key], "modelled", SOURCE)


def _total(key: str, combine: Callable[[Iterable[float]], float], layers: tuple[LayerCost, ...]) -> Quantity:
    parts = [layer.costs[key] for layer in layers] or [_within("cycles", 0, key)]
    value, low, high = (combine([getattr(part, field) for part in parts]) for field in ("value", "low", "high"))
    return Quantity(value, low, high, UNITS[key], "modelled", SOURCE)


def _latency(runs: list[_Run], clock_period_ns: float) -> dict[str, Quantity]:
    """Latency and throughput of the chain of layers, branches in topological order."""
    start = finish = 0.0
    previous = 0
    for run in runs:
        start += previous * _first_window(run.layer)
        finish = max(finish, start + run.cycles)
        previous = run.cycles
    interval = max((run.cycles for run in runs), default=1)
    low, high = _ERROR["cycles"]
    total = sum(run.cycles for run in runs)
    cycles = Quantity(
        max(finish, interval), interval * low, max(total, 1) * high, UNITS["latency_cycles"], "modelled", SOURCE
    )
    second = clock_period_ns * 1e-9
    seconds = (cycles.value * second, cycles.low * second, cycles.high * second)
    rate = 1 / (interval * second)
    return {
        "latency_cycles": cycles,
        "latency_s": Quantity(*seconds, UNITS["latency_s"], "modelled", SOURCE),
        "throughput_per_s": Quantity(rate, rate / high, rate / low, UNITS["throughput_per_s"], "modelled", SOURCE),
    }


def _first_window(layer: Layer) -> float:
    """The share of a layer's input that has to arrive before its first output."""
    if len(layer.in_shape) != 3 or layer.op == "gemm" or layer.out_shape[1:] in ((1, 1), ()):
        return 1.0
    _, height, width = layer.in_shape
    return min(1.0, ((layer.kernel[0] - 1) * width + layer.kernel[1]) / max(height * width, 1))


def _notes(costs: dict[str, Quantity], device: Device, schedule: Schedule) -> Iterable[str]:
    limit = f"; faster is forbidden by {schedule.tightest}" if schedule.tightest else ""
    yield (
        f"Strategy {schedule.strategy}, {schedule.multipliers} multipliers, largest reuse factor "
        f"{max(schedule.reuse_factors, default=1)}{limit}"
    )
    if not schedule.fits:
        yield does_not_fit(schedule)
    for key in _RESOURCES:
        offered = device.resources.get(key)
        if offered is not None and costs[key].value > offered.value:
            yield f"{key}: {costs[key].value:,.0f} modelled, {offered.value:,.0f} on the device."
