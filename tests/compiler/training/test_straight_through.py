"""Quantization while training: gradients pass rounding unchanged and stop where values are clipped."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from prunus.compiler.model.load import load_proto  # noqa: E402
from prunus.compiler.training import TorchGraph  # noqa: E402

torch.set_num_threads(1)

PAIR = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[6] x) => (float[6] y) <float scale = {0.5}, int8 zero = {10}> {
  q = QuantizeLinear (x, scale, zero)
  y = DequantizeLinear (q, scale, zero)
}
"""
# with scale 0.5 and zero point 10, int8 holds -69 .. 58.5
VALUES = np.float32([-80, -68.9, -0.3, 0.2, 58.4, 70])
INSIDE = np.float32([0, 1, 1, 1, 1, 0])


def test_the_gradient_of_rounding_is_one_and_of_clipping_zero() -> None:
    model = load_proto(onnx.parser.parse_model(PAIR))
    graph = TorchGraph(model)
    x = torch.from_numpy(VALUES.copy()).requires_grad_()
    (y,) = graph({model.graph.inputs[0].name: x}).values()
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), np.float32([-69, -69, -0.5, 0, 58.5, 58.5]))
    np.testing.assert_array_equal(x.grad.numpy(), INSIDE)


def test_the_gradient_of_the_scale_is_that_of_learned_step_sizes() -> None:
    """Esser et al. 2020: q - x/s inside of the range, the distance of its end from the zero point outside."""
    model = load_proto(onnx.parser.parse_model(PAIR))
    graph = TorchGraph(model)
    (scale,) = graph.parameters.values()
    (y,) = graph({model.graph.inputs[0].name: torch.from_numpy(VALUES.copy())}).values()
    y.sum().backward()
    inside = np.rint(VALUES / 0.5) - VALUES / 0.5
    expected = np.where(INSIDE == 1, inside, np.where(VALUES < 0, -138, 117)).sum()
    assert float(scale.grad) == pytest.approx(expected, rel=1e-5)


def test_a_quantized_layer_learns() -> None:
    """A planted quantized linear layer is found again by gradient descent through Q and DQ."""
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    net (float[batch, 4] x) => (float[batch, 2] y) <float[4, 2] w, float si = {0.05}, float so = {0.1}, int8 z = {0}> {
      q = QuantizeLinear (x, si, z)
      d = DequantizeLinear (q, si, z)
      m = MatMul (d, w)
      p = QuantizeLinear (m, so, z)
      y = DequantizeLinear (p, so, z)
    }
    """
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    del proto.graph.value_info[:]
    kept = [tensor for tensor in proto.graph.initializer if tensor.name != "w"]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend([*kept, onnx.numpy_helper.from_array(np.zeros((4, 2), np.float32), "w")])
    graph = TorchGraph(load_proto(proto))
    weights = next(value for value in graph.parameters.values() if value.ndim == 2)
    planted = torch.from_numpy(rng.normal(size=(4, 2)).astype(np.float32))
    x = torch.from_numpy(rng.normal(size=(256, 4)).astype(np.float32))
    optimizer = torch.optim.Adam([weights], 0.05)
    for _ in range(150):
        loss = ((graph({graph.inputs[0]: x})[graph.outputs[0]] - x @ planted) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float((weights.detach() - planted).abs().max()) < 0.03


@pytest.mark.parametrize(
    "body",
    [
        "m = MatMulInteger (q, w, z, wz) f = Cast <to: int = 1> (m) y = Mul (f, s)",
        "p = QLinearMatMul (q, sx, z, w, sw, wz, so, zo) y = DequantizeLinear (p, so, zo)",
    ],
)
def test_integer_products_pass_gradients_like_the_real_ones(body: str) -> None:
    text = f"""
    <ir_version: 10, opset_import: ["" : 21]>
    net (float[3, 2] x) => (float[3, 2] y) <int8[2, 2] w = {{10, -20, 30, 40}}, int8 wz = {{0}}, float sw = {{0.5}},
        float sx = {{0.02}}, uint8 z = {{128}}, float s = {{0.01}}, float so = {{0.3}}, uint8 zo = {{128}}> {{
      q = QuantizeLinear (x, sx, z)
      {body}
    }}
    """
    graph = TorchGraph(load_proto(onnx.parser.parse_model(text)))
    x = torch.tensor([[0.1, -0.2], [0.3, 0.2], [-0.5, 0.4]], requires_grad=True)
    y = graph({graph.inputs[0]: x})[graph.outputs[0]]
    y.sum().backward()
    weights = np.float32([[10, -20], [30, 40]]) * np.float32(0.5)
    np.testing.assert_allclose(y.detach().numpy(), x.detach().numpy() @ weights, atol=0.5)
    np.testing.assert_allclose(x.grad.numpy(), np.ones((3, 2)) @ weights.T, rtol=1e-5)
