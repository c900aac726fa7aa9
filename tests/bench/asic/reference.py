"""Published figures that the cost model is compared with, and layers that the comparisons share."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from prunus.targets.asic.problem import Problem

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "support"))


@cache
def figures() -> dict[str, Any]:
    """The reference file: PRUNUS_REFERENCES, or ../shared/references/asic.json beside the checkout."""
    path = Path(os.environ.get("PRUNUS_REFERENCES", ROOT.parent / "shared" / "references" / "asic.json"))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@cache
def light_workload(name: str) -> Any:
    """An int8 workload of one of the topologies in the onnx wheel, with random dense weights."""
    from light import random_light_model

    from prunus.compiler.model.load import load_proto
    from prunus.compiler.model.workload import workload
    from prunus.compiler.target import Formats, quantized_like

    return quantized_like(workload(load_proto(random_light_model(name, seed=0))), Formats())


# MobileNetV2 1.0 at 224 (Sandler et al., CVPR 2018, table 2): expansion, channels, repeats, stride.
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2() -> list[Problem]:
    """Every product of MobileNetV2 in order; a depthwise layer has one group per channel."""

    def conv(c: int, k: int, size: int, kernel: int, stride: int, g: int = 1) -> Problem:
        out = (size - 1) // stride + 1
        return Problem(g, k // g, c // g, out, out, kernel, kernel, size, size, stride, stride)

    layers, channels, size = [conv(3, 32, 224, 3, 2)], 32, 112
    for expansion, width, repeats, first_stride in _MOBILENET_V2:
        for repeat in range(repeats):
            stride, inner = first_stride if repeat == 0 else 1, channels * expansion
            if expansion > 1:
                layers.append(conv(channels, inner, size, 1, 1))
            layers.append(conv(inner, inner, size, 3, stride, g=inner))
            size = (size - 1) // stride + 1
            layers.append(conv(inner, width, size, 1, 1))
            channels = width
    return [*layers, conv(channels, 1280, size, 1, 1), conv(1280, 1000, 1, 1, 1)]
