"""Which channels of the original network the values of a pruned one still hold: written on the values by every cut.

It is kept in memory alone, beside the model's own fields: no file carries it, and none can claim it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask, kept
from ..model.model import Model

Positions = npt.NDArray[np.int64]
_KEY = "prunus.origins"


def remember(model: Model, channels: Channels, removed: Mask) -> None:
    """Notes what is left in a model that was just cut. Cuts follow each other: positions are those before the first."""
    for node in model.graph:
        for value in node.outputs:
            found = dict(origins(value))
            for axis, units in channels.places.get(value.name or "", {}).items():
                stay = kept(units, removed)
                if not stay.all():
                    found[axis] = found.get(axis, np.arange(len(units)))[stay]
            if found:
                value.meta[_KEY] = found


def origins(value: ir.Value) -> Mapping[int, Positions]:
    """axis -> the original position of everything along it, for each axis that lost channels."""
    found: Mapping[int, Positions] = value.meta.get(_KEY, {})
    return found
