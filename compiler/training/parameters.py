"""Which initializers are weights to train, which are frozen, and which zeros must stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from ..errors import UsageError
from ..model.edit import weight
from ..model.match import is_float, is_op, operand
from ..model.model import Model
from ..model.untrusted import shown
from .codes import Codes, is_code

Mask = npt.NDArray[np.bool_]

# inputs that are settings of the operator, not weights
_SETTINGS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "Clip": (1, 2),
    "DequantizeLinear": (1, 2),
    "Dropout": (1,),
    "OneHot": (1, 2),
    "Pad": (2,),
    "Pow": (1,),
    "QuantizeLinear": (1, 2),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
}
_ONE_NUMBER = frozenset({"Conv", "ConvTranspose", "Gemm", "PRelu"})  # whose weights may have a single element


def trainable(model: Model, freeze: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the weights to train, sorted.

    A single number that enters a formula (the 0.5 of a decomposed GELU) is none, nor is a setting such as a bound.
    Quantized weights count too (see `codes`). `freeze` names initializers, or nodes whose weights all stay; plain names
    or the user's, or patterns of them such as `features.*`.

    Raises:
        UsageError: `freeze` names something that the model does not have (`unknown-freeze`).
    """
    frozen = _frozen(model, freeze)
    initializers = model.graph.initializers
    return tuple(name for name in sorted(initializers) if name not in frozen and _is_weight(initializers[name]))


def _is_weight(value: ir.Value) -> bool:
    if is_code(value):
        return True
    data = weight(value)
    if data is None or not is_float(value) or not value.uses():
        return False
    uses = [(use.node.op_type, use.idx) for use in value.uses()]
    if any(index in _SETTINGS.get(op_type, ()) for op_type, index in uses):
        return False
    return data.size > 1 or any(op_type in _ONE_NUMBER for op_type, _ in uses)


def _frozen(model: Model, freeze: Collection[str]) -> set[str]:
    weights = {name: {name} for name in model.graph.initializers}
    nodes = {
        node.name: {value.name or "" for value in node.inputs if value is not None and value.const_value is not None}
        for node in model.graph
        if node.name
    }
    known = {**nodes, **weights}
    known |= {model.original(name): names for name, names in known.items()}
    frozen: set[str] = set()
    for each in freeze:
        found = (
            [names for name, names in known.items() if fnmatchcase(name, each)] if each not in known else [known[each]]
        )
        if not found:
            raise UsageError(
                f"The model has no weight and no node called {shown(each)}.",
                code="unknown-freeze",
                hint="Freeze weights or nodes by the names that they have in the model file; * stands for any part.",
            )
        frozen.update(*found)
    return frozen


def step_scales(model: Model, names: Collection[str]) -> dict[str, float]:
    """The root mean square of every weight, to which its steps are relative (Shazeer and Stern, Adafactor, 2018).

    Batch normalisation and input scaling folded into weights leave them at very different scales. A bias that is zero
    still moves like the weights that it is added to.
    """
    initializers = model.graph.initializers
    return {name: _size(initializers[name]) or _size(_companion(initializers[name])) or 1e-3 for name in names}


def _size(value: ir.Value | None) -> float:
    """The root mean square, of what quantized weights stand for; 0 where there is no weight."""
    data = weight(value)
    if value is None or data is None:
        return 0.0
    real = Codes.of(value, torch.float64, torch.device("cpu")).real(data).numpy() if is_code(value) else data
    return float(np.sqrt(np.mean(np.square(real, dtype=np.float64)))) if data.size else 0.0


def _companion(bias: ir.Value) -> ir.Value | None:
    """The weight of the product that a bias is added to."""
    use = next(iter(bias.uses()))
    node: ir.Node | None = use.node
    if is_op(node, "Add"):
        node = next((each.producer() for each in use.node.inputs if each is not None and each is not bias), None)
    if node is None or not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    return operand(node, 1)


def zero_masks(model: Model, names: Collection[str], given: Mapping[str, Any] | None = None) -> dict[str, Mask]:
    """For every weight with zeros that must stay, where it may be nonzero.

    Zeros are structure that pruning made; a vector of nothing but zeros is a bias that nobody has trained yet. `given`
    masks (True: may be nonzero) come on top.

    Raises:
        UsageError: a mask is for no trained weight, or has another shape (`bad-mask`).
    """
    masks = {}
    for name in names:
        data = weight(model.graph.initializers[name])
        assert data is not None  # a weight
        mask = data != 0
        if not mask.all() and (data.ndim > 1 or mask.any()):
            masks[name] = mask
    for name, mask in (given or {}).items():
        array = np.asarray(mask, bool)
        if name not in names or array.shape != tuple(model.graph.initializers[name].shape or ()):
            raise UsageError(
                f"The mask for {shown(name)} fits no trained weight.",
                code="bad-mask",
                why=f"Its shape is {array.shape}." if name in names else "No trained weight has this plain name.",
            )
        masks[name] = masks.get(name, np.ones_like(array)) & array
    return masks
