"""Networks planned for this machine, against the integer reference, on every instruction set that it has."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping

import integer_nets
import numpy as np
import pytest

from prunus import kernels
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.kernels import KernelError, Network, Output, Requant
from prunus.targets.native.network import define

Array = np.ndarray
ISAS = kernels.isas()
FAST_SEEDS, SLOW_SEEDS = range(60), range(60, 2000)
HALF = Requant.pow2(np.array([1], np.int32))


@pytest.fixture(scope="module")
def pool():
    return kernels.Pool(3)


def batch_of(feeds: Mapping[str, Array]) -> int:
    return int(next(iter(feeds.values())).shape[0])


def planned(graph: ir.Graph, batch: int, **options) -> Network:
    network = define(graph)
    network.plan(batch=batch, **options)
    return network


def arrays(graph: ir.Graph, feeds: Mapping[str, Array]) -> list[Array]:
    """The network's inputs; it takes all float types as float32."""
    return [feeds[name] if graph.tensors[name].quant else feeds[name].astype(np.float32) for name in graph.inputs]


def assert_equal(results: list[Array], graph: ir.Graph, expected: Mapping[str, Array]) -> None:
    for name, result in zip(graph.outputs, results, strict=True):
        history = " ".join(op.kind for op in graph.ops)
        np.testing.assert_array_equal(result, expected[name], err_msg=f"{name} of {history}")


# -- against the reference --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", ISAS)
def test_golden_vectors(vector, isa):
    graph, feeds, results = vector
    assert_equal(planned(graph, batch_of(feeds), isa=isa).run(arrays(graph, feeds)), graph, results)


def check_random_net(seed: int, isa: str, pool: kernels.Pool) -> None:
    graph, feeds, values = integer_nets.random_net(seed)
    network = planned(graph, batch_of(feeds), isa=isa, timed=3 if seed % 20 == 0 else 0)
    assert_equal(network.run(arrays(graph, feeds)), graph, values)
    assert_equal(network.run(arrays(graph, feeds), pool=pool), graph, values)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", FAST_SEEDS)
def test_random_networks(seed, isa, pool):
    check_random_net(seed, isa, pool)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
def test_many_random_networks(isa, pool):
    for seed in SLOW_SEEDS:
        check_random_net(seed, isa, pool)


def test_random_networks_hold_every_operator():
    kinds = {op.kind for seed in FAST_SEEDS for op in integer_nets.random_net(seed)[0].ops}
    assert kinds == {op.kind for op in ops.EVALUATE} - {
        "softmax",
        "quantize",
        "dequantize",
    }  # golden vectors have those


def test_the_comparison_finds_a_wrong_weight():
    graph, feeds, values = next(
        net for net in map(integer_nets.random_net, FAST_SEEDS) if net[0].ops[-1].kind in ("conv", "gemm", "depthwise")
    )
    op = graph.ops[-1]
    assert isinstance(op, ir.Linear)
    weight = op.weight.copy()
    weight.reshape(-1)[0] = 127 if weight.reshape(-1)[0] < 0 else -127
    op.weight.flags.writeable = True
    op.weight[...] = weight
    with pytest.raises(AssertionError, match="Mismatched"):
        wrong = planned(graph, batch_of(feeds)).run(arrays(graph, feeds))
        assert_equal(wrong, graph, values)


LAYERS = {  # (batch, in, height, width), (out, in / group, kh, kw), group, stride, padding, dilation
    "first": ((1, 3, 65, 63), (32, 3, 7, 7), 1, 2, 3, 1),
    "3x3": ((2, 33, 17, 9), (70, 33, 3, 3), 1, 1, 1, 1),
    "pointwise": ((1, 130, 13, 7), (200, 130, 1, 1), 1, 1, 0, 1),
    "pointwise stride": ((1, 64, 28, 28), (96, 64, 1, 1), 1, 2, 0, 1),
    "many strips": ((1, 256, 56, 56), (40, 256, 1, 1), 1, 1, 0, 1),
    "deep": ((1, 1030, 3, 3), (9, 1030, 1, 1), 1, 1, 0, 1),
    "no pixels": ((6, 70, 1, 1), (300, 70, 1, 1), 1, 1, 0, 1),
    "whole window": ((1, 24, 7, 7), (50, 24, 7, 7), 1, 1, 0, 1),
    "grouped": ((1, 48, 9, 9), (96, 12, 3, 3), 4, 2, 1, 1),
    "groups of 3": ((1, 15, 9, 9), (25, 3, 3, 3), 5, 1, 1, 1),
    "dilated": ((1, 20, 15, 12), (19, 20, 3, 3), 1, 1, 4, 4),
    "wide padding": ((1, 5, 4, 6), (7, 5, 3, 3), 1, 1, 9, 1),
    "stride beyond the window": ((1, 9, 17, 19), (12, 9, 2, 2), 1, 5, 0, 1),
    "depthwise": ((1, 37, 19, 71), (37, 1, 3, 3), 37, 1, 1, 1),
    "depthwise stride": ((2, 19, 20, 33), (38, 1, 5, 5), 19, 2, 2, 1),
}


