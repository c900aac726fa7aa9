"""The two networks that these scripts compress, and their data."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import numpy as np

from prunus.compiler import Data, load

ROOT = Path(__file__).resolve().parents[3]


def digits() -> tuple[Path, Data, Data]:
    """The example's MLP, the images that it was trained on, and 540 others."""
    folder = ROOT / "examples" / "digits"
    images, labels, unseen, answers = runpy.run_path(str(folder / "train.py"))["digits"]()
    name = str(load(folder / "mlp.onnx").graph.inputs[0].name)
    training, scoring = (
        Data({name: x.reshape(len(x), -1)}, y, "scikit-learn's digits")
        for x, y in ((images, labels), (unseen, answers))
    )
    return folder / "mlp.onnx", training, scoring


def jet(file: str, *counts: int) -> tuple[Path, list[Data]]:
    """A jet tagging MLP from the folder of real models, and data sets of so many samples.

    There are no public inputs of that size: these are standard normal, and agreement with the float model counts.
    """
    path = Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models")) / file
    name, rng = str(load(path).graph.inputs[0].name), np.random.default_rng(0)
    return path, [Data({name: rng.standard_normal((n, 16)).astype(np.float32)}, source="drawn") for n in counts]
