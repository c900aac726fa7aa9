"""Gradients of every sample's loss: what the criteria of pruning and of coreset selection are made of.

The loss of a sample is minus the log-likelihood of its target. With labels these are the targets. Without them a target
is drawn from the model's own answer: a class from its softmax, or its output plus normal noise of the output's spread.
Squares of such gradients estimate the Fisher information itself, where labels give the *empirical* Fisher (Kunstner,
Balles and Hennig, Limitations of the Empirical Fisher Approximation, 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ..data import Data
from ..errors import UnsupportedError, UsageError
from ..executor import Session
from ..model.model import Model
from ..target import Progress, no_progress
from .function import TorchGraph
from .objective import answers, choose_loss
from .parameters import trainable
from .rules.call import Tensor
from .tuning import Tuning

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class _Losses:
    """The loss of every sample of a batch, from the model's answers."""

    def __init__(self, model: Model, data: Data, seed: int) -> None:
        self._data, self._rng = data, np.random.default_rng(seed)
        self._kind = choose_loss(model, data, Tuning())
        self.heads = answers(model, self._kind)
        self._spreads = [1.0] * len(self.heads)
        if self._kind == "mse":
            found = Session(model, list(self.heads), optimise=False).run(data.inputs)
            self._spreads = [max(float(np.std(found[name])), 1e-12) for name in self.heads]

    def __call__(self, found: Mapping[str, Tensor], start: int, count: int) -> Tensor:
        """[count] losses of the samples from `start` on."""
        outputs = [found[name] for name in self.heads]
        if any(output.ndim == 0 or len(output) != count for output in outputs):
            raise UnsupportedError("The outputs do not have one entry for each sample.", code="no-sample-axis")
        if self._kind == "mse":
            losses = [self._squared(*pair, start) for pair in zip(outputs, self._spreads, strict=True)]
            return torch.stack(losses).sum(dim=0)
        logits = outputs[0].reshape(*outputs[0].shape[:2], -1)  # [n, classes, places]
        classes = torch.from_numpy(self._classes(logits, start)).to(logits.device)
        return F.cross_entropy(logits, classes, reduction="none").mean(dim=1)

    def _classes(self, logits: Tensor, start: int) -> npt.NDArray[np.int64]:
        """[n, places]: the labels, or classes drawn from the softmax of logits [n, classes, places]."""
        count, classes, places = logits.shape
        if self._data.labels is None:
            shares = np.cumsum(F.softmax(logits.detach(), dim=1).cpu().double().numpy(), axis=1)
            drawn = (self._rng.random((count, 1, places)) > shares).sum(axis=1)
            return np.asarray(np.minimum(drawn, classes - 1), dtype=np.int64)
        labels = self._data.labels[start : start + count].reshape(count, -1)
        if (
            labels.shape[1] != places
            or labels.dtype.kind not in "iu"
            or not 0 <= labels.min() <= labels.max() < classes
        ):
            raise _bad_labels(f"The network tells {classes} classes apart; each label must be one of their numbers.")
        return np.asarray(labels, dtype=np.int64)

    def _squared(self, output: Tensor, spread: float, start: int) -> Tensor:
        rows = output.reshape(len(output), -1)
        if self._data.labels is None:
            noise = self._rng.standard_normal(tuple(rows.shape))
            wanted = rows.detach() + spread * torch.from_numpy(noise).to(rows)
        else:
            labels = self._data.labels[start : start + len(rows)]
            if labels.size != rows.numel():
                raise _bad_labels(f"Labels of shape {labels.shape} for an output of shape {tuple(output.shape)}.")
            wanted = torch.from_numpy(np.ascontiguousarray(labels)).to(rows).reshape(rows.shape)
        return ((rows - wanted) / spread).square().sum(dim=1) / 2


