"""Every way in which hls4ml can build one layer, and what each is modelled to cost.

With reuse factor r a layer of P products has m = P / r multipliers and takes r cycles per call. Strategies:

Latency     r = 1, weights are constants in logic: no DSP slices, and zeros cost nothing
Resource    weights in memory, m multipliers in DSP slices; zeros cost what other weights do

hls4ml 1.3 has a third, which stores nonzero weights alone, but cannot write it (KeyError: dense_function).

Only what synthesises is offered: factors that hls4ml's kernels compute correctly, at most 4096 products at once (the
limit of a complete partition in Vitis HLS). Costs, with w and a bits of weights and activations and s of the sum:

DSP      m, none with Latency
LUT      300 a layer and its line buffers; s per multiplier (its adder), or per nonzero product with Latency, and there
         0.4 * w * a for the product itself
BRAM18   weights: words of m * w bits, r deep: ceil(m * w / 36) * ceil(r / 512), none up to 32 words (LUT memory);
         streams: ceil(channels * a / 36) * ceil(depth / 512), none up to 64 deep (shift registers)
cycles   one per input pixel and r + 6 per call (hls4ml, FPGABackend.set_target_reuse_factor)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil

from .spec import Strategy

MAX_MULTIPLIERS = 4096
CALL_OVERHEAD_CYCLES = 6  # to move a window into the multipliers
LAYER_LUT = 300.0  # control of one layer
_SHALLOW_WORDS, _SHALLOW_FIFO = 32, 64


@dataclass(frozen=True)
class Work:
    """What the planner knows of a layer: a product [n_in] x [n_out] (or n_in single products, `depthwise`), `calls`
    times per sample. A layer without products has n_in = 0 and only its own `lut` and `bram`."""

    n_in: int
    n_out: int
    calls: int
    depthwise: bool = False
    weight_bits: int = 8
    input_bits: int = 8
    nonzero: float = 1.0  # share of the weights that is not zero
    pixels: int = 0  # input pixels that arrive one per cycle
    lut: float = 0.0  # whatever the schedule: control, line buffers
    bram: int = 0  # whatever the schedule: streams

    @property
    def products(self) -> int:
        return self.n_in if self.depthwise else self.n_in * self.n_out

    @property
    def sum_bits(self) -> int:
        """Width of the accumulator."""
        return self.weight_bits + self.input_bits + max(self.n_in, 1).bit_length()


@dataclass(frozen=True)
class Option:
    """One way to build a layer. `lut` and `bram` leave out what every way of the layer costs."""

    strategy: Strategy
    reuse: int
    multipliers: int
    cycles: int
    lut: float
    bram: int

    @property
    def dsp(self) -> int:
        return 0 if self.strategy == "Latency" else self.multipliers


@cache
def valid_factors(n_in: int, n_out: int, depthwise: bool) -> tuple[int, ...]:
    """Reuse factors that hls4ml's Resource kernels compute correctly, ascending.

    A divisor of n_in * n_out: one that divides n_in * n_out into whole rows below n_in, or a multiple of n_in
    (hls4ml 1.3, FPGABackend._validate_reuse_factor). Depthwise: a divisor of n_in; above n_out a multiple of n_out.
    """
    if depthwise:
        factors = [r for r in _divisors(n_in) if r <= n_out or r % n_out == 0]
    else:
        whole = n_in * n_out
        factors = [r for r in _divisors(whole) if (n_in % r == 0 if r < n_in else r % n_in == 0)]
    products = n_in if depthwise else n_in * n_out
    return tuple(r for r in factors if products // r <= MAX_MULTIPLIERS) or (factors[-1],)


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


@cache
def options_of(work: Work) -> tuple[Option, ...]:
    """All ways to build a layer, Latency first, then by reuse factor."""
    if not work.products:
        return (Option("Latency", 1, 0, max(work.pixels, 1), 0.0, 0),)
    found = [_latency(work)] if work.products <= MAX_MULTIPLIERS else []
    factors = valid_factors(work.n_in, work.n_out, work.depthwise)
    found += [_resource(work, r) for r in factors]
    return tuple(found)


def _cycles(work: Work, reuse: int) -> int:
    return work.pixels + work.calls * (reuse + CALL_OVERHEAD_CYCLES)


def _latency(work: Work) -> Option:
    live = ceil(work.products * work.nonzero)
    lut = live * (work.sum_bits + 0.4 * work.weight_bits * work.input_bits)
    return Option("Latency", 1, live, _cycles(work, 1), lut, 0)


def _resource(work: Work, reuse: int) -> Option:
    m = -(-work.products // reuse)
    return Option("Resource", reuse, m, _cycles(work, reuse), m * work.sum_bits, _memory(m * work.weight_bits, reuse))


def _memory(bits: int, words: int) -> int:
    """Blocks of 18 Kb, 36 bits wide at most."""
    return ceil(bits / 36) * ceil(words / 512) if words > _SHALLOW_WORDS else 0


def stream_bram(channels: int, bits: int, depth: int) -> int:
    """Blocks of a FIFO of pixels."""
    return ceil(channels * bits / 36) * ceil(depth / 512) if depth > _SHALLOW_FIFO else 0


def buffer_lut(kernel_height: int, width: int, channels: int, bits: int) -> float:
    """LUTs of the rows that a window needs, kept in shift registers of 32 bits."""
    return (kernel_height - 1) * width * channels * bits / 32
