"""A cut equals the original with zeroed consumers, and the proof notices when it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from light import random_light_model
from pruning_nets import NETS, random_removal
from real_tasks import quantized

from prunus.compiler.analysis.channels import Channels, channel_groups
from prunus.compiler.analysis.channels.labels import Fixed, Free
from prunus.compiler.analysis.channels.rules import RULES
from prunus.compiler.errors import PrunusError
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight, weight
from prunus.compiler.model.load import load, load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.prove import Proof, compared_values, prove, random_inputs, relative_error, zero_consumers
from prunus.compiler.target import Formats

TOLERANCE = 1e-5  # relative to the largest output
QUICK = ("squeezenet", "shufflenet", "inception_v1", "inception_v2", "resnet50")
SLOW = ("densenet121", "alexnet", "zfnet512", "vgg19")
REAL = (
    "mlperf_ic_resnet8_fp32",
    "mlperf_kws_dscnn_fp32",
    "mlperf_vww_mobilenetv1_025_96_fp32",
    "mlperf_ad_autoencoder_fp32",
    "mlperf_sww_1dconv_fp32",
    "jet_mlp3_fp32",
    "imagenet_mobilenetv2_1.0_224_dequant_fp32",
    "face_ultraface_rfb320_fp32",
    "sr_espcn_x2_fp32",
    "jet_qkeras_6bit_qonnx",
    "mnist_tfc_2w2a_qonnx",
    "sr_espcn_x2_qonnx",
)


def check_cut(model: Model, ratio: float = 0.5, seed: int = 0) -> tuple[Channels, Proof]:
    """Cuts a random share, proves it, and checks that the cut model needs the MACs that were predicted."""
    channels = channel_groups(model)
    removed = random_removal(channels, ratio, seed)
    assert removed.any()
    result = cut(model, channels, removed)
    onnx.checker.check_model(result.to_proto())
    assert channel_groups(result).macs() == channels.macs(removed) < channels.macs()
    proof = prove(model, channels, removed, result)
    assert proof.max_relative_error <= TOLERANCE
    return channels, proof


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", NETS)
def test_random_cuts_of_every_kind_of_network(name: str, seed: int) -> None:
    check_cut(NETS[name](), ratio=(0.5, 0.3, 0.7)[seed], seed=seed)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_half_of_the_channels_of_real_topologies(name: str) -> None:
    _, proof = check_cut(load_proto(random_light_model(name)))
    assert proof.samples == 5


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_other_shares_of_real_topologies(name: str, share: float) -> None:
    check_cut(load_proto(random_light_model(name)), share, seed=1)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("name", REAL)
def test_shares_of_the_channels_of_trained_models(models: Path, name: str, share: float) -> None:
    path = models / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    check_cut(load(path), share)


@pytest.mark.parametrize("name", NETS)
def test_another_cut_than_the_intended_one_is_noticed(name: str) -> None:
    """One unit stays and its neighbour goes: same shapes, wrong channel."""
    model = NETS[name]()
    channels = channel_groups(model)
    removed = random_removal(channels)
    group = max(channels.prunable, key=lambda group: group.size)
    wrong = removed.copy()
    wrong[group.units] = np.roll(removed[group.units], 1)
    if (wrong == removed).all():
        pytest.skip("the group has no other cut of this size")
    assert prove(model, channels, removed, cut(model, channels, wrong)).max_relative_error > 1e-3


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("name", ["resnet8", "ds_cnn"])
def test_quantized_trained_models(models: Path, name: str, share: float) -> None:
    """QDQ as the pipeline writes it. Sums in another order may round to the neighbouring step, which is 1/255."""
    model, _ = quantized(name, models, Formats())
    channels = channel_groups(model)
    assert sum(group.size for group in channels.prunable) > 0.5 * channels.count
    removed = random_removal(channels, share)
    result = cut(model, channels, removed)
    assert prove(model, channels, removed, result).max_relative_error <= TOLERANCE
    names, feeds = compared_values(model), random_inputs(model, 5, 0)
    expected = run_model(zero_consumers(model, channels, removed), feeds, names, optimise=False, batch=1)
    found = run_model(result, feeds, names, optimise=False, batch=1)
    assert max(relative_error(expected[name], found[name]) for name in names) <= 0.02


def test_wrong_scales_are_noticed_without_rounding_too() -> None:
    """A cut that leaves the scales of other channels behind."""
    model = NETS["quantized"]()
    channels = channel_groups(model)
    removed = random_removal(channels)
    result = cut(model, channels, removed)
    scales = result.graph.initializers["s1"]
    set_weight(scales, weight(scales)[::-1].copy())
    assert prove(model, channels, removed, result).max_relative_error > 1e-3


def reversed_labels(op_type: str, axis: int = 1):
    """The rule of an operator, with the labels of its first output's axis in the wrong order."""
    right = RULES[op_type]

    def rule(trace, node):
        first, *others = right(trace, node)
        dims = list(first)
        if isinstance(dims[axis], Free):
            dims[axis] = Free(dims[axis].labels[::-1].copy())
        return [dims, *others]

    return rule


def untied(trace, node):
    """An addition that couples nothing: the second operand's channels stay independent of the first's."""
    return [trace.dims(node.inputs[0])]


