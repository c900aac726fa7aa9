"""Refits recurrent layers: each gate is a linear layer on the input and on the state of the step before.

The goal of a gate is what goes into its activation in the *original* network. Its inputs are the changed network's
input, and states: those of the original network that are left (as if every step before had been exact), or those that
the refitted layer really has. Both are tried, and the weights stay what they were unless the layer's own output comes
closer to the original's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.trace import attribute, text
from ..executor import Session
from ..model.edit import set_weight, weight
from ..model.model import IR_VERSION
from .least_squares import NormalEquations
from .stages import Feeds

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
OP_TYPES = ("GRU", "LSTM", "RNN")
MAX_INPUTS = 2048  # of a gate: input and state together
ROUNDS = 2  # of refitting to the states that the layer really has
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_STATE = 5  # the input initial_h
_OPSET = 21


@dataclass(frozen=True, eq=False)
class RecurrentLayer:
    """An LSTM, GRU or RNN with constant weights. `reads` are its computed inputs; `hidden` are the units left."""

    position: int  # in the list of operators
    node: ir.Node
    reads: tuple[str, ...]
    hidden: Mask


def recurrent_layer(
    node: ir.Node, position: int, channels: Channels, removed: Mask
) -> RecurrentLayer | Literal["unsupported-form", "shared-weight", "too-wide"]:
    """The layer, or why it is not refitted (a reason code)."""
    constants = [weight(value) for value in node.inputs[1:4] if value is not None]
    if any(data is None or not np.issubdtype(data.dtype, np.floating) for data in constants):
        return "unsupported-form"
    lengths = len(node.inputs) > 4 and node.inputs[4] is not None
    if lengths or attribute(node, "layout", 0) or not _usual_reset(node):
        return "unsupported-form"
    if any(len(value.uses()) > 1 for value in node.inputs[1:4] if value is not None):
        return "shared-weight"
    w, r = node.inputs[1], node.inputs[2]
    assert w is not None and r is not None and w.shape is not None and r.shape is not None  # required, initializers
    if int(w.shape.numpy()[2]) + int(r.shape.numpy()[2]) > MAX_INPUTS:
        return "too-wide"
    hidden = kept(channels.units[r.name or "", 2], removed) if (r.name, 2) in channels.units else None
    if hidden is None:
        hidden = np.ones(int(r.shape.numpy()[2]), np.bool_)
    computed = [value for value in node.inputs if value is not None and weight(value) is None]
    reads = tuple(dict.fromkeys(value.name or "" for value in computed))
    return RecurrentLayer(position, node, reads, hidden)


def _usual_reset(node: ir.Node) -> bool:
    """Whether the gate that resets the state of a GRU is a sigmoid: it stands between state and weight."""
    if node.op_type != "GRU" or "activations" not in node.attributes:
        return True
    return all(name.lower() == "sigmoid" for name in node.attributes["activations"].as_strings()[::2])


def refit_recurrent(
    layer: RecurrentLayer, original: ir.Node, whole: Sequence[Feeds], rest: Sequence[Feeds]
) -> tuple[float, float] | None:
    """Changes the layer's weights where that helps; the relative squared error of its states before and after.

    `whole` and `rest` hold what the original and the changed network's layer read, piece by piece. None where the
    values are not finite.
    """
    goals = [_Run(original, values) for values in whole]
    runs = [_Run(layer.node, values) for values in rest]
    before = _error(goals, runs, layer.hidden)
    if not np.isfinite(before):
        return None
    best, saved = before, _weights(layer.node)
    states = [goal.previous[..., layer.hidden] for goal in goals]
    for _ in range(1 + ROUNDS):
        _solve(layer, goals, runs, states)
        runs = [_Run(layer.node, values) for values in rest]
        error = _error(goals, runs, layer.hidden)
        if error < best:
            best, saved = error, _weights(layer.node)
        states = [run.previous for run in runs]
    for value, data in zip(layer.node.inputs[1:4], saved, strict=False):
        if value is not None and data is not None:
            set_weight(value, data)
    return before, best


def _weights(node: ir.Node) -> list[Array | None]:
    return [weight(value) for value in node.inputs[1:4]]


def _error(goals: Sequence[_Run], runs: Sequence[_Run], hidden: Mask) -> float:
    lost = sum(
        float(np.square(run.states - goal.states[..., hidden]).sum()) for goal, run in zip(goals, runs, strict=True)
    )
    return lost / max(sum(float(np.square(goal.states[..., hidden]).sum()) for goal in goals), 1e-30)


class _Run:
    """What one layer reads and makes of it: x [steps, batch, in], states and those of the step before, each
    [directions, steps, batch, hidden], every direction in its own order of time."""

    def __init__(self, node: ir.Node, values: Feeds) -> None:
        self.node = node
        arrays = [_array(value, values) for value in node.inputs]
        x = arrays[0]
        assert x is not None  # required by the operator
        self.x = x.astype(np.float64)
        states = _run_node(node, values)  # [steps, directions, batch, hidden]
        self.backwards = [text(node, "direction", "forward") == "reverse", True][: states.shape[1]]
        self.states = np.stack(
            [states[::-1, d] if self.backwards[d] else states[:, d] for d in range(states.shape[1])]
        ).astype(np.float64)
        first = arrays[_STATE] if len(arrays) > _STATE else None
        start = np.zeros_like(self.states[:, :1]) if first is None else first[:, None]
        self.previous = np.concatenate([start, self.states[:, :-1]], axis=1)
        self.w, self.r = (np.asarray(array, np.float64) for array in arrays[1:3])
        bias = arrays[3] if len(arrays) > 3 else None
        self.bias = np.zeros((len(self.w), 2 * self.w.shape[1])) if bias is None else np.asarray(bias, np.float64)

    def input(self, direction: int) -> Floats:
        """[steps * batch, in], in the direction's order."""
        x = self.x[::-1] if self.backwards[direction] else self.x
        return np.asarray(x.reshape(-1, x.shape[-1]))

    def parts(self, direction: int, gate: int, previous: Array) -> tuple[Floats, Floats]:
        """(input's part, state's part) of what goes into a gate, each with its bias: [steps * batch, hidden]."""
        hidden = self.r.shape[2]
        rows, gates = slice(gate * hidden, (gate + 1) * hidden), self.w.shape[1] // hidden
        own = self.input(direction) @ self.w[direction, rows].T + self.bias[direction, rows]
        later = slice((gates + gate) * hidden, (gates + gate + 1) * hidden)
        back = previous.reshape(-1, hidden) @ self.r[direction, rows].T + self.bias[direction, later]
        return own, back


