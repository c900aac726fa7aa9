"""Recurrent layers, step by step: every option that ONNX gives them but parametric activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .call import Call, Result, Tensor
from .positions import reversed_within

Function = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]  # the hidden state first
Cell = Callable[[Tensor, State], State]  # (input of one step, state) -> state

_FUNCTIONS: Mapping[str, Function] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Softsign": F.softsign,
    "Softplus": F.softplus,
    "HardSigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "Elu": F.elu,
    "LeakyRelu": lambda x: F.leaky_relu(x, 0.01),
}


@dataclass(frozen=True, eq=False)
class _Direction:
    """The weights and functions of one direction of a layer."""

    w: Tensor  # [gates * hidden, in]
    r: Tensor  # [gates * hidden, hidden]
    wb: Tensor  # [gates * hidden]
    rb: Tensor
    functions: list[Function]
    clip: float
    peepholes: Tensor | None

    def gate(self, values: Tensor, function: int) -> Tensor:
        if self.clip:
            values = values.clamp(-self.clip, self.clip)
        return self.functions[function](values)


def rnn(call: Call) -> Result:
    return _layer(call, 1, ["Tanh"], _rnn_cell)


def gru(call: Call) -> Result:
    return _layer(call, 3, ["Sigmoid", "Tanh"], _gru_cell)


def lstm(call: Call) -> Result:
    return _layer(call, 4, ["Sigmoid", "Tanh", "Tanh"], _lstm_cell, memory=True)


def _rnn_cell(call: Call, weights: _Direction) -> Cell:
    def cell(x: Tensor, state: State) -> State:
        return (weights.gate(x @ weights.w.T + weights.wb + state[0] @ weights.r.T + weights.rb, 0),)

    return cell


def _gru_cell(call: Call, weights: _Direction) -> Cell:
    """Gates in the order update, reset, hidden."""
    before_reset = bool(call.integer("linear_before_reset", 0))
    rz, rr, rh = weights.r.chunk(3)
    bz, br, bh = weights.rb.chunk(3)

    def cell(x: Tensor, state: State) -> State:
        h = state[0]
        xz, xr, xh = (x @ weights.w.T + weights.wb).chunk(3, dim=-1)
        update = weights.gate(xz + h @ rz.T + bz, 0)
        reset = weights.gate(xr + h @ rr.T + br, 0)
        inner = reset * (h @ rh.T + bh) if before_reset else (reset * h) @ rh.T + bh
        return ((1 - update) * weights.gate(xh + inner, 1) + update * h,)

    return cell


def _lstm_cell(call: Call, weights: _Direction) -> Cell:
    """Gates in the order input, output, forget, cell; peepholes in the order input, output, forget."""
    coupled = bool(call.integer("input_forget", 0))
    peepholes = weights.peepholes
    pi, po, pf = (0.0, 0.0, 0.0) if peepholes is None else peepholes.chunk(3)

    def cell(x: Tensor, state: State) -> State:
        h, c = state
        xi, xo, xf, xc = (x @ weights.w.T + weights.wb + h @ weights.r.T + weights.rb).chunk(4, dim=-1)
        entry = weights.gate(xi + pi * c, 0)
        forget = 1 - entry if coupled else weights.gate(xf + pf * c, 0)
        memory = forget * c + entry * weights.gate(xc, 1)
        return weights.gate(xo + po * memory, 0) * weights.functions[2](memory), memory

    return cell


def _layer(
    call: Call, gates: int, defaults: list[str], make: Callable[[Call, _Direction], Cell], *, memory: bool = False
) -> Result:
    """All directions of a layer over whole sequences; Y [time, directions, batch, hidden] and the last states."""
    batch_first = bool(call.integer("layout", 0))
    x = call.x(0).transpose(0, 1) if batch_first else call.x(0)
    lengths, directions = call.optional(4), call.x(1).shape[0]
    hidden = call.x(2).shape[-1]
    starts = [call.optional(5), *([call.optional(6)] if memory else [])]
    zeros = x.new_zeros(directions, x.shape[1], hidden)
    states = [zeros if s is None else s.transpose(0, 1) if batch_first else s for s in starts]
    every, last = [], []
    for index in range(directions):
        backwards = index == 1 or call.text("direction", "forward") == "reverse"
        cell = make(call, _direction(call, index, gates, defaults))
        steps, final = _run(cell, x, tuple(state[index] for state in states), lengths, backwards)
        every.append(steps)
        last.append(final)
    y = torch.stack(every, dim=1)
    finals = [torch.stack(parts) for parts in zip(*last, strict=True)]
    if batch_first:
        y, finals = y.permute(2, 0, 1, 3), [final.transpose(0, 1) for final in finals]
    return (y, *finals)[: call.outputs]


def _direction(call: Call, index: int, gates: int, defaults: list[str]) -> _Direction:
    if call.attributes.get("activation_alpha") or call.attributes.get("activation_beta"):
        raise call.unsupported("Its activations have parameters.")
    names = list(call.attributes.get("activations") or [])
    names = names[index * len(defaults) : (index + 1) * len(defaults)] if names else defaults
    known = {name.lower(): function for name, function in _FUNCTIONS.items()}
    if any(name.lower() not in known for name in names):
        raise call.unsupported(f"Its activations are {', '.join(names)}.")
    w, r, b, p = call.x(1)[index], call.x(2)[index], call.optional(3), call.optional(7)
    zeros = w.new_zeros(gates * r.shape[-1])
    wb, rb = (zeros, zeros) if b is None else b[index].chunk(2)
    functions = [known[name.lower()] for name in names]
    return _Direction(w, r, wb, rb, functions, call.number("clip", 0.0), None if p is None else p[index])


def _run(cell: Cell, x: Tensor, state: State, lengths: Tensor | None, backwards: bool) -> tuple[Tensor, State]:
    """One direction: hidden states [time, batch, hidden], zero behind a sequence's end, and the last states."""
    time = x.shape[0]
    ends = torch.full((x.shape[1],), time, device=x.device) if lengths is None else lengths.long()
    source = reversed_within(x, ends, 0, 1) if backwards else x
    steps = []
    for step in range(time):
        alive = (step < ends).unsqueeze(1)
        new = cell(source[step], state)
        state = tuple(torch.where(alive, now, before) for now, before in zip(new, state, strict=True))
        steps.append(torch.where(alive, new[0], torch.zeros_like(new[0])))
    y = torch.stack(steps)
    return (reversed_within(y, ends, 0, 1) if backwards else y), state
