"""The layers that are measured, in named sets. Batch 1; a fully connected layer has `height` rows and width 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DENSITIES = (1.0, 0.5, 0.25, 0.1)


@dataclass(frozen=True)
class Layer:
    """One convolution, depthwise convolution or fully connected layer; `height` and `width` are the input's."""

    name: str
    kind: Literal["conv", "depthwise", "gemm"]
    in_c: int
    out_c: int
    height: int
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, right, such that outputs are inputs / stride, rounded up: half a kernel on either side,
        and for even kernels TensorFlow's 'same', with the larger half last."""
        pairs = [
            _padding(size, kernel, self.stride)
            for size, kernel in zip((self.height, self.width), self.kernel, strict=True)
        ]
        return pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]

    @property
    def out_height(self) -> int:
        return -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        return -(-self.width // self.stride)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        if self.kind == "gemm":
            return self.out_c, self.in_c
        return self.out_c, 1 if self.kind == "depthwise" else self.in_c, *self.kernel

    @property
    def reduction(self) -> int:
        """Products summed for one output."""
        taps = self.kernel[0] * self.kernel[1]
        return taps if self.kind == "depthwise" else taps * self.in_c

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense layer as they are commonly counted, products with padding included."""
        return self.out_height * self.out_width * self.out_c * self.reduction

    @property
    def useful_macs(self) -> int:
        """Products with padding left out: engines may skip them, so that only these bound the time from below."""
        taps = _inside(self.height, self.kernel[0], self.stride, self.pads[0])
        taps *= _inside(self.width, self.kernel[1], self.stride, self.pads[1])
        return taps * self.out_c * (1 if self.kind == "depthwise" else self.in_c)

    @property
    def weight_bytes(self) -> int:
        return self.out_c * self.reduction

    @property
    def prunable(self) -> bool:
        """Whether blocks of input channels exist to be pruned."""
        return self.kind != "depthwise" and self.in_c % 4 == 0


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Before and after one dimension."""
    if kernel % 2:
        return kernel // 2, kernel // 2
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _inside(size: int, kernel: int, stride: int, pad: int) -> int:
    """Pairs of (output position, tap) along one dimension that read the image and not its padding."""
    starts = (out * stride - pad for out in range(-(-size // stride)))
    return sum(min(start + kernel, size) - max(start, 0) for start in starts)


def conv(name: str, in_c: int, out_c: int, size: int, kernel: int = 1, stride: int = 1) -> Layer:
    return Layer(name, "conv", in_c, out_c, size, size, (kernel, kernel), stride)


def depthwise(name: str, channels: int, height: int, width: int, stride: int = 1) -> Layer:
    return Layer(name, "depthwise", channels, channels, height, width, (3, 3), stride)


def gemm(name: str, rows: int, in_c: int, out_c: int) -> Layer:
    return Layer(name, "gemm", in_c, out_c, rows, 1)


RESNET50 = (
    conv("stem 7x7/2", 3, 64, 224, 7, 2),
    conv("r2 1x1 64-64", 64, 64, 56),
    conv("r2 3x3", 64, 64, 56, 3),
    conv("r2 1x1 64-256", 64, 256, 56),
    conv("r2 1x1 256-64", 256, 64, 56),
    conv("r3 3x3/2", 128, 128, 56, 3, 2),
    conv("r3 1x1/2 256-512", 256, 512, 56, 1, 2),
    conv("r3 1x1 128-512", 128, 512, 28),
    conv("r3 1x1 512-128", 512, 128, 28),
    conv("r3 3x3", 128, 128, 28, 3),
    conv("r4 3x3/2", 256, 256, 28, 3, 2),
    conv("r4 1x1/2 512-1024", 512, 1024, 28, 1, 2),
    conv("r4 1x1 256-1024", 256, 1024, 14),
    conv("r4 1x1 1024-256", 1024, 256, 14),
    conv("r4 3x3", 256, 256, 14, 3),
    conv("r5 3x3/2", 512, 512, 14, 3, 2),
    conv("r5 1x1/2 1024-2048", 1024, 2048, 14, 1, 2),
    conv("r5 1x1 512-2048", 512, 2048, 7),
    conv("r5 1x1 2048-512", 2048, 512, 7),
    conv("r5 3x3", 512, 512, 7, 3),
)

MOBILENETV2 = (
    conv("pw 16-96", 16, 96, 112),
    conv("pw 24-144", 24, 144, 56),
    conv("pw 144-24", 144, 24, 56),
    conv("pw 32-192", 32, 192, 28),
    conv("pw 192-32", 192, 32, 28),
    conv("pw 64-384", 64, 384, 14),
    conv("pw 384-64", 384, 64, 14),
    conv("pw 96-576", 96, 576, 14),
    conv("pw 576-96", 576, 96, 14),
    conv("pw 160-960", 160, 960, 7),
    conv("pw 960-160", 960, 160, 7),
    conv("pw 320-1280", 320, 1280, 7),
    depthwise("dw 32", 32, 112, 112),
    depthwise("dw/2 96", 96, 112, 112, 2),
    depthwise("dw 144", 144, 56, 56),
    depthwise("dw/2 192", 192, 28, 28, 2),
    depthwise("dw 384", 384, 14, 14),
    depthwise("dw 960", 960, 7, 7),
)

BERT = (
    gemm("attention 768-768", 128, 768, 768),
    gemm("ffn 768-3072", 128, 768, 3072),
    gemm("ffn 3072-768", 128, 3072, 768),
)

MLP = (gemm("mlp 1024-1024", 1, 1024, 1024), gemm("mlp 4096-4096", 1, 4096, 4096))

TINY = (
    conv("ic 3x3 3-16", 3, 16, 32, 3),
    conv("ic 3x3 16-16", 16, 16, 32, 3),
    conv("ic 3x3/2 16-32", 16, 32, 32, 3, 2),
    conv("ic 3x3 32-32", 32, 32, 16, 3),
    conv("ic 3x3 64-64", 64, 64, 8, 3),
    Layer("kws 10x4/2", "conv", 1, 64, 49, 10, (10, 4), 2),
    Layer("kws pw 64-64", "conv", 64, 64, 25, 5),
    depthwise("kws dw 64", 64, 25, 5),
    conv("vww pw 16-32", 16, 32, 24),
    conv("vww pw 128-128", 128, 128, 6),
    depthwise("vww dw/2 32", 32, 24, 24, 2),
    gemm("ad 640-128", 1, 640, 128),
    gemm("ad 128-128", 1, 128, 128),
)

SETS: Mapping[str, tuple[Layer, ...]] = {
    "resnet50": RESNET50,
    "mobilenetv2": MOBILENETV2,
    "bert": BERT,
    "mlp": MLP,
    "tiny": TINY,
}
