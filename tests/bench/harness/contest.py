"""One layer, all engines: prepare, compare with the reference, then time in interleaved rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from peers import Missing, Prepared

from .intervals import summary
from .problem import Problem, make, reference
from .rounds import Timer, clocked, interleave
from .shapes import Layer

OURS = "prunus"
TOLERANCE = 1  # of a peer, which rounds in its own way; ours must be equal


@dataclass(frozen=True)
class Variant:
    """What of a layer's weights is zero."""

    density: float = 1.0
    block: tuple[int, int] = (16, 4)

    def __str__(self) -> str:
        return "dense" if self.density == 1 else f"{self.density:g} {self.block[0]}x{self.block[1]}"


DENSE = Variant()


@dataclass(frozen=True)
class Timing:
    """One engine on one layer; `seconds` per round, without what an empty call of the engine costs."""

    engine: str
    variant: Variant
    how: str
    seconds: Sequence[float]

    @property
    def median(self) -> float:
        return summary(self.seconds).median


@dataclass(frozen=True)
class LayerTimes:
    set_name: str
    layer: Layer
    timings: Sequence[Timing]
    skipped: Sequence[str] = field(default_factory=tuple)  # who did not take part, and why

    def of(self, engine: str, variant: Variant = DENSE) -> Timing | None:
        return next((t for t in self.timings if t.engine == engine and t.variant == variant), None)


def difference(problem: Problem, prepared: Prepared) -> int:
    """The largest difference of the engine's output from the reference, after one call."""
    prepared.call()
    return int(np.abs(prepared.output().astype(np.int64) - reference(problem)).max())


@dataclass
class Contest:
    """Engines by name, and the variants that Prunus runs. Peers run the dense layer: zeros give them nothing."""

    engines: Mapping[str, ModuleType]
    variants: Sequence[Variant]
    rounds: int
    alone: bool = False  # NCHW on both sides, conversions included, instead of everybody's own layout
    seed: int = 0

    def run(self, set_name: str, layer: Layer) -> LayerTimes:
        prepared: dict[tuple[str, Variant], Prepared] = {}
        skipped: list[str] = []
        for engine, module in self.engines.items():
            for variant in self._variants(engine, layer):
                problem = make(layer, variant.density, variant.block, self.seed)
                try:
                    ready = module.prepare(problem, self.alone)
                    error = difference(problem, ready)
                except (Missing, RuntimeError) as reason:
                    skipped.append(f"{engine}, {variant}: {reason}")
                    continue
                if error > (0 if engine == OURS else TOLERANCE):
                    skipped.append(f"{engine}, {variant}: differs from the reference by {error}")
                    continue
                prepared[engine, variant] = ready
        timings = self._time(prepared)
        return LayerTimes(set_name, layer, timings, skipped)

    def _variants(self, engine: str, layer: Layer) -> Sequence[Variant]:
        if engine == OURS and layer.prunable:
            return self.variants
        return [DENSE]

    def _time(self, prepared: Mapping[tuple[str, Variant], Prepared]) -> list[Timing]:
        timers: dict[Any, Timer] = {key: ready.timer or clocked(ready.call) for key, ready in prepared.items()}
        calls: dict[Any, Timer] = {
            engine: clocked(self.engines[engine].empty_call())
            for engine in dict.fromkeys(engine for engine, _ in prepared)
            if any(ready.timer is None for (name, _), ready in prepared.items() if name == engine)
        }
        found = interleave(timers | calls, self.rounds, self.seed)
        return [
            Timing(engine, variant, prepared[engine, variant].how, _net(found[engine, variant], found.get(engine)))
            for engine, variant in prepared
        ]


def _net(seconds: Sequence[float], empty: Sequence[float] | None) -> list[float]:
    """Without the median empty call; never below a tenth of the time, which would be noise divided by noise."""
    call = float(np.median(empty)) if empty is not None else 0.0
    return [max(each - call, each / 10) for each in seconds]
