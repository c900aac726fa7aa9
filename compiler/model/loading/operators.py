"""Is each node an operator that exists, called as it may be called? Asked of every node before any C++ code sees it.

onnx's shape inference divides by `group`, `strides` and `blocksize`, and its checker lets them be zero.
"""

from __future__ import annotations

import difflib
import math

import onnx

from ...errors import InvalidModelError, PrunusError, UnsupportedError
from ..untrusted import Text, shown
from .limits import Limits

_POSITIVE = frozenset({
    "blocksize", "dilations", "group", "hidden_size", "kernel_shape", "kv_num_heads", "num_groups", "num_heads",
    "num_outputs", "offset_group", "output_height", "output_width", "pooled_shape", "q_num_heads", "size", "strides",
})  # fmt: skip
_WINDOW_OPS = frozenset({"AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool", "QLinearConv"})
_NOT_NEGATIVE = frozenset({"pads", "output_padding", "output_shape"})  # of window operators
_LARGEST = 1 << 20  # of a stride, a dilation, a pad; beyond it nothing real is meant and sums may overflow
_POSITIVE_FLOATS = frozenset({"scales", "height_scale", "width_scale"})
_STRING = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,->+ ")

_REASONS = {  # code -> (why, hint, operators that are refused for it)
    "data-dependent": (
        "The shape of its output depends on data.",
        "Cut the model before it and do the rest in your own post-processing.",
        ("Compress", "NonMaxSuppression", "NonZero", "Unique"),
    ),
    "control-flow": (
        "It loops at run time, perhaps without end.",
        "Export the model with the loop unrolled.",
        ("Loop", "Scan", "SequenceMap"),
    ),
    "random": (
        "Its result is random, so nothing could be verified.",
        "Export the model for inference.",
        ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    ),
    "not-a-tensor": (
        "It works on sequences, optional values or text.",
        "Export the model with tensors of numbers only.",
        (
            "ConcatFromSequence",
            "ImageDecoder",
            "Optional",
            "OptionalGetElement",
            "OptionalHasElement",
            "RegexFullMatch",
            "SequenceAt",
            "SequenceConstruct",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SplitToSequence",
            "StringConcat",
            "StringNormalizer",
            "StringSplit",
            "TfIdfVectorizer",
        ),
    ),
}
_REFUSED = {op_type: (code, why, hint) for code, (why, hint, operators) in _REASONS.items() for op_type in operators}


def check_operator(node: onnx.NodeProto, opset: int, limits: Limits) -> onnx.defs.OpSchema:
    """Checks one node of the standard domain against its definition and against plain sense; returns the definition.

    Raises:
        UnsupportedError: a custom domain, an operator that does not exist or that Prunus refuses.
        InvalidModelError: wrong number of inputs or outputs, unknown or missing attributes, senseless values.
    """
    schema = _schema(node, opset)
    if (refusal := _REFUSED.get(str(node.op_type))) is not None:
        code, why, hint = refusal
        raise UnsupportedError(
            f"Operator {node.op_type} is not supported.", code=code, where=_where(node), why=why, hint=hint
        )
    inputs, outputs = len(node.input), len(node.output)
    if not schema.min_input <= inputs <= schema.max_input or not schema.min_output <= outputs <= schema.max_output:
        why = f"It has {inputs} inputs and {outputs} outputs, which {node.op_type} does not allow."
        raise _invalid(node, "operator-arity", why)
    seen = set()
    for attribute in node.attribute:
        if attribute.name in seen:
            raise _invalid(node, "duplicate-attribute", f"Attribute {shown(attribute.name)} is given twice.")
        seen.add(attribute.name)
        _check_attribute(node, attribute, schema, limits)
    missing = sorted(name for name, wanted in schema.attributes.items() if wanted.required and name not in seen)
    if missing:
        raise _invalid(node, "missing-attribute", f"Attribute {missing[0]} is required.")
    return schema


