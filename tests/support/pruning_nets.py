"""Small networks, one for every family of channel rules, written as ONNX text with seeded random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper, parser

from prunus.compiler.analysis.channels import Channels
from prunus.compiler.analysis.channels.groups import Mask
from prunus.compiler.model.model import Model

Shape = tuple[int, ...]


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def net(
    body: str,
    constants: Mapping[str, Shape | np.ndarray | np.generic],
    x: str = "float[N,3,8,8] x",
    y: str = "float[N,5] y",
) -> Model:
    """A model from lines of ONNX text; a constant is an array, or the shape of a random weight."""
    header = '<ir_version: 10, opset_import: ["" : 21]>'
    proto = parser.parse_model(f"{header} g ({x}) => ({y}) {{ {body} }}")
    rng = np.random.default_rng(0)
    for name, what in constants.items():
        array = (
            np.asarray(what) if not isinstance(what, tuple) else (rng.standard_normal(what) * 0.3).astype(np.float32)
        )
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    for number, node in enumerate(proto.graph.node):
        node.name = f"n{number:04d}"
    onnx.checker.check_model(proto)
    return Model(ir.from_proto(proto))


def random_removal(channels: Channels, ratio: float = 0.5, seed: int = 0) -> Mask:
    """A random share of every prunable group, at least one unit where the group has more than one."""
    rng = np.random.default_rng(seed)
    removed = channels.keep_all()
    for group in channels.prunable:
        count = min(max(1, int(group.size * ratio)), group.size - 1)
        removed[rng.choice(group.units, count, replace=False)] = True
    return removed


HEAD = "p = GlobalAveragePool(h)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)"


def _head(channels: int) -> dict[str, Shape]:
    return {"wy": (5, channels), "by": (5,)}


def chain() -> Model:
    return net(
        """a = Conv<pads = [1,1,1,1]>(x, w1, b1)  c = Relu(a)  d = MaxPool<kernel_shape = [2,2], strides = [2,2]>(c)
           e = Conv(d, w2)  g = BatchNormalization(e, s, b, m, v)  k = HardSwish(g)  f = Flatten(k)
           q = Gemm<transB = 1>(f, w3, b3)  r = Relu(q)  z = MatMul(r, w4)  y0 = Add(z, b4)  y = Softmax(y0)""",
        {
            "w1": (8, 3, 3, 3), "b1": (8,), "w2": (6, 8, 3, 3), "s": (6,), "b": (6,), "m": (6,),
            "v": np.linspace(0.5, 2, 6, dtype=np.float32), "w3": (10, 24), "b3": (10,), "w4": (10, 5), "b4": (5,),
        },
    )  # fmt: skip


def residual() -> Model:
    return net(
        f"""a = Conv<pads = [1,1,1,1]>(x, w1, b1)  c = Relu(a)  d = Conv<pads = [1,1,1,1]>(c, w2)  e = Relu(d)
            g = Conv<pads = [1,1,1,1]>(e, w3, b3)  k = Sum(c, g)  h = Relu(k)  {HEAD}""",
        {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (6, 8, 3, 3), "w3": (8, 6, 3, 3), "b3": (8,), **_head(8)},
    )


def padded_shortcut() -> Model:
    return net(
        f"""a = Conv(x, w1)  c = Relu(a)  d = Conv(c, w2)  e = Pad(c, pads)  g = Add(d, e)  h = Relu(g)  {HEAD}""",
        {"w1": (6, 3, 1, 1), "w2": (10, 6, 1, 1), "pads": ints(0, 2, 0, 0, 0, 2, 0, 0), **_head(10)},
    )


def shuffle() -> Model:
    return net(
        f"""a = Conv(x, w1)  c = Conv<group = 3>(a, w2, b2)  d = Relu(c)  e = Reshape(d, split)
            g = Transpose<perm = [0,2,1,3,4]>(e)  k = Reshape(g, merge)
            l = Conv<group = 18, pads = [1,1,1,1]>(k, w3)  h = Conv<group = 3>(l, w4)  {HEAD}""",
        {
            "w1": (12, 3, 1, 1), "w2": (18, 4, 1, 1), "b2": (18,), "w3": (18, 1, 3, 3), "w4": (6, 6, 1, 1),
            "split": ints(-1, 3, 6, 8, 8), "merge": ints(0, 18, 8, 8), **_head(6),
        },
    )  # fmt: skip


def depthwise() -> Model:
    return net(
        f"""a = Conv(x, w1)  c = Clip(a, lo, hi)  d = Conv<group = 6, pads = [1,1,1,1]>(c, w2, b2)
            e = Clip(d, lo, hi)  h = Conv(e, w3)  {HEAD}""",
        {
            "w1": (6, 3, 1, 1), "w2": (12, 1, 3, 3), "b2": (12,), "w3": (7, 12, 1, 1),
            "lo": np.float32(0), "hi": np.float32(6), **_head(7),
        },
    )  # fmt: skip


def transposed() -> Model:
    return net(
        f"""a = Conv(x, w1)  c = ConvTranspose<strides = [2,2]>(a, w2, b2)  d = Sigmoid(c)
            e = ConvTranspose<group = 2>(d, w3, b3)  g = ConvTranspose<group = 6>(e, w4, b4)
            h = Conv(g, w5)  {HEAD}""",
        {
            "w1": (4, 3, 1, 1), "w2": (4, 8, 2, 2), "b2": (8,), "w3": (8, 3, 1, 1), "b3": (6,),
            "w4": (6, 2, 3, 3), "b4": (12,), "w5": (7, 12, 1, 1), **_head(7),
        },
    )  # fmt: skip


def branches() -> Model:
    return net(
        f"""a = Conv(x, w1)  c1, c2 = Split<axis = 1>(a, parts)  d = Conv(c1, w2)  e = Concat<axis = 1>(c2, d, c1)
            g = Slice(e, starts, ends, axes)  k = Gather<axis = 1>(e, picks)  l = Concat<axis = 1>(k, g)
            o = Tile(l, repeats)  h = Conv(o, w3)  {HEAD}""",
        {
            "w1": (8, 3, 1, 1), "parts": ints(3, 5), "w2": (4, 3, 1, 1), "starts": ints(2), "ends": ints(-1),
            "axes": ints(1), "picks": ints(5, 0, -2, 5), "repeats": ints(1, 2, 1, 1), "w3": (6, 26, 1, 1), **_head(6),
        },
    )  # fmt: skip


def picked() -> Model:
    return net(
        f"""a = Conv(x, w1)  c = Gather<axis = 1>(a, order)  h = Conv(c, w2)  {HEAD}""",
        {"w1": (8, 3, 1, 1), "order": ints(3, -1, 0, 6, 2, 1, 5, 4), "w2": (6, 8, 1, 1), **_head(6)},
    )


def sliced() -> Model:
    return net(
        f"""a = Conv(x, w1)  c = Slice(a, zero, half, axes)  d = Slice(a, half, end, axes)  e = Conv(c, w2)
            g = Conv(d, w3)  h = Add(e, g)  {HEAD}""",
        {
            "w1": (12, 3, 1, 1), "zero": ints(0), "half": ints(-6), "end": ints(1 << 40), "axes": ints(-3),
            "w2": (6, 6, 1, 1), "w3": (6, 6, 1, 1), **_head(6),
        },
    )  # fmt: skip


def even_split() -> Model:
    return net(
        f"""a = Conv(x, w1)  c, d = Split<axis = 1, num_outputs = 2>(a)  e = Sigmoid(d)  g = Mul(c, e)
            h = Conv(g, w2)  {HEAD}""",
        {"w1": (12, 3, 1, 1), "w2": (6, 6, 1, 1), **_head(6)},
    )


def squeeze_excite() -> Model:
    return net(
        f"""a = Conv(x, w1)  c = Relu(a)  s = ReduceMean<keepdims = 1>(c, axes)  d = Conv(s, w2, b2)  e = Relu(d)
            g = Conv(e, w3, b3)  k = HardSigmoid(g)  h = Mul(k, c)  {HEAD}""",
        {
            "w1": (8, 3, 1, 1),
            "axes": ints(2, 3),
            "w2": (4, 8, 1, 1),
            "b2": (4,),
            "w3": (8, 4, 1, 1),
            "b3": (8,),
            **_head(8),
        },
    )


def attention() -> Model:
    """Two heads of four; the last product has its constant on the left."""
    return net(
        """q0 = MatMul(x, wq)  q1 = Add(q0, bq)  k0 = MatMul(x, wk)  v0 = MatMul(x, wv)
           q2 = Reshape(q1, split)  k2 = Reshape(k0, split)  v2 = Reshape(v0, split)
           q = Transpose<perm = [0,2,1,3]>(q2)  k = Transpose<perm = [0,2,3,1]>(k2)  v = Transpose<perm = [0,2,1,3]>(v2)
           s0 = MatMul(q, k)  s = Softmax(s0)  o0 = MatMul(s, v)  o1 = Transpose<perm = [0,2,1,3]>(o0)
           o2 = Reshape(o1, merge)  o = MatMul(o2, wo)  u = Relu(o)  t = Transpose<perm = [0,2,1]>(u)
           y0 = MatMul(wl, t)  y = Squeeze(y0, last)""",
        {
            "wq": (6, 8), "bq": (8,), "wk": (6, 8), "wv": (6, 8), "split": ints(0, 7, 2, 4), "merge": ints(0, 7, 8),
            "wo": (8, 10), "wl": (1, 10), "last": ints(1),
        },
        x="float[N,7,6] x", y="float[N,7] y",
    )  # fmt: skip


def followers() -> Model:
    """One parameter for each channel, in every way it can stand in a graph."""
    return net(
        f"""a = Conv(x, w1)  c = PRelu(a, slope)  d = InstanceNormalization(c, s, b)  us = Unsqueeze(scale, axes)
            e = Mul(us, d)  g = Where(mask, e, d)  k = Max(g, floor)  l = Expand(k, shape)  h = Conv(l, w2)  {HEAD}""",
        {
            "w1": (8, 3, 1, 1), "slope": (8, 1, 1), "s": (8,), "b": (8,), "scale": (8,), "axes": ints(1, 2),
            "mask": (np.arange(8) % 3 > 0).reshape(1, 8, 1, 1), "floor": (8, 1, 1), "shape": ints(1, 8, 1, 8),
            "w2": (6, 8, 1, 1), **_head(6),
        },
    )  # fmt: skip


def blocks(mode: str = "DCR") -> Model:
    return net(
        f"""a = Conv(x, w1)  c = DepthToSpace<blocksize = 2, mode = "{mode}">(a)  d = Conv(c, w2)
            e = SpaceToDepth<blocksize = 2>(d)  h = Conv(e, w3)  {HEAD}""",
        {"w1": (16, 3, 1, 1), "w2": (6, 4, 1, 1), "w3": (7, 24, 1, 1), **_head(7)},
    )


def resized() -> Model:
    return net(
        f"""a = Conv(x, w1)  c = Resize<mode = "nearest">(a, , , sizes)  d = Pad(c, pads)
            h = Conv(d, w2)  {HEAD}""",
        {
            "w1": (8, 3, 1, 1), "sizes": ints(1, 8, 16, 16), "pads": ints(0, 0, 1, 1, 0, 0, 1, 1),
            "w2": (6, 8, 3, 3), **_head(6),
        },
        x="float[1,3,8,8] x", y="float[1,5] y",
    )  # fmt: skip


def quantized() -> Model:
    """QDQ: int8 weights per channel and per tensor, activations per tensor and per channel."""
    rng = np.random.default_rng(1)
    scales = np.linspace(0.01, 0.03, 8, dtype=np.float32)
    return net(
        f"""w1f = DequantizeLinear<axis = 0>(w1, s1)  a = Conv(x, w1f, b1)  aq = QuantizeLinear(a, sa, za)
            ad = DequantizeLinear(aq, sa, za)  cq = QuantizeLinear<axis = 1>(ad, s1, z1)
            c = DequantizeLinear<axis = 1>(cq, s1, z1)  w2f = DequantizeLinear(w2, sw)  h = Conv(c, w2f)  {HEAD}""",
        {
            "w1": rng.integers(-127, 127, (8, 3, 3, 3), dtype=np.int8), "s1": scales, "b1": (8,),
            "z1": np.arange(8, dtype=np.int8), "sa": np.float32(0.05), "za": np.int8(3),
            "w2": rng.integers(-127, 127, (6, 8, 1, 1), dtype=np.int8), "sw": np.float32(0.01), **_head(6),
        },
    )  # fmt: skip


def shared_weight() -> Model:
    """One convolution applied twice in a row: its inputs and outputs are the same channels."""
    return net(
        f"""a = Conv(x, w1)  c = Conv<pads = [1,1,1,1]>(a, w2, b2)  d = Relu(c)
            e = Conv<pads = [1,1,1,1]>(d, w2, b2)  h = Relu(e)  {HEAD}""",
        {"w1": (8, 3, 1, 1), "w2": (8, 8, 3, 3), "b2": (8,), **_head(8)},
    )


def free_batch() -> Model:
    """A flattening as exporters write it: the batch is read from the tensor itself."""
    return net(
        """a = Conv(x, w1)  c = Relu(a)  s = Shape(c)  n = Gather<axis = 0>(s, zero)  u = Unsqueeze(n, axes)
           t = Concat<axis = 0>(u, rest)  f = Reshape(c, t)  y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": (8, 3, 3, 3), "zero": np.array(0), "axes": ints(0), "rest": ints(-1), "wy": (5, 288), "by": (5,)},
    )


