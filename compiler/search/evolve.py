"""Architecture search: NSGA-II over widths, blocks and bits, by the device's cost and the measured loss.

Non-dominated sorting (Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, 2002) on networks that
are judged as NetAdapt does (Yang et al., 2018): by the device's own cost, and by measured loss after a cheap repair in
place of training. The first generation holds uniform networks and the solver's Pareto front.

Every trial is appended to a journal on disk. What a trial tries follows from the seed, its number and the trials before
it, so that an interrupted search goes on to the same result.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError, missing_extra
from ..pruning.structures import ChannelStructure
from ..target import Progress, no_progress
from .decisions import DeviceCosts
from .fit import Fitter
from .space import Genes, Space, non_dominated

if TYPE_CHECKING:
    import optuna

POPULATION = 20
SHARES = (0.9, 0.75, 0.6, 0.5, 0.35, 0.25)  # of the uniform networks that a search starts from
_BIT, _SKIP, _WIDTH = "weight_bits", "skip_{}", "width_{}"


@dataclass(frozen=True)
class Trial:
    """One network that was judged."""

    genes: Genes
    cost: float
    loss: float


@dataclass(frozen=True, eq=False)
class Searched:
    """All trials in their order; `front` are those that no other one beats in both cost and loss, cheapest first."""

    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    resumed_from: int


def search(
    space: Space,
    trials: int,
    journal: Path,
    *,
    signature: str = "",
    progress: Progress = no_progress,
    after_trial: Callable[[int], None] | None = None,
) -> Searched:
    """Goes on until the journal holds `trials` trials. `signature` names what is searched: a journal of another search
    is refused. `after_trial` is told how many there are.

    Raises:
        UsageError: `trials` is less than 1 (code `bad-trials`), or the journal cannot be read (`bad-journal`) or
            belongs to another search (`other-search`).
        ToolError: optuna is not installed.
    """
    if trials < 1:
        raise UsageError(f"{trials} trials are no search.", code="bad-trials", hint="Give a number of at least 1.")
    study = _study(journal, signature)
    done = _judged(study)
    resumed_from = len(done)
    if not study.trials:
        for genes in _first(space, progress):
            study.enqueue_trial(_parameters(space, genes))
    while len(done) < trials:
        progress("Searching", len(done) / trials)
        study.sampler = _sampler(space.seed, len(done))
        trial = study.ask()
        genes = _genes(space, trial)
        study.tell(trial, [space.cost(genes), space.loss(genes)])
        done = _judged(study)
        if after_trial is not None:
            after_trial(len(done))
    found = [Trial(_genes_of(space, each.params), *each.values) for each in done[:trials]]
    front = non_dominated(np.array([each.cost for each in found]), np.array([each.loss for each in found]))
    return Searched(tuple(found), tuple(found[number] for number in front), resumed_from)


def _study(journal: Path, signature: str) -> optuna.Study:
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise missing_extra("optuna", "search") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name="prunus",
            directions=["minimize", "minimize"],
            load_if_exists=True,
        )
        known = study.user_attrs.get("signature")
        if known is None:
            study.set_user_attr("signature", signature)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise UsageError(
            "The journal of the search cannot be read.",
            code="bad-journal",
            where=str(journal),
            why=f"{type(error).__name__}: {error}"[:200],
            hint="Remove it to start anew.",
        ) from error
    if known not in (None, signature):
        raise UsageError(
            "The journal belongs to another search.",
            code="other-search",
            where=str(journal),
            why="It was begun with another model, device, data or seed.",
            hint="Remove it, or choose another --out.",
        )
    return study


def _sampler(seed: int, number: int) -> Any:
    """A sampler that depends on the number of finished trials alone, not on the run that it is made in."""
    import optuna

    own = int(np.random.default_rng([seed, number]).integers(2**31))
    return optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=own)


def _judged(study: optuna.Study) -> list[Any]:
    """Finished trials in their order."""
    import optuna

    return [each for each in study.get_trials(deepcopy=False) if each.state == optuna.trial.TrialState.COMPLETE]


def _first(space: Space, progress: Progress) -> list[Genes]:
    """The whole network, uniform ones, and the front of the solver."""
    costs = DeviceCosts(space.target, space.device, space.whole.works.workload, (space.key,))
    structure = ChannelStructure(space.formats.channel_multiple)
    fitter = Fitter(space.whole.channels, structure, costs, space.whole.loss, progress=progress)
    front = [Genes(each.choice.widths, (), max(space.bits)) for each in fitter.front(progress)]
    return list(dict.fromkeys([space.unpruned, *map(space.uniform, SHARES), *front]))


# -- genes and parameters ---------------------------------------------------------------------------------------------


def _parameters(space: Space, genes: Genes) -> dict[str, int]:
    """The options nearest to these genes."""
    widths = {
        _WIDTH.format(number): int(np.abs(np.array(options) - width).argmin())
        for number, (options, width) in enumerate(zip(space.options, genes.widths, strict=True))
    }
    skips = {_SKIP.format(number): int(number in genes.skipped) for number in range(len(space.blocks))}
    return {**widths, **skips, _BIT: space.bits.index(genes.weight_bits)}


def _genes(space: Space, trial: optuna.trial.Trial) -> Genes:
    """What the sampler wants tried next."""
    for number, options in enumerate(space.options):
        trial.suggest_int(_WIDTH.format(number), 0, len(options) - 1)
    for number in range(len(space.blocks)):
        trial.suggest_int(_SKIP.format(number), 0, 1)
    trial.suggest_int(_BIT, 0, len(space.bits) - 1)
    return _genes_of(space, trial.params)


def _genes_of(space: Space, parameters: dict[str, Any]) -> Genes:
    skipped = [number for number in range(len(space.blocks)) if parameters[_SKIP.format(number)]]
    widths = tuple(options[parameters[_WIDTH.format(number)]] for number, options in enumerate(space.options))
    return Genes(widths, space.compatible(skipped), space.bits[parameters[_BIT]])
