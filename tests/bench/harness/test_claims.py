"""Claims: met only with the whole interval above the figure, skipped with a reason, never silently passed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.claims import CLAIMS, Claim, geometric_means, is_3x3, is_ffn, is_late_pointwise, limit_verdicts, verdict
from harness.contest import DENSE, LayerTimes, Timing, Variant
from harness.limit import Limit
from harness.shapes import SETS, Layer, conv

SPARSE = Variant(0.25, (16, 4))
LAYER = conv("r4 3x3", 256, 256, 14, 3)
CLAIM = Claim(("resnet50",), 0.25, "onednn", 2.0, is_3x3, needs="avx512vnni")


def times(ours: float, theirs: float, jitter: float = 0.0, rounds: int = 11, layer: Layer = LAYER) -> LayerTimes:
    def samples(seconds: float) -> Sequence[float]:
        return [seconds * (1 + jitter * (i % 3)) for i in range(rounds)]

    timings = [Timing("onednn", DENSE, "", samples(theirs)), Timing("prunus", SPARSE, "", samples(ours))]
    return LayerTimes("resnet50", layer, timings)


def test_a_claim_is_met_or_missed() -> None:
    assert verdict(CLAIM, [times(1.0, 2.5)], ["avx512vnni"]).startswith("met: ")
    missed = verdict(CLAIM, [times(1.0, 2.5), times(1.0, 1.9)], ["avx512vnni"])
    assert missed.startswith("missed: ") and "1 of 2 layers: r4 3x3 0.25 16x4 1.90 [1.90, 1.90]" in missed


def test_the_whole_interval_must_be_above() -> None:
    noisy = times(1.0, 2.05)
    ours = Timing("prunus", SPARSE, "", [0.9, 1.3] * 6)
    theirs = Timing("onednn", DENSE, "", [2.6, 2.05] * 6)
    shaky = LayerTimes("resnet50", LAYER, [theirs, ours])
    assert verdict(CLAIM, [noisy], ["avx512vnni"]).startswith("met")
    assert verdict(CLAIM, [shaky], ["avx512vnni"]).startswith("missed")


def test_a_mean_claim_is_about_the_mean() -> None:
    claim = Claim(("resnet50",), 0.25, "onednn", 2.0, mean=True, needs="avx512vnni")
    assert verdict(claim, [times(1.0, 4.0), times(1.0, 1.5)], ["avx512vnni"]).startswith("met")
    assert verdict(claim, [times(1.0, 2.0), times(1.0, 1.5)], ["avx512vnni"]).startswith("missed")


@pytest.mark.parametrize(
    ("results", "sets", "reason"),
    [
        ([times(1.0, 9.0)], [], "this CPU has no avx512vnni"),
        ([], ["avx512vnni"], "not measured"),
        ([times(1.0, 9.0, rounds=5)], ["avx512vnni"], "at least 11 rounds"),
        ([times(1.0, 9.0, layer=conv("r4 1x1", 8, 8, 4))], ["avx512vnni"], "not measured"),
    ],
)
def test_what_cannot_be_judged_is_skipped(results: list[LayerTimes], sets: list[str], reason: str) -> None:
    found = verdict(CLAIM, results, sets)
    assert found.startswith("skipped") and reason in found


def test_every_claim_speaks_of_layers_that_exist() -> None:
    for claim in CLAIMS:
        assert any(claim.applies(layer) for name in claim.set_names for layer in SETS[name]), str(claim)
    names = [layer.name for layer in SETS["resnet50"] if is_late_pointwise(layer)]
    assert names == ["r4 1x1 256-1024", "r4 1x1 1024-256", "r5 1x1 512-2048", "r5 1x1 2048-512"]
    assert [layer.name for layer in SETS["bert"] if is_ffn(layer)] == ["ffn 768-3072", "ffn 3072-768"]


class MadeUp(Limit):
    def __init__(self) -> None:
        self.macs_per_second = {"avx512vnni": LAYER.useful_macs * 0.25}  # one second for the sparse layer

    def bytes_per_second(self, size: int) -> float:
        return 1e12


def test_shares_of_the_limit() -> None:
    assert limit_verdicts([times(1.2, 9.0)], MadeUp(), "avx512vnni")[0].startswith(
        "met: avx512vnni: r4 3x3 0.25 16x4: 0.83"
    )
    assert limit_verdicts([times(1.3, 9.0)], MadeUp(), "avx512vnni")[0].startswith("missed")
    assert limit_verdicts([times(1.2, 9.0)], MadeUp(), "amx")[0].startswith("skipped")


def test_geometric_means_per_set() -> None:
    (line,) = geometric_means([times(1.0, 2.0), times(1.0, 8.0)], [DENSE, SPARSE], ["onednn", "openvino"])
    assert line.split() == [
        "resnet50",
        "0.25",
        "16x4",
        "2",
        "layers:",
        "4.00",
        "[4.00,",
        "4.00]",
        "times",
        "faster",
        "than",
        "onednn",
    ]
