"""Prunus itself: a network of one layer, planned for this machine.

The layer's own steps are timed, without the conversion between NCHW and the layout that they work in: inside of a
network the neighbours write and read that layout. `alone` times the whole call, conversions included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness.problem import Problem, integer_graph

from .base import Missing, Prepared

TIMED = 3  # candidates of the limit model that the plan runs before it decides
# Kinds of steps between the caller's arrays and the kernels' layouts: a neighbour in a network makes them superfluous.
BORDERS = ("copy", "flat_to_image", "flat_to_rows", "image_to_flat", "rows_to_flat", "output")


def _networks() -> Any:
    from prunus import kernels

    if not hasattr(kernels, "Network"):
        raise Missing("the installed kernels have no networks: pip install --no-build-isolation -e .")
    from prunus.targets import native

    return native


def version() -> str:
    from importlib.metadata import version as installed

    _networks()
    return installed("prunus")


def planned(problem: Problem, kernel: str | None = None, timed: int = TIMED) -> Any:
    """The network; `kernel` names the one to use, otherwise the chooser decides, after timing `timed` candidates."""
    network = _networks().define(integer_graph(problem))
    rows = problem.layer.height if problem.layer.kind == "gemm" else 1
    network.plan(kernel=kernel, timed=0 if kernel else timed, batch=rows)
    return network


def own_steps(network: Any) -> list[int]:
    """The steps of the plan that it would have between two other layers, too."""
    return [i for i, step in enumerate(network.describe()["steps"]) if step["kind"] not in BORDERS]


def chosen_kernel(network: Any) -> str:
    steps = network.describe()["steps"]
    return " + ".join(steps[i]["kernel"] or steps[i]["kind"] for i in own_steps(network))


def prepare(problem: Problem, alone: bool = False, kernel: str | None = None, timed: int = TIMED) -> Prepared:
    network = planned(problem, kernel, timed)
    inputs, y = [problem.x], np.empty(_output_shape(problem), np.uint8)
    steps = own_steps(network)

    def seconds() -> float:
        found = network.profile(inputs)
        return float(sum(found[step] for step in steps))

    def call() -> object:
        return network.run_into(inputs, [y])

    return Prepared(call, lambda: y, chosen_kernel(network), None if alone else seconds)


def _output_shape(problem: Problem) -> tuple[int, ...]:
    layer = problem.layer
    if layer.kind == "gemm":
        return layer.height, layer.out_c
    return 1, layer.out_c, layer.out_height, layer.out_width


def empty_call() -> Callable[[], object]:
    """A call of a network that does next to nothing."""
    from prunus import kernels

    _networks()
    network = kernels.Network()
    network.output(network.reshape(network.input("u8", [1, 1]), [1, 1]))
    network.plan()
    x, y = np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8)
    return lambda: network.run_into([x], [y])
