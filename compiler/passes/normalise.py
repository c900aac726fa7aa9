"""Normalise: one way of writing each thing, so that every later pass has one pattern to match."""

from __future__ import annotations

from typing import ClassVar

from ..model.edit import infer_shapes
from ..model.model import Model
from ..model.rewrite import sweep
from ..model.shapes import all_values
from .base import Context, PassResult
from .fold_constants import CONSTANT_RULES, fold
from .normal_form import attributes, constants, data_movement, elementwise, linear, pooling
from .normal_form.journal import Journal, Rule, apply_rules

_WINDOW = (attributes.explicit_window,)
_RESHAPE = (data_movement.remove_no_op, data_movement.to_reshape)
_AXIS = (attributes.explicit_axis,)

RULES: dict[str, tuple[Rule, ...]] = {
    **CONSTANT_RULES,
    "Add": (elementwise.constant_on_the_right, data_movement.remove_no_op, linear.add_to_gemm_bias),
    "AveragePool": (*_WINDOW, pooling.window_to_global_pool),
    "BatchNormalization": (elementwise.inference_batch_norm,),
    "Cast": (data_movement.remove_no_op,),
    "Clip": (elementwise.normal_clip,),
    "Concat": (data_movement.remove_no_op, *_AXIS),
    "Conv": (*_WINDOW, attributes.pad_into_window),
    "ConvTranspose": _WINDOW,
    "Div": (data_movement.remove_no_op, elementwise.div_to_mul),
    "Dropout": (data_movement.remove_no_op,),
    "Expand": (data_movement.remove_no_op,),
    "Flatten": _RESHAPE,
    "Gather": _AXIS,
    "Gemm": (linear.normal_gemm,),
    "Identity": (data_movement.remove_no_op,),
    "LogSoftmax": _AXIS,
    "LpPool": _WINDOW,
    "MatMul": (linear.matmul_to_gemm,),
    "Max": (data_movement.remove_no_op, elementwise.bound_to_clip),
    "MaxPool": _WINDOW,
    "Mean": (data_movement.remove_no_op,),
    "Min": (data_movement.remove_no_op, elementwise.bound_to_clip),
    "Mul": (elementwise.constant_on_the_right, data_movement.remove_no_op, elementwise.merge_factors),
    "Pad": (data_movement.remove_no_op,),
    "ReduceMean": (pooling.mean_to_global_pool,),
    "Relu": (elementwise.normal_clip,),
    "Reshape": (data_movement.remove_no_op, data_movement.canonical_reshape),
    "Slice": (data_movement.remove_no_op,),
    "Softmax": _AXIS,
    "Split": (*_AXIS, attributes.explicit_split),
    "Squeeze": _RESHAPE,
    "Sub": (data_movement.remove_no_op,),
    "Sum": (data_movement.remove_no_op, elementwise.sum_to_adds),
    "Transpose": (attributes.explicit_perm, data_movement.remove_no_op),
    "Unsqueeze": _RESHAPE,
}


class Normalise:
    """Rewrites the graph into the normal form that every later pass expects. The function stays the same.

    Constants: no initializer is a graph input; Constant and ConstantOfShape nodes are initializers.
    Attributes: all written out; `auto_pad`, `output_shape` and a zero Pad in front are the window's pads; axes count
        from the start; Split has sizes.
    Movement: Squeeze, Unsqueeze, Flatten are Reshape(x, [-1, d1, ...]), where the -1 keeps a symbolic batch symbolic.
    Arithmetic: Sum is Add; x / c is x * (1/c); constants stand on the right; constant factors are merged;
        Max, Min, Clip, Relu are Relu(x) or Clip(x, lo, hi) with constant bounds.
    Layers: MatMul(x, W) (+ b) of rank 2 and Gemm(alpha, beta, ...) are x W^T + b; averages over a whole map are
        GlobalAveragePool; Dropout and batch normalisation are in inference form.
    Nodes that change nothing, and what nobody reads, are gone.
    """

    name: ClassVar[str] = "normalise"
    summary: ClassVar[str] = "bring the graph into one normal form"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface")

    def run(self, model: Model, context: Context) -> PassResult:
        work = model.clone("trainable" if model.form == "loaded" else model.form)
        journal = Journal()
        constants.drop_initializer_inputs(work.graph, journal)
        attributes.write_schema_defaults(work.ir, journal)
        apply_rules(work.graph, CONSTANT_RULES, journal)
        if any(value.shape is None or value.type is None for value in all_values(work.graph)):
            infer_shapes(work)
        settled = False
        while not settled:
            settled = not (fold(work, journal) | apply_rules(work.graph, RULES, journal))
            unread = sweep(work.graph)  # a value with one reader less may match more rules
            journal.did("unread-removed", unread)
            settled &= not unread
        attributes.write_schema_defaults(work.ir, journal)
        changed = journal.changed or work.form != model.form
        if journal.changed:
            infer_shapes(work)
        return PassResult(work if changed else model, changed, journal.notes())
