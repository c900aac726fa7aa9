"""Small networks after the architectures that people use: every coupling of channels that real graphs have.

    model = ZOO["efficientnet"]()

The table `ZOO` at the end names them all. They are as small as their structure allows, with seeded random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from zoo_blocks import Net

from prunus.compiler.model.model import Model

IMAGE = (3, 16, 16)


# -- convolutional classifiers ----------------------------------------------------------------------------------------


def resnext() -> Model:
    net = Net(IMAGE)
    x = net.relu(net.norm(net.conv(net.input, 16, bias=False)))
    x = net.bottleneck(net.bottleneck(x, 8, group=4), 12, group=2)
    return net.model(net.head(net.down(x, 20)))


def repvgg() -> Model:
    """Three parallel branches before re-parameterisation."""
    net = Net(IMAGE)
    x = net.conv(net.input, 12)
    for _ in range(2):
        branches = [net.norm(net.conv(x, 12, 3, bias=False)), net.norm(net.conv(x, 12, 1, bias=False)), net.norm(x)]
        x = net.relu(net.op("Sum", *branches))
    return net.model(net.head(x))


def densenet() -> Model:
    net = Net(IMAGE)
    x = net.conv(net.input, 8)
    for layers in (3, 2):
        for _ in range(layers):
            y = net.conv(net.relu(net.norm(x)), 12, 1)
            x = net.concat(x, net.conv(net.relu(net.norm(y)), 4))
        x = net.conv(net.relu(net.norm(x)), net.channels[x] // 2, 1)
        x = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return net.model(net.head(net.relu(net.norm(x))))


def mobilenet_v2() -> Model:
    net = Net(IMAGE)
    x = net.activation(net.down(net.input, 8), "Clip")
    for out in (8, 12, 12):
        x = net.inverted_residual(x, out, expand=3, act="Clip")
    return net.model(net.head(net.activation(net.conv(x, 24, 1), "Clip")))


def mobilenet_v3() -> Model:
    net = Net(IMAGE)
    x = net.op("HardSwish", net.down(net.input, 8))
    x = net.inverted_residual(x, 8, act="Relu", gate="HardSigmoid")
    for out in (12, 12):
        x = net.inverted_residual(x, out, act="HardSwish", gate="HardSigmoid")
    x = net.pooled(net.op("HardSwish", net.conv(x, 20, 1)))
    x = net.flat(net.op("HardSwish", net.conv(x, 16, 1)))
    return net.model(net.gemm(x, 16, 5))


def efficientnet() -> Model:
    net = Net(IMAGE)
    x = net.swish(net.norm(net.down(net.input, 8)))
    for out in (8, 12, 12):
        x = net.inverted_residual(x, out, expand=2, act="Swish", gate="Sigmoid")
    return net.model(net.head(net.swish(net.conv(x, 24, 1))))


def shufflenet_v2() -> Model:
    """Half of the channels pass by; concatenation and shuffle mix them."""
    net = Net(IMAGE)
    x = net.relu(net.conv(net.input, 16))
    for _ in range(2):
        left, right = net.parts(x, (8, 8))
        y = net.relu(net.conv(right, 8, 1))
        y = net.relu(net.conv(net.conv(y, 8, 3, group=8), 8, 1))
        x = net.shuffled(net.concat(left, y), 2, 16)
    return net.model(net.head(x))


def ghostnet() -> Model:
    """Half of the outputs are cheap depthwise copies of the other half."""
    net = Net(IMAGE)
    x = net.conv(net.input, 12)
    for out in (12, 16):
        y = net.relu(net.conv(x, out // 2, 1))
        x = net.concat(y, net.relu(net.conv(y, out // 2, 3, group=out // 2)))
    last = net.op("Slice", x, net.ints(0), net.ints(14), net.ints(1), channels=14)
    return net.model(net.head(last))


def inception() -> Model:
    net = Net(IMAGE)
    x = net.relu(net.conv(net.input, 10))
    for _ in range(2):
        pool = net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        branches = [
            net.relu(net.conv(x, 6, 1)),
            net.relu(net.conv(net.relu(net.conv(x, 4, 1)), 6, 3)),
            net.relu(net.conv(net.relu(net.conv(x, 3, 1)), 5, 5)),
            net.relu(net.conv(pool, 4, 1)),
        ]
        x = net.concat(*branches)
    return net.model(net.head(x))


def convnext(decomposed: bool = False) -> Model:
    """Depthwise windows, layer normalisation on channels-last values, a scale on every branch (Liu et al., 2022)."""
    net = Net(IMAGE)
    x = net.window(net.input, 8, (4, 4), strides=[4, 4], pads=[0] * 4)
    for _ in range(2):
        y = net.permute(net.conv(x, 8, 7, group=8), 0, 2, 3, 1)
        y = net.mlp(net.layer_norm(y, 8, decomposed), 8, 24)
        y = net.permute(net.op("Mul", y, net.normal(8)), 0, 3, 1, 2)
        x = net.op("Add", x, y)
    y = net.op("ReduceMean", x, net.ints(2, 3), keepdims=0)
    return net.model(net.gemm(net.layer_norm(y, 8, decomposed), 8, 5))


def group_norm(decomposed: bool = False) -> Model:
    """Decomposed as torch exports it: the groups are the channels of an InstanceNormalization."""
    net = Net(IMAGE)
    x = net.conv(net.input, 12)
    for _ in range(2):
        scale, bias = net.normal(12, scale=0.2, around=1), net.normal(12)
        if decomposed:
            ones, zeros = net.constant(np.ones(4)), net.constant(np.zeros(4))
            y = net.op("InstanceNormalization", net.reshape(x, 0, 4, -1), ones, zeros)
            y = net.reshape(y, -1, 12, 16, 16, channels=12)
            scale, bias = (net.op("Unsqueeze", value, net.ints(1, 2)) for value in (scale, bias))
            y = net.op("Add", net.op("Mul", y, scale), bias, channels=12)
        else:
            y = net.op("GroupNormalization", x, scale, bias, num_groups=4, channels=12)
        x = net.op("Add", x, net.conv(net.relu(net.conv(net.relu(y), 10)), 12))
    return net.model(net.head(net.relu(x)))


def cbam() -> Model:
    """Attention on channels, then on places from the mean and maximum over the channels (Woo et al., 2018)."""
    net = Net(IMAGE)
    x = net.gated(net.relu(net.conv(net.input, 12)))
    mean, most = (net.op(kind, x, net.ints(1), channels=1) for kind in ("ReduceMean", "ReduceMax"))
    place = net.op("Sigmoid", net.conv(net.concat(mean, most), 1, 7))
    return net.model(net.head(net.relu(net.conv(net.op("Mul", x, place), 10))))


# -- other tasks on images --------------------------------------------------------------------------------------------


def unet(transposed: bool = True) -> Model:
    net = Net(IMAGE)
    first = net.relu(net.conv(net.input, 8))
    second = net.relu(net.conv(net.op("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2]), 12))
    low = net.relu(net.conv(net.op("MaxPool", second, kernel_shape=[2, 2], strides=[2, 2]), 16))

    def raised(value: str, out: int) -> str:
        return net.up(value, out) if transposed else net.conv(net.double(value, "linear"), out)

    middle = net.relu(net.conv(net.concat(raised(low, 12), second), 12))
    high = net.relu(net.conv(net.concat(first, raised(middle, 8)), 8))
    return net.model(net.conv(high, 2, 1))


def yolo() -> Model:
    """Parallel bottlenecks with every stage kept, pooling at several reaches, features joined downwards, two scales."""
    net = Net(IMAGE)

    def stage(x: str, out: int) -> str:
        half = out // 2
        kept = net.parts(net.swish(net.conv(x, out, 1)), (half, half))
        for _ in range(2):
            y = net.swish(net.conv(net.swish(net.conv(kept[-1], half)), half))
            kept.append(net.op("Add", kept[-1], y))
        return net.swish(net.conv(net.concat(*kept), out, 1))

    high = stage(net.swish(net.down(net.input, 8)), 12)
    low = net.swish(net.conv(stage(net.swish(net.down(high, 12)), 16), 8, 1))
    pools = [low]
    for _ in range(3):
        pools.append(net.op("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2] * 4))
    low = net.swish(net.conv(net.concat(*pools), 16, 1))
    high = stage(net.concat(net.double(low), high), 12)
    flat = []
    for x, places in ((high, 64), (low, 16)):
        boxes = net.conv(net.swish(net.conv(x, 8)), 4, 1)
        classes = net.conv(net.swish(net.conv(x, 10)), 3, 1)
        flat.append(net.reshape(net.concat(boxes, classes), -1, 7, places, channels=7))
    joined = net.op("Concat", *flat, axis=2)
    boxes, classes = net.parts(joined, (4, 3))
    return net.model(net.concat(boxes, net.op("Sigmoid", classes)))


def ssd() -> Model:
    """Heads in channels-last order, flattened and joined, as detectors of the Caffe family have them."""
    net = Net(IMAGE)
    x = net.relu(net.conv(net.input, 8))
    found = []
    for out in (12, 16):
        x = net.relu(net.down(x, out))
        y = net.permute(net.conv(net.conv(x, out, 3, group=out), 6, 1), 0, 2, 3, 1)
        found.append(net.reshape(y, 1, -1, 3))
    return net.model(net.op("Softmax", net.op("Concat", *found, axis=1), axis=2))


def feature_pyramid() -> Model:
    """One head with shared weights on two scales; the coarser features are added to the finer ones."""
    net = Net(IMAGE)
    high = net.relu(net.down(net.input, 10))
    low = net.relu(net.down(high, 14))
    coarse = net.conv(low, 8, 1)
    fine = net.op("Add", net.conv(high, 8, 1), net.double(coarse))
    first, second = net.normal(8, 8, 3, 3, scale=0.2), net.normal(4, 8, 3, 3, scale=0.2)
    outputs = []
    for x in (fine, coarse):
        y = net.relu(net.op("Conv", x, first, pads=[1] * 4))
        outputs.append(net.op("Conv", y, second, pads=[1] * 4, channels=4))
    return net.model(*outputs)


def hrnet() -> Model:
    """Two resolutions that exchange their features by strided convolutions and resizing."""
    net = Net(IMAGE)
    high = net.relu(net.conv(net.input, 8))
    low = net.relu(net.down(net.input, 12))
    for _ in range(2):
        raised, lowered = net.double(net.conv(low, 8, 1)), net.down(high, 12)
        high, low = net.relu(net.op("Add", high, raised)), net.relu(net.op("Sum", net.conv(low, 12), lowered))
    return net.model(net.conv(net.concat(high, net.double(low)), 3, 1))


def espcn() -> Model:
    net = Net(IMAGE)
    x = net.op("Tanh", net.conv(net.op("Tanh", net.conv(net.input, 16, 5)), 10))
    return net.model(net.op("DepthToSpace", net.conv(x, 12), blocksize=2, mode="CRD"))


def super_resolution() -> Model:
    """PRelu, a long shortcut, and channels that become places in the middle of the network."""
    net = Net(IMAGE)
    first = net.op("PRelu", net.conv(net.input, 12), net.normal(12, 1, 1, scale=0.2))
    x = first
    for _ in range(2):
        y = net.op("PRelu", net.norm(net.conv(x, 12)), net.normal(1, 1, scale=0.2))
        x = net.op("Add", x, net.norm(net.conv(y, 12)))
    x = net.op("DepthToSpace", net.conv(net.op("Add", x, first), 24), blocksize=2, channels=6)
    return net.model(net.conv(net.op("PRelu", x, net.normal(6, 1, 1, scale=0.2)), 3, 5))


def style_transfer() -> Model:
    """Instance normalisation, reflection padding, up by resizing."""
    net = Net(IMAGE)

    def block(x: str, out: int) -> str:
        padded = net.op("Pad", x, net.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
        y = net.window(padded, out, (3, 3), pads=[0] * 4)
        return net.op("InstanceNormalization", y, net.normal(out, around=1, scale=0.2), net.normal(out))

    x = net.relu(block(net.input, 12))
    for _ in range(2):
        x = net.op("Add", x, block(net.relu(block(x, 12)), 12))
    return net.model(block(net.relu(block(net.double(x), 8)), 3))


def gated_restoration() -> Model:
    """Products of two halves of the channels take the place of activations (NAFNet, Chen et al., 2022)."""
    net = Net(IMAGE)
    x = net.conv(net.input, 8)
    for _ in range(2):
        y = net.conv(net.conv(x, 16, 1), 16, 3, group=16)
        one, other = net.parts(y, (8, 8))
        y = net.op("Mul", one, other)
        y = net.op("Mul", y, net.conv(net.pooled(y), 8, 1))
        x = net.op("Add", x, net.op("Mul", net.conv(y, 8, 1), net.normal(8, 1, 1)))
    return net.model(net.op("Add", net.conv(x, 3), net.input))


# -- sequences and other shapes ---------------------------------------------------------------------------------------


def vision_transformer(form: str = "stacked", decomposed: bool = False) -> Model:
    """Patches, a class token, positions, two encoder blocks; the class token decides."""
    net = Net((3, 12, 12))
    x = net.window(net.input, 12, (4, 4), strides=[4, 4], pads=[0] * 4)
    x = net.permute(net.reshape(x, -1, 12, 9), 0, 2, 1)
    token = net.op("Expand", net.normal(1, 1, 12), net.ints(1, 1, 12))
    batch = net.op("Shape", x, end=1)
    token = net.op("Expand", token, net.op("Concat", batch, net.ints(1, 12), axis=0))
    x = net.op("Add", net.op("Concat", token, x, axis=1), net.normal(1, 10, 12))
    for _ in range(2):
        x = net.encoder_block(x, 10, 12, form, decomposed)
    first = net.op("Gather", net.layer_norm(x, 12, decomposed), net.constant(0, np.int64), axis=1)
    return net.model(net.gemm(first, 12, 5))


def swin() -> Model:
    """Attention in shifted windows: places are rolled, split into windows and joined again."""
    net = Net((3, 16, 16))
    x = net.permute(net.window(net.input, 12, (4, 4), strides=[4, 4], pads=[0] * 4), 0, 2, 3, 1)
    axis, zero, two, end = net.ints(1), net.ints(0), net.ints(2), net.ints(1 << 31)
    rolled = net.op("Concat", net.op("Slice", x, two, end, axis), net.op("Slice", x, zero, two, axis), axis=1)
    y = net.permute(net.reshape(rolled, -1, 2, 2, 2, 2, 12), 0, 1, 3, 2, 4, 5)
    y = net.attention(net.layer_norm(net.reshape(y, -1, 4, 12), 12), 4, 12, form="split")
    y = net.reshape(net.permute(net.reshape(y, -1, 2, 2, 2, 2, 12), 0, 1, 3, 2, 4, 5), -1, 4, 4, 12)
    x = net.op("Add", rolled, y)
    x = net.op("Add", x, net.mlp(net.layer_norm(x, 12), 12, 24))
    merged = net.reshape(net.permute(net.reshape(x, -1, 2, 2, 2, 2, 12), 0, 1, 3, 2, 4, 5), -1, 4, 48)
    y = net.op("ReduceMean", net.linear(merged, 48, 20, bias=False), net.ints(1), keepdims=0)
    return net.model(net.gemm(y, 20, 5))


def bert() -> Model:
    """Embeddings of tokens and places, normalisation behind the shortcuts, a pooler on the first token."""
    net = Net((6,), dtype=onnx.TensorProto.INT64)
    x = net.op("Add", net.op("Gather", net.normal(2, 12), net.input), net.normal(6, 12))
    for _ in range(2):
        x = net.layer_norm(net.op("Add", x, net.attention(x, 6, 12)), 12)
        x = net.layer_norm(net.op("Add", x, net.mlp(x, 12, 24)), 12)
    first = net.op("Squeeze", net.op("Slice", x, net.ints(0), net.ints(1), net.ints(1)), net.ints(1))
    return net.model(net.gemm(net.op("Tanh", net.gemm(first, 12, 12)), 12, 5))


def language_model() -> Model:
    """Query heads that share keys and values in pairs; a causal mask; rotated halves; tied embeddings."""
    net = Net((6,), dtype=onnx.TensorProto.INT64)
    table = net.normal(7, 16, scale=0.5)
    x = net.op("Gather", table, net.input)
    mask = net.constant(np.triu(np.full((6, 6), -1e4), 1))
    y = net.layer_norm(x, 16)
    q = net.heads(net.linear(y, 16, 16, bias=False), 6, 4, 4)
    first, second = (net.op("Slice", q, net.ints(s), net.ints(e), net.ints(3)) for s, e in ((0, 2), (2, 4)))
    turned = net.op("Concat", net.op("Neg", second), first, axis=3)
    q = net.op("Add", net.op("Mul", q, net.normal(6, 4)), net.op("Mul", turned, net.normal(6, 4)))
    keys, values = (net.heads(net.linear(y, 16, 8, bias=False), 6, 2, 4) for _ in range(2))
    repeated = []
    for value in (keys, values):
        wide = net.op("Expand", net.op("Unsqueeze", value, net.ints(2)), net.ints(1, 1, 2, 1, 1))
        repeated.append(net.reshape(wide, -1, 4, 6, 4))
    k = net.permute(repeated[0], 0, 1, 3, 2)
    x = net.op("Add", x, net.linear(net.attend(q, k, repeated[1], 6, 16, mask), 16, 16, bias=False))
    y = net.layer_norm(x, 16)
    gate = net.swish(net.linear(y, 16, 20, bias=False))
    x = net.op("Add", x, net.linear(net.op("Mul", gate, net.linear(y, 16, 20, bias=False)), 20, 16, bias=False))
    return net.model(net.op("MatMul", net.layer_norm(x, 16), net.permute(table, 1, 0)))


def mixer() -> Model:
    """Perceptrons over places and over channels in turn."""
    net = Net((9, 12))
    x = net.linear(net.input, 12, 10)
    for _ in range(2):
        y = net.permute(net.mlp(net.permute(net.layer_norm(x, 10), 0, 2, 1), 9, 14), 0, 2, 1)
        x = net.op("Add", x, y)
        x = net.op("Add", x, net.mlp(net.layer_norm(x, 10), 10, 20))
    return net.model(net.gemm(net.op("ReduceMean", x, net.ints(1), keepdims=0), 10, 5))


def text_recognition() -> Model:
    """Convolutions, then columns of the image as steps of two bidirectional layers."""
    net = Net((1, 8, 16))
    x = net.relu(net.norm(net.window(net.relu(net.conv(net.input, 8)), 12, (3, 3), strides=[2, 1])))
    x = net.window(x, 10, (4, 1), pads=[0] * 4)
    x = net.permute(net.op("Squeeze", x, net.ints(2)), 2, 0, 1)
    for op_type, inside in (("LSTM", 10), ("GRU", 12)):
        states, _ = net.recurrent(op_type, x, inside, 6, both=True)
        x = net.reshape(net.permute(states, 0, 2, 1, 3), 16, -1, 12)
    return net.model(net.op("LogSoftmax", net.permute(net.linear(x, 12, 5), 1, 0, 2), axis=2))


def speech_enhancement() -> Model:
    """A recurrent mask on features: the last layer multiplies its input."""
    net = Net((7, 10))
    x = net.permute(net.linear(net.input, 10, 8), 1, 0, 2)
    for op_type in ("GRU", "LSTM"):
        states, _ = net.recurrent(op_type, x, 8, 8)
        x = net.op("Squeeze", states, net.ints(1))
    mask = net.op("Sigmoid", net.linear(net.permute(x, 1, 0, 2), 8, 10))
    return net.model(net.op("Mul", net.input, mask))


def wave_net() -> Model:
    """Dilated convolutions over time with gates, residual and skip sums, padded on one side only."""
    net = Net((4, 20))
    x = net.window(net.input, 8, (1,))
    skips = []
    for dilation in (1, 2, 4):
        padded = net.op("Pad", x, net.ints(0, 0, dilation, 0, 0, 0))
        both = net.window(padded, 16, (2,), dilations=[dilation], pads=[0, 0])
        one, other = net.parts(both, (8, 8))
        y = net.op("Mul", net.op("Tanh", one), net.op("Sigmoid", other))
        skips.append(net.window(y, 10, (1,)))
        x = net.op("Add", x, net.window(y, 8, (1,)))
    return net.model(net.window(net.relu(net.op("Sum", *skips)), 5, (1,)))


def video() -> Model:
    """Convolutions over time, height and width, also factored as (2 + 1)-dimensional ones."""
    net = Net((3, 4, 8, 8))
    x = net.relu(net.window(net.input, 8, (3, 3, 3)))
    x = net.op("MaxPool", x, kernel_shape=[1, 2, 2], strides=[1, 2, 2])
    y = net.relu(net.window(x, 10, (1, 3, 3)))
    x = net.op("Add", x, net.window(y, 8, (3, 1, 1)))
    return net.model(net.head(net.relu(net.norm(x))))


def point_cloud() -> Model:
    """A shared perceptron for every point, their maximum, and that maximum beside every point again."""
    net = Net((3, 20))
    x = net.relu(net.window(net.relu(net.window(net.input, 8, (1,))), 12, (1,)))
    most = net.op("ReduceMax", x, net.ints(2))
    spread = net.op("Expand", most, net.ints(1, 12, 20), channels=12)
    return net.model(net.window(net.relu(net.window(net.concat(x, spread), 10, (1,))), 4, (1,)))


def recommender() -> Model:
    """Wide and deep: features are crossed by products of pairs, and by perceptrons with constants on either side."""
    net = Net((12,))
    deep = net.relu(net.gemm(net.relu(net.gemm(net.input, 12, 16, transB=0)), 16, 8))
    rows = net.reshape(net.gemm(net.input, 12, 24), -1, 3, 8)
    crossed = net.op("Einsum", rows, rows, equation="bik,bjk->bij")
    wide = net.gemm(net.op("Flatten", crossed), 9, 8)
    left = net.op("MatMul", net.normal(1, 8), net.op("Unsqueeze", net.op("Mul", deep, wide), net.ints(2)))
    return net.model(net.op("Add", net.flat(left), net.gemm(net.op("Concat", deep, wide, axis=1), 16, 1)))


ZOO: Mapping[str, Callable[[], Model]] = {
    "resnext": resnext,
    "repvgg": repvgg,
    "densenet": densenet,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3": mobilenet_v3,
    "efficientnet": efficientnet,
    "shufflenet_v2": shufflenet_v2,
    "ghostnet": ghostnet,
    "inception": inception,
    "convnext": convnext,
    "convnext_decomposed": lambda: convnext(decomposed=True),
    "group_norm": group_norm,
    "group_norm_decomposed": lambda: group_norm(decomposed=True),
    "cbam": cbam,
    "unet": unet,
    "unet_resized": lambda: unet(transposed=False),
    "yolo": yolo,
    "ssd": ssd,
    "feature_pyramid": feature_pyramid,
    "hrnet": hrnet,
    "espcn": espcn,
    "super_resolution": super_resolution,
    "style_transfer": style_transfer,
    "gated_restoration": gated_restoration,
    "vit": vision_transformer,
    "vit_split": lambda: vision_transformer("split"),
    "vit_decomposed": lambda: vision_transformer("separate", decomposed=True),
    "swin": swin,
    "bert": bert,
    "language_model": language_model,
    "mixer": mixer,
    "text_recognition": text_recognition,
    "speech_enhancement": speech_enhancement,
    "wave_net": wave_net,
    "video": video,
    "point_cloud": point_cloud,
    "recommender": recommender,
}
