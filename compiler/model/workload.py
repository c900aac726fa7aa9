"""What a network asks of hardware, layer by layer: the one thing cost models eat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SparsityKind = Literal["dense", "channel", "block", "n_m", "weight"]


@dataclass(frozen=True)
class Sparsity:
    """The structure of a weight's zeros. `density` is the share of nonzero *units* (blocks, for kind `block`)."""

    kind: SparsityKind = "dense"
    density: float = 1.0
    block: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Layer:
    """One operator's work for a batch of one.

    Shapes leave out the batch. A convolution is `out_h * out_w` rows of a product [K = in/group * kh * kw] x [N = out];
    a fully connected layer has height = width = 1. Elementwise and pooling layers have `macs` 0 and `ops` > 0.
    """

    name: str
    op: Literal["conv", "depthwise", "gemm", "matmul", "add", "mul", "pool", "concat", "elementwise", "softmax", "move"]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    macs: int = 0
    ops: int = 0  # arithmetic operations other than MACs
    in_channels: int = 0
    out_channels: int = 0
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    group: int = 1
    weights: int = 0  # number of weights, zeros included
    weight_bits: int = 32
    input_bits: int = 32
    output_bits: int = 32
    input_elements: int = 0  # over all inputs
    output_elements: int = 0
    sparsity: Sparsity = field(default_factory=Sparsity)
    zero_fraction: float = 0.0  # measured share of weights that are exactly zero
    origin: str = ""  # plain name of the ONNX node

    @property
    def weight_bytes(self) -> int:
        return (self.weights * self.weight_bits + 7) // 8

    @property
    def input_bytes(self) -> int:
        return (self.input_elements * self.input_bits + 7) // 8

    @property
    def output_bytes(self) -> int:
        return (self.output_elements * self.output_bits + 7) // 8


@dataclass(frozen=True)
class Workload:
    """All layers of a network in topological order."""

    layers: tuple[Layer, ...]
    name: str = "model"

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        return sum(layer.weight_bytes for layer in self.layers)
