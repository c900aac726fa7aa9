"""An ONNX graph as a torch function: parameters keyed by initializer name, written back where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from ..errors import InvalidModelError, UnsupportedError, UsageError
from ..model.edit import set_weight, weight
from ..model.model import Model
from ..model.untrusted import shown
from .codes import Codes, is_code
from .rules import RULES
from .rules.call import DTYPES, Call, Rule, Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Step:
    """One node, read once."""

    rule: Rule
    op_type: str
    where: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]  # empty where absent
    types: tuple[ir.DataType | None, ...]
    outputs: tuple[str, ...]
    dead: tuple[str, ...]  # values that nothing reads afterwards


class TorchGraph:
    """A model's graph, computed and differentiated by torch.

        graph = TorchGraph(model)
        outputs = graph({"t0001": samples})
        loss_of(outputs).backward()
        graph.parameters["t0007"].grad

    `parameters` holds every floating-point initializer, keyed by its name, and the quantized weights as real numbers
    (see `codes`); `constants` all others, and the running statistics of batch normalisation. `real` is the type that
    float32 is computed in: float64 for checking gradients.
    Quantized values between QuantizeLinear and DequantizeLinear stay in floating point.

    Raises:
        UnsupportedError: an operator has no rule (`no-training-rule`) or is used in a form that torch lacks
            (`not-trainable`); the latter may come up in the first call only.
    """

    def __init__(self, model: Model, *, real: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> None:
        self.real, self.device = real, torch.device(device)
        self.inputs = tuple(value.name or "" for value in model.graph.inputs if value.const_value is None)
        self.outputs = tuple(value.name or "" for value in model.graph.outputs)
        self.parameters: dict[str, Tensor] = {}
        self.constants: dict[str, Tensor] = {}
        self._codes: dict[str, Codes] = {}
        self._steps = _steps(model)
        statistics = _statistics(self._steps)
        for name, value in model.graph.initializers.items():
            data = weight(value)
            if data is None:
                continue
            if is_code(value):
                self._codes[name] = Codes.of(value, self.real, self.device)
                self.parameters[name] = self._codes[name].real(data).requires_grad_()
                continue
            tensor = self.tensor(data, value.dtype)
            if tensor.is_floating_point() and name not in statistics:
                self.parameters[name] = tensor.requires_grad_()
            else:
                self.constants[name] = tensor

    def tensor(self, data: Array, kind: ir.DataType | None = None) -> Tensor:
        """An array on the graph's device, float32 as `real`; it shares no memory with the array."""
        kind = kind or ir.DataType.from_numpy(data.dtype)
        if kind not in DTYPES:
            raise UnsupportedError(f"torch has no type for {kind.name}.", code="not-trainable")
        if kind in (ir.DataType.BFLOAT16, ir.DataType.INT4, ir.DataType.UINT4):  # no numpy types of their own
            data = data.astype(np.float32 if kind == ir.DataType.BFLOAT16 else np.int8)
        elif kind in (ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64):
            data = data.astype(np.int64)
        dtype = self.real if kind == ir.DataType.FLOAT else DTYPES[kind]
        return torch.tensor(np.ascontiguousarray(data).reshape(data.shape), dtype=dtype, device=self.device)

    def __call__(
        self, feeds: Mapping[str, Tensor], *, fetch: Sequence[str] | None = None, learning: bool = False
    ) -> dict[str, Tensor]:
        """The graph's outputs, or the values named in `fetch`.

        With `learning`, batch normalisation uses and tracks the statistics of the batch, unless its scale is frozen.
        """
        missing = [name for name in self.inputs if name not in feeds]
        if missing:
            raise UsageError(f"The input {missing[0]} is not given.", code="missing-input")
        wanted = tuple(self.outputs if fetch is None else fetch)
        known = {*self.constants, *self.parameters, *feeds, *(name for step in self._steps for name in step.outputs)}
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise UsageError(f"The model has no value called {shown(unknown[0])}.", code="unknown-value")
        keep = frozenset(wanted)
        values: dict[str, Tensor] = {**self.constants, **self.parameters, **feeds}
        values |= {name: codes.integers(self.parameters[name]) for name, codes in self._codes.items()}
        for step in self._steps:
            found = self._run(step, values, learning and self._learns(step))
            for name, value in zip(step.outputs, found, strict=False):
                if name and value is not None:
                    values[name] = value
            for name in step.dead:
                if name not in keep:
                    values.pop(name, None)
        return {name: values[name] for name in wanted}

    def _learns(self, step: _Step) -> bool:
        return any(self.parameters[name].requires_grad for name in step.inputs if name in self.parameters)

    def _run(self, step: _Step, values: Mapping[str, Tensor], learning: bool) -> tuple[Tensor | None, ...]:
        inputs = tuple(values[name] if name else None for name in step.inputs)
        call = Call(
            step.op_type,
            step.where,
            step.attributes,
            inputs,
            step.types,
            len(step.outputs),
            self.real,
            self.device,
            learning,
        )
        try:
            found = step.rule(call)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:  # torch's own, for shapes and types
            raise InvalidModelError(
                f"{step.op_type} cannot be computed.",
                code="training-failed",
                where=step.where,
                why=str(error)[:500],
                hint="Run the model in onnxruntime first; if that works, please report this.",
            ) from error
        return found if isinstance(found, tuple) else (found,)

    def write_back(self, model: Model) -> Model:
        """A copy of the model with the present parameters and running statistics, in its own types."""
        copy = model.clone()
        for name, value in copy.graph.initializers.items():
            tensor = self.parameters.get(name, self.constants.get(name))
            old = weight(value)
            if tensor is None or old is None or not tensor.is_floating_point():
                continue
            codes = self._codes.get(name)
            new = codes.written(tensor, old) if codes else tensor.detach().cpu().double().numpy().astype(old.dtype)
            if not np.array_equal(new, old):
                set_weight(value, new)
        return copy


def _steps(model: Model) -> list[_Step]:
    nodes = list(model.graph)
    last = {value.name or "": place for place, node in enumerate(nodes) for value in node.inputs if value is not None}
    kept = set(model.graph.initializers) | {value.name or "" for value in model.graph.outputs}
    ends: dict[int, list[str]] = {}
    for name, place in last.items():
        if name not in kept:
            ends.setdefault(place, []).append(name)
    return [_step(model, node, tuple(ends.get(place, ()))) for place, node in enumerate(nodes)]


def _step(model: Model, node: ir.Node, dead: tuple[str, ...]) -> _Step:
    name = node.name or next((value.name for value in node.outputs if value.name), None) or ""
    where = f"{shown(node.op_type)} node {model.shown(name)}"
    rule = RULES.get(node.op_type) if node.domain == "" else None
    if rule is None:
        raise UnsupportedError(
            f"There is no gradient for operator {shown(node.op_type)}.",
            code="no-training-rule",
            where=where,
            hint="Compress without training: reconstruction by least squares needs no gradients.",
        )
    return _Step(
        rule,
        node.op_type,
        where,
        {key: attribute.value for key, attribute in node.attributes.items()},
        tuple("" if value is None else value.name or "" for value in node.inputs),
        tuple(None if value is None else value.dtype for value in node.inputs),
        tuple(value.name or "" for value in node.outputs),
        dead,
    )


def _statistics(steps: Sequence[_Step]) -> frozenset[str]:
    """The running means and variances, which are measured and not learned."""
    return frozenset(name for step in steps if step.op_type == "BatchNormalization" for name in step.inputs[3:5])
