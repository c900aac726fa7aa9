"""What the kernels claim, checked against what was measured. A claim is met when the whole 95 % interval is above it.

A claim for an instruction set that this CPU lacks is skipped and said so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .contest import OURS, LayerTimes, Timing, Variant
from .intervals import Ratio, geometric_mean
from .limit import Limit
from .report import ratios
from .shapes import Layer

MIN_ROUNDS = 11


def is_3x3(layer: Layer) -> bool:
    return layer.kind == "conv" and layer.kernel == (3, 3)


def is_ffn(layer: Layer) -> bool:
    return layer.name.startswith("ffn")


def is_late_pointwise(layer: Layer) -> bool:
    """ResNet-50's 1x1 convolutions of the last two stages, stride 1."""
    return layer.name.startswith(("r4 1x1 ", "r5 1x1 "))


def anything(_layer: Layer) -> bool:
    return True


@dataclass(frozen=True)
class Claim:
    """At this density Prunus is at least `times` as fast as a peer: on every layer that `applies`, or in their mean."""

    set_names: tuple[str, ...]
    density: float
    peer: str
    times: float
    applies: Callable[[Layer], bool] = anything
    mean: bool = False
    needs: str = "amx"

    def __str__(self) -> str:
        what = {anything: "", is_3x3: " 3x3", is_ffn: " ffn", is_late_pointwise: " r4-r5 1x1"}[self.applies]
        how = "geometric mean" if self.mean else "every layer"
        sets = "+".join(self.set_names)
        return f"{self.needs}: {sets}{what}, density {self.density:g}, {how}: >= {self.times:g}x {self.peer}"


SPARSE_SETS = ("resnet50", "bert")
CLAIMS = (
    Claim(("resnet50",), 1, "onednn", 0.9, mean=True),
    Claim(("resnet50",), 1, "onednn", 0.7),
    Claim(("resnet50",), 1, "onnxruntime", 2.5, mean=True),
    *(
        Claim(SPARSE_SETS, 0.25, peer, times, applies)
        for peer, times in (("onnxruntime", 6), ("openvino", 2))
        for applies in (is_3x3, is_ffn, is_late_pointwise)
    ),
    Claim(SPARSE_SETS, 0.25, "onednn", 2, is_3x3),
    Claim(SPARSE_SETS, 0.25, "onednn", 3.5, is_ffn),
    Claim(SPARSE_SETS, 0.1, "onednn", 3.5, is_3x3),
    Claim(SPARSE_SETS, 0.1, "onednn", 5, is_ffn),
)
LIMIT_SHARE = 0.8  # of limit * density that the VNNI kernels reach on 3x3 and FFN


def sparse_variants(times: LayerTimes, density: float) -> list[Timing]:
    return [t for t in times.timings if t.engine == OURS and t.variant.density == density]


def found_ratios(claim: Claim, results: Iterable[LayerTimes]) -> list[tuple[str, Ratio]]:
    """(layer and weights, ratio) of everything that a claim speaks of."""
    return [
        (f"{times.layer.name} {timing.variant}", ratios(times, timing)[claim.peer])
        for times in results
        if times.set_name in claim.set_names and claim.applies(times.layer)
        for timing in sparse_variants(times, claim.density)
        if times.of(claim.peer)
    ]


def verdict(claim: Claim, results: Sequence[LayerTimes], instruction_sets: Sequence[str]) -> str:
    """One line: `met`, `missed` or `skipped`, with the figures."""
    if claim.needs not in instruction_sets:
        return f"skipped: {claim} (this CPU has no {claim.needs})"
    found = found_ratios(claim, results)
    if not found:
        return f"skipped: {claim} (not measured)"
    if any(len(t.seconds) < MIN_ROUNDS for times in results for t in times.timings):
        return f"skipped: {claim} (needs at least {MIN_ROUNDS} rounds)"
    if claim.mean:
        mean = geometric_mean([ratio for _, ratio in found])
        return f"{'met' if mean.low >= claim.times else 'missed'}: {claim}: {mean}"
    short = sorted((ratio.low, f"{name} {ratio}") for name, ratio in found if ratio.low < claim.times)
    if short:
        return f"missed: {claim}: {len(short)} of {len(found)} layers: {', '.join(text for _, text in short)}"
    least = min((ratio for _, ratio in found), key=lambda ratio: ratio.low)
    return f"met: {claim}: {len(found)} layers, the least {least}"


def limit_verdicts(results: Iterable[LayerTimes], limit: Limit, instruction_set: str) -> list[str]:
    """How near the sparse kernels of one instruction set come to its limit on 3x3 and FFN layers, one line each."""
    if instruction_set not in limit.macs_per_second:
        return [f"skipped: {instruction_set}: {LIMIT_SHARE} of the limit (this CPU has none)"]
    lines = []
    for times in results:
        if is_ffn(times.layer) or (times.set_name == "resnet50" and is_3x3(times.layer)):
            for timing in (t for t in times.timings if t.engine == OURS and t.variant != Variant()):
                slowest = max(timing.seconds)
                share = limit.seconds(times.layer, timing.variant.density, instruction_set) / timing.median
                word = "met" if share >= LIMIT_SHARE else "missed"
                lines.append(
                    f"{word}: {instruction_set}: {times.layer.name} {timing.variant}: {share:.2f} of the limit "
                    f"(claimed {LIMIT_SHARE}; slowest round {slowest * 1e6:.1f} us)"
                )
    return lines


def geometric_means(results: Sequence[LayerTimes], variants: Sequence[Variant], peers: Sequence[str]) -> list[str]:
    """Per set, variant and peer: how many times faster Prunus is, over the layers that ran in that variant."""
    lines = []
    for set_name in dict.fromkeys(times.set_name for times in results):
        for variant in variants:
            for peer in peers:
                found = [
                    ratios(times, ours)[peer]
                    for times in results
                    if times.set_name == set_name and times.of(peer) and (ours := times.of(OURS, variant))
                ]
                if found:
                    mean = geometric_mean(found)
                    lines.append(
                        f"{set_name:<12} {variant!s:<10} {len(found):>3} layers: {mean} times faster than {peer}"
                    )
    return lines
