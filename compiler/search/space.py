"""What an architecture search may vary: widths of channel groups, residual blocks, bits of weights; and its cost.

A network without some blocks is a network of its own, with its own channels and losses; it is prepared when a candidate
first asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..analysis.channels import ChannelGroup, Channels, channel_groups
from ..data import Data
from ..model.model import Model
from ..model.workload import Workload
from ..pruning.blocks import remove_blocks
from ..pruning.criteria import importance
from ..pruning.residual import Block, residual_blocks
from ..pruning.structures import ChannelStructure
from ..target import Device, Formats, Progress, Target, no_progress
from .contest import built
from .decisions import MAX_OPTIONS, Choice, DeviceCosts, allowed_widths, thin, width_decisions
from .loss import RefitLoss
from .widths import WidthModel, Widths

BITS = (4, 6, 8)


@dataclass(frozen=True)
class Genes:
    """One network: per group of the whole network the units that stay, the blocks that go, the bits of weights."""

    widths: Widths
    skipped: tuple[int, ...]  # numbers of `Space.blocks`
    weight_bits: int


@dataclass(frozen=True, eq=False)
class Variant:
    """The network without some blocks, ready to be asked about widths."""

    model: Model
    channels: Channels
    loss: RefitLoss
    works: WidthModel
    groups: tuple[int, ...]  # for each of its prunable groups the number of the whole network's

    def widths(self, genes: Genes) -> Widths:
        """Those of the groups that are still there."""
        sizes = (group.size for group in self.channels.prunable)
        return tuple(min(genes.widths[number], size) for number, size in zip(self.groups, sizes, strict=True))


class Space:
    """All networks that can be made of one model for one device, with cost (key `key`) and loss of each.

    `progress` is told about the preparation, the slow part.
    """

    def __init__(
        self,
        model: Model,
        target: Target,
        device: Device,
        data: Data,
        key: str,
        *,
        criterion: str = "auto",
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> None:
        self.model, self.target, self.device, self.data, self.key = model, target, device, data, key
        self.criterion, self.seed = criterion, seed
        self.formats: Formats = target.formats(device)
        self.blocks: tuple[Block, ...] = tuple(residual_blocks(model))
        self.bits = tuple(bits for bits in BITS if bits <= self.formats.weight_bits) or (self.formats.weight_bits,)
        self._variants: dict[tuple[int, ...], Variant] = {}
        progress("Ranking channels", 0.0)
        self.whole = self.variant(())
        structure = ChannelStructure(self.formats.channel_multiple)
        costs = DeviceCosts(target, device, self.whole.works.workload, (key,))
        progress("Asking the device where its cost steps", 0.5)
        self.options = [each.options for each in width_decisions(self.whole.channels, structure, costs)]

    @cached_property
    def unpruned(self) -> Genes:
        """The whole network at the device's own bits."""
        return Genes(tuple(options[-1] for options in self.options), (), max(self.bits))

    def uniform(self, share: float) -> Genes:
        """All groups keep about this share of their channels."""
        groups = range(len(self.options))
        structure = ChannelStructure(self.formats.channel_multiple)
        allowed = [thin(allowed_widths(self.whole.channels, number, structure), MAX_OPTIONS**2) for number in groups]
        widths = tuple(max((w for w in each if w <= share * each[-1]), default=each[0]) for each in allowed)
        return Genes(widths, (), max(self.bits))

    def variant(self, skipped: tuple[int, ...]) -> Variant:
        """The network without these blocks; prepared once."""
        if skipped not in self._variants:
            blocks = [self.blocks[number] for number in skipped]
            model = remove_blocks(self.model, blocks, self.data, self.seed)
            channels = channel_groups(model)
            scores = importance(model, channels, self.criterion, self.seed, self.data)
            loss = RefitLoss(model, channels, scores, self.data, reference=self.model, seed=self.seed)
            places = _places(channels.prunable if not skipped else self.whole.channels.prunable)
            groups = tuple(places[group.producers[0].initializer] for group in channels.prunable)
            works = WidthModel(model, channels, self.formats)
            self._variants[skipped] = Variant(model, channels, loss, works, groups)
        return self._variants[skipped]

    def compatible(self, skipped: Sequence[int]) -> tuple[int, ...]:
        """Of these blocks those that can go together, earlier ones first."""
        chosen: list[int] = []
        for number in skipped:
            block = self.blocks[number]
            others = [self.blocks[other] for other in chosen]
            if not any(block.end == other.end or _overlap(block, other) for other in others):
                chosen.append(number)
        return tuple(chosen)

    def work(self, genes: Genes) -> Workload:
        """What the network asks of the device."""
        variant = self.variant(genes.skipped)
        bits = tuple((layer.origin, genes.weight_bits) for layer in variant.works.base.layers)
        return variant.works.workload(variant.widths(genes), bits)

    def cost(self, genes: Genes) -> float:
        return self.target.cost([self.work(genes)], self.device)[0].costs[self.key].value

    def loss(self, genes: Genes) -> float:
        """Measured on held-out samples, every layer refitted for itself, weights rounded."""
        variant = self.variant(genes.skipped)
        bits = tuple((layer, genes.weight_bits) for layer in variant.loss.layers)
        return variant.loss(variant.widths(genes), bits)

    def build(self, genes: Genes) -> Model:
        """The finished float network: without its blocks and channels, refitted. `weight_bits` is for quantization."""
        variant = self.variant(genes.skipped)
        widths = variant.widths(genes)
        return built(variant.model, variant.channels, variant.loss.scores, Choice(widths), self.data, seed=self.seed)


def _overlap(one: Block, other: Block) -> bool:
    """Whether a block's addition goes with the other block, or they share operators."""
    return bool(one.operators & other.operators) or one.end in other.operators or other.end in one.operators


def _places(groups: Sequence[ChannelGroup]) -> Mapping[str, int]:
    """The number of the group that each weight produces; of several groups of one weight the first."""
    places: dict[str, int] = {}
    for number, group in enumerate(groups):
        for member in group.producers:
            places.setdefault(member.initializer, number)
    return places


def non_dominated(costs: np.ndarray, losses: np.ndarray) -> list[int]:
    """Numbers of the points that no other one beats in both, cheapest first."""
    order = sorted(range(len(costs)), key=lambda number: (costs[number], losses[number], number))
    front: list[int] = []
    for number in order:
        if not front or losses[number] < losses[front[-1]]:
            front.append(number)
    return front
