"""Whatever the bytes, loading ends in a model or in an error of Prunus."""

from __future__ import annotations

import struct

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.errors import PrunusError
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.loading.limits import Limits
from prunus.compiler.model.loading.wire import check_wire

SMALL = Limits(tensor_bytes=1 << 24, total_bytes=1 << 26)
NUMBERS = st.one_of(
    st.integers(-3, 12),
    st.sampled_from([2**20, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**31), -(2**63)]),
)
SCHEMAS = sorted(
    (schema for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""),
    key=lambda schema: (schema.name, schema.since_version),
)


def seed_model() -> bytes:
    """A little of everything: convolution, function, branch, constants of several kinds."""
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    inner = helper.make_node("LeakyRelu", ["a"], ["b"])
    inner.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    block = helper.make_function("f", "B", ["a"], ["b"], [inner], opsets, ["slope"])
    branch = helper.make_graph([helper.make_node("Abs", ["d"], ["e"])], "g", [], [onnx.ValueInfoProto(name="e")])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[2, 2], group=1),
        helper.make_node("B", ["c"], ["d"], domain="f", slope=0.25),
        helper.make_node("Constant", [], ["flag"], value=numpy_helper.from_array(np.asarray(True))),
        helper.make_node("If", ["flag"], ["i"], then_branch=branch, else_branch=branch),
        helper.make_node("Reshape", ["i", "s"], ["r"]),
        helper.make_node("Softmax", ["r"], ["y"], axis=-1),
    ]
    weights = [
        numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w"),
        helper.make_tensor("s", TensorProto.INT64, [2], [0, -1]),
    ]
    graph = helper.make_graph(nodes, "g", [image], [onnx.ValueInfoProto(name="y")], weights)
    return helper.make_model(graph, opset_imports=opsets, functions=[block], ir_version=8).SerializeToString()


SEED = seed_model()
EDITS = st.lists(
    st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 2), st.binary(min_size=1, max_size=4)), max_size=8
)


def must_not_escape(data: bytes) -> bool:
    """Loads bytes as a file would be; True where they made a model."""
    try:
        check_wire(data, "model.onnx", SMALL)
        proto = onnx.ModelProto()
        try:
            proto.ParseFromString(data)
        except Exception:  # noqa: BLE001  (what the parser refuses is tested through load)
            return False
        load_proto(proto, limits=SMALL).to_bytes()
    except PrunusError as error:
        assert error.code
        assert error.exit_code in (2, 3, 4, 7)
        assert "\n" not in (error.where or "")
        return False
    return True


def test_the_seed_itself_loads() -> None:
    assert must_not_escape(SEED)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EDITS)
def test_mutated_bytes(edits: list[tuple[int, int, bytes]]) -> None:
    data = bytearray(SEED)
    for position, kind, piece in edits:
        end = position + (0 if kind == 0 else len(piece) if kind == 1 else 2 * len(piece))
        data[position:end] = piece if kind < 2 else b""
    must_not_escape(bytes(data))


@st.composite
def tensors(draw: st.DrawFn, name: str) -> onnx.TensorProto:
    dims = draw(st.lists(st.integers(0, 3), max_size=3))
    kind = draw(st.sampled_from([TensorProto.INT64, TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT8]))
    pattern = {TensorProto.INT64: "<q", TensorProto.FLOAT: "<f", TensorProto.INT32: "<i", TensorProto.UINT8: "<B"}[kind]
    numbers = NUMBERS if kind == TensorProto.INT64 else st.integers(0, 3)
    values = draw(st.lists(numbers, min_size=int(np.prod(dims)), max_size=int(np.prod(dims))))
    raw = b"".join(struct.pack(pattern, value) for value in values)
    return onnx.TensorProto(name=name, data_type=kind, dims=dims, raw_data=raw)


@st.composite
def single_nodes(draw: st.DrawFn) -> onnx.ModelProto:
    """One node of any operator in any version, with senseless attributes and operands."""
    schema = draw(st.sampled_from(SCHEMAS))
    count = draw(st.integers(schema.min_input, min(schema.max_input, schema.min_input + 3)))
    outputs = [f"o{index}" for index in range(draw(st.integers(schema.min_output, min(schema.max_output, 3))))]
    node = onnx.NodeProto(op_type=schema.name, output=outputs)
    entries, constants = [], []
    for index in range(count):
        if index and draw(st.booleans()):
            constants.append(draw(tensors(f"i{index}")))
        else:
            dims = draw(st.lists(st.integers(1, 5), max_size=5))
            entries.append(helper.make_tensor_value_info(f"i{index}", draw(st.sampled_from([1, 1, 1, 7, 3])), dims))
        node.input.append(f"i{index}")
    for name, attribute in sorted(schema.attributes.items()):
        if attribute.required or draw(st.booleans()):
            node.attribute.append(draw(attributes(name, int(attribute.type))))
    values = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "g", entries, values, constants)
    version = draw(st.sampled_from([schema.since_version, 21]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


@st.composite
def attributes(draw: st.DrawFn, name: str, kind: int) -> onnx.AttributeProto:
    made = onnx.AttributeProto(name=name, type=kind)  # type: ignore[arg-type]
    if kind == onnx.AttributeProto.FLOAT:
        made.f = draw(st.floats(width=32))
    elif kind == onnx.AttributeProto.INT:
        made.i = draw(NUMBERS)
    elif kind == onnx.AttributeProto.INTS:
        made.ints.extend(draw(st.lists(NUMBERS, max_size=4)))
    elif kind == onnx.AttributeProto.FLOATS:
        made.floats.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    elif kind == onnx.AttributeProto.STRING:
        made.s = draw(st.sampled_from([b"SAME_UPPER", b"linear", b"nearest", b"ij,jk->ik", b"reflect", b""]))
    elif kind == onnx.AttributeProto.TENSOR:
        made.t.CopyFrom(draw(tensors("t")))
    return made


@settings(max_examples=400, deadline=None, derandomize=True)
@given(single_nodes())
def test_senseless_nodes(proto: onnx.ModelProto) -> None:
    must_not_escape(proto.SerializeToString())
