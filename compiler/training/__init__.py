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
    from .channels import prune_channels_gradually
    from .function import TorchGraph
    from .gradients import gate_gradients, gradient_norms, squared_gradients
    from .lottery import find_ticket, train_by_plan
    from .plans import Gradual, GradualChannels, Lottery, Surgery
    from .trainer import fine_tune
    from .transfer import transfer, weights_until, with_new_head
    from .tuning import Tuned, Tuning

_HOMES = {
    "Gradual": "plans",
    "GradualChannels": "plans",
    "Lottery": "plans",
    "Surgery": "plans",
    "TorchGraph": "function",
    "Tuned": "tuning",
    "Tuning": "tuning",
    "find_ticket": "lottery",
    "fine_tune": "trainer",
    "gate_gradients": "gradients",
    "gradient_norms": "gradients",
    "prune_channels_gradually": "channels",
    "squared_gradients": "gradients",
    "train_by_plan": "lottery",
    "transfer": "transfer",
    "weights_until": "transfer",
    "with_new_head": "transfer",
}

__all__ = [
    "Gradual",
    "GradualChannels",
    "Lottery",
    "Surgery",
    "TorchGraph",
    "Tuned",
    "Tuning",
    "find_ticket",
    "fine_tune",
    "gate_gradients",
    "gradient_norms",
    "prune_channels_gradually",
    "squared_gradients",
    "train_by_plan",
    "transfer",
    "weights_until",
    "with_new_head",
]


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
