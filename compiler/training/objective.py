"""What training makes small: the labels' loss, the distance to a teacher's answers, and that to its features.

Sources: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015 (answers); Romero et al.,
FitNets, 2015 (features of one shape); Zagoruyko and Komodakis, Paying More Attention to Attention, 2017 (features
whose numbers of channels differ, as after pruning).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..data import Data
from ..errors import UsageError
from ..model.match import is_op
from ..model.model import Model
from .augment import Batch
from .rules.call import Tensor
from .teacher import Taught, Teacher
from .tuning import Tuning

Array = npt.NDArray[Any]


class Objective:
    """The loss of a batch. `fetch` names the values of the student that it looks at.

    The labels of the first `labelled` samples count (all by default); those behind them have the teacher alone.

    Raises:
        UsageError: neither labels nor a teacher (`labels-needed`), labels or a teacher that do not fit the output
            (`bad-labels`, `teacher-mismatch`).
    """

    def __init__(
        self, student: Model, data: Data, teacher: Teacher | None, tuning: Tuning, labelled: int | None = None
    ) -> None:
        self.tuning, self.teacher = tuning, teacher
        self.labels, self.labelled = data.labels, len(data) if labelled is None else labelled
        if teacher is None and self.labels is None:
            raise UsageError(
                "There is nothing to learn from: the data has no labels, and there is no teacher.",
                code="labels-needed",
                where=data.source or None,
                hint="Give labels `y` with the data, or a teacher: the model as it was before pruning.",
            )
        self.kind = choose_loss(student, data, tuning)
        self.heads = answers(student, self.kind)
        if teacher is not None and self.kind == "mse" and len(teacher.heads) != len(self.heads):
            raise UsageError("The teacher has another number of outputs.", code="teacher-mismatch")
        self.fetch = tuple(dict.fromkeys((*self.heads, *(teacher.features if teacher else ()))))

    def __call__(self, found: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The mean loss of a batch, of which `found` are the student's values."""
        tensors = [found[name] for name in self.heads]
        share = 0.0 if self.teacher is None else 1.0 if self.labels is None else self.tuning.distillation
        loss = tensors[0].new_zeros(())
        if self.labels is not None and share < 1:
            loss = loss + (1 - share) * self._label_loss(tensors[0], self.labels, batch)
        theirs = Taught([], {}) if self.teacher is None else self.teacher(batch)
        if self.teacher is not None and share > 0:
            loss = loss + share * self._teacher_loss(self.teacher, tensors, theirs.answers)
        if self.teacher is not None and self.teacher.features and self.tuning.feature_weight:
            pairs = [(found[name], theirs.features[name]) for name in self.teacher.features]
            losses = [feature_loss(ours, _like(other, ours)) for ours, other in pairs]
            loss = loss + self.tuning.feature_weight * torch.stack(losses).mean()
        return loss

    def _label_loss(self, output: Tensor, labels: Array, batch: Batch) -> Tensor:
        """The mean over what is labelled; mixed samples have both labels' losses, which are linear in the label."""
        if batch.partner is None or batch.share is None:
            parts = [(batch.index, np.ones(len(batch.index), np.float32))]
        else:
            parts = [(batch.index, batch.share), (batch.partner, 1 - batch.share)]
        total, weight = output.new_zeros(()), 0.0
        for index, share in parts:
            known = np.where(index < self.labelled, share, 0)
            total = total + (_like(known, output) * self._losses(output, labels[index])).sum()
            weight += float(known.sum())
        return total / weight if weight else total

    def _losses(self, output: Tensor, labels: Array) -> Tensor:
        """[n]: one for each sample."""
        if self.kind == "mse":
            wanted = _like(labels, output)
            if wanted.numel() != output.numel():
                raise _bad_labels(f"Labels of shape {labels.shape} for an output of shape {tuple(output.shape)}.")
            return (output - wanted.reshape(output.shape)).square().flatten(1).mean(dim=1)
        classes = output.shape[1]
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
            raise _bad_labels(f"The network tells {classes} classes apart; each label must be one of their numbers.")
        wanted = torch.from_numpy(labels.astype(np.int64)).to(output.device)
        return F.cross_entropy(output, wanted, reduction="none")

    def _teacher_loss(self, teacher: Teacher, ours: Sequence[Tensor], theirs: Sequence[Array]) -> Tensor:
        """For classes the softened cross-entropy, else the squared error relative to the answers' mean square."""
        pairs = [(tensor, _like(array, tensor)) for tensor, array in zip(ours, theirs, strict=True)]
        for tensor, other in pairs:
            if tensor.shape != other.shape:
                raise UsageError(
                    "The teacher's answers have another shape than the model's.",
                    code="teacher-mismatch",
                    why=f"{tuple(other.shape)} and {tuple(tensor.shape)}.",
                )
        if self.kind == "mse":
            losses = [F.mse_loss(*pair) / power for pair, power in zip(pairs, teacher.powers, strict=True)]
            return torch.stack(losses).mean()
        return distillation_loss(*pairs[0], self.tuning.temperature)


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), the mean over samples; logits [n, classes, ...]."""
    soft = F.softmax(teacher / temperature, dim=1)
    gap = soft * (F.log_softmax(teacher / temperature, dim=1) - F.log_softmax(student / temperature, dim=1))
    return temperature**2 * gap.sum(dim=1).mean()


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The relative squared distance of two features of one shape, else of their maps of attention."""
    if student.shape == teacher.shape:
        return ((student - teacher) ** 2).mean() / (teacher**2).mean().clamp(min=1e-12)
    if student.ndim < 3 or student.shape[2:] != teacher.shape[2:]:
        raise UsageError(
            "Two features cannot be compared.",
            code="feature-shapes",
            why=f"Their shapes are {tuple(student.shape)} and {tuple(teacher.shape)}.",
            hint="Pair feature maps that differ in their number of channels alone.",
        )
    maps = [F.normalize((each**2).mean(dim=1).flatten(1), dim=1) for each in (student, teacher)]
    return ((maps[0] - maps[1]) ** 2).sum(dim=1).mean()


def choose_loss(model: Model, data: Data, tuning: Tuning) -> str:
    if tuning.loss != "auto":
        return tuning.loss
    if data.labels is not None:
        return "cross_entropy" if data.labels.ndim == 1 and data.labels.dtype.kind in "iu" else "mse"
    return "cross_entropy" if is_op(model.graph.outputs[0].producer(), "Softmax", "LogSoftmax") else "mse"


def answers(model: Model, kind: str) -> tuple[str, ...]:
    """The values to compare: the outputs, for classes the logits [n, classes] before a final softmax."""
    outputs = model.graph.outputs
    if kind == "mse":
        return tuple(value.name or "" for value in outputs)
    producer = outputs[0].producer()
    logits = producer.inputs[0] if producer is not None and is_op(producer, "Softmax") else outputs[0]
    if len(outputs) != 1 or logits is None or logits.shape is None or logits.shape.rank() < 2:
        raise UsageError(
            "The model does not end in the logits of classes.",
            code="no-logits",
            hint="Use the loss `mse`.",
        )
    return (logits.name or "",)


def _like(array: Array, tensor: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(tensor.device, tensor.dtype)


def _bad_labels(why: str) -> UsageError:
    return UsageError("The labels do not fit the model's output.", code="bad-labels", why=why)
