"""Published figures that the cost model is compared with, and layers that the comparisons share."""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

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
    from prunus.compiler.report.build import quantized_like
    from prunus.compiler.target import Formats

    return quantized_like(workload(load_proto(random_light_model(name, seed=0))), Formats())
