"""The passes, in the one order in which they run.

Each is a class in a file of its own. The order and its reasons:

1.  `normalise` first: every later pass matches one spelling of each operator, with every attribute written out.
2.  `fold_constants` next, so that shapes and weights hidden in constant subgraphs become initializers.
3.  `push_transposes` before folding: batch normalisation and bias additions must stand right behind their convolution.
4.  `fold_batch_norm` before anything looks at a weight: magnitudes and ranges mean nothing before.
5.  `fold_input`: preprocessing becomes one affine step that the first quantizer can take over.
6.  `remove_dead_channels` before pruning: what is already zero must not use up the budget.
7.  `survey` says what there is to prune, before anything is.
8.  `prune_layers` before channels: in a block that goes, no channel needs to be chosen.
9.  `fit_budget` in place of `prune_channels` where a budget, or the accuracy alone, decides how much goes.
10. `prune_channels` (select, cut, prove, reconstruct) while the model is float, so that quantization sees the result.
11. `prune_weights` on what is left: zeros inside of layers, of which only some kernels make use.
12. `fine_tune` when everything that goes is gone: what is left learns to do without it.
13. `equalise` right before quantization and only where it helps: it rescales what quantization is about to measure.
14. `quantize` then: no float weight may change after its scale was chosen.
15. `train_quantized`: the integers themselves learn, their scales stay.
16. `cluster_weights` last: values are shared among the integers that the file will hold, within their scales.
"""

from __future__ import annotations

from .base import Context, Note, Options, Pass, PassResult
from .cluster_weights import ClusterWeights
from .equalise import Equalise
from .fine_tune import FineTune
from .fit_budget import FitBudget
from .fold_batch_norm import FoldBatchNorm
from .fold_constants import FoldConstants
from .fold_input import FoldInput
from .normalise import Normalise
from .prune_channels import PruneChannels
from .prune_layers import PruneLayers
from .prune_weights import PruneWeights
from .push_transposes import PushTransposes
from .quantize import Quantize
from .remove_dead_channels import RemoveDeadChannels
from .survey import Survey
from .train_quantized import TrainQuantized

PASSES: tuple[type[Pass], ...] = (
    Normalise,
    FoldConstants,
    PushTransposes,
    FoldBatchNorm,
    FoldInput,
    RemoveDeadChannels,
    Survey,
    PruneLayers,
    FitBudget,
    PruneChannels,
    PruneWeights,
    FineTune,
    Equalise,
    Quantize,
    TrainQuantized,
    ClusterWeights,
)

__all__ = ["PASSES", "Context", "Note", "Options", "Pass", "PassResult"]
