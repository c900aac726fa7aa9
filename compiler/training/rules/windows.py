"""The geometry of sliding windows, shared by convolution and pooling: pads, `auto_pad`, sizes rounded up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F

from .call import Call, Tensor


@dataclass(frozen=True)
class Windows:
    """Windows over the spatial dimensions of one input. `pads` are the starts, then the ends."""

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    ceil: bool = False

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def extents(self) -> list[int]:
        """What a dilated kernel covers."""
        return [(size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True)]

    def output_sizes(self) -> list[int]:
        outputs = []
        for axis, extent in enumerate(self.extents):
            start, end, stride = self.pads[axis], self.pads[axis + self.rank], self.strides[axis]
            room = self.sizes[axis] + start + end - extent
            count = (-(-room // stride) if self.ceil else room // stride) + 1
            if self.ceil and (count - 1) * stride >= self.sizes[axis] + start:
                count -= 1  # a window may not lie in the padding at the end altogether
            outputs.append(count)
        return outputs

    def torch_pads(self) -> list[int]:
        """For `F.pad`: the last axis first; afterwards the windows tile the input, none is cut off or left over."""
        pads: list[int] = []
        for axis in reversed(range(self.rank)):
            needed = (self.output_sizes()[axis] - 1) * self.strides[axis] + self.extents[axis]
            pads += [self.pads[axis], needed - self.sizes[axis] - self.pads[axis]]
        return pads


def windows(call: Call, x: Tensor, kernel: Sequence[int]) -> Windows:
    """Reads strides, dilations, pads, `auto_pad` and `ceil_mode` of a node."""
    sizes, rank = tuple(x.shape[2:]), x.ndim - 2
    strides = call.integers("strides") or [1] * rank
    dilations = call.integers("dilations") or [1] * rank
    pads = call.integers("pads") or [0] * (2 * rank)
    auto = call.text("auto_pad", "NOTSET")
    if auto == "VALID":
        pads = [0] * (2 * rank)
    elif auto != "NOTSET":
        starts, ends = [], []
        for size, width, stride, step in zip(sizes, kernel, strides, dilations, strict=True):
            total = max((-(-size // stride) - 1) * stride + (width - 1) * step + 1 - size, 0)
            start, end = same_pads(total, auto)
            starts.append(start)
            ends.append(end)
        pads = [*starts, *ends]
    ceil = bool(call.integer("ceil_mode", 0)) and auto == "NOTSET"
    return Windows(sizes, tuple(kernel), tuple(strides), tuple(dilations), tuple(pads), ceil)


def same_pads(total: int, auto: str) -> tuple[int, int]:
    """(start, end) of `auto_pad`: the odd one goes to the end for SAME_UPPER, else to the start."""
    small = total // 2
    return (small, total - small) if auto == "SAME_UPPER" else (total - small, small)


def padded(x: Tensor, view: Windows, value: float = 0.0) -> Tensor:
    """The input with its padding, as the windows see it."""
    pads = view.torch_pads()
    return F.pad(x, pads, value=value) if any(pads) else x