BROKEN = {
    "Concat": ("branches", reversed_labels),
    "Split": ("even_split", reversed_labels),
    "Gather": ("picked", reversed_labels),
    "Slice": ("sliced", reversed_labels),
    "DepthToSpace": ("blocks_crd", reversed_labels),
    "SpaceToDepth": ("blocks_dcr", reversed_labels),
    "Reshape": ("shuffle", lambda op_type: reversed_labels(op_type, 2)),
    "Flatten": ("chain", reversed_labels),
    "Relu": ("residual", reversed_labels),
    "ConvTranspose": ("transposed", reversed_labels),
    "Conv": ("residual", reversed_labels),
    "Einsum": ("einsum_attention", lambda op_type: reversed_labels(op_type, -1)),
    "LSTM": ("lstm", lambda op_type: reversed_labels(op_type, 3)),
    "GRU": ("gru", lambda op_type: reversed_labels(op_type, 3)),
}


def is_noticed(model: Model) -> bool:
    """Whether a random cut of half of the channels fails: by shapes that do not fit, or by its proof."""
    channels = channel_groups(model)
    removed = random_removal(channels, 0.5, seed=3)
    try:
        return prove(model, channels, removed, cut(model, channels, removed)).max_relative_error > 1e-3
    except PrunusError as failure:
        return failure.code in ("shape-mismatch", "runtime-rejects-model")


@pytest.mark.parametrize("op_type", BROKEN)
def test_a_broken_rule_is_noticed(op_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, fault = BROKEN[op_type]
    assert not is_noticed(NETS[name]())
    monkeypatch.setitem(RULES, op_type, fault(op_type))
    assert is_noticed(NETS[name]())


def test_a_rule_of_the_wrong_size_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a rule contradicts the model's shapes, both sides are pinned."""
    monkeypatch.setitem(RULES, "Concat", lambda trace, node: [trace.dims(node.inputs[0])])
    channels = channel_groups(NETS["branches"]())
    assert {group.pinned_because.code for group in channels.groups if group.pinned_because} >= {"unsupported-form"}


def test_missing_coupling_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "Sum", untied)
    assert is_noticed(NETS["residual"]())


def test_zeroing_producers_would_be_wrong() -> None:
    """The reason for zeroing consumers: a batch normalisation brings a zeroed producer's channel back."""
    model = NETS["chain"]()
    channels = channel_groups(model)
    removed = random_removal(channels)
    zeroed = model.clone()
    for (name, axis), units in channels.units.items():
        if name in ("w1", "b1", "w2") and axis == 0:
            value = zeroed.graph.initializers[name]
            data = value.const_value.numpy().copy()
            data[removed[units]] = 0
            value.const_value = ir.tensor(data, name=name)
    feeds = random_inputs(model, 3, 0)
    values = compared_values(model)
    right = run_model(zero_consumers(model, channels, removed), feeds, values)
    wrong = run_model(zeroed, feeds, values)
    assert max(relative_error(right[name], wrong[name]) for name in values) > 1e-2


def test_a_final_softmax_is_looked_behind() -> None:
    model = NETS["chain"]()
    assert compared_values(model) == ("y", "y0")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_prove_nothing(bad: float) -> None:
    good = np.ones(4)
    assert relative_error(good, np.array([1, 1, 1, bad])) == float("inf")
    assert relative_error(np.array([1, 1, 1, bad]), good) == float("inf")
    assert relative_error(good, np.ones(5)) == float("inf")
    assert relative_error(np.zeros(3), np.zeros(3)) == 0
    assert relative_error(np.zeros(3), np.ones(3)) == float("inf")
    assert relative_error(np.array([4.0, -8.0]), np.array([4.0, -6.0])) == 0.25


def test_pinned_units_and_last_units_are_not_cut() -> None:
    model = NETS["chain"]()
    channels = channel_groups(model)
    pinned = next(group for group in channels.groups if group.pinned_because is not None)
    removed = channels.keep_all()
    removed[pinned.first] = True
    with pytest.raises(PrunusError) as failure:
        cut(model, channels, removed)
    assert failure.value.code == "pinned-channel"
    removed = channels.keep_all()
    removed[channels.prunable[0].units] = True
    with pytest.raises(PrunusError) as failure:
        cut(model, channels, removed)
    assert failure.value.code == "empty-group"


def test_a_cut_leaves_the_original_alone_and_is_deterministic() -> None:
    model = NETS["branches"]()
    before = model.to_bytes()
    channels = channel_groups(model)
    removed = random_removal(channels)
    assert cut(model, channels, removed).to_bytes() == cut(model, channels, removed).to_bytes()
    assert model.to_bytes() == before


def test_removing_nothing_changes_nothing() -> None:
    model = NETS["shuffle"]()
    channels = channel_groups(model)
    same = cut(model, channels, channels.keep_all())
    for name, value in model.graph.initializers.items():
        assert np.array_equal(value.const_value.numpy(), same.graph.initializers[name].const_value.numpy())


def test_fixed_dimensions_keep_their_reason_when_chosen_from() -> None:
    pin = channel_groups(NETS["chain"]()).groups[-1].pinned_because
    assert pin is not None
    assert Fixed(5, pin).take(np.array([0, 3])) == Fixed(2, pin)
