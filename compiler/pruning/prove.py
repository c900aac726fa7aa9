"""Shows that a cut removed exactly what it was meant to remove.

Removing a channel must equal multiplying it by zero wherever it is summed over. So in the original the *consumers'*
slices are zeroed, and both models must agree. (Zeroing the producers' slices would be wrong: a bias, a batch
normalisation or a Sigmoid brings the channel back to life.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels import Channels, Site
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.shapes import with_shapes
from ..analysis.channels.trace import key
from ..executor import Session
from ..model.edit import fresh_name, infer_shapes, make_initializer, set_weight, weight
from ..model.model import Model
from .smooth import without_rounding

Array = npt.NDArray[Any]
_MOVES = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Proof:
    """How far the cut model is from the zeroed original: max |difference| / max |output|, over all compared values.

    `compared` are plain names of values: graph outputs, and what goes into a terminal Softmax.
    """

    max_relative_error: float
    samples: int
    compared: tuple[str, ...]


def prove(
    original: Model, channels: Channels, removed: Mask, cut_model: Model, samples: int = 5, seed: int = 0
) -> Proof:
    """Runs the zeroed original and the cut model in onnxruntime on the same seeded random inputs.

    `channels` and `removed` are what `cut` was given. fp32 models agree to about 1e-6; quantized ones too, since they
    are compared without their rounding (smooth.py).
    """
    zeroed = without_rounding(zero_consumers(original, channels, removed))
    feeds = random_inputs(original, samples, seed)
    compared = compared_values(original)
    expected = Session(zeroed, compared, optimise=False).run(feeds, batch=1)
    found = Session(without_rounding(cut_model), compared, optimise=False).run(feeds, batch=1)
    worst = max(relative_error(expected[name], found[name]) for name in compared)
    return Proof(worst, samples, compared)


def compared_values(model: Model) -> tuple[str, ...]:
    """The graph outputs, and the inputs of those that a Softmax computes: it would hide differences."""
    return tuple(dict.fromkeys([*(value.name or "" for value in model.graph.outputs), *raw_outputs(model)]))


def raw_outputs(model: Model) -> tuple[str, ...]:
    """The graph outputs, but the input of a Softmax for what it computes."""
    names = []
    for value in model.graph.outputs:
        node = value.producer()
        while node is not None and node.op_type in _MOVES and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        softmax = node is not None and node.op_type in ("Softmax", "LogSoftmax")
        before = node.inputs[0] if node is not None and softmax else None
        names.append((value if before is None else before).name or "")
    return tuple(dict.fromkeys(names))


def relative_error(expected: Array, found: Array) -> float:
    """max |difference| / max |expected|; infinite where shapes differ or one of the two is not finite."""
    if expected.shape != found.shape:
        return float("inf")
    first, second = expected.astype(np.float64), found.astype(np.float64)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return float("inf")
    difference, scale = float(np.abs(first - second).max(initial=0)), float(np.abs(first).max(initial=0))
    return difference / scale if scale else (float("inf") if difference else 0.0)


def random_inputs(model: Model, samples: int, seed: int) -> dict[str, Array]:
    """Seeded feeds: normal numbers for float inputs, 0 … 255 (or 0, 1 for wider integers) for the others."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        dims = [size if isinstance(size, int) else 1 for size in value.shape or ()]
        shape = (samples * dims[0], *dims[1:]) if dims else (samples,)
        dtype = (value.dtype or ir.DataType.FLOAT).numpy()
        if np.issubdtype(dtype, np.floating):
            feeds[value.name or ""] = rng.standard_normal(shape).astype(dtype)
        else:
            high = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) and dtype.itemsize == 1 else 1
            feeds[value.name or ""] = rng.integers(0, high, shape, endpoint=True).astype(dtype)
    return feeds


def zero_consumers(model: Model, channels: Channels, removed: Mask) -> Model:
    """A copy of the model in which the removed channels count for nothing wherever they are summed over.

    A weight that only such sums read is zeroed in place. Elsewhere (two computed operands, quantized or shared
    weights) the other operand is multiplied by a mask.
    """
    result = with_shapes(model).clone()
    nodes = {key(node): node for node in result.graph}
    sites_of = Counter(site.weight for site in channels.sites)
    for site in channels.sites:
        stay = kept(site.units, removed)
        if stay.all():
            continue
        if _zeroable(result, channels, site, sites_of):
            _zero_weight(result, channels, site, removed)
        else:
            _mask_input(result, nodes[site.node], site, stay)
    infer_shapes(result)
    return result


def _zeroable(model: Model, channels: Channels, site: Site, sites_of: Mapping[Any, int]) -> bool:
    if site.weight is None:
        return False
    value = model.graph.initializers[site.weight[0]]
    return bool(value.dtype and value.dtype.is_floating_point()) and len(value.uses()) == sites_of[site.weight]


def _zero_weight(model: Model, channels: Channels, site: Site, removed: Mask) -> None:
    assert site.weight is not None  # _zeroable
    name, axis = site.weight
    value = model.graph.initializers[name]
    data = weight(value)
    assert data is not None  # an initializer
    stay = kept(channels.units[name, axis], removed)
    shape = [-1 if position == axis else 1 for position in range(data.ndim)]
    set_weight(value, data * stay.reshape(shape).astype(data.dtype))


def _mask_input(model: Model, node: ir.Node, site: Site, stay: Mask) -> None:
    value = node.inputs[site.index]
    assert value is not None and value.shape is not None  # a site's operand, and shapes are inferred
    dtype = (value.dtype or ir.DataType.FLOAT).numpy()
    mask = stay.reshape(-1, *[1] * (value.shape.rank() - 1 - site.axis)).astype(dtype)
    factor = make_initializer(model.graph, fresh_name(model), mask)
    product = ir.node("Mul", [value, factor], name=fresh_name(model, "n"))
    product.outputs[0].name = fresh_name(model)
    product.outputs[0].shape, product.outputs[0].type = value.shape, value.type
    model.graph.insert_before(node, product)
    node.replace_input_with(site.index, product.outputs[0])
