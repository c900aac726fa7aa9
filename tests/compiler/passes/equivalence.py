"""How tests of passes build small models, and prove that a pass keeps what a model computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import infer_shapes
from prunus.compiler.model.model import Model
from prunus.compiler.model.shapes import BATCH
from prunus.compiler.model.text import dump
from prunus.compiler.passes.base import Context, Pass, PassResult

TOLERANCE = 1e-5  # of the largest magnitude of the output; float32 sums in another order reach about 1e-6
HEADER = '<ir_version: 10, opset_import: ["" : 21]>'


def build(text: str, shapes: bool = True, **weights: np.ndarray) -> Model:
    """A model from onnx's text form without its header; names stay as written, shapes are inferred.

    `weights` become initializers; a symbolic dimension of an input is the batch.
    """
    proto = onnx.parser.parse_model(f"{HEADER} {text}")
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    for index, node in enumerate(proto.graph.node):
        node.name = f"n{index}"
    model = Model(ir.from_proto(proto))
    for value in [*model.graph.inputs, *model.graph.outputs]:
        value.shape = ir.Shape([dim if isinstance(dim, int) else BATCH for dim in value.shape])
    if shapes:
        infer_shapes(model)
    return model


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def random_feeds(model: Model, samples: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """One random array per graph input: normal for floats, the whole range for bytes."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        shape = [dim if isinstance(dim, int) else samples for dim in value.shape]
        if value.dtype == ir.DataType.UINT8:
            feeds[value.name] = rng.integers(0, 256, shape).astype(np.uint8)
        else:
            feeds[value.name] = rng.standard_normal(shape).astype(np.float32)
    return feeds


def relative_error(before: Model, after: Model, feeds: Mapping[str, np.ndarray] | None = None) -> float:
    """max |a - b| / max |a| over the outputs, on random samples, both models computed as written."""
    feeds = feeds or random_feeds(before)
    expected, got = (run_model(model, feeds, optimise=False) for model in (before, after))
    assert list(expected) == list(got), "outputs changed their names or order"
    errors = []
    for name, reference in expected.items():
        assert got[name].shape == reference.shape
        reference, actual = reference.astype(np.float64), got[name].astype(np.float64)
        assert np.isfinite(reference).all()
        errors.append(np.abs(actual - reference).max() / max(np.abs(reference).max(), 1e-30))
    return float(max(errors))


def check(
    each: Pass,
    model: Model,
    *,
    changes: bool = True,
    tolerance: float = TOLERANCE,
    feeds: Mapping[str, np.ndarray] | None = None,
    context: Context | None = None,
) -> PassResult:
    """Runs a pass and asserts all that holds for every pass; returns its result.

    The result is valid ONNX, computes the same, keeps its interface; the given model is untouched; a second run changes
    nothing; an unchanged model is the same object.
    """
    context = context or Context()
    before = model.to_bytes()
    result = each.run(model, context)
    assert model.to_bytes() == before, "the pass changed the model that it was given"
    assert result.changed == changes, dump(result.model)
    assert result.changed or result.model is model
    onnx.checker.check_model(result.model.to_proto(), full_check=True)
    outputs = [
        [(value.name, value.dtype, str(value.shape)) for value in m.graph.outputs] for m in (model, result.model)
    ]
    assert outputs[0] == outputs[1]
    assert relative_error(model, result.model, feeds) <= tolerance, dump(result.model)
    again = each.run(result.model, context)
    assert not again.changed, f"not idempotent:\n{dump(result.model)}\n{dump(again.model)}"
    assert again.model is result.model
    names = [node.name for node in result.model.graph]
    assert len(names) == len(set(names)), "two nodes share a name"
    return result


def story(model: Model, result: PassResult) -> str:
    """Before, after and the notes as one text, for a golden file."""
    notes = "".join(f"{note.code} {note.where}: {note.text}\n" for note in result.notes)
    return f"-- before\n{dump(model)}-- after\n{dump(result.model)}-- notes\n{notes}"


def operators(model: Model) -> list[str]:
    """The operator types in order."""
    return [node.op_type for node in model.graph]
