"""Arithmetic on a model input folded into its quantizer: bit for bit what quantizing its result gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from float_nets import FloatNet

from prunus.compiler.integer.graph import QType
from prunus.compiler.quantization.preprocess import Affine, Folded, fold, trace
from prunus.compiler.quantization.scales import activation_type
from prunus.compiler.target import Formats


def _chain(*steps: tuple[str, float], dtype: int = onnx.TensorProto.UINT8) -> Affine | None:
    net = FloatNet((2, 4, 4), dtype=dtype)
    x = net.op("Cast", net.input, to=onnx.TensorProto.FLOAT) if dtype != onnx.TensorProto.FLOAT else net.input
    for op, number in steps:
        x = net.op(op, x, net.constant(number))
    model = net.model(x)
    return trace(model.graph.outputs[0])


def _quantized(x: np.ndarray, scale: float, zero_point: int, type_: QType) -> np.ndarray:
    return np.clip(np.rint(x.astype(np.float32) / np.float32(scale)) + zero_point, type_.qmin, type_.qmax)


@pytest.mark.parametrize(
    ("steps", "factor", "offset"),
    [
        ([("Sub", 128.0), ("Mul", 1 / 128)], 1 / 128, -1.0),
        ([("Div", 255.0)], 1 / 255, 0.0),
        ([("Mul", 2 / 255), ("Add", -1.0)], 2 / 255, -1.0),
        ([], 1.0, 0.0),
    ],
)
def test_chains_are_traced_to_the_input(steps: list[tuple[str, float]], factor: float, offset: float) -> None:
    found = _chain(*steps)
    assert found is not None and found.x.is_graph_input()
    assert (found.factor, found.offset) == (pytest.approx(factor, rel=1e-6), pytest.approx(offset, rel=1e-6))


def test_negative_factors_and_vectors_are_not_folded() -> None:
    assert _chain(("Mul", -1.0)) is None
    net = FloatNet((2, 4, 4))
    model = net.model(net.op("Mul", net.input, net.constant(np.ones((2, 1, 1)))))
    assert trace(model.graph.outputs[0]) is None
    assert trace(model.graph.inputs[0]) is None


def _folded(steps: list[tuple[str, float]], formats: Formats, seen: np.ndarray) -> tuple[Affine, Folded | None]:
    affine = _chain(*steps)
    assert affine is not None
    real = affine.factor * seen + affine.offset
    wanted = activation_type(float(real.min()), float(real.max()), formats, nonnegative=bool(real.min() >= 0))
    return affine, fold(affine, wanted, formats)


@pytest.mark.parametrize("formats", [Formats(), Formats(activation="s8"), Formats(activation_bits=6)])
@pytest.mark.parametrize(
    "steps",
    [
        [("Sub", 128.0), ("Mul", 1 / 128)],
        [("Sub", 127.0), ("Mul", 1 / 128)],
        [("Sub", 127.5), ("Mul", 1 / 127.5)],
        [("Mul", 1 / 255)],
        [("Sub", 33.3), ("Mul", 0.7)],
    ],
)
@pytest.mark.parametrize("seen", [np.arange(256), np.arange(7, 240)])
def test_folding_changes_no_integer(steps: list[tuple[str, float]], formats: Formats, seen: np.ndarray) -> None:
    affine, folded = _folded(steps, formats, seen)
    assert folded is not None
    real = affine.factor * seen + affine.offset  # float64: the exact value of the preprocessing
    direct = np.clip(np.rint(real / folded.type.scale) + folded.type.zero_point, folded.type.qmin, folded.type.qmax)
    ties = np.abs(np.abs(real / folded.type.scale) % 1 - 0.5) < 1e-5  # may fall on either side in float32
    through = _quantized(seen, folded.scale, folded.zero_point, folded.type)
    assert np.array_equal(through[~ties], direct[~ties])
    assert np.abs(through - direct).max() <= 1
    wrong = _quantized(seen, folded.scale, folded.zero_point + 1, folded.type)
    assert not np.array_equal(wrong[~ties], direct[~ties])


def test_byte_images_pass_through_unchanged() -> None:
    for seen in (np.arange(256), np.arange(3, 250)):
        _, folded = _folded([("Sub", 128.0), ("Mul", 1 / 128)], Formats(), seen)
        assert folded == Folded(QType("u8", 2**-7, 128), 1.0, 0)


def test_pow2_folds_only_what_its_scales_allow() -> None:
    formats = Formats(scheme="pow2", activation="s8")
    _, folded = _folded([("Sub", 128.0), ("Mul", 1 / 128)], formats, np.arange(256))
    assert folded == Folded(QType("s8", 2**-7, 0), 1.0, -128)
    assert _folded([("Sub", 127.3), ("Mul", 1 / 128)], formats, np.arange(256))[1] is None