def _array(value: ir.Value | None, values: Feeds) -> Array | None:
    if value is None:
        return None
    data = weight(value)
    return values[value.name or ""] if data is None else data


def _run_node(node: ir.Node, values: Feeds) -> Array:
    """All states of a layer, which the network itself may not ask for."""
    proto = ir.to_proto(node)
    graph = onnx.GraphProto(name="layer")
    names = [value.name or "" for value in node.inputs if value is not None]
    feeds = {name: values[name] for name in names if name in values}
    for value in node.inputs:
        data = weight(value)
        if value is not None and data is not None:
            graph.initializer.append(onnx.numpy_helper.from_array(data, value.name))
    del proto.output[1:]
    proto.output[0] = "states"
    graph.node.append(proto)
    for name, array in feeds.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(onnx.helper.make_tensor_value_info(name, kind, [None] * array.ndim))
    opsets = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.ModelProto(ir_version=IR_VERSION, graph=graph, opset_import=opsets)
    session = Session(model, ["states"], optimise=False)
    return session.run(feeds, batch=max(len(array) for array in feeds.values()))["states"]


def _solve(layer: RecurrentLayer, goals: Sequence[_Run], runs: Sequence[_Run], states: Sequence[Array]) -> None:
    """Writes new weights, gate by gate, for layers whose states of the step before are `states`."""
    w, r, bias = (None if data is None else data.astype(np.float64) for data in _three(layer.node))
    assert w is not None and r is not None
    hidden, gates = r.shape[2], _GATES[layer.node.op_type]
    for direction in range(len(w)):
        for gate in range(gates):
            rows = slice(gate * hidden, (gate + 1) * hidden)
            for problem in _problems(layer, direction, gate, goals, runs, states):
                start = np.concatenate([m[direction, rows].T for m in (w, r)])[problem.columns]
                solved, shift = problem.equations.solve(start[None], with_bias=bias is not None)
                solved, shift = solved[0].T, shift[0]
                if not (np.isfinite(solved).all() and np.isfinite(shift).all()):
                    return
                both = np.concatenate([w[direction, rows], r[direction, rows]], axis=1)
                both[:, problem.columns] = solved
                w[direction, rows], r[direction, rows] = both[:, : w.shape[2]], both[:, w.shape[2] :]
                if bias is not None:
                    for offset, share in ((0, problem.input_bias), (gates * hidden, problem.state_bias)):
                        if share:
                            bias[direction, rows.start + offset : rows.stop + offset] = shift if share == 1 else 0.0
    for value, data in zip(layer.node.inputs[1:4], (w, r, bias), strict=False):
        old = weight(value)
        if value is not None and data is not None and old is not None:
            set_weight(value, data.astype(old.dtype))


def _three(node: ir.Node) -> tuple[Array | None, Array | None, Array | None]:
    w, r, *bias = _weights(node)
    return w, r, bias[0] if bias else None


@dataclass(frozen=True, eq=False)
class _Problem:
    """One least-squares problem of a gate, on some columns of [input, state]. The shares say what becomes of a bias:
    1 takes the solution's, 2 becomes zero, 0 stays."""

    equations: NormalEquations
    columns: slice
    input_bias: int
    state_bias: int


def _problems(
    layer: RecurrentLayer,
    direction: int,
    gate: int,
    goals: Sequence[_Run],
    runs: Sequence[_Run],
    states: Sequence[Array],
) -> Iterator[_Problem]:
    """One problem for a gate; two for the candidate state of a GRU that resets behind the product with the state."""
    node, keep = layer.node, layer.hidden
    candidate = node.op_type == "GRU" and gate == 2
    apart = candidate and bool(attribute(node, "linear_before_reset", 0))
    width = runs[0].w.shape[2]
    joint, first, second = NormalEquations(), NormalEquations(), NormalEquations()
    for goal, run, state in zip(goals, runs, states, strict=True):
        x, h, before = run.input(direction), state[direction], goal.previous[direction]
        if candidate and not apart:
            own, back = goal.parts(direction, 1, before)
            reset = _sigmoid(own + back)
            before = before * reset.reshape(before.shape)
            h = h * reset[:, keep].reshape(h.shape)
        own, back = (part[:, keep] for part in goal.parts(direction, gate, before))
        h = h.reshape(len(x), -1)
        if apart:
            first.add(x[:, None], own[:, None])
            second.add(h[:, None], back[:, None])
        else:
            joint.add(np.concatenate([x, h], axis=1)[:, None], (own + back)[:, None])
    if apart:
        yield _Problem(first, slice(0, width), 1, 0)
        yield _Problem(second, slice(width, None), 0, 1)
    else:
        yield _Problem(joint, slice(None), 1, 2)


def _sigmoid(x: Array) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
