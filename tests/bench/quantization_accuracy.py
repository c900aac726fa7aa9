"""What integers cost: accuracy and fidelity of every trained network before and after quantization, no training.

    python tests/bench/quantization_accuracy.py [TASK ...] [--sections schemes,peers,twins] [--json FILE]

Sections: `schemes` quantizes in every number format, `peers` runs onnxruntime and NNCF beside on the same calibration
samples, `twins` quantizes per tensor what computes the same with badly scaled channels (tests/support/rescaled.py).
`net loss` counts the samples that only the float model gets right, minus those that only the quantized one does;
`agree` is the share of samples with the same decision as the float model; `SQNR` is that of the logits (of the outputs,
where there is no Softmax); `MACs` is the share of multiply-accumulates with weights and inputs of at most 8 bits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "bench")]

from quantization_peers import PEERS, Peer, integer_macs, logits_of, version
from real_tasks import Task, load_task, task_names
from rescaled import rescaled_twin

from prunus.compiler.executor import Session
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes import PASSES
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Formats

SCHEMES: Mapping[str, tuple[Formats, Options]] = {
    "f32 u8 channel": (Formats(), Options()),
    "f32 u8 tensor": (Formats(per_channel=False), Options()),
    "pow2 channel": (Formats(scheme="pow2", activation="s8"), Options()),
    "pow2 tensor": (Formats(scheme="pow2", activation="s8", per_channel=False), Options()),
    "f32 w4 nearest": (Formats(weight_bits=4), Options(rounding="nearest")),
    "f32 w4 gptq": (Formats(weight_bits=4), Options(rounding="gptq")),
    "f32 w4 adaround": (Formats(weight_bits=4), Options(rounding="adaround")),
    "mixed 25 dB": (Formats(), Options(mixed_precision=25.0)),
    "pow2 w6a6": (Formats(scheme="pow2", activation="s8", weight_bits=6, activation_bits=6), Options()),
}
SECTIONS = ("schemes", "peers", "twins")
PREPARE = tuple(each for each in PASSES if each.name not in ("equalise", "quantize"))
QUANTIZE = tuple(each for each in PASSES if each.name in ("equalise", "quantize"))


@dataclass(frozen=True)
class Row:
    """One line of the table; `net_loss` in samples, `agreement` a share: None where the metric is not an accuracy."""

    task: str
    scheme: str
    metric: str
    before: float
    after: float
    samples: int
    net_loss: int | None
    agreement: float | None
    sqnr_db: float
    clipped: int
    integer_macs: float

    def __str__(self) -> str:
        loss = "-" if self.net_loss is None else f"{self.net_loss:+d}"
        agree = "-" if self.agreement is None else f"{self.agreement:.1%}"
        return (
            f"{self.task:13} {self.scheme:24} {self.metric:5} {self.before:.4f} -> {self.after:.4f}  {loss:>4} of "
            f"{self.samples:<4} agree {agree:>6} {self.sqnr_db:5.1f} dB  MACs {self.integer_macs:4.0%}"
        )


def prepare(path: Path) -> Model:
    """The float model, ready for quantization."""
    return Pipeline([step() for step in PREPARE]).run(load(path), Context()).model


def quantize(task: Task, original: Model, formats: Formats, options: Options) -> tuple[Model, int]:
    """(the quantized model, how many ranges were clipped) by this project's passes."""
    context = Context(formats, options, task.calibration_data(original))
    result = Pipeline([step() for step in QUANTIZE]).run(original, context)
    clipped = sum(note.code == "range-clipped" for record in result.records for note in record.notes)
    return result.model, clipped


def evaluate(task: Task, original: Model, scheme: str, ranges: str | None = None) -> Row:
    """Quantizes the prepared float model for a scheme and scores both on the same samples."""
    formats, options = SCHEMES[scheme]
    if ranges is not None:
        options = Options(ranges=ranges, rounding=options.rounding)
    model, clipped = quantize(task, original, formats, options)
    return score(task, scheme, original.to_proto(), model.to_proto(), clipped)


