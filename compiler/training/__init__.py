"""Training on ONNX: gradients, fine-tuning and distillation, by torch (the extra `train`).

    from prunus.compiler.training import Tuning, fine_tune

    tuned = fine_tune(pruned, data, Tuning(epochs=10), teacher=original)

Torch is imported with the first name that is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import missing_extra

if TYPE_CHECKING:
    from .function import TorchGraph
    from .gradients import gate_gradients, gradient_norms, squared_gradients
    from .trainer import fine_tune
    from .tuning import Tuned, Tuning

_HOMES = {
    "TorchGraph": "function",
    "Tuned": "tuning",
    "Tuning": "tuning",
    "fine_tune": "trainer",
    "gate_gradients": "gradients",
    "gradient_norms": "gradients",
    "squared_gradients": "gradients",
}

__all__ = ["TorchGraph", "Tuned", "Tuning", "fine_tune", "gate_gradients", "gradient_norms", "squared_gradients"]


def require_torch() -> None:
    """Raises ToolError (`missing-extra`) where PyTorch is not installed."""
    try:
        import_module("torch")
    except ImportError as error:
        raise missing_extra("torch", "train") from error


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_torch()
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
