"""How an operator with a constant weight is a product in groups: rows [rows, groups, k] times weights [groups, k, n].

`Window` covers convolutions, also transposed ones; `Matrix` linear layers; `Letters` everything that an einsum can say:
products with the constant on the left, with a weight for every head, and Einsum itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels.rules.einsum import parse_equation
from ..analysis.channels.trace import attribute, text
from .least_squares import patches

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class Form(Protocol):
    """One way to be a product. `taps` are the positions of a window: k is inputs times taps, inputs first."""

    @property
    def taps(self) -> int: ...

    def matrix(self, data: Array) -> Floats:
        """The weight as [groups, k, n]."""
        ...

    def unmatrix(self, matrix: Array, like: Array) -> Array:
        """The inverse of `matrix`, with shape and type of the present weight."""
        ...

    def count(self, result: Array) -> int:
        """How many rows a result has."""
        ...

    def rows(self, x: Array, result: Array, chosen: Array) -> tuple[Array, Array]:
        """Inputs [rows, groups, k] and results [rows, groups, n] of the chosen rows."""
        ...


@dataclass(frozen=True, eq=False)
class Matrix:
    """x [..., k] times a weight [k, n], or [n, k] when it is transposed."""

    transposed: bool

    @property
    def taps(self) -> int:
        return 1

    def matrix(self, data: Array) -> Floats:
        return (data.T if self.transposed else data)[None].astype(np.float64)

    def unmatrix(self, matrix: Array, like: Array) -> Array:
        data: Array = matrix[0].T if self.transposed else matrix[0]
        return data.astype(like.dtype)

    def count(self, result: Array) -> int:
        return int(np.prod(result.shape[:-1]))

    def rows(self, x: Array, result: Array, chosen: Array) -> tuple[Array, Array]:
        a, y = x.reshape(-1, x.shape[-1]), result.reshape(-1, result.shape[-1])
        return a[chosen][:, None], y[chosen][:, None]


@dataclass(frozen=True, eq=False)
class Window:
    """A convolution with weight [out, in / groups, *kernel]; transposed, it is [in, out / groups, *kernel].

    A transposed convolution is a convolution of the input with zeros between its places, by the mirrored window.
    """

    node: ir.Node
    kernel: tuple[int, ...]
    groups: int
    transposed: bool = False

    @property
    def taps(self) -> int:
        return int(np.prod(self.kernel, dtype=np.int64))

    def matrix(self, data: Array) -> Floats:
        grouped = data.reshape(self.groups, data.shape[0] // self.groups, data.shape[1], self.taps)
        order = (0, 1, 3, 2) if self.transposed else (0, 2, 3, 1)  # groups, inputs, taps, outputs
        mirrored = grouped[..., ::-1] if self.transposed else grouped
        arranged = mirrored.transpose(order)
        return arranged.reshape(self.groups, -1, arranged.shape[-1]).astype(np.float64)

    def unmatrix(self, matrix: Array, like: Array) -> Array:
        arranged = matrix.reshape(self.groups, -1, self.taps, matrix.shape[-1])
        order = (0, 1, 3, 2) if self.transposed else (0, 3, 1, 2)
        data = arranged.transpose(order)
        data = data[..., ::-1] if self.transposed else data
        return data.reshape(like.shape).astype(like.dtype)

    def count(self, result: Array) -> int:
        return int(len(result) * np.prod(result.shape[2:]))

    def rows(self, x: Array, result: Array, chosen: Array) -> tuple[Array, Array]:
        out = result.shape[2:]
        places = np.stack(np.unravel_index(chosen, (len(result), *out)))
        if self.transposed:
            a = self._spread_patches(x, places, out)
        else:
            a = patches(x, places, self.kernel, **spatial_attributes(self.node, self.kernel, x.shape[2:], out))
        y = np.moveaxis(result, 1, -1)[tuple(places)]
        return a.reshape(len(a), self.groups, -1), y.reshape(len(y), self.groups, -1)

    def _spread_patches(self, x: Array, places: Array, out: Sequence[int]) -> Array:
        """What a transposed convolution sees at places of its output."""
        rank = len(self.kernel)
        strides, dilations = (_integers(self.node, name, [1] * rank) for name in ("strides", "dilations"))
        spread = np.zeros((*x.shape[:2], *((size - 1) * s + 1 for size, s in zip(x.shape[2:], strides, strict=True))))
        spread = spread.astype(x.dtype)
        spread[(slice(None), slice(None), *(slice(None, None, s) for s in strides))] = x
        reach = [(k - 1) * d for k, d in zip(self.kernel, dilations, strict=True)]
        before = np.array(reach) - self._first_pads(x.shape[2:], out, strides, reach)
        lack = np.maximum(-before, 0)  # more padding than the window reaches: the first places are cut away
        spread = spread[(slice(None), slice(None), *(slice(int(cut), None) for cut in lack))]
        before = np.maximum(before, 0)
        after = np.maximum(np.array(out) + reach - before - spread.shape[2:], 0)
        return patches(spread, places, self.kernel, [1] * rank, dilations, np.stack([before, after], axis=1))

    def _first_pads(self, sizes: Sequence[int], out: Sequence[int], strides: list[int], reach: list[int]) -> Array:
        """The padding in front of each axis, which an output shape or `auto_pad` may leave to be derived."""
        rank = len(self.kernel)
        auto = text(self.node, "auto_pad", "NOTSET")
        if auto == "VALID" or (auto == "NOTSET" and "output_shape" not in self.node.attributes):
            return np.array(_integers(self.node, "pads", [0] * 2 * rank)[:rank])
        extra = _integers(self.node, "output_padding", [0] * rank)
        total = np.array(
            [
                s * (size - 1) + more + r + 1 - o
                for s, size, more, r, o in zip(strides, sizes, extra, reach, out, strict=True)
            ]
        )
        return total // 2 if auto == "SAME_UPPER" else total - total // 2


@dataclass(frozen=True, eq=False)
class Letters:
    """A product that an equation describes: a term of letters for x, for the weight and for the result.

    Letters of all three are groups, of x and weight k, of weight and result n, of x and result rows. `factor` scales
    the product.
    """

    x: str
    weight: str
    result: str
    factor: float = 1.0

    @property
    def taps(self) -> int:
        return 1

    def matrix(self, data: Array) -> Floats:
        return (
            self._arranged(data, self.weight, self._groups, self._inner, self._outer).astype(np.float64) * self.factor
        )

    def unmatrix(self, matrix: Array, like: Array) -> Array:
        order = _order(self.weight, self._groups + self._inner + self._outer)
        data = (matrix / self.factor).reshape([like.shape[axis] for axis in order])
        return data.transpose(np.argsort(order)).astype(like.dtype)

    def count(self, result: Array) -> int:
        return int(np.prod([result.shape[self.result.index(letter)] for letter in self._rows], dtype=np.int64))

    def rows(self, x: Array, result: Array, chosen: Array) -> tuple[Array, Array]:
        a = self._arranged(x, self.x, self._rows, self._groups, self._inner)
        y = self._arranged(result, self.result, self._rows, self._groups, self._outer)
        return a[chosen], y[chosen]

    def is_product(self) -> bool:
        """Whether every letter has a part in it: none twice in a term, none in a single term only."""
        terms = (self.x, self.weight, self.result)
        letters = "".join(terms)
        return all(len(set(term)) == len(term) for term in terms) and all(letters.count(one) > 1 for one in letters)

    @property
    def _groups(self) -> str:
        return "".join(one for one in self.weight if one in self.x and one in self.result)

    @property
    def _inner(self) -> str:
        return "".join(one for one in self.weight if one in self.x and one not in self.result)

    @property
    def _outer(self) -> str:
        return "".join(one for one in self.weight if one not in self.x)

    @property
    def _rows(self) -> str:
        return "".join(one for one in self.x if one not in self.weight)

    @staticmethod
    def _arranged(array: Array, term: str, *parts: str) -> Array:
        """The array with its letters in the order of the parts, and one dimension for each part."""
        sizes = [int(np.prod([array.shape[term.index(one)] for one in part], dtype=np.int64)) for part in parts]
        return array.transpose(_order(term, "".join(parts))).reshape(sizes)


def _order(term: str, letters: str) -> list[int]:
    return [term.index(one) for one in letters]


def form_of(node: ir.Node, weight: ir.Value, groups: int) -> Form | None:
    """The form of a node with this weight among its inputs; None where it is no product with it."""
    at = next((index for index, value in enumerate(node.inputs) if value is weight), 0)
    rank = weight.shape.rank() if weight.shape is not None else 0
    match node.op_type:
        case "Conv" | "ConvTranspose" if at == 1 and weight.shape is not None:
            kernel = tuple(int(size) for size in weight.shape.numpy()[2:])
            return Window(node, kernel, groups, node.op_type == "ConvTranspose")
        case "MatMul" if at == 1 and rank == 2:
            return Matrix(False)
        case "Gemm" if at == 1 and not attribute(node, "transA", 0) and _factor(node, "alpha") == 1:
            return Matrix(bool(attribute(node, "transB", 0)))
        case "MatMul" | "Gemm" | "Einsum":
            return _letters(node, at)
    return None


def _letters(node: ir.Node, at: int) -> Letters | None:
    shapes = [value.shape for value in node.inputs[:2] if value is not None]
    if len(shapes) != 2 or any(shape is None or shape.rank() < 1 for shape in shapes):
        return None
    dims = [[size if isinstance(size, int) else 0 for size in shape or ()] for shape in shapes]
    terms, result = _terms(node, [len(each) for each in dims])
    sizes = [dict(zip(term, each, strict=True)) for term, each in zip(terms, dims, strict=True)]
    common = sizes[0].keys() & sizes[1].keys()
    repeated = any((sizes[0][one] == 1) != (sizes[1][one] == 1) for one in common)
    form = Letters(terms[1 - at], terms[at], result, _factor(node, "alpha") if node.op_type == "Gemm" else 1.0)
    return form if form.is_product() and not repeated else None


def _terms(node: ir.Node, ranks: Sequence[int]) -> tuple[list[str], str]:
    """One letter for each dimension of the two operands and of the result."""
    if node.op_type == "Einsum":
        operands, result = parse_equation(text(node, "equation", ""), ranks)
    elif node.op_type == "Gemm":
        a, b = ("km" if attribute(node, "transA", 0) else "mk"), ("nk" if attribute(node, "transB", 0) else "kn")
        operands, result = [list(a), list(b)], list("mn")
    else:
        outer = [f"…{number}" for number in range(max(ranks) - 2, 0, -1)]
        operands = [[*outer[len(outer) - rank + 2 :], *ends] for rank, ends in zip(ranks, ("mk", "kn"), strict=True)]
        result = [*outer, "m", "n"]
    names = dict.fromkeys(name for term in (*operands, result) for name in term)
    letters = {name: chr(ord("a") + number) for number, name in enumerate(names)}
    first, second, third = ("".join(letters[name] for name in term) for term in (*operands, result))
    return [first, second], third


def _factor(node: ir.Node, name: str) -> float:
    return float(node.attributes[name].as_float()) if name in node.attributes else 1.0


def spatial_attributes(
    node: ir.Node, kernel: Sequence[int], sizes: Sequence[int], out: Sequence[int]
) -> dict[str, Any]:
    """Strides, dilations and pads [spatial, 2] of a Conv from input sizes `sizes` to output sizes `out`."""
    rank = len(kernel)
    strides = _integers(node, "strides", [1] * rank)
    dilations = _integers(node, "dilations", [1] * rank)
    pads = np.array(_integers(node, "pads", [0] * 2 * rank)).reshape(2, rank).T
    auto = text(node, "auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        reach = [(out[a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 for a in range(rank)]
        total = np.maximum(np.array(reach) - np.array(sizes), 0)
        small, large = total // 2, total - total // 2
        pads = np.stack([small, large] if auto == "SAME_UPPER" else [large, small], axis=1)
    return {"strides": strides, "dilations": dilations, "pads": pads}


def _integers(node: ir.Node, name: str, default: list[int]) -> list[int]:
    return [int(entry) for entry in node.attributes[name].as_ints()] if name in node.attributes else default
