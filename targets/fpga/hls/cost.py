"""What a network would cost as an hls4ml project, from its workload alone: a model, with wide ranges.

No vendor-free estimate of hls4ml designs exists (hls4ml issue 163). These closed forms follow the structure of the
code that hls4ml 1.3 generates, under the schedule of `reuse`. With P products, reuse factor r, m = P / r multipliers,
w and a bits of weights and activations:

DSP      m. A product of 8 bits and less may also be built from LUTs, so the range starts at 0.
LUT      per multiplier the accumulator's width (its adder), per layer 300 (control); + m * w * a where products are
         LUTs (the upper bound; for constant weights 0.4 * w * a per nonzero product, which is the value there);
         line buffers as shift registers: (kh - 1) * width * channels * a / 32.
FF       1.5 accumulator widths per multiplier, and 200 per layer.
BRAM18   weights: words of m * w bits, r deep: ceil(m * w / 36) * ceil(r / 512), none up to 32 words (LUT memory);
         streams: a FIFO each, as deep as the feature map: ceil(channels * a / 36) * ceil(height * width / 512).
cycles   of a layer: one per input pixel and r + 6 per call. The slowest layer is the interval. A sample takes at least
         that and at most the sum; the value starts a layer when its first window has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, prod

from ....compiler.model.workload import Layer, Workload
from ....compiler.quantity import UNITS, Combine, Estimate, LayerCost, Quantity
from ....compiler.target import Device
from . import settings
from .lower import MAX_PARALLEL_WEIGHTS
from .reuse import Schedule, Work, plan

SOURCE = "closed forms of hls4ml 1.3 designs, not synthesised"
_BITS = 8  # this backend quantizes weights and activations to at most 8 bits
_RESOURCES = ("lut", "ff", "dsp", "bram")
_CALL_OVERHEAD_CYCLES = 6  # to move a window into the multipliers (hls4ml, FPGABackend.set_target_reuse_factor)
_ERROR = {"lut": (0.4, 2.5), "ff": (0.3, 3.0), "bram": (0.3, 2.0), "cycles": (0.7, 3.0)}  # factors around the value


@dataclass(frozen=True)
class _Run:
    """One layer under the schedule."""

    layer: Layer
    work: Work | None
    reuse: int
    constant: bool  # weights are constants (strategy Latency)
    stream: bool  # io_stream

    @property
    def multipliers(self) -> int:
        return -(-self.work.products // self.reuse) if self.work else 0

    @property
    def bits(self) -> tuple[int, int]:
        return min(self.layer.weight_bits, _BITS), min(self.layer.input_bits, _BITS)

    @property
    def accumulator_bits(self) -> int:
        return sum(self.bits) + max(self.work.n_in, 1).bit_length() if self.work else 0

    @property
    def cycles(self) -> int:
        calls, reuse = (self.work.calls, self.reuse) if self.work else (0, 1)
        overhead = _CALL_OVERHEAD_CYCLES if self.stream or not self.constant else 1
        return max(1, (prod(self.layer.in_shape[1:]) if self.stream else 0) + calls * (reuse + overhead))


def work_of(layer: Layer) -> Work | None:
    """The planner's view of a layer; None where nothing is multiplied by constants."""
    if layer.op not in ("conv", "depthwise", "gemm") or not layer.macs:
        return None
    if layer.op == "gemm":
        return Work(layer.in_channels, layer.out_channels, max(1, layer.macs // max(layer.weights, 1)))
    window, calls = prod(layer.kernel), prod(layer.out_shape[1:])
    single = layer.op == "depthwise" and layer.in_channels == layer.out_channels
    return Work(window * layer.in_channels, layer.out_channels, calls, depthwise=single)


def estimate(workload: Workload, device: Device) -> Estimate:
    """The modelled cost of one workload. Keys: lut, ff, dsp, bram, interval_cycles, latency_cycles, latency_s,
    throughput_per_s; notes say which resource the device does not have enough of."""
    works = [work_of(layer) for layer in workload.layers]
    schedule = plan([work for work in works if work], settings.multiplier_budget(device))
    runs = list(_runs(workload, works, schedule))
    layers = tuple(LayerCost(run.layer.name, _layer_costs(run)) for run in runs)
    costs = {key: _total(key, sum, layers) for key in _RESOURCES}
    costs["interval_cycles"] = _total("interval_cycles", max, layers)
    costs |= _latency(runs, settings.clock_period_ns(device))
    combine: dict[str, Combine] = dict.fromkeys(_RESOURCES, "sum")
    combine["interval_cycles"] = "max"
    combine |= dict.fromkeys(("latency_cycles", "latency_s", "throughput_per_s"), "opaque")
    return Estimate(costs, layers, combine, tuple(_notes(costs, device, schedule)))


def _runs(workload: Workload, works: list[Work | None], schedule: Schedule) -> Iterable[_Run]:
    factors = iter(schedule.reuse_factors)
    images = any(layer.op in ("conv", "depthwise", "pool") for layer in workload.layers)
    stream = images or workload.weights > MAX_PARALLEL_WEIGHTS
    constant = schedule.strategy == "Latency"
    for layer, work in zip(workload.layers, works, strict=True):
        yield _Run(layer, work, next(factors) if work else 1, constant, stream)


def _layer_costs(run: _Run) -> dict[str, Quantity]:
    weight_bits, input_bits = run.bits
    m, layer = run.multipliers, run.layer
    fabric = m * weight_bits * input_bits * (0.4 * (1 - layer.zero_fraction) if run.constant else 1.0)
    buffered = (layer.kernel[0] - 1) * layer.in_shape[-1] * layer.in_shape[0] if len(layer.in_shape) == 3 else 0
    lut = m * run.accumulator_bits + 300 + buffered * input_bits / 32
    deep = run.reuse > 32 and not run.constant
    bram = ceil(m * weight_bits / 36) * ceil(run.reuse / 512) if deep else 0
    if run.stream and len(layer.out_shape) == 3:
        bram += ceil(layer.out_shape[0] * _BITS / 36) * ceil(prod(layer.out_shape[1:]) / 512)
    value = lut + (fabric if run.constant else 0)
    low, high = _ERROR["lut"]
    return {
        "lut": Quantity(value, lut * low, (lut + fabric) * high, UNITS["lut"], "modelled", SOURCE),
        "ff": _within("ff", 1.5 * m * run.accumulator_bits + 200, "ff"),
        "dsp": Quantity(0 if run.constant else m, 0, m, UNITS["dsp"], "modelled", SOURCE),
        "bram": _within("bram", bram, "bram"),
        "interval_cycles": _within("cycles", run.cycles, "interval_cycles"),
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
    yield f"Strategy {schedule.strategy}, {schedule.multipliers} multipliers, largest reuse factor " + str(
        max(schedule.reuse_factors, default=1)
    )
    if not schedule.fits:
        yield f"Even the most shared schedule needs {schedule.multipliers} multipliers: more than the device offers."
    for key in _RESOURCES:
        offered = device.resources.get(key)
        if offered is not None and costs[key].value > offered.value:
            yield f"{key}: {costs[key].value:,.0f} modelled, {offered.value:,.0f} on the device."
