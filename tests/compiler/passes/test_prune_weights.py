"""The pass: its options, what it says, and that later passes keep its zeros."""

from __future__ import annotations

import numpy as np
import pytest
from pruning_nets import NETS

from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options, PassResult
from prunus.compiler.passes.properties import check
from prunus.compiler.passes.prune_weights import PruneWeights
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Formats


def samples(model: Model, count: int = 64) -> Data:
    value = model.graph.inputs[0]
    rng = np.random.default_rng(7)
    return Data({value.name: rng.standard_normal((count, *list(value.shape)[1:])).astype(np.float32)})


def run(model: Model, data: Data | None = None, block: tuple[int, int] | None = (4, 4), **options) -> PassResult:
    context = Context(formats=Formats(block=block), options=Options(**options), calibration=data)
    result = PruneWeights().run(model, context)
    if result.changed:
        check(PruneWeights.name, ("valid", "sparsity"), model, result.model)
    return result


def codes(result: PassResult) -> list[str]:
    return [note.code for note in result.notes]


def test_nothing_asked_nothing_changed() -> None:
    model = NETS["chain"]()
    assert run(model) == PassResult(model, False)


def test_auto_takes_the_block_of_the_device() -> None:
    model = NETS["chain"]()
    result = run(model, samples(model), weight_sparsity=0.5)
    assert result.changed and "pattern 4x4 by criterion obs" in result.notes[0].text
    assert "zeros-do-not-pay" not in codes(result) and "layers-refitted" in codes(result)


@pytest.mark.parametrize(("pattern", "warned"), [("8x4", False), ("4x4", False), ("2:4", True), ("weight", True)])
def test_a_pattern_that_does_not_pay_is_said(pattern: str, warned: bool) -> None:
    model = NETS["chain"]()
    result = run(model, weight_sparsity=0.5, pattern=pattern)
    assert ("zeros-do-not-pay" in codes(result)) == warned


def test_a_device_without_sparse_kernels_is_said() -> None:
    notes = {note.code: note for note in run(NETS["chain"](), block=None, weight_sparsity=0.5, pattern="2x2").notes}
    assert "--sparsity" in notes["zeros-do-not-pay"].hint
    assert "nothing-refitted" in notes


def test_where_every_weight_costs_zeros_pay_anywhere() -> None:
    """As adders in logic do: `auto` then puts zeros where they lose least."""
    for pattern in ("auto", "4x4", "2:4"):
        result = run(NETS["chain"](), block=(1, 1), weight_sparsity=0.5, pattern=pattern)
        assert "zeros-do-not-pay" not in codes(result)
        assert pattern != "auto" or "in the pattern weight by" in result.notes[0].text


def test_layers_that_are_too_small_are_named() -> None:
    result = run(NETS["chain"](), weight_sparsity=0.5, pattern="32x64")
    assert not result.changed
    assert all(note.where for note in result.notes if note.code == "layer-stays-dense")
    assert codes(result).count("layer-stays-dense") >= 2


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_must_be_a_share(share: float) -> None:
    with pytest.raises(UsageError) as error:
        run(NETS["chain"](), weight_sparsity=share)
    assert error.value.code == "bad-sparsity"


def test_zeros_survive_the_whole_pipeline() -> None:
    """Equalisation and quantization keep every zero: counted in the int8 weights of the quantized model."""
    model = load_proto(NETS["chain"]().to_proto())
    context = Context(
        formats=Formats(block=(4, 4)), options=Options(weight_sparsity=0.5), calibration=samples(model, 128)
    )
    pruned, compressed = (Pipeline.default(last=last).run(model, context).model for last in ("prune_weights", None))
    assert zeros(compressed, np.int8) >= zeros(pruned, np.float32) > 0.3 * 888


def zeros(model: Model, dtype: type) -> int:
    """Zeros in all weights of this type; biases have another in the quantized model, and few zeros in the other."""
    arrays = [value.const_value.numpy() for value in model.graph.initializers.values() if value.const_value is not None]
    return sum(int((array == 0).sum()) for array in arrays if array.dtype == dtype and array.ndim > 1)


def test_auto_is_n_of_m_where_the_device_skips_that() -> None:
    formats = Formats(n_m=(2, 4))
    model = NETS["chain"]()
    context = Context(formats=formats, options=Options(weight_sparsity=0.5), calibration=samples(model))
    result = PruneWeights().run(model, context)
    assert any("pattern 2:4" in note.text for note in result.notes)
    assert "zeros-do-not-pay" not in codes(result)
    other = Context(formats=formats, options=Options(weight_sparsity=0.5, pattern="16x4"))
    (note,) = (note for note in PruneWeights().run(model, other).notes if note.code == "zeros-do-not-pay")
    assert note.hint == "--pattern 2:4"
