"""How much each channel matters. Scores are comparable between layers; an infinite one says: never remove.

Every criterion is one function; `CRITERIA` is the whole table.

| name          | needs     | source                                                                       |
| ------------- | --------- | ---------------------------------------------------------------------------- |
| `l1`, `l2`    | nothing   | Li et al., Pruning Filters for Efficient ConvNets, 2017                      |
| `fpgm`        | nothing   | He et al., Filter Pruning via Geometric Median, 2019                         |
| `bn`          | (samples) | Liu et al., Learning Efficient ConvNets through Network Slimming, 2017       |
| `activation`  | samples   | Molchanov et al., Pruning CNNs for Resource Efficient Inference, 2017        |
| `apoz`        | samples   | Hu et al., Network Trimming, 2016                                            |
| `hrank`       | samples   | Lin et al., HRank: Filter Pruning using High-Rank Feature Map, 2020          |
| `wanda`       | samples   | Sun et al., A Simple and Effective Pruning Approach for LLMs, 2023           |
| `mrmr`        | labels    | Peng, Long and Ding, Feature Selection Based on Mutual Information, 2005     |
| `sensitivity` | samples   | measured: each part of a group is switched off in turn (Han et al., 2015)    |
| `obs`         | samples   | Hassibi and Stork, Optimal Brain Surgeon, 1992                               |
| `taylor`      | gradients | Molchanov et al., Importance Estimation for Neural Network Pruning, 2019     |
| `obd`         | gradients | LeCun, Denker and Solla, Optimal Brain Damage, 1990                          |
| `random`      | nothing   | the baseline that every other one has to beat                                |

Gradients need samples and the extra `train`; labels are used where there are any.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..analysis.channels import Channels
from ..data import Data
from ..errors import UsageError
from ..model.model import Model
from .scoring.activations import apoz, hrank, mean_activation, wanda
from .scoring.base import Criterion, Scores
from .scoring.batch_norm import batch_norm_scale
from .scoring.gradients import optimal_brain_damage, taylor
from .scoring.relevance import relevance_minus_redundancy
from .scoring.sensitivity import sensitivity
from .scoring.weights import chance, geometric_median, magnitude
from .surgeon import surgeon

__all__ = ["AUTO", "CRITERIA", "Criterion", "Scores", "importance", "resolve"]

AUTO = "auto"

CRITERIA: Mapping[str, Criterion] = {
    "l2": magnitude(2),
    "l1": magnitude(1),
    "fpgm": geometric_median,
    "bn": batch_norm_scale,
    "activation": mean_activation,
    "apoz": apoz,
    "hrank": hrank,
    "wanda": wanda,
    "mrmr": relevance_minus_redundancy,
    "sensitivity": sensitivity,
    "obs": surgeon,
    "taylor": taylor,
    "obd": optimal_brain_damage,
    "random": chance,
}


def resolve(criterion: str, data: Data | None) -> str:
    """The criterion itself; for `auto` the best one that there is data for.

    Raises:
        UsageError: no criterion has this name (code `unknown-criterion`).
    """
    if criterion == AUTO:
        return "l2" if data is None else "obs"
    if criterion not in CRITERIA:
        raise UsageError(
            f"There is no pruning criterion called '{criterion[:64]}'.",
            code="unknown-criterion",
            hint=f"Criteria: {', '.join((AUTO, *CRITERIA))}.",
        )
    return criterion


def importance(model: Model, channels: Channels, criterion: str, seed: int = 0, data: Data | None = None) -> Scores:
    """The score of every unit under a criterion of `CRITERIA`, or `auto`.

    Raises:
        UsageError: the criterion is unknown (code `unknown-criterion`), or it needs data (`needs-data`) or labels
            (`needs-labels`).
    """
    return CRITERIA[resolve(criterion, data)](model, channels, seed, data)
