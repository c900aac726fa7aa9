"""What the operators that sum over channels read, on samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ...analysis.channels import Channels, Site
from ...analysis.channels.groups import Units
from ...analysis.channels.shapes import with_shapes
from ...analysis.channels.trace import key
from ...data import Data
from ...executor import Session
from ...model.model import Model
from ..sampling import PIECE, choose

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Reader:
    """An operator that sums over channels of a computed value: `value` has them on `axis`, samples on `batch`."""

    site: Site
    node: ir.Node
    value: str
    axis: int
    batch: int

    @property
    def units(self) -> Units:
        return self.site.units

    @property
    def rank(self) -> int:
        value = self.node.inputs[self.site.index]
        return value.shape.rank() if value is not None and value.shape is not None else self.axis + 1

    def arrange(self, array: Array) -> Array:
        """[samples, channels, places …]"""
        return np.moveaxis(array, (self.batch, self.axis), (0, 1))


def readers(model: Model, channels: Channels) -> list[Reader]:
    """The readers of a model whose shapes are known, in graph order. Sums over a weight's own axis are none."""
    nodes = {key(node): node for node in model.graph}
    found = []
    for site in channels.sites:
        value = nodes[site.node].inputs[site.index]
        if value is None or value.is_initializer() or (site.units < 0).all():
            continue
        batch = batch_axis(value)
        if batch != site.axis:
            found.append(Reader(site, nodes[site.node], value.name or "", site.axis, batch))
    return found


def batch_axis(value: ir.Value) -> int:
    """The first symbolic dimension: recurrent networks have time in front of it."""
    dims = enumerate(value.shape or ())
    return next((axis for axis, dim in dims if not isinstance(dim, int)), 0)


def observe(
    model: Model, channels: Channels, data: Data, samples: int, seed: int
) -> tuple[list[Reader], Iterator[list[Array]], Data]:
    """(readers, for each piece of the samples one array [samples, channels, places …] a reader, the samples)."""
    shaped = with_shapes(model)
    found = readers(shaped, channels)
    chosen, piece = choose([shaped], data, samples, seed)
    return found, _pieces(shaped, found, chosen, piece), chosen


def _pieces(model: Model, found: list[Reader], chosen: Data, piece: int) -> Iterator[list[Array]]:
    names = list(dict.fromkeys(reader.value for reader in found))
    if not names:
        return
    session = Session(model, names, optimise=False)
    for feeds in chosen.batches(piece):
        values = session.run(feeds, batch=PIECE)
        yield [reader.arrange(values[reader.value]) for reader in found]
