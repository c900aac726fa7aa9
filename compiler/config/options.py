"""Every setting, once, by section. A section is a table of the configuration file and a panel of `--help`.

To add a setting, add its line to a section here: the command line, the file, its template and the documents follow.
What the setting does goes into the pass that reads it. Nothing heavy is imported, so that help stays instant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from ..training.tuning import Tuning
from .setting import Entry, Section, Setting, entries

CRITERIA = (
    "auto", "obs", "sensitivity", "wanda", "hrank", "apoz", "activation", "bn", "mrmr", "fpgm", "taylor", "obd", "l2",
    "l1", "random",
)  # fmt: skip
ROUNDINGS = ("auto", "nearest", "gptq", "adaround")

METRIC_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is compiled, for what, and where the result goes."""

    table: ClassVar[str] = ""
    panel: ClassVar[str] = "Model, data and result"

    model: Annotated[Path | None, Setting("The trained model, an .onnx file.", example="model.onnx")] = None
    target: Annotated[
        str | None, Setting("[BACKEND:]DEVICE, see `prunus targets`.", short="-t", example="host-cpu")
    ] = None
    out: Annotated[Path, Setting("Folder for the artefact and the report.", short="-o")] = Path("out")
    data: Annotated[
        Path | None, Setting("Samples to score on: .npz with x and y, or a folder.", example="data.npz")
    ] = None
    calibration: Annotated[
        Path | None,
        Setting("Samples to calibrate on; without it a part of the data is set aside.", example="calibration.npz"),
    ] = None
    training_data: Annotated[
        Path | None, Setting("Samples to learn from; without it those for calibration.", example="unlabelled.npz")
    ] = None
    transfer: Annotated[
        Path | None,
        Setting("More samples to learn from, which the teacher alone answers.", example="more.npz"),
    ] = None
    data_from: Annotated[
        str | None, Setting("Your own source of samples, package.module:function.", example="mine:samples")
    ] = None
    shape: Annotated[
        tuple[str, ...], Setting("A dynamic input's shape without the batch, NAME=3x224x224 (repeatable).")
    ] = ()
    verify_samples: Annotated[int, Setting("Samples on which the artefact must equal the reference.", at_least=1)] = 64
    measure: Annotated[bool, Setting("Time the artefact here; not reproducible.")] = False
    dump_dir: Annotated[Path | None, Setting("Keep the model after every pass in this folder.", example="passes")] = (
        None
    )
    skip_pass: Annotated[tuple[str, ...], Setting("Leave a pass out (repeatable).")] = ()