def _schema(node: onnx.NodeProto, opset: int) -> onnx.defs.OpSchema:
    name = shown(node.op_type)
    if node.domain not in ("", "ai.onnx"):
        raise UnsupportedError(
            f"Operator {name} belongs to the custom domain {shown(node.domain)}.",
            code="custom-domain",
            where=_where(node),
            why="Prunus compiles standard ONNX operators only; what a custom one computes is unknown.",
            hint="Export with standard operators, or with quantizers in QDQ, QOperator or QONNX form.",
        )
    known = _STANDARD if isinstance(node.op_type, str) else {}
    if node.op_type not in known:
        close = difflib.get_close_matches(name, sorted(_STANDARD), n=1)
        raise UnsupportedError(
            f"Operator {name} is unknown.",
            code="unknown-operator",
            where=_where(node),
            why="The ONNX standard has no such operator.",
            hint=f"Did you mean {close[0]}?" if close else "Export the model with standard operators.",
        )
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError as error:
        why = f"It came with opset {known[node.op_type]}; the model declares opset {opset}."
        raise _invalid(node, "operator-version", why) from error
    if schema.deprecated:
        raise _invalid(node, "operator-version", f"It was removed in opset {schema.since_version}.")
    return schema


def _first_versions() -> dict[str, int]:
    versions: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            versions[schema.name] = min(schema.since_version, versions.get(schema.name, schema.since_version))
    return versions


_STANDARD = _first_versions()


def _check_attribute(
    node: onnx.NodeProto, attribute: onnx.AttributeProto, schema: onnx.defs.OpSchema, limits: Limits
) -> None:
    name = attribute.name
    wanted = schema.attributes.get(name) if isinstance(name, str) else None
    if wanted is None:
        close = difflib.get_close_matches(shown(name), sorted(schema.attributes), n=1)
        hint = f"Did you mean {close[0]}?" if close else None
        raise _invalid(node, "unknown-attribute", f"{node.op_type} has no attribute {shown(name)}.", hint)
    if attribute.type != int(wanted.type):  # type: ignore[call-overload]
        type_wanted = str(wanted.type).rpartition(".")[2]
        why = f"Attribute {name} has type {_type_name(attribute.type)}; {node.op_type} wants {type_wanted}."
        raise _invalid(node, "attribute-type", why)
    if attribute.type in (onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.TYPE_PROTO):
        raise UnsupportedError(
            "The model uses a sparse tensor or a type as an attribute.", code="attribute-type", where=_where(node),
            hint="Export the model with dense tensors.",
        )  # fmt: skip
    texts = [attribute.s] if attribute.type == onnx.AttributeProto.STRING else list(attribute.strings)
    if any(len(text) > limits.string_bytes or not _STRING.issuperset(text.decode("latin-1")) for text in texts):
        raise _invalid(node, "attribute-string", f"Attribute {name} holds unusual text: {shown(texts[0])}.")
    integers = [attribute.i] if attribute.type == onnx.AttributeProto.INT else list(attribute.ints)
    _check_integers(node, name, integers)
    floats = [attribute.f] if attribute.type == onnx.AttributeProto.FLOAT else list(attribute.floats)
    _check_floats(node, name, floats)


def _type_name(kind: int) -> str:
    known = kind in onnx.AttributeProto.AttributeType.values()
    return onnx.AttributeProto.AttributeType.Name(kind) if known else str(kind)


def _check_integers(node: onnx.NodeProto, name: str, values: list[int]) -> None:
    window = node.op_type in _WINDOW_OPS and name in _NOT_NEGATIVE
    if name not in _POSITIVE and not window:
        return
    lowest = 0 if window else 1
    for value in values:
        if name == "num_outputs" and value != len(node.output):
            raise _invalid(node, "attribute-range", f"Attribute {name} is {value}; it has {len(node.output)} outputs.")
        if not lowest <= value <= _LARGEST:
            why = f"Attribute {name} is {value}; it must lie between {lowest} and {_LARGEST}."
            raise _invalid(node, "attribute-range", why)


def _check_floats(node: onnx.NodeProto, name: str, values: list[float]) -> None:
    bounds = node.op_type in ("Clip", "Constant")  # these may say "no bound" with an infinity
    for value in values:
        if math.isnan(value) or (math.isinf(value) and not bounds) or (name in _POSITIVE_FLOATS and value <= 0):
            raise _invalid(node, "attribute-range", f"Attribute {name} is {value}, which makes no sense here.")


def _where(node: onnx.NodeProto) -> str:
    outputs: list[Text] = list(node.output)[:1]
    return f"{shown(node.op_type)} node {shown(node.name or (outputs or [''])[0])}"


def _invalid(node: onnx.NodeProto, code: str, why: str, hint: str | None = None) -> PrunusError:
    return InvalidModelError(
        f"A node of type {shown(node.op_type)} is not valid.",
        code=code,
        where=_where(node),
        why=why,
        hint=hint or "Correct it where the model is made, and export it again.",
    )
