"""A device whose costs step, and a network in which one group is half redundant: where a search has to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod

import numpy as np
from pruning_nets import net

from prunus.compiler.analysis.channels.shapes import with_shapes
from prunus.compiler.data import Data
from prunus.compiler.integer.graph import Graph, Linear
from prunus.compiler.model.model import Model
from prunus.compiler.model.workload import Layer, Workload
from prunus.compiler.quantity import Estimate, Quantity
from prunus.compiler.target import Device, Formats


@dataclass
class SteppedTarget:
    """Computes `tile` channels at a time, in and out, on `lanes` lanes (a setting); energy is that of the weights.

    With `narrow`, every bit of a weight costs logic, and weights may have so few bits. With `block`, blocks of zeros
    take no time.
    """

    tile: int = 4
    lanes: tuple[int, ...] = ()
    narrow: tuple[int, ...] = ()
    block: tuple[int, int] | None = None
    name: str = "stepped"
    asked: list[Workload] = field(default_factory=list)

    def formats(self, device: Device) -> Formats:
        return Formats(narrow_weights=self.narrow, block=self.block)

    def settings(self, device: Device) -> Mapping[str, Sequence[int]]:
        return {"lanes": self.lanes} if self.lanes else {}

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        self.asked += works
        return [self._estimate(work, device) for work in works]

    def _estimate(self, work: Workload, device: Device) -> Estimate:
        lanes = int(device.data.get("lanes", self.lanes[-1] if self.lanes else 1))
        seconds = 1e-6 + sum(self._seconds(layer) for layer in work.layers) / lanes
        energy = 1e-9 * sum(layer.weight_bytes for layer in work.layers)
        return Estimate(
            {
                "latency_s": Quantity.exact(seconds, "s", "modelled", "tiles"),
                "energy_j": Quantity.exact(energy, "J", "modelled", "weights"),
                "lut": Quantity.exact(100.0 * lanes + self._logic(work), "LUT", "modelled", "lanes"),
            }
        )

    def _logic(self, work: Workload) -> float:
        if self.narrow:
            return sum(layer.weights * layer.weight_bits for layer in work.layers)
        return work.macs / 1e3

    def _seconds(self, layer: Layer) -> float:
        if not layer.macs:
            return 0.0
        rows = layer.macs / (layer.in_channels * layer.out_channels)
        skipped = layer.sparsity.density if self.block and layer.sparsity.kind == "block" else 1.0
        sizes = (ceil(size / self.tile) * self.tile for size in (layer.in_channels, layer.out_channels))
        return 1e-9 * rows * skipped * prod(sizes)


@dataclass
class CountingTarget(SteppedTarget):
    """Finished networks need more logic than `cost` says, by this factor; only counting tells."""

    factor: float = 1.0

    def count(self, graph: Graph, device: Device) -> Mapping[str, Quantity]:
        bits = sum(op.weight.size * op.weight_bits for op in graph.ops if isinstance(op, Linear))
        return {"lut": Quantity.exact(self.factor * (100.0 + bits), "LUT", "modelled", "counted")}


DEVICE = Device("stepped-1", "cpu", "stepped", "A device whose costs step")


def half_redundant() -> Model:
    """Three groups of 16; in the first one, channels 8 … 15 are copies of 0 … 7. A residual block at the end."""
    rng = np.random.default_rng(3)
    w1 = rng.standard_normal((16, 3, 3, 3)).astype(np.float32) * 0.4
    b1 = rng.standard_normal(16).astype(np.float32) * 0.1
    w1[8:], b1[8:] = w1[:8], b1[:8]
    return with_shapes(
        net(
        """a = Conv<pads = [1,1,1,1]>(x, w1, b1)  c = Relu(a)  d = Conv<pads = [1,1,1,1]>(c, w2, b2)  e = Relu(d)
           i = Conv<pads = [1,1,1,1]>(e, w3, b3)  j = Relu(i)  k = Conv<pads = [1,1,1,1]>(j, w4, b4)  l = Add(e, k)
           h = Relu(l)  p = GlobalAveragePool(h)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {
            "w1": w1, "b1": b1, "w2": (16, 16, 3, 3), "b2": (16,), "w3": (16, 16, 3, 3), "b3": (16,),
            "w4": (16, 16, 3, 3), "b4": (16,), "wy": (5, 16), "by": (5,),
        },
        x="float[batch,3,6,6] x",
        )
    )  # fmt: skip


def samples(count: int = 96) -> Data:
    """Smooth random images."""
    noise = np.random.default_rng(0).standard_normal((count, 3, 8, 8))
    smooth = (noise[:, :, 1:-1, 1:-1] + noise[:, :, :-2, 1:-1] + noise[:, :, 1:-1, :-2]).astype(np.float32)
    return Data({"x": smooth})
