"""`train_quantized`: trains the integer weights of a quantized model (quantization-aware training).

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2018. The
graph and its scales stay; gradients pass the rounding straight through.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..model.model import Model
from .base import Context, PassResult
from .fine_tune import learn


class TrainQuantized:
    """Trains for `options.qat_epochs`, otherwise as `options.training` says and `FineTune` does. Off without epochs."""

    name: ClassVar[str] = "train_quantized"
    summary: ClassVar[str] = "Training integer weights"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        epochs = context.options.qat_epochs
        if not epochs:
            return PassResult(model, False)
        return learn(model, context, replace(context.options.training, epochs=epochs), self.name)
