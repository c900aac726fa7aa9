"""The report's JSON schema as typed models. A stable contract: fields may be added, never renamed or removed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "prunus.report/1"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelInfo(_Record):
    """The model as the user gave it. `name` is the file's own, untrusted; `sha256` is that of its bytes."""

    name: str
    sha256: str
    inputs: dict[str, list[int | None]]
    outputs: dict[str, list[int | None]]


class TargetInfo(_Record):
    """The backend and what it asked of compression."""

    backend: str
    scheme: str
    formats: dict[str, Any]


class DeviceInfo(_Record):
    """The board or chip."""

    name: str
    kind: str
    title: str


class NoteInfo(_Record):
    """What a pass did or left undone; `where` is the user's own (untrusted) name."""

    code: str
    text: str
    where: str = ""
    hint: str = ""


class PassInfo(_Record):
    """One pass; `seconds` is wall time (0 under SOURCE_DATE_EPOCH)."""

    name: str
    seconds: float
    changed: bool
    notes: list[NoteInfo] = Field(default_factory=list)
    details: dict[str, Any] = Field(default_factory=dict)  # figures of the pass itself, such as a Pareto front


class Accuracy(_Record):
    """`metric` is the user's own; `top1` when labels were given; otherwise `agreement` (of the decision with the
    original), or `r2` for outputs that are no classes. `unquantized`: of the compressed model in floating point."""

    metric: str
    before: float
    after: float
    samples: int
    unquantized: float | None = None


class Fidelity(_Record):
    """The compiled result beside its references.

    `sqnr_db`, `max_abs_error`, `agreement`: artefact (or reference) against the original float model on the outputs.
    `exact_fraction`: integer elements of the artefact that equal the integer reference, or null when not executed.
    """

    sqnr_db: float | None
    max_abs_error: float
    agreement: float
    exact_fraction: float | None
    reference: str
    compared_elements: int = 0


class Size(_Record):
    """Weights, multiply-accumulates for one sample and weight bytes, of the model as given and as compiled."""

    params_before: int
    params_after: int
    macs_before: int
    macs_after: int
    bytes_before: int
    bytes_after: int


class Coding(_Record):
    """model.onnx and the packed model.prz beside it, in bytes of the files; `methods` counts tensors by how they are
    stored there, `cluster` is the number of bits that weights share their values by (None: not at all)."""

    onnx_bytes: int
    packed_bytes: int
    methods: dict[str, int]
    cluster: int | None


class Energy(_Record):
    """Energy per inference in J: of the network quantized but not pruned, and of the compiled one, by one model."""

    before_j: float
    after_j: float
    basis: Literal["measured", "synthesised", "modelled"]
    source: str


class RedundancyInfo(_Record):
    """One layer before pruning; `layer` is the user's own (untrusted) name.

    `duplicates` of the channels nearly repeat another, `rank` directions of at most `full_rank` hold 99 % of the
    squared weights (null: too large to compare quickly), a share `near_zero` of the weights and all of `dead` channels
    say nothing.
    """

    layer: str
    weights: int
    channels: int
    duplicates: int | None
    rank: int | None
    full_rank: int
    near_zero: float
    dead: int


class LayerOutlook(_Record):
    """How many of a layer's channels a criterion would remove."""

    layer: str
    channels: int
    removed: int


class CriterionOutlook(_Record):
    """What one criterion would leave and remove; `loss` as `PruningOutlook.loss_kind` says, before and after refitting
    (null: not measured); `cost` is the device's model, keys as in estimates."""

    criterion: str
    macs: int
    channels: int
    loss: float | None
    refitted_loss: float | None
    cost: dict[str, float]
    layers: list[LayerOutlook]


class PruningOutlook(_Record):
    """What every criterion would do for a share `fraction` of the MACs, beside the whole network's own figures.

    `loss_kind`: `cross-entropy` (its increase, in nats), `relative error` (squared, of the outputs' variance), or empty
    without data; measured on `samples`. `skipped` says why other criteria were not asked.
    """

    fraction: float
    macs: int
    channels: int
    loss_kind: str
    samples: int
    cost: dict[str, float]
    skipped: dict[str, str]
    criteria: list[CriterionOutlook]


class EstimateInfo(_Record):
    """One cost with its range, unit, basis and source."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    basis: Literal["measured", "synthesised", "modelled"]
    source: str


class LayerInfo(_Record):
    """One operator of the integer graph; `name` is the user's own (untrusted) node name."""

    name: str
    op: str
    macs: int
    density: float
    bits: str
    placement: str
    reason: str
    cost: dict[str, float] = Field(default_factory=dict)
    sqnr_db: float | None = None


class Verdict(_Record):
    """`met`: every bound held. `binding`: the bound that decides. `why`: in words."""

    met: bool
    binding: str
    why: str


class ReportData(_Record):
    """report.json. The only field that differs between two equal runs is `provenance.created` and the seconds."""

    schema_: str = Field(default=SCHEMA, alias="schema")
    model: ModelInfo
    target: TargetInfo
    device: DeviceInfo
    passes: list[PassInfo]
    accuracy: Accuracy | None
    fidelity: Fidelity | None
    size: Size
    coding: Coding | None = None  # where a packed model was asked for
    estimate: list[EstimateInfo]
    baseline: list[EstimateInfo] = Field(default_factory=list)  # the same network quantized but not pruned
    energy: Energy | None = None  # where the device's model states it
    notes: list[str] = Field(default_factory=list)
    redundancy: list[RedundancyInfo] = Field(default_factory=list)
    outlook: PruningOutlook | None = None  # where it was asked for
    layers: list[LayerInfo]
    verdict: Verdict
    provenance: dict[str, Any]