def embedding() -> Model:
    return net(
        """e = Gather(table, x)  a = MatMul(e, w1)  c = Gelu(a)  d = MatMul(c, w2)
           y = ReduceMax<keepdims = 0>(d, axes)""",
        {"table": (2, 12), "w1": (12, 16), "w2": (16, 5), "axes": ints(1)},
        x="int64[N,7] x",
    )


def sequence() -> Model:
    """Convolutions over time: three-dimensional tensors."""
    return net(
        """a = Conv<pads = [2,2]>(x, w1, b1)  c = Relu(a)  d = Conv<group = 8, dilations = [2]>(c, w2)  e = Conv(d, w3)
           p = GlobalMaxPool(e)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": (8, 4, 5), "b1": (8,), "w2": (8, 1, 3), "w3": (6, 8, 1), **_head(6)},
        x="float[N,4,20] x",
    )


def recurrent_stack(op_type: str = "LSTM", gates: int = 4, options: str = "") -> Model:
    """Two recurrent layers over seven steps, the second in both directions; the last states go to the output."""
    return net(
        f"""t = Transpose<perm = [1,0,2]>(x)  a, ah = {op_type}<hidden_size = 8{options}>(t, w1, r1, b1)
            c = Squeeze(a, one)  d, dh = {op_type}<hidden_size = 6, direction = "bidirectional"{options}>(c, w2, r2, b2)
            e = Transpose<perm = [2,0,1,3]>(d)  f = Reshape(e, flat)  g = MatMul(f, w3)  h = Relu(g)
            k = Transpose<perm = [1,0,2]>(dh)  l = Reshape(k, state)  m = ReduceMax<keepdims = 0>(h, one)
            n = Gemm<transB = 1>(l, w4)  o = Gemm(m, w5)  y = Add(n, o)""",
        {
            "w1": (1, 8 * gates, 6), "r1": (1, 8 * gates, 8), "b1": (1, 16 * gates), "one": ints(1),
            "w2": (2, 6 * gates, 8), "r2": (2, 6 * gates, 6), "b2": (2, 12 * gates), "flat": ints(-1, 7, 12),
            "w3": (12, 10), "state": ints(-1, 12), "w4": (5, 12), "w5": (10, 5),
        },
        x="float[N,7,6] x",
    )  # fmt: skip


def peepholes() -> Model:
    """An LSTM with everything: initial states that a layer computes, peepholes, a cell state that is read."""
    return net(
        """t = Transpose<perm = [1,0,2]>(x)  z = Gather<axis = 1>(x, zero)  h0 = MatMul(z, wh)
           h1 = Unsqueeze(h0, zeros)  c0 = MatMul(z, wc)  c1 = Unsqueeze(c0, zeros)
           a, ah, ac = LSTM<hidden_size = 8>(t, w1, r1, b1, , h1, c1, p1)  b = Squeeze(ac, zeros)  d = MatMul(b, w2)
           e = Squeeze(ah, zeros)  f = MatMul(e, w3)  y = Add(d, f)""",
        {
            "zero": np.array(0), "wh": (6, 8), "zeros": ints(0), "wc": (6, 8), "w1": (1, 32, 6), "r1": (1, 32, 8),
            "b1": (1, 64), "p1": (1, 24), "w2": (8, 5), "w3": (8, 5),
        },
        x="float[N,7,6] x",
    )  # fmt: skip


def einsum_attention() -> Model:
    """Attention with two heads as einsums: four-dimensional weights, no reshape anywhere."""
    return net(
        """q = Einsum<equation = "nld,dhk->nhlk">(x, wq)  k = Einsum<equation = "nld,dhk->nhlk">(x, wk)
           v = Einsum<equation = "nld,dhk->nhlk">(x, wv)  s0 = Einsum<equation = "bhqd,bhkd->bhqk">(q, k)
           s = Softmax(s0)  o0 = Einsum<equation = "bhqk,bhkd->bqhd">(s, v)
           o = Einsum<equation = "bqhd,hdm->bqm">(o0, wo)  r = Relu(o)  t = Einsum<equation = "...m,mc">(r, wt)
           y = ReduceMax<keepdims = 0>(t, one)""",
        {
            "wq": (6, 2, 8), "wk": (6, 2, 8), "wv": (6, 2, 8), "wo": (2, 8, 10), "wt": (10, 5), "one": ints(1),
        },
        x="float[N,7,6] x",
    )  # fmt: skip


def tied_embedding() -> Model:
    """A language model's head: the table that looks words up also scores them, transposed."""
    return net(
        """e = Gather(table, x)  a = MatMul(e, w1)  c = Gelu(a)  d = MatMul(c, w2)  g = Add(d, e)
           back = Transpose<perm = [1,0]>(table)  s = MatMul(g, back)  y = ReduceMax<keepdims = 0>(s, one)""",
        {"table": (5, 12), "w1": (12, 16), "w2": (16, 12), "one": ints(1)},
        x="int64[N,7] x",
    )


def tied_autoencoder() -> Model:
    """The decoder is the encoder's transpose; the outermost width is that of the input."""
    return net(
        """a = Gemm<transB = 1>(x, w1, b1)  c = Relu(a)  d = Gemm<transB = 1>(c, w2, b2)  e = Relu(d)
           g = Gemm(e, w2, b3)  h = Relu(g)  y = Gemm(h, w1)""",
        {"w1": (12, 5), "b1": (12,), "w2": (7, 12), "b2": (7,), "b3": (12,)},
        x="float[N,5] x",
    )


def siamese() -> Model:
    """Two branches with the same weights; their difference decides."""
    return net(
        f"""xa, xb = Split<axis = 2, num_outputs = 2>(x)  a1 = Conv(xa, w1, b1)  a2 = Relu(a1)  a3 = Conv(a2, w2)
            c1 = Conv(xb, w1, b1)  c2 = Relu(c1)  c3 = Conv(c2, w2)  h = Sub(a3, c3)  {HEAD}""",
        {"w1": (8, 3, 1, 1), "b1": (8,), "w2": (6, 8, 3, 3), **_head(6)},
    )


def quantized_residual() -> Model:
    """QDQ as tools write it: per-channel weights and int32 biases, depthwise, a residual addition, a Gemm."""
    rng = np.random.default_rng(2)

    def codes(*shape: int) -> np.ndarray:
        return rng.integers(-127, 127, shape, dtype=np.int8)

    def scales(count: int) -> np.ndarray:
        return np.linspace(0.005, 0.02, count, dtype=np.float32)

    def requantized(value: str) -> str:
        return f"{value}q = QuantizeLinear({value}, sa, za)  {value}d = DequantizeLinear({value}q, sa, za)  "

    return net(
        f"""{requantized("x")}  w1f = DequantizeLinear<axis = 0>(w1, s1, z1)
            b1f = DequantizeLinear<axis = 0>(b1, sb1)  a = Conv(xd, w1f, b1f)  {requantized("a")}
            w2f = DequantizeLinear<axis = 0>(w2, s2)  c = Conv<group = 8, pads = [1,1,1,1]>(ad, w2f)  r = Relu(c)
            {requantized("r")}  w3f = DequantizeLinear<axis = 0>(w3, s3)  d = Conv(rd, w3f)  {requantized("d")}
            e = Add(dd, ad)  {requantized("e")}  p = GlobalAveragePool(ed)  f = Flatten(p)
            w4f = DequantizeLinear<axis = 1>(w4, s4)  y = Gemm(f, w4f)""",
        {
            "sa": np.float32(0.05), "za": np.int8(3), "w1": codes(8, 3, 3, 3), "s1": scales(8),
            "z1": np.zeros(8, np.int8), "b1": rng.integers(-500, 500, 8, dtype=np.int32), "sb1": scales(8) / 20,
            "w2": codes(8, 1, 3, 3), "s2": scales(8), "w3": codes(8, 8, 1, 1), "s3": scales(8), "w4": codes(8, 5),
            "s4": scales(5),
        },
    )  # fmt: skip


NETS: dict[str, Callable[[], Model]] = {
    "chain": chain,
    "residual": residual,
    "padded_shortcut": padded_shortcut,
    "shuffle": shuffle,
    "depthwise": depthwise,
    "transposed": transposed,
    "branches": branches,
    "picked": picked,
    "sliced": sliced,
    "even_split": even_split,
    "squeeze_excite": squeeze_excite,
    "attention": attention,
    "followers": followers,
    "blocks_dcr": lambda: blocks("DCR"),
    "blocks_crd": lambda: blocks("CRD"),
    "resized": resized,
    "quantized": quantized,
    "shared_weight": shared_weight,
    "free_batch": free_batch,
    "embedding": embedding,
    "sequence": sequence,
    "lstm": recurrent_stack,
    "gru": lambda: recurrent_stack("GRU", 3),
    "gru_reset": lambda: recurrent_stack("GRU", 3, ", linear_before_reset = 1"),
    "rnn": lambda: recurrent_stack("RNN", 1),
    "peepholes": peepholes,
    "einsum_attention": einsum_attention,
    "tied_embedding": tied_embedding,
    "tied_autoencoder": tied_autoencoder,
    "siamese": siamese,
    "quantized_residual": quantized_residual,
}
