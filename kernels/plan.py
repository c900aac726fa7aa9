"""One layer, planned for this machine: a network of one operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._core import Network, Output, Pool, Requant

Array = npt.NDArray[Any]


class Plan:
    """A layer with its kernel chosen and its weights packed; made by `conv2d`, `depthwise2d` or `gemm`.

    Results equal those of the functions of the same name bit for bit. Options of all three, as of `Network.plan`:
    isa: instruction sets to choose from, comma-separated. kernel: the one kernel to use. timed: how many of the best
    candidates are run and timed (0: the limit model decides). cache: a file that keeps what was timed.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    @classmethod
    def conv2d(
        cls,
        weight: Array,
        bias: Array,
        requant: Requant,
        output: Output,
        *,
        x_shape: Sequence[int],
        x_type: str = "u8",
        x_zero_point: int = 0,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        group: int = 1,
        isa: str | None = None,
        kernel: str | None = None,
        timed: int = 0,
        cache: str | None = None,
    ) -> Plan:
        """x [n, c, h, w] of `x_shape` and type 'u8' or 's8' (*) weight [out, c / group, kh, kw] -> [n, out, oh, ow].

        With group == c the layer is depthwise. Pads are top, left, bottom, right.
        """
        network = Network()
        x = network.input(x_type, list(x_shape))
        window: dict[str, Any] = {"strides": strides, "pads": pads, "dilations": dilations}
        if group > 1 and group == x_shape[1]:
            y = network.depthwise2d(x, weight, bias, requant, output, x_zero_point=x_zero_point, **window)
        else:
            y = network.conv2d(x, weight, bias, requant, output, x_zero_point=x_zero_point, group=group, **window)
        network.output(y)
        network.plan(isa=isa, kernel=kernel, timed=timed, cache=cache)
        return cls(network)

    @classmethod
    def gemm(
        cls,
        weight: Array,
        bias: Array,
        requant: Requant,
        output: Output,
        *,
        x_shape: Sequence[int],
        x_type: str = "u8",
        x_zero_point: int = 0,
        isa: str | None = None,
        kernel: str | None = None,
        timed: int = 0,
        cache: str | None = None,
    ) -> Plan:
        """x [..., in] of `x_shape` @ weight[out, in].T -> [..., out]."""
        network = Network()
        x = network.input(x_type, list(x_shape))
        network.output(network.gemm(x, weight, bias, requant, output, x_zero_point=x_zero_point))
        network.plan(isa=isa, kernel=kernel, timed=timed, cache=cache)
        return cls(network)

    def run(self, x: Array, *, out: Array | None = None, pool: Pool | None = None) -> Array:
        """The layer's output for `x`; in a new array, or in `out`."""
        if out is None:
            return self._network.run([x], pool=pool)[0]
        self._network.run_into([x], [out], pool=pool)
        return out

    def describe(self) -> dict[str, Any]:
        """The plan: kernel, density, predicted and timed seconds, candidates that lost."""
        return self._network.describe()

    @property
    def workspace_bytes(self) -> int:
        """Scratch memory of one run, in bytes."""
        return self._network.workspace_bytes

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What `run` returns."""
        return tuple(self._network.outputs[0][1])

    @property
    def output_dtype(self) -> np.dtype[Any]:
        """What `run` returns."""
        return np.dtype({"u8": np.uint8, "s8": np.int8, "f32": np.float32}[self._network.outputs[0][0]])
