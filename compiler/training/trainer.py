"""Fine-tuning and knowledge distillation on ONNX: what pruning took from the accuracy is learned back."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data import Data
from ..errors import UsageError
from ..model.match import dims
from ..model.model import Model
from ..target import Progress, no_progress
from . import checkpoint as checkpoints
from .augment import Augmenter, Batch
from .checkpoint import Checkpoint
from .function import TorchGraph
from .kept import kept_features
from .masking import GradualMasks, SurgeryMasks
from .normalised import with_batch_norm
from .objective import Objective, answers, choose_loss
from .parameters import Mask, step_scales, trainable, zero_masks
from .plans import Gradual, Surgery, Update
from .rules.call import Tensor
from .teacher import Teacher
from .tuning import Features, Tuned, Tuning

Array = npt.NDArray[Any]


def fine_tune(
    model: Model,
    data: Data,
    tuning: Tuning = Tuning(),  # noqa: B008 (frozen)
    *,
    teacher: Model | None = None,
    features: Features | None = None,
    transfer: Data | None = None,
    freeze: Collection[str] = (),
    masks: Mapping[str, Any] | None = None,
    plan: Gradual | None = None,
    until: int | None = None,
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
) -> Tuned:
    """Trains a model's weights on labels, on a teacher's answers, or on both.

    Adam (Kingma and Ba, 2015). Zeros that pruning made stay zeros. Everything random comes from `tuning.seed`: equal
    arguments give equal bytes on one machine, whether or not the run was interrupted and resumed in between.

    Args:
        data: samples; labels where there are any.
        teacher: the model as it was before pruning, or any other that takes the same samples.
        features: values of the model -> values of the teacher (plain names) whose distance counts too; `blocks`: the
            outputs of the teacher's blocks that are left in the model, which was cut from it (kept.py).
        transfer: more samples, of which the teacher alone speaks: their labels are not used. They may be of another
            kind than `data`, as natural pictures are beside those of ten classes.
        freeze: weights or nodes that stay as they are; see `parameters.trainable`.
        masks: where weights may be nonzero, by plain name, beside the zeros that they have.
        plan: prunes weights while training, `Gradual` or `Surgery`.
        until: stops after so many epochs, as if the run had been interrupted there.
        checkpoint: a file that is written after every epoch; where it exists, the run goes on from it.

    Raises:
        UsageError: data, labels, teacher, masks or checkpoint do not fit, nothing is left to train
            (`nothing-to-train`), or the loss is no number any more (`diverged`). For a plan: no layer can take its
            zeros (`nothing-to-prune`), or it cannot be carried out (`target-out-of-reach`, `schedule-too-short`).
        UnsupportedError: an operator has no gradient.
    """
    if features == "blocks" and teacher is not None and tuning.feature_weight:
        teacher, features = kept_features(teacher, model, data, tuning.seed)
    pairs = features if isinstance(features, Mapping) else {}
    normal = with_batch_norm(model, data, trainable(model, freeze)) if tuning.batch_norm == "insert" else None
    start = model if normal is None else normal.model
    run = _Run(start, data, tuning, teacher, pairs, transfer, freeze, masks or {}, plan)
    resumed = 0
    if checkpoint is not None:
        resumed = run.resume(checkpoints.read(checkpoint, run.fingerprint))
    end = tuning.epochs if until is None else until
    with _deterministic(tuning.threads):
        for epoch in range(resumed, end):
            run.epoch(epoch, progress)
            if checkpoint is not None:
                checkpoints.write(checkpoint, run.state())
    progress("Fine-tuning", end / max(tuning.epochs, 1))
    found = run.result(start, resumed)
    return found if normal is None else replace(found, model=normal.folded(found.model))


class _Run:
    """One training run: everything that an epoch changes, and what stays the same."""

    def __init__(
        self,
        model: Model,
        data: Data,
        tuning: Tuning,
        teacher: Model | None,
        features: Mapping[str, str],
        transfer: Data | None,
        freeze: Collection[str],
        masks: Mapping[str, Any],
        plan: Gradual | None,
    ) -> None:
        labelled = len(data)
        data, self.batch = _batches(model, _with_transfer(data, transfer, teacher), tuning)
        self.augment = Augmenter(model, data, tuning.augment, tuning.seed)
        self.data, self.tuning = data, tuning
        self.names = trainable(model, freeze)
        self.graph = TorchGraph(model, device=_device(tuning.device))
        for name, tensor in self.graph.parameters.items():
            tensor.requires_grad_(name in self.names)
        if not self.names:
            raise UsageError(
                "All weights are frozen: nothing is left to train.", code="nothing-to-train", hint="Freeze fewer parts."
            )
        found = zero_masks(model, self.names, masks)
        self.masks = {name: torch.from_numpy(mask).to(self.graph.device) for name, mask in found.items()}
        guide = None
        if teacher is not None:
            heads = answers(teacher, choose_loss(model, data, tuning))
            guide = Teacher(
                model, teacher, data, heads, features, changing=bool(tuning.augment), threads=tuning.threads
            )
        self.objective = Objective(model, data, guide, tuning, labelled)
        self.weights = [self.graph.parameters[name] for name in self.names]
        scales = step_scales(model, self.names)
        groups = [
            {"params": [tensor], "scale": scales[name]} for name, tensor in zip(self.names, self.weights, strict=True)
        ]
        self.optimizer = torch.optim.AdamW(groups, tuning.learning_rate, weight_decay=tuning.weight_decay, fused=True)
        self.losses: list[float] = []
        self.steps = len(data) // self.batch  # of an epoch
        self.schedule: GradualMasks | None = None
        if plan is not None:
            kind = SurgeryMasks if isinstance(plan, Surgery) else GradualMasks
            self.schedule = kind(model, self.graph, plan, self.names, self.steps * tuning.epochs)
        self.fingerprint = _fingerprint(model, data, tuning, teacher, features, self.names, found, plan)
        self._apply_masks()

    def epoch(self, number: int, progress: Progress) -> None:
        """One pass over the data in an order of its own; an incomplete batch at the end is left out."""
        order = np.random.default_rng([self.tuning.seed, number]).permutation(len(self.data))
        total = self.steps * self.tuning.epochs
        losses = []
        for step in range(self.steps):
            done = number * self.steps + step
            progress("Fine-tuning", done / total)
            rate = self.tuning.learning_rate * 0.5 * (1 + math.cos(math.pi * done / total))
            chosen = order[step * self.batch : (step + 1) * self.batch]
            if self.schedule is not None:
                self.schedule.before(done)
            arrays = {name: array[chosen] for name, array in self.data.inputs.items()}
            losses.append(self._step(self.augment(arrays, chosen, number, step), rate))
        self.losses.append(float(np.mean(losses)))

    def _step(self, batch: Batch, rate: float) -> float:
        feeds = {name: self.graph.tensor(array) for name, array in batch.arrays.items()}
        found = self._forward(feeds)
        loss: Tensor = self.objective(found, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError(
                "Training diverged: the loss is not a number any more.",
                code="diverged",
                why=f"It happened in epoch {len(self.losses) + 1} of {self.tuning.epochs}.",
                hint="Lower the learning rate, and look for samples that are not finite.",
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self._apply_masks()
        return value

    def _forward(self, feeds: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The values that the objective looks at, in `graph.real` whatever they are computed in."""
        if self.schedule is not None:
            feeds = {**feeds, **self.schedule.stand_ins()}
        fast = self.tuning.precision == "bfloat16"
        learning = self.tuning.batch_norm != "frozen"
        with torch.autocast(self.graph.device.type, torch.bfloat16, enabled=fast):
            found = self.graph(feeds, fetch=self.objective.fetch, learning=learning)
        return {name: value.to(self.graph.real) for name, value in found.items()}

    def _apply_masks(self) -> None:
        with torch.no_grad():
            for name, mask in self.masks.items():
                self.graph.parameters[name].mul_(mask)
        if self.schedule is not None:
            self.schedule.after()

    def result(self, model: Model, resumed: int) -> Tuned:
        updates: tuple[Update, ...] = ()
        if self.schedule is not None:
            self.schedule.finish()
            updates = tuple(self.schedule.updates)
        trained = self.graph.write_back(model)
        guided = () if self.objective.teacher is None else tuple(self.objective.teacher.features)
        return Tuned(trained, tuple(self.losses), self.names, str(self.graph.device), resumed, updates, guided)

    def state(self) -> Checkpoint:
        """Weights, running statistics, and Adam's moments."""
        arrays = {f"weight/{name}": tensor for name, tensor in zip(self.names, self.weights, strict=True)}
        arrays |= {f"constant/{name}": value for name, value in self._statistics().items()}
        for name, tensor in zip(self.names, self.weights, strict=True):
            arrays |= {f"adam/{name}/{key}": value for key, value in self.optimizer.state.get(tensor, {}).items()}
        state = {name: value.detach().cpu().numpy() for name, value in arrays.items()}
        if self.schedule is not None:
            state |= {f"schedule/{name}": array for name, array in self.schedule.state().items()}
        return Checkpoint(self.fingerprint, tuple(self.losses), state)

    def resume(self, saved: Checkpoint | None) -> int:
        """Takes over a saved state; the number of epochs that it has behind it."""
        if saved is None:
            return 0
        with torch.no_grad():
            for name, tensor in zip(self.names, self.weights, strict=True):
                tensor.copy_(torch.from_numpy(saved.arrays[f"weight/{name}"]))
                keys = [key for key in saved.arrays if key.startswith(f"adam/{name}/")]
                self.optimizer.state[tensor] = {
                    key.rpartition("/")[2]: torch.from_numpy(saved.arrays[key].copy()).to(tensor.device) for key in keys
                }
            for name, value in self._statistics().items():
                value.copy_(torch.from_numpy(saved.arrays[f"constant/{name}"]))
        if self.schedule is not None:
            found = {name: array for name, array in saved.arrays.items() if name.startswith("schedule/")}
            self.schedule.resume({name.partition("/")[2]: array for name, array in found.items()})
        self.losses = list(saved.losses)
        return len(saved.losses)

    def _statistics(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.graph.constants.items() if value.is_floating_point()}


