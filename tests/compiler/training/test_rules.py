"""Every operator's rule: its values equal onnxruntime's, its gradients equal finite differences in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir
import onnxruntime
import pytest
from onnx import TensorProto
from operator_cases import CASES, COVERED, Case

torch = pytest.importorskip("torch")

from torch.autograd.gradcheck import GradcheckError  # noqa: E402

from prunus.compiler.errors import InvalidModelError, UnsupportedError  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.training import TorchGraph, function  # noqa: E402
from prunus.compiler.training.rules import RULES, quantization  # noqa: E402
from prunus.compiler.training.rules.call import Rule  # noqa: E402

torch.set_num_threads(1)

# whose outputs are positions, truths, shapes or steps: nothing to differentiate
DISCRETE = frozenset({
    "ArgMax", "ArgMin", "Ceil", "Equal", "EyeLike", "Floor", "Greater", "GreaterOrEqual", "Hardmax", "IsInf", "IsNaN",
    "Less", "LessOrEqual", "Round", "Shape", "Sign", "Size",
})  # fmt: skip


def graph(case: Case, real: torch.dtype = torch.float32) -> TorchGraph:
    return TorchGraph(Model(onnx_ir.from_proto(case.model())), real=real)


def expected(case: Case) -> list[np.ndarray]:
    proto = case.model().SerializeToString()
    return onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"]).run(None, case.feeds())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case: Case) -> None:
    feeds = {name: torch.from_numpy(array) for name, array in case.feeds().items()}
    found = graph(case)(feeds)
    for ours, theirs in zip(found.values(), expected(case), strict=True):
        assert tuple(ours.shape) == theirs.shape
        ours = ours.detach().numpy()
        if theirs.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)
        else:
            np.testing.assert_array_equal(ours.astype(theirs.dtype), theirs)


def check_gradients(case: Case) -> None:
    """Torch's gradients against central differences, of every floating-point output by every variable input."""
    body = graph(case, torch.float64)
    feeds = reals(case)
    names = free(case, feeds)

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = body({**feeds, **dict(zip(names, values, strict=True))})
        smooth = tuple(value for value in found.values() if value.is_floating_point())
        assert any(value.requires_grad for value in smooth)
        return smooth

    torch.autograd.gradcheck(run, [feeds[name].requires_grad_() for name in names], eps=1e-6, atol=1e-6, rtol=1e-4)


def reals(case: Case) -> dict[str, torch.Tensor]:
    """The inputs in float64; of products of integers both operands, which stand for floating point while training."""
    arrays = case.feeds() or {f"i{index}": case.inputs[index] for index in (0, 1)}
    return {name: torch.from_numpy(array.astype(np.float64)) for name, array in arrays.items()}


def free(case: Case, feeds: Mapping[str, torch.Tensor]) -> list[str]:
    """The inputs to differentiate by."""
    return [name for name in feeds if int(name[1:]) not in case.fixed]


def is_smooth(case: Case) -> bool:
    to_number = case.attributes.get("to", TensorProto.FLOAT) == TensorProto.FLOAT
    variable = [name for name in case.feeds() if int(name[1:]) not in case.fixed]
    return bool(variable) and not case.kinked and case.op_type not in DISCRETE and to_number


SMOOTH = [case for case in CASES if is_smooth(case)]


@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradients(case: Case) -> None:
    check_gradients(case)


KINKED = [case for case in CASES if case.kinked]


@pytest.mark.parametrize("case", KINKED, ids=str)
def test_gradients_pass_rounding_straight_through(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the operator without its rounding, which finite differences confirm."""
    rounded = slopes(case)
    monkeypatch.setattr(quantization, "round_through", lambda x: x)
    check_gradients(case)
    for ours, smooth in zip(rounded, slopes(case), strict=True):
        x = next(iter(reals(case).values()))
        dynamic = case.op_type == "DynamicQuantizeLinear"  # whose ends lie on the edge of what is clipped
        inner = (x > x.min()) & (x < x.max()) if dynamic else torch.ones_like(ours, dtype=torch.bool)
        torch.testing.assert_close(ours[inner], smooth[inner], rtol=1e-9, atol=1e-9)


def slopes(case: Case) -> tuple[torch.Tensor, ...]:
    """The gradients of a random sum of the first output by every variable input."""
    body = graph(case, torch.float64)
    feeds = reals(case)
    variables = [feeds[name].requires_grad_() for name in free(case, feeds)]
    output = next(iter(body(feeds).values()))
    weights = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(0))
    return torch.autograd.grad((output * weights).sum(), variables, materialize_grads=True, allow_unused=True)


def test_the_table_is_covered() -> None:
    assert RULES.keys() == COVERED
    assert len(RULES) >= 150
    checked = {case.op_type for case in KINKED} | {case.op_type for case in SMOOTH}
    assert len(checked) >= 120  # by finite differences; 123 at present


@pytest.mark.parametrize(
    "wrong",
    [
        lambda call: call.x() * torch.sigmoid(call.x()).detach(),  # forgets a factor
        lambda call: call.x() * torch.sigmoid(call.x()) + 1e-3 * (call.x() - call.x().detach()),  # 0.1 % too steep
        lambda call: (call.x() * torch.sigmoid(call.x())).detach() + 0 * call.x(),  # none at all
    ],
)
def test_a_wrong_gradient_is_seen(wrong: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("Mish", [np.linspace(-1, 2, 6, dtype=np.float32)])
    monkeypatch.setattr(function, "RULES", {"Mish": lambda call: call.x() * torch.sigmoid(call.x())})
    check_gradients(case)
    monkeypatch.setattr(function, "RULES", {"Mish": wrong})
    with pytest.raises(GradcheckError):
        check_gradients(case)


def test_unknown_operators_are_named() -> None:
    case = Case("RoiAlign", [np.zeros((1, 1, 4, 4), np.float32), np.zeros((1, 4), np.float32), np.zeros(1, np.int64)])
    with pytest.raises(UnsupportedError) as refusal:
        graph(case)
    assert refusal.value.code == "no-training-rule"
    assert refusal.value.where == "RoiAlign node the node"


@pytest.mark.parametrize(
    "case",
    [
        Case("Resize", [np.ones((1, 1, 4, 4), np.float32), None, None, np.array([1, 1, 2, 2])], {"antialias": 1}),
        Case("Dropout", [np.ones(3, np.float32), np.float32([0.5])[0], np.array(True)]),
        Case("RNN", [np.ones((2, 1, 1), np.float32)] * 3, {"hidden_size": 1, "activations": ["Affine"]}),
        Case("Conv", [np.ones((1, 1, 2, 2, 2, 2), np.float32), np.ones((1, 1, 1, 1, 1, 1), np.float32)]),
    ],
    ids=str,
)
def test_forms_without_a_gradient_are_refused(case: Case) -> None:
    with pytest.raises(UnsupportedError) as refusal:
        graph(case)({name: torch.from_numpy(np.asarray(array)) for name, array in case.feeds().items()})
    assert refusal.value.code == "not-trainable"
    assert "the node" in (refusal.value.where or "")


def test_what_torch_refuses_is_named() -> None:
    case = Case("MatMul", [np.ones((2, 3), np.float32), np.ones((4, 5), np.float32)])
    with pytest.raises(InvalidModelError, match="MatMul cannot be computed"):
        graph(case)({name: torch.from_numpy(array) for name, array in case.feeds().items()})