def gate_gradients(
    model: Model, gated: Model, gates: Mapping[str, Sequence[int]], data: Data, piece: int, seed: int = 0
) -> dict[str, Floats]:
    """d loss / d gate at one, [samples, elements] for every gate: a factor that is an input of the model `gated`.

    `gates` maps each to its shape, -1 where the samples stand; `gated` equals `model` where all factors are one.
    `piece` samples run together.

    Raises:
        UsageError: labels do not fit the outputs (`bad-labels`), or gradients are not finite (`gradients-not-finite`).
        UnsupportedError: an operator has no gradient.
    """
    graph, losses = TorchGraph(gated), _Losses(model, data, seed)
    pieces: dict[str, list[Floats]] = {name: [] for name in gates}
    for start, feeds in _batches(data, piece):
        count = len(next(iter(feeds.values())))
        ones = {
            name: torch.ones([count if size < 0 else size for size in shape], dtype=graph.real, requires_grad=True)
            for name, shape in gates.items()
        }
        tensors = {name: graph.tensor(array) for name, array in feeds.items()}
        loss = losses(graph({**tensors, **ones}, fetch=losses.heads), start, count).sum()
        for name, gradient in zip(gates, _gradients(loss, list(ones.values())), strict=True):
            array = np.moveaxis(_array(gradient), list(gates[name]).index(-1), 0)
            pieces[name].append(_finite(array.reshape(count, -1)))
    return {name: np.concatenate(arrays) for name, arrays in pieces.items()}


def squared_gradients(
    model: Model, names: Sequence[str], data: Data, piece: int, *, per_sample: bool, seed: int = 0
) -> dict[str, Floats]:
    """The mean square of the gradient of every element of the weights `names`, in their shapes.

    The gradient is that of every sample's loss (so the mean is the diagonal of the Fisher information) or of the mean
    loss of `piece` samples. Errors are those of `gate_gradients`.
    """
    graph, losses = TorchGraph(model), _Losses(model, data, seed)
    weights = [graph.parameters[name] for name in names]
    sums, count = [np.zeros(tuple(tensor.shape)) for tensor in weights], 0
    for loss in _scalars(graph, losses, data, piece, per_sample):
        for total, gradient in zip(sums, _gradients(loss, weights), strict=True):
            total += np.square(_array(gradient))
        count += 1
    return {name: _finite(total / max(count, 1)) for name, total in zip(names, sums, strict=True)}


def gradient_norms(model: Model, data: Data, piece: int, seed: int = 0, progress: Progress = no_progress) -> Floats:
    """[samples]: the norm of the gradient of each one's loss with respect to all weights. Errors as above."""
    graph, losses = TorchGraph(model), _Losses(model, data, seed)
    weights = [graph.parameters[name] for name in trainable(model)]
    norms: list[float] = []
    for loss in _scalars(graph, losses, data, piece, per_sample=True):
        progress("Gradients of samples", len(norms) / len(data))
        norms.append(sum(float(gradient.square().sum()) for gradient in _gradients(loss, weights)) ** 0.5)
    return _finite(np.array(norms))


def _scalars(graph: TorchGraph, losses: _Losses, data: Data, piece: int, per_sample: bool) -> Iterator[Tensor]:
    """The loss of every sample, or the mean of every piece."""
    for start, feeds in _batches(data, piece):
        tensors = {name: graph.tensor(array) for name, array in feeds.items()}
        found = losses(graph(tensors, fetch=losses.heads), start, len(next(iter(feeds.values()))))
        yield from found if per_sample else [found.mean()]


def _batches(data: Data, piece: int) -> Iterator[tuple[int, dict[str, Array]]]:
    """(number of the first sample, feeds)"""
    return zip(range(0, len(data), piece), data.batches(piece), strict=True)


def _gradients(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """d loss / d input; zeros where the loss does not depend on one."""
    if not loss.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    found = torch.autograd.grad(loss, list(inputs), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(t) if gradient is None else gradient for t, gradient in zip(inputs, found, strict=True)]


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().cpu().double().numpy())


def _finite(gradients: Floats) -> Floats:
    if not np.isfinite(gradients).all():
        raise UsageError(
            "The gradients of the loss are not finite.",
            code="gradients-not-finite",
            hint="Check that the samples are in the range that the model was trained on; obs needs no gradients.",
        )
    return gradients


def _bad_labels(why: str) -> UsageError:
    hint = "Give the numbers of the classes from 0 on, or leave the labels out."
    return UsageError("The labels do not fit the model's output.", code="bad-labels", why=why, hint=hint)