def layer_graph(layer: str, density: float) -> tuple[ir.Graph, dict[str, Array]]:
    x_shape, w_shape, group, stride, pad, dilation = LAYERS[layer]
    rng = np.random.default_rng(len(layer))
    mask = np.kron(rng.random((-(-w_shape[0] // 16), w_shape[1], 1, 1)) < density, np.ones((16, 1, 1, 1)))
    weight = (rng.integers(-127, 128, w_shape) * mask[: w_shape[0]]).astype(np.int8)
    ratio = 1 / (np.sqrt(np.prod(w_shape[1:]) * density) * 73 * rng.uniform(1, 3, w_shape[0]))
    op = ir.QConv(
        name="op", inputs=("x",), output="y", weight=weight, bias=rng.integers(-999, 999, w_shape[0]).astype(np.int32),
        weight_scale=np.ones(1, np.float32),
        requant=ir.Requant("f32", ratio.astype(np.float32), np.zeros(w_shape[0], np.int32)),
        qmin=-128, qmax=127, group=group,
        window=ir.Window(kernel=w_shape[2:], strides=(stride, stride), pads=(pad,) * 4, dilations=(dilation, dilation)),
    )  # fmt: skip
    out = (w_shape[0], *op.window.output_size(*x_shape[2:]))
    tensors = {
        "x": ir.Tensor("x", x_shape[1:], ir.QType("u8", 1.0, 119)),
        "y": ir.Tensor("y", out, ir.QType("s8", 1.0, -11)),
    }
    feeds = {"x": rng.integers(0, 255, x_shape, endpoint=True).astype(np.uint8)}
    return ir.Graph("g", ("x",), ("y",), tensors, (op,)), feeds


@pytest.mark.parametrize("density", [1.0, 0.25])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_with_every_kernel(layer, density, pool):
    """Sizes beyond one vector, one strip and one group of channels in every direction."""
    graph, feeds = layer_graph(layer, density)
    expected = ops.run(graph, feeds)
    usable = [
        info.name for info in kernels.kernel_table() if info.usable and info.family in ("conv", "rows", "depthwise")
    ]
    for kernel in usable:
        network = planned(graph, batch_of(feeds), kernel=kernel)
        assert_equal(network.run(arrays(graph, feeds)), graph, expected)
        assert_equal(network.run(arrays(graph, feeds), pool=pool), graph, expected)


@pytest.mark.parametrize("multiplier", [2.0**-126, 1.0, 2.0**40, 3.0e38])
@pytest.mark.parametrize("kind", ["add", "mul", "requantize", "conv2d", "gemm"])
def test_multipliers_that_leave_the_range_of_int32(kind, multiplier):
    """Conversions that would overflow saturate, as the functions do."""
    x = np.random.default_rng(0).integers(0, 256, (1, 8, 5, 5)).astype(np.uint8)
    weight, bias = np.full((8, 8), 127, np.int8), np.full(8, 2**30, np.int32)
    requant = Requant.f32(np.full(2 if kind == "add" else 1, multiplier, np.float32))
    output = Output("s8", 3)
    arguments = {
        "add": (requant, output), "mul": (requant, output), "requantize": (requant, output),
        "conv2d": (weight.reshape(8, 8, 1, 1), bias, requant, output), "gemm": (weight, bias, requant, output),
    }[kind]  # fmt: skip
    x = x.reshape(-1, 8) if kind == "gemm" else x
    sources = 2 if kind in ("add", "mul") else 1
    zeros = {"a_zero_point": 9, "b_zero_point": 9} if sources == 2 else {"x_zero_point": 9}
    network = Network()
    ids = [network.input("u8", x.shape) for _ in range(sources)]
    network.output(getattr(network, kind)(*ids, *arguments, **zeros))
    network.plan()
    expected = getattr(kernels, kind)(*[x] * sources, *arguments, **zeros)
    np.testing.assert_array_equal(network.run([x] * sources)[0], expected)


# -- memory -----------------------------------------------------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)
library = ctypes.CDLL(kernels._core.__file__)
library.prunus_network_workspace_bytes.restype = ctypes.c_size_t


class Guarded:
    """Bytes that end where memory ends: reading or writing one further is a crash."""

    def __init__(self, size: int, align: int = 1) -> None:
        page = mmap.PAGESIZE
        room = -(-size // page) * page
        self.map = mmap.mmap(-1, room + page)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        assert libc.mprotect(ctypes.c_void_p(base + room), page, 0) == 0
        self.address = base + (room - size) // align * align
        self.bytes = np.frombuffer((ctypes.c_uint8 * size).from_address(self.address), np.uint8)


def run_guarded(packed: bytes, inputs: list[Array], results: list[Array]) -> list[Array]:
    """Runs a packed network with every buffer in front of a page that may not be touched."""
    network = ctypes.c_void_p()
    assert library.prunus_network_load(packed, ctypes.c_size_t(len(packed)), ctypes.byref(network)) == 0
    assert library.prunus_network_plan(network, None) == 0
    workspace = Guarded(library.prunus_network_workspace_bytes(network), align=64)
    workspace.bytes[:] = 0xA5
    sources = [Guarded(x.nbytes) for x in inputs]
    for source, x in zip(sources, inputs, strict=True):
        source.bytes[:] = np.ascontiguousarray(x).view(np.uint8).reshape(-1)
    targets = [Guarded(y.nbytes) for y in results]
    pointers = [(ctypes.c_void_p * len(some))(*(g.address for g in some)) for some in (sources, targets)]
    assert library.prunus_network_run(network, *pointers, ctypes.c_void_p(workspace.address), None, None) == 0
    library.prunus_network_destroy(network)
    return [t.bytes.copy().view(y.dtype).reshape(y.shape) for t, y in zip(targets, results, strict=True)]


@pytest.mark.parametrize("seed", range(40))
def test_no_byte_beyond_the_buffers_is_touched(seed):
    graph, feeds, _ = integer_nets.random_net(1000 + seed)
    one = [x[:1] for x in arrays(graph, feeds)]
    expected = ops.run(graph, dict(zip(graph.inputs, one, strict=True)))
    results = run_guarded(define(graph).save(), one, [expected[name] for name in graph.outputs])
    assert_equal(results, graph, expected)


# -- errors -----------------------------------------------------------------------------------------------------------


def small_network() -> tuple[Network, int]:
    network = Network()
    return network, network.input("u8", (1, 4, 6, 6))


WEIGHT, BIAS, OUT = np.ones((4, 4, 3, 3), np.int8), np.zeros(4, np.int32), Output("u8")
WRONG = {
    "channels": (lambda n, x: n.conv2d(x, np.ones((4, 5, 3, 3), np.int8), BIAS, HALF, OUT), "group"),
    "window": (lambda n, x: n.conv2d(x, np.ones((4, 4, 9, 9), np.int8), BIAS, HALF, OUT), "dimension"),
    "multipliers": (
        lambda n, x: n.conv2d(x, WEIGHT, BIAS, Requant.pow2(np.ones(3, np.int32)), OUT),
        "operator 0 .*fit",
    ),
    "weight of -128": (lambda n, x: n.conv2d(x, WEIGHT * np.int8(-128), BIAS, HALF, OUT), "operator 0 .*-128"),
    "zero points": (
        lambda n, x: (n.requantize(x, HALF, OUT, x_zero_point=1), n.requantize(x, HALF, OUT, x_zero_point=2)),
        "operator 1 .*zero point",
    ),
    "no such tensor": (lambda n, x: n.requantize(17, HALF, OUT), "id 17"),
    "shapes": (
        lambda n, x: n.add(x, n.input("u8", (1, 3, 6, 6)), Requant.pow2(np.ones(2, np.int32)), OUT),
        "operator 0 .*broadcast",
    ),
    "axis": (lambda n, x: n.concat([x, x], HALF, OUT, axis=9, zero_points=[0, 0], copy=[True, True]), "axis"),
    "elements": (lambda n, x: n.reshape(x, (1, 5)), "operator 0 .*elements"),
    "permutation": (lambda n, x: n.transpose(x, (0, 1, 1, 2)), "operator 0 .*fit"),
    "planned": (lambda n, x: (n.output(x), n.plan(), n.requantize(x, HALF, OUT)), "planned"),
    "no outputs": (lambda n, x: n.plan(), "outputs"),
    "instruction set": (lambda n, x: (n.output(x), n.plan(isa="mmx")), "mmx"),
    "kernel": (lambda n, x: (n.output(x), n.plan(kernel="fastest")), "fastest"),
    "batch": (lambda n, x: (n.output(n.input("u8", (2, 3))), n.plan(batch=4)), "batch"),
    "run before plan": (lambda n, x: n.run([np.zeros((1, 4, 6, 6), np.uint8)]), "E_STATE"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_definitions_are_refused(case):
    call, text = WRONG[case]
    with pytest.raises((KernelError, ValueError), match=text):
        call(*small_network())


def test_the_plan_tells_what_it_does():
    network, x = small_network()
    network.output(network.conv2d(x, WEIGHT, BIAS, HALF, OUT, pads=(1, 1, 1, 1)))
    network.plan()
    plan = network.describe()
    kinds = [step["kind"] for step in plan["steps"]]
    assert kinds == ["flat_to_image", "conv2d", "output"]
    conv = plan["steps"][1]
    assert conv["operator"] == 0 and conv["density"] == 1 and conv["predicted_seconds"] > 0
    assert conv["output"]["layout"] == "image" and conv["output"]["pitch"] == 7
    assert plan["arena_bytes"] == network.workspace_bytes > 0
    assert len(network.profile([np.zeros((1, 4, 6, 6), np.uint8)])) == len(kinds)


# -- channels that are the last dimension -----------------------------------------------------------------------------


def channels_last(element: str, shape: tuple[int, ...], pad: int) -> tuple[Network, Array]:
    """An identity behind a transpose to channels first (a depthwise window of ones at `pad`), and back again."""
    network, channels = Network(), shape[-1]
    first = network.transpose(network.input(element, shape), (0, len(shape) - 1, *range(1, len(shape) - 1)))
    weight = np.ones((channels, 1, *[1] * (len(shape) - 2)), np.int8)
    output = Output(element, 0, -128 if element == "s8" else 0, 127 if element == "s8" else 255)
    kept = network.conv2d(
        first,
        weight,
        np.zeros(channels, np.int32),
        Requant.pow2(np.zeros(1, np.int32)),
        output,
        group=channels,
        pads=(pad,) * 4,
    )
    network.output(kept)
    network.output(network.transpose(kept, (0, *range(2, len(shape)), 1)))
    x = np.random.default_rng(channels).integers(0, 256, shape).astype(np.uint8)
    return network, x.view(np.int8) if element == "s8" else x


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("element", ["u8", "s8"])
@pytest.mark.parametrize("channels", [2, 3, 4, 7, 16, 23])
def test_channels_may_come_last(channels, element, isa, pool):
    for batch, height, width, pad in ((1, 5, 7, 0), (2, 9, 33, 1), (3, 1, 4, 2)):
        network, x = channels_last(element, (batch, height, width, channels), pad)
        network.plan(isa=isa)
        steps = network.describe()["steps"]
        assert [step["kernel"] for step in steps if step["kind"] == "transpose"] == [None, None]  # not portable
        expected = np.zeros((batch, channels, height + 2 * pad, width + 2 * pad), x.dtype)
        expected[:, :, pad : pad + height, pad : pad + width] = x.transpose(0, 3, 1, 2)
        for runner in (None, pool):
            first, last = network.run([x], pool=runner)
            np.testing.assert_array_equal(first, expected)
            np.testing.assert_array_equal(last, expected.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels", [1, 3, 4, 70])
def test_images_of_one_pixel_are_flattened(channels, batch, isa, pool):
    network = Network()
    x = np.random.default_rng(channels).integers(0, 128, (batch, channels, 2, 2)).astype(np.uint8)
    weight = np.eye(channels, dtype=np.int8)[:, :, None, None].repeat(2, 3)  # sums of a row
    multiplier, output = Requant.pow2(np.zeros(1, np.int32)), Output("u8", 0, 0, 255)
    bias = np.zeros(channels, np.int32)
    network.output(network.conv2d(network.input("u8", x.shape), weight, bias, multiplier, output, strides=(2, 1)))
    network.plan(isa=isa)
    expected = x[:, :, :1].sum(3, dtype=np.int32, keepdims=True)
    for runner in (None, pool):
        np.testing.assert_array_equal(network.run([x], pool=runner)[0], expected)