@dataclass(frozen=True, kw_only=True)
class Score:
    """How the result is judged."""

    table: ClassVar[str] = ""
    panel: ClassVar[str] = "Bounds"

    budget: Annotated[
        str | None,
        Setting(
            "Upper bounds to fit the network to: latency=1ms,lut=60%,ram=64kb …; % of the unpruned network.",
            example="latency=60%",
        ),
    ] = None
    metric: Annotated[
        str | None, Setting("Your own score, package.module:function(outputs, labels).", example="mine:score")
    ] = None
    metric_timeout: Annotated[float, Setting("Seconds that it may take each time.", above=0)] = METRIC_TIMEOUT_S


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The accuracy that must be kept."""

    table: ClassVar[str] = ""
    panel: ClassVar[str] = "Bounds"

    max_drop: Annotated[
        float | None,
        Setting(
            "Largest allowed loss of accuracy, a share. Alone it finds the cheapest network that keeps it.",
            at_least=0,
            below=1,
            example=0.01,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every step shares."""

    table: ClassVar[str] = ""
    panel: ClassVar[str] = "Model, data and result"

    seed: Annotated[int, Setting("Seed of every random choice.", at_least=0)] = 0
    coreset: Annotated[
        str | None,
        Setting(
            "Calibrate on and learn from few samples, METHOD:COUNT: k-center (covers all), dedup, random, or with "
            "labels el2n and grand (the hard ones).",
            example="k-center:256",
        ),
    ] = None

    checkpoint_dir: Annotated[
        Path | None,
        Setting(
            "Keep the state of training here after every epoch; an interrupted run goes on.", example="checkpoints"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """What is removed from the network, and how it is chosen."""

    table: ClassVar[str] = "pruning"
    panel: ClassVar[str] = "Pruning"

    sparsity: Annotated[
        float, Setting("Share of multiply-accumulates to prune away by removing channels.", at_least=0, below=0.96)
    ] = 0.0
    criterion: Annotated[
        str, Setting("How channels are ranked; mrmr needs labels, taylor and obd the extra train.", CRITERIA)
    ] = "auto"
    scope: Annotated[
        str,
        Setting(
            "Of the channels to remove: from the whole network; only inside of blocks (residual networks); the "
            "same share of each layer; or widths searched for by what the refitted network's outputs lose (slower).",
            ("global", "inner", "layer", "searched"),
        ),
    ] = "global"
    heads: Annotated[
        str,
        Setting(
            "What attention layers lose: the same positions of every head, or whole heads (all at once only).",
            ("positions", "whole"),
        ),
    ] = "positions"
    schedule: Annotated[
        str,
        Setting(
            "All at once; step by step, going back where --max-drop would be broken; or while training (--epochs): "
            "gradual (channels or weights), surgery (weights return), lottery (weights start anew).",
            ("one-shot", "iterative", "gradual", "surgery", "lottery"),
        ),
    ] = "one-shot"
    rounds: Annotated[
        int, Setting("Of a lottery ticket's trainings, or of stages in which channels go gradually.", at_least=1)
    ] = 4
    rewind: Annotated[
        int, Setting("The epoch that a lottery ticket's weights go back to; 0: the initial weights.", at_least=0)
    ] = 0
    explain: Annotated[
        bool, Setting("Say in the report what each criterion would remove and cost; takes a little longer.")
    ] = False
    reconstruct: Annotated[bool, Setting("Refit what is left by least squares on the data.")] = True
    layer_sparsity: Annotated[
        float,
        Setting("Share of multiply-accumulates to prune away as whole residual blocks.", at_least=0, below=0.96),
    ] = 0.0
    layer_criterion: Annotated[
        str,
        Setting(
            "How residual blocks are ranked.", ("influence", "sensitivity", "taylor", "obd", "magnitude", "random")
        ),
    ] = "influence"
    weight_sparsity: Annotated[
        float, Setting("Share of the weights to zero inside of layers.", at_least=0, below=0.99)
    ] = 0.0
    pattern: Annotated[
        str,
        Setting(
            "Of those zeros; auto: what the device skips. Other sizes work, too.",
            ("auto", "16x4", "4x4", "32x4", "32x64", "2:4", "weight"),
        ),
    ] = "auto"
    budget_zeros: Annotated[
        bool, Setting("Where the device skips zeros, a budget decides about them, too, layer by layer.")
    ] = True
    weight_criterion: Annotated[
        str, Setting("How weights are ranked.", ("auto", "obs", "wanda", "taylor", "obd", "magnitude", "random"))
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How numbers become integers."""

    table: ClassVar[str] = "quantization"
    panel: ClassVar[str] = "Quantization"

    quantize: Annotated[bool, Setting("Turn weights and activations into integers.")] = True
    ranges: Annotated[
        str,
        Setting(
            "How ranges of activations are found; auto: per tensor, by local error.",
            ("auto", "minmax", "extrapolated", "percentile", "mse", "entropy"),
        ),
    ] = "auto"
    random_calibration: Annotated[
        bool, Setting("Without data, find ranges on random numbers; accuracy will suffer.")
    ] = False
    rounding: Annotated[
        str,
        Setting(
            "How weights are rounded; gptq (auto: where there is data) and adaround change outputs least.", ROUNDINGS
        ),
    ] = "auto"
    bias_correction: Annotated[bool, Setting("Take the mean error of rounded weights out of the biases.")] = True
    equalise: Annotated[
        str,
        Setting(
            "Move scale between layers; auto: where channels differ much. Kept where it is measured to help.",
            ("auto", "always", "never"),
        ),
    ] = "auto"
    weight_bits: Annotated[
        int | None, Setting("Bits of the weights; the device's unless given.", at_least=2, at_most=8, example=8)
    ] = None
    activation_bits: Annotated[
        int | None, Setting("Bits of the activations; the device's unless given.", at_least=2, at_most=8, example=8)
    ] = None
    qat_epochs: Annotated[
        int, Setting("Train the integer weights: passes over the data (quantization-aware training).", at_least=0)
    ] = 0
    granularity: Annotated[
        str, Setting("One scale of weights per channel or per tensor.", ("device", "channel", "tensor"))
    ] = "device"
    scales: Annotated[str, Setting("Which scales there may be.", ("device", "any", "pow2"))] = "device"
    float_type: Annotated[str, Setting("Type of a GPU library's floats.", ("device", "float32", "float16"))] = "device"
    mixed_precision: Annotated[
        float | None,
        Setting(
            "Signal-to-noise ratio of the logits to keep, in dB: each layer's weights get the fewest bits (4, 6 or 8), "
            "and stay in floating point where even 8 do not keep it.",
            at_least=0,
            example=25.0,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How the model becomes a small file."""

    table: ClassVar[str] = "coding"
    panel: ClassVar[str] = "File"

    cluster: Annotated[
        int | None,
        Setting(
            "Let the weights of a layer share 2^BITS values (k-means). Loses accuracy; makes model.prz smaller.",
            at_least=2,
            at_most=8,
            example=4,
        ),
    ] = None
    pack: Annotated[bool, Setting("Write model.prz, too: the same model, its weights coded without loss.")] = False


@dataclass(frozen=True, kw_only=True)
class Options(Coding, Quantization, Pruning, Contract, Common):
    """What the user asked of compression, for every pass to read; the defaults are those of the command line."""

    training: Tuning = field(default_factory=lambda: Tuning(epochs=0))  # without epochs: no fine-tuning
    budget: Mapping[str, float] = field(default_factory=dict)  # upper bounds of costs (quantity.UNITS) to fit to


# All sections in the order of the configuration file.
SECTIONS: tuple[type[Section], ...] = (Job, Common, Contract, Score, Pruning, Quantization, Coding, Tuning)
# Every setting by its name, which no two share.
ENTRIES: Mapping[str, Entry] = {entry.name: entry for section in SECTIONS for entry in entries(section)}
# The tables of the configuration file; "" is its top.
TABLES: Mapping[str, Sequence[Entry]] = {
    table: [entry for entry in ENTRIES.values() if entry.section.table == table]
    for table in dict.fromkeys(section.table for section in SECTIONS)
}