def score(task: Task, scheme: str, original: onnx.ModelProto, quantized: onnx.ModelProto, clipped: int = 0) -> Row:
    """Runs both models on the scoring samples, every operator as written."""
    (before, signal), (after, noisy) = (_run(task, proto) for proto in (original, quantized))
    top1 = task.metric == "top1"
    return Row(
        task=task.name,
        scheme=scheme,
        metric=task.metric,
        before=task.score(before),
        after=task.score(after),
        samples=len(task.x),
        net_loss=int(task.correct(before).sum() - task.correct(after).sum()) if top1 else None,
        agreement=float((before.argmax(axis=1) == after.argmax(axis=1)).mean()) if top1 else None,
        sqnr_db=float(10 * np.log10((signal**2).sum() / ((signal - noisy) ** 2).sum())),
        clipped=clipped,
        integer_macs=integer_macs(quantized),
    )


def _run(task: Task, proto: onnx.ModelProto) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and logits."""
    output, logits = proto.graph.output[0].name, logits_of(proto)
    session = Session(proto, list(dict.fromkeys([output, logits])), optimise=False)
    x = task.x.reshape(-1, task.x.shape[-1]) if task.metric == "auc" else task.x
    values = session.run({next(iter(session.inputs)): x}, batch=256)
    return values[output], values[logits]


def scheme_rows(task: Task, original: Model, ranges: str | None) -> Iterator[Row | str]:
    for scheme in SCHEMES:
        yield evaluate(task, original, scheme, ranges)


def peer_rows(
    task: Task, original: Model, ranges: str | None, peers: Iterable[str] = tuple(PEERS)
) -> Iterator[Row | str]:
    """One scale per channel: ours, and the peers on the file as published."""
    yield evaluate(task, original, "f32 u8 channel", ranges)
    published = onnx.load(task.model)
    for name in peers:
        distribution, peer = PEERS[name]
        yield _peer_row(task, f"{name} channel", distribution, peer, task.model, published, True)


def twin_rows(task: Task, original: Model, ranges: str | None) -> Iterator[Row | str]:
    """One scale per tensor on the badly scaled twin: ours, and onnxruntime."""
    twin, pairs = rescaled_twin(original)
    if not pairs:
        yield f"{task.name}: no two layers can be rescaled"
        return
    model, clipped = quantize(task, twin, *SCHEMES["f32 u8 tensor"])
    yield score(task, f"twin ({pairs} pairs) tensor", original.to_proto(), model.to_proto(), clipped)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "twin.onnx"
        onnx.save(twin.to_proto(), path)
        distribution, peer = PEERS["onnxruntime"]
        yield _peer_row(task, "twin onnxruntime tensor", distribution, peer, path, original.to_proto(), False)


def _peer_row(
    task: Task, name: str, distribution: str, peer: Peer, path: Path, original: onnx.ModelProto, per_channel: bool
) -> Row | str:
    if version(distribution) is None:
        return f"{task.name}: {name} skipped, {distribution} is not installed"
    return score(task, name, original, peer(path, task.calibration, per_channel))


BUILDERS: Mapping[str, Callable[[Task, Model, str | None], Iterator[Row | str]]] = {
    "schemes": scheme_rows,
    "peers": peer_rows,
    "twins": twin_rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tasks", nargs="*", default=list(task_names()), help="networks of tests/support/data_splits.toml"
    )
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--ranges", help="one method for all ranges, instead of each scheme's own")
    parser.add_argument("--json", type=Path, help="everything that was measured, as JSON")
    arguments = parser.parse_args()
    names = ("onnxruntime", "nncf", "numpy", "onnx")
    versions = {name: version(name) or "not installed" for name in names}
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    found: list[Row] = []
    for name in arguments.tasks:
        task = load_task(name, arguments.models)
        original = prepare(task.model)
        for section in arguments.sections.split(","):
            for row in BUILDERS[section](task, original, arguments.ranges):
                print(row, flush=True)
                found += [row] if isinstance(row, Row) else []
    if arguments.json:
        document = {"versions": versions, "rows": [asdict(row) for row in found]}
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
