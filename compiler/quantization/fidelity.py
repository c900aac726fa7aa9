"""How far a quantized network is from its float original: signal to quantization noise of the logits, in dB."""

from __future__ import annotations

from ..analysis.parity import compare
from ..data import Data
from ..executor import run_model
from ..model.model import Model
from ..verify import logits_name

JUDGED_SAMPLES = 64


def logits_sqnr_db(reference: Model, candidate: Model, data: Data, samples: int = JUDGED_SAMPLES) -> float:
    """Of the values before a terminal Softmax, the worst of all outputs, on at most `samples` of the samples."""
    feeds = data.spread(samples).inputs
    found = []
    for model in (reference, candidate):
        names = [logits_name(model, str(value.name)) for value in model.graph.outputs]
        values = run_model(model, feeds, list(dict.fromkeys(names)))
        found.append([values[name] for name in names])
    return min(compare(left, right).sqnr_db for left, right in zip(*found, strict=True))
