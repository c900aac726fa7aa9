"""Random small networks out of the blocks of zoo_blocks.py: couplings that nobody thought of.

    model = random_zoo(seed)

Convolutional blocks on [batch, channels, 8, 8], then a random head: pooled, recurrent over rows, attention on places.
"""

from __future__ import annotations

from zoo_blocks import Net

from prunus.compiler.model.model import Model

SIZE = 8


class _Writer:
    """Appends random blocks; `value` is the current value, and its size stays SIZE x SIZE."""

    def __init__(self, seed: int) -> None:
        self.net = Net((3, SIZE, SIZE), seed)
        self.value = self.net.conv(self.net.input, self.even(8, 16))
        self.earlier = [self.value]

    def even(self, low: int, high: int) -> int:
        return int(self.net.rng.integers(low // 2, high // 2 + 1)) * 2

    def chance(self) -> bool:
        return bool(self.net.rng.random() < 0.5)

    @property
    def channels(self) -> int:
        return self.net.channels[self.value]

    def bottleneck(self) -> None:
        self.value = self.net.bottleneck(self.value, self.even(4, 12), group=2 if self.chance() else 1)

    def inverted(self) -> None:
        gate, act = ("Sigmoid", "Swish") if self.chance() else ("", "HardSwish")
        out = self.channels if self.chance() else self.even(6, 14)
        self.value = self.net.inverted_residual(self.value, out, act=act, gate=gate)

    def shuffle(self) -> None:
        self.value = self.net.conv(self.value, self.channels, 1, group=2)
        self.value = self.net.shuffled(self.value, 2, SIZE)

    def halves(self) -> None:
        half = self.channels // 2
        one, other = self.net.parts(self.value, (half, self.channels - half))
        if half * 2 == self.channels and self.chance():
            self.value = self.net.op("Mul", one, self.net.op("Sigmoid", other))
        else:
            self.value = self.net.concat(other, self.net.relu(self.net.conv(one, half)))

    def join(self) -> None:
        """Concatenation with, or addition of, an earlier value."""
        other = self.earlier[int(self.net.rng.integers(len(self.earlier)))]
        if self.net.channels[other] == self.channels and self.chance():
            self.value = self.net.op("Add", self.value, other)
        elif self.channels + self.net.channels[other] <= 40:
            self.value = self.net.concat(other, self.value)

    def hourglass(self) -> None:
        low = self.net.relu(self.net.down(self.value, self.even(6, 14)))
        raised = self.net.up(low, self.channels) if self.chance() else self.net.double(low)
        self.value = self.net.concat(self.value, raised)

    def pixels(self) -> None:
        """Channels become places, and places channels again."""
        mode = "CRD" if self.chance() else "DCR"
        y = self.net.op("DepthToSpace", self.net.conv(self.value, 16, 1), blocksize=2, mode=mode, channels=4)
        self.value = self.net.op("SpaceToDepth", self.net.conv(y, 3), blocksize=2, channels=12)

    def normalised(self) -> None:
        count = self.channels
        scale, bias = self.net.normal(count, scale=0.2, around=1), self.net.normal(count)
        if self.chance():
            self.value = self.net.op("InstanceNormalization", self.value, scale, bias)
        else:
            last = self.net.op("LayerNormalization", self.net.permute(self.value, 0, 2, 3, 1), scale, bias)
            self.value = self.net.permute(last, 0, 3, 1, 2)

    def rectified(self) -> None:
        self.value = self.net.op("PRelu", self.value, self.net.normal(self.channels, 1, 1, scale=0.2))

    def twice(self) -> None:
        """One weight, used two times in a row."""
        weight = self.net.normal(self.channels, self.channels, 3, 3, scale=0.2)
        for _ in range(2):
            self.value = self.net.relu(self.net.op("Conv", self.value, weight, pads=[1] * 4))

    def sliced(self) -> None:
        first = int(self.net.rng.integers(0, self.channels // 2))
        count = self.channels - first
        bounds = [self.net.ints(number) for number in (first, 1 << 40, 1)]
        self.value = self.net.op("Slice", self.value, *bounds, channels=count)

    def finish(self) -> Model:
        net, kind = self.net, int(self.net.rng.integers(3))
        if kind == 0:
            return net.model(net.head(self.value))
        rows = net.op("ReduceMean", self.value, net.ints(3), keepdims=0)
        width = self.channels
        if kind == 1:
            op_type = ("LSTM", "GRU", "RNN")[int(net.rng.integers(3))]
            states, _ = net.recurrent(op_type, net.permute(rows, 2, 0, 1), width, 6, both=self.chance())
            last = net.op("Gather", states, net.constant(SIZE - 1, "int64"), axis=0)
            flat = net.reshape(net.permute(last, 1, 0, 2), 0, -1)
            return net.model(net.linear(flat, 6 * self._directions(), 5))
        x = net.linear(net.permute(rows, 0, 2, 1), width, 12)
        form = ("separate", "split", "stacked")[int(net.rng.integers(3))]
        x = net.encoder_block(x, SIZE, 12, form, decomposed=self.chance())
        return net.model(net.linear(net.op("ReduceMax", x, net.ints(1), keepdims=0), 12, 5))

    def _directions(self) -> int:
        weights = next(node for node in reversed(self.net.nodes) if node.op_type in ("LSTM", "GRU", "RNN")).input[1]
        return next(tensor.dims[0] for tensor in self.net.weights if tensor.name == weights)


KINDS = (
    "bottleneck", "inverted", "shuffle", "halves", "join", "hourglass", "pixels", "normalised", "rectified", "twice",
    "sliced",
)  # fmt: skip


def random_zoo(seed: int, steps: int = 5) -> Model:
    """A network of `steps` random blocks and a random head, with five outputs."""
    writer = _Writer(seed)
    for kind in writer.net.rng.choice(KINDS, steps):
        if writer.channels % 2:  # what follows wants an even number
            writer.value = writer.net.conv(writer.value, writer.even(6, 12), 1)
        getattr(writer, kind)()
        writer.earlier.append(writer.value)
    return writer.finish()