def _fixed_batch(model: Model) -> int | None:
    """The batch that the model takes, where it is a number."""
    sizes = {(dims(value) or (None,))[0] for value in model.graph.inputs if value.const_value is None}
    return min((size for size in sizes if isinstance(size, int)), default=None)


def _batches(model: Model, data: Data, tuning: Tuning) -> tuple[Data, int]:
    """The samples to use and how many at a time: for a fixed batch just that many, and whole batches of samples."""
    fixed = _fixed_batch(model)
    batch = fixed or min(tuning.batch, len(data))
    if not 0 < batch <= len(data):
        raise UsageError(
            "There are too few samples to train on.",
            code="too-few-samples",
            where=data.source or None,
            why=f"The model takes {batch} at a time; there are {len(data)}.",
        )
    return (data.first(len(data) // fixed * fixed) if fixed else data), batch


def _with_transfer(data: Data, transfer: Data | None, teacher: Model | None) -> Data:
    """The samples to show: `data`, then those of `transfer`, with zeros for labels that nothing looks at.

    Raises:
        UsageError: nobody tells what to answer to the further samples (`transfer-without-teacher`), or they are not of
            the shape and type of the data (`transfer-mismatch`).
    """
    if transfer is None:
        return data
    if teacher is None:
        raise UsageError(
            "Samples to transfer on need a teacher.",
            code="transfer-without-teacher",
            where=transfer.source or None,
            why="They have no labels that count; a teacher answers them.",
            hint="Give the model as it was before pruning as the teacher, or leave these samples out.",
        )
    kinds = [{name: (x.shape[1:], x.dtype) for name, x in each.inputs.items()} for each in (data, transfer)]
    if kinds[0] != kinds[1]:
        shapes = [", ".join(f"{dtype}{list(shape)}" for shape, dtype in kind.values()) for kind in kinds]
        raise UsageError(
            "The samples to transfer on do not fit the data.",
            code="transfer-mismatch",
            where=transfer.source or None,
            why=f"The data has {shapes[0]}, these are {shapes[1]}.",
            hint="Bring them into the shape, the type and the range of the data.",
        )
    labels = data.labels
    if labels is not None:
        labels = np.concatenate([labels, np.zeros((len(transfer), *labels.shape[1:]), labels.dtype)])
    joined = {name: np.concatenate([x, transfer.inputs[name]]) for name, x in data.inputs.items()}
    return Data(joined, labels, data.source)


def _device(asked: str) -> torch.device:
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError) as error:  # an unknown name; a torch without that device
        raise UsageError(f"torch has no device '{asked[:40]}'.", code="no-such-device", why=str(error)[:200]) from error


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Repeatable algorithms while training (what has none on a GPU warns), and the user's settings afterwards."""
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    threads_before = torch.get_num_threads()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(before, warn_only=warned)


def _fingerprint(
    model: Model,
    data: Data,
    tuning: Tuning,
    teacher: Model | None,
    features: Mapping[str, str],
    names: tuple[str, ...],
    masks: Mapping[str, Mask],
    plan: Gradual | None,
) -> str:
    parts: dict[str, bytes | str | Array] = {
        "model": model.to_bytes(),
        "tuning": repr(tuning),
        "teacher": b"" if teacher is None else teacher.to_bytes(),
        "features": repr(sorted(features.items())),
        "names": repr(names),
        "plan": repr(plan),
    }
    parts |= {f"input/{name}": array for name, array in data.inputs.items()}
    parts |= {f"mask/{name}": mask for name, mask in masks.items()}
    if data.labels is not None:
        parts["labels"] = data.labels
    return checkpoints.fingerprint(parts)
