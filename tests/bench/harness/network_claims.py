"""What is claimed of whole networks, checked against what was measured: met when the whole 95 % interval is above."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .intervals import Ratio

TINY = ("resnet8", "ds_cnn", "mobilenet_v1", "wake_word", "autoencoder")
ITSELF = "one thread"

Faster = Callable[[tuple[str, float, int], tuple[str, float, int]], Ratio | None]


@dataclass(frozen=True)
class Claim:
    """Ours at this density is at least `times` as fast as a dense peer, or as itself on one thread."""

    networks: tuple[str, ...]
    density: float
    peer: str
    times: float
    threads: int = 1


CLAIMS = (
    Claim(("resnet50",), 1.0, "openvino-int8", 1.0),
    Claim(("resnet50",), 1.0, "onnxruntime-int8", 2.5),
    Claim(("resnet50",), 0.25, "openvino-int8", 1.8),
    Claim(("resnet50",), 0.25, "onnxruntime-int8", 5.0),
    Claim(("resnet50",), 1.0, ITSELF, 1.7, threads=2),
    Claim(("resnet50",), 0.25, ITSELF, 1.7, threads=2),
    Claim(("mobilenetv2",), 1.0, "openvino-int8", 1.0),
    Claim(TINY, 1.0, "onnxruntime-int8", 1.5),
    Claim(("resnet50", "mobilenetv2", *TINY), 1.0, "tvm-f32", 20.0),
)
CLAIMANTS = ("prunus", "prunus-ort", "prunus-tvm")


def verdicts(network: str, faster: Faster) -> list[str]:
    """One line per claim on this network and engine of ours; `faster(ours, theirs)` by engine, density and threads."""
    text = []
    for claim in (claim for claim in CLAIMS if network in claim.networks):
        for name in CLAIMANTS:
            ours = (name, claim.density, claim.threads)
            theirs = (name, claim.density, 1) if claim.peer == ITSELF else (claim.peer, 1.0, claim.threads)
            ratio = faster(ours, theirs)
            word = "skipped" if ratio is None else "met" if ratio.low >= claim.times else "missed"
            what = f"{network}, {name}, density {claim.density:g}: >= {claim.times:g}x {claim.peer}"
            text.append(f"{word}: {what}: {ratio or 'not measured'}")
    return text
