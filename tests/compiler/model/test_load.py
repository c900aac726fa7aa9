"""What a loaded model looks like, whatever the file looked like."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.errors import UsageError
from prunus.compiler.executor import Session, run_model
from prunus.compiler.model.edit import weight
from prunus.compiler.model.load import load, load_proto
from prunus.compiler.model.loading.limits import Limits
from prunus.compiler.model.model import Model
from prunus.compiler.model.shapes import all_values

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
LIGHT_NAMES = sorted(path.stem.removeprefix("light_") for path in LIGHT.glob("*.onnx"))
REAL_NAMES = [
    "face_ultraface_rfb320_fp32",
    "imagenet_mobilenetv2_1.0_224_dequant_fp32",
    "jet_mlp3_fp32",
    "jet_mlp3_pruned70_fp32",
    "jet_mlp3_pruned95_fp32",
    "mlperf_ad_autoencoder_fp32",
    "mlperf_ic_resnet8_fp32",
    "mlperf_kws_dscnn_fp32",
    "mlperf_sww_1dconv_fp32",
    "mlperf_vww_mobilenetv1_025_96_fp32",
    "sr_espcn_x2_fp32",
]
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
PLAIN = re.compile(r"[nt]\d{4,}\Z")
HOSTILE = [
    "long" * 2_500_000,
    "a\n#include <stdlib.h>\nint main() { system(\"id\"); }",
    "'; DROP TABLE x; --",
    '"quotes" and */ comments /*',
    "{} {0} %s %n }",
    "[exec rm -rf /]",
    "`define x always @*",
    "module",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "$(touch /tmp/x) `id`",
    "\u202egnp.exe\u200b",
    "nul\0byte",
    "t0001",
    "n0001",
    "v1",
    "ünïcode 名前",
    " ",
]  # fmt: skip


def assert_in_order(model: Model) -> None:
    """All that the loader promises of every model."""
    proto = model.to_proto()
    assert proto.ir_version == 10
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 21)]
    assert not proto.functions
    assert not proto.metadata_props
    assert not any((proto.producer_name, proto.doc_string, proto.domain, proto.graph.doc_string))
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    names = [item.name for item in (*all_values(model.graph), *nodes)]
    assert all(PLAIN.match(name or "") for name in names)
    assert len(set(names)) == len(names)
    assert not {value.name for value in model.graph.inputs} & set(model.graph.initializers)
    for value in all_values(model.graph):
        assert value.dtype is not None
        assert value.shape is not None
        dims = list(value.shape)
        assert all(isinstance(dim, int) and dim > 0 for dim in dims[1:]) or dims == [0]
    onnx.checker.check_model(proto)


@pytest.mark.parametrize("name", LIGHT_NAMES)
def test_light_models_load(name: str) -> None:
    model = load(LIGHT / f"light_{name}.onnx")
    assert_in_order(model)
    assert model.provenance["opset"] == "9"
    assert model.provenance["batch"] == "fixed"


@pytest.mark.parametrize("name", REAL_NAMES)
def test_real_models_load_and_compute_the_same(name: str, models: Path) -> None:
    path = models / f"{name}.onnx"
    model = load(path)
    assert_in_order(model)
    proto = onnx.load(path)
    feeds, plain_feeds = {}, {}
    rng = np.random.default_rng(0)
    weights = {tensor.name for tensor in proto.graph.initializer}
    entries = [declared for declared in proto.graph.input if declared.name not in weights]
    for declared, value in zip(entries, model.graph.inputs, strict=True):
        tensor = declared.type.tensor_type
        dims = [dim.dim_value or 3 for dim in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        array = (rng.random(dims) * (255 if dtype == np.uint8 else 1)).astype(dtype)
        feeds[declared.name] = plain_feeds[str(value.name)] = array
    wanted = run_model(proto, feeds, optimise=False)
    got = run_model(model, plain_feeds, optimise=False)
    for declared, value in zip(proto.graph.output, model.graph.outputs, strict=True):
        assert model.original(str(value.name)) == declared.name
        np.testing.assert_allclose(got[str(value.name)], wanted[declared.name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_the_opset_upgrade_keeps_what_a_model_computes(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    proto, model = onnx.load(path), load(path)
    rng = np.random.default_rng(0)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:  # the weights as shipped are all alike: give them something to compute
        if node.op_type == "ConstantOfShape":
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.float32([rng.normal() / 16])))
    model = load_proto(proto)
    (entry,) = [value for value in proto.graph.input if value.name not in weights]
    image = rng.random([dim.dim_value for dim in entry.type.tensor_type.shape.dim], dtype=np.float32)
    (wanted,) = run_model(proto, {entry.name: image}, optimise=False).values()
    (got,) = run_model(model, {str(model.graph.inputs[0].name): image}, optimise=False).values()
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)


# ---- names


def small_net(name: Callable[[str], str]) -> onnx.ModelProto:
    """Two convolutions, a function and a branch, every name passed through `name`."""
    n = name
    image = helper.make_tensor_value_info(n("image"), FLOAT, [n("N"), 3, 8, 8])
    flag = helper.make_tensor_value_info(n("flag"), BOOL, [])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(n("my.domain"), 1)]
    scaled = helper.make_node("LeakyRelu", [n("inside")], [n("out")], n("leaky"))
    scaled.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name=n("slope"))
    function = helper.make_function(
        n("my.domain"), n("Block"), [n("inside")], [n("out")], [scaled], opsets, [n("slope")]
    )
    call = helper.make_node(n("Block"), [n("c1")], [n("b1")], n("call"), domain=n("my.domain"))
    call.attribute.append(helper.make_attribute(n("slope"), 0.25))
    branches = {}
    for key, op in (("then_branch", "Relu"), ("else_branch", "Abs")):
        inner = helper.make_node(op, [n("c2")], [n(f"{key}_out")], n(f"{key}_node"))
        branches[key] = helper.make_graph([inner], n(key), [], [onnx.ValueInfoProto(name=n(f"{key}_out"))])
    nodes = [
        helper.make_node("Conv", [n("image"), n("w1")], [n("c1")], n("first"), pads=[1, 1, 1, 1], doc_string=n("doc")),
        call,
        helper.make_node("Conv", [n("b1"), n("w2"), n("bias")], [n("c2")], n("second")),
        helper.make_node("If", [n("flag")], [n("chosen")], n("choice"), **branches),
        helper.make_node("Flatten", [n("chosen")], [n("flat")], n("last")),
    ]
    rng = np.random.default_rng(3)
    arrays = {"w2": (2, 4, 3, 3), "unused": (5,), "w1": (4, 3, 3, 3), "bias": (2,)}
    weights = [
        numpy_helper.from_array(rng.normal(size=dims).astype(np.float32), n(key)) for key, dims in arrays.items()
    ]
    graph = helper.make_graph(nodes, n("graph"), [image, flag], [onnx.ValueInfoProto(name=n("flat"))], weights)
    proto = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=9)
    proto.doc_string, proto.producer_name, proto.domain = n("text"), n("maker"), n("org")
    proto.metadata_props.add(key=n("key"), value=n("value"))
    return proto


def hostile_name(suffix: str) -> Callable[[str], str]:
    """Gives each name a hostile one of its own."""
    known: dict[str, str] = {}

    def name(text: str) -> str:
        count = len(known)
        return known.setdefault(text, HOSTILE[count % len(HOSTILE)] + suffix * (count // len(HOSTILE)))

    return name


def test_hostile_names_give_the_same_bytes_as_plain_ones() -> None:
    plain = load_proto(small_net(lambda text: text))
    assert_in_order(plain)
    hostile = load_proto(small_net(hostile_name("\n\"'")))
    assert hostile.to_bytes() == plain.to_bytes()
    assert hostile.original("t0001") == HOSTILE[0][:1023] + "…"
    assert plain.original("t0001") == "image"


def test_a_different_structure_gives_other_bytes() -> None:
    proto = small_net(lambda text: text)
    before = load_proto(proto).to_bytes()
    del proto.graph.node[0].attribute[:]
    assert load_proto(proto).to_bytes() != before


def test_names_may_be_no_text_at_all() -> None:
    data = small_net(lambda text: text).SerializeToString().replace(b"image", b"im\xff\xfee")
    model = load_proto(onnx.ModelProto.FromString(data))
    assert model.to_bytes() == load_proto(small_net(lambda text: text)).to_bytes()
    assert model.original("t0001") == r"im\xff\xfee"


def test_a_function_attribute_left_out_keeps_the_default() -> None:
    proto = small_net(lambda text: text)
    given = load_proto(proto).graph.node(1).attributes
    assert given["alpha"].value == 0.25
    del proto.graph.node[1].attribute[:]
    assert "alpha" not in load_proto(proto).graph.node(1).attributes
    proto.functions[0].attribute_proto.append(helper.make_attribute("slope", 0.5))
    del proto.functions[0].attribute[:]
    assert load_proto(proto).graph.node(1).attributes["alpha"].value == 0.5


def test_names_are_shown_on_one_line_without_control_characters() -> None:
    model = load_proto(small_net(hostile_name("!")))
    for name in model.names:
        assert model.shown(name).isprintable()
        assert len(model.shown(name)) < 1000


def test_errors_show_names_without_control_characters() -> None:
    for name in HOSTILE[1:]:
        text = str(UsageError("It failed.", code="c", where=name, why=name))
        assert all(char.isprintable() or char == "\n" for char in text)


def test_the_given_proto_stays_as_it_is() -> None:
    proto = small_net(lambda text: text)
    before = proto.SerializeToString(deterministic=True)
    load_proto(proto)
    assert proto.SerializeToString(deterministic=True) == before


def test_functions_and_branches_compute_the_same() -> None:
    proto = small_net(lambda text: text)
    model = load_proto(proto)
    image = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    for flag in (True, False):
        feeds = {"image": image, "flag": np.asarray(flag)}
        (wanted,) = Session(proto, optimise=False)._session.run(None, feeds)
        plain = {"t0001": image, "t0002": np.asarray(flag)}
        (got,) = Session(model, optimise=False)._session.run(None, plain)
        np.testing.assert_array_equal(got, wanted)
    assert [node.op_type for node in model.graph] == ["Conv", "LeakyRelu", "Identity", "Conv", "If", "Flatten"]
    assert model.original(str(model.graph.node(1).outputs[0].name)) == "out"


# ---- structure


def net(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    dims: Sequence[int | str | None] | None = ("N", 3, 8, 8),
    output: str = "y",
    opset: int = 21,
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    image = helper.make_tensor_value_info("x", FLOAT, dims)
    graph = helper.make_graph(nodes, "g", [image], [onnx.ValueInfoProto(name=output)], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def shape_of(model: Model, name: str | None = None) -> list[int | str]:
    value = model.graph.outputs[0] if name is None else next(v for v in all_values(model.graph) if v.name == name)
    assert value.shape is not None
    return [dim if isinstance(dim, int) else str(dim) for dim in value.shape]


def test_unsorted_nodes_are_sorted() -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["y"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Abs", ["a"], ["b"]),
    ]
    model = load_proto(net(nodes))
    assert_in_order(model)
    assert [node.op_type for node in model.graph] == ["Relu", "Abs", "Add"]


def test_constants_become_initializers_in_the_order_of_use() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Constant", [], ["three"], value=numpy_helper.from_array(np.float32([3]))),
        helper.make_node("Add", ["x", "three"], ["a"]),
        helper.make_node("Mul", ["a", "two"], ["y"]),
    ]
    model = load_proto(net(nodes, {"unused": np.ones(9, np.float32)}))
    assert_in_order(model)
    assert [node.op_type for node in model.graph] == ["Add", "Mul"]
    assert list(model.graph.initializers) == ["t0002", "t0004"]
    assert [model.original(name) for name in model.graph.initializers] == ["three", "two"]


def test_old_files_list_weights_as_inputs() -> None:
    proto = net([helper.make_node("Add", ["x", "w"], ["y"])], {"w": np.ones((3, 8, 8), np.float32)}, opset=9)
    proto.ir_version = 3
    proto.graph.input.insert(0, helper.make_tensor_value_info("w", FLOAT, [3, 8, 8]))
    model = load_proto(proto)
    assert_in_order(model)
    assert [model.original(str(value.name)) for value in model.graph.inputs] == ["x"]


def test_omitted_default_attributes_are_fine() -> None:
    weight = np.ones((4, 3, 3, 3), np.float32)
    model = load_proto(net([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weight}))
    assert shape_of(model) == ["batch", 4, 6, 6]


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 20, 21, 22])
def test_opsets_old_and_new_arrive_at_21(opset: int) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Softmax", ["a"], ["y"], axis=1),
    ]
    model = load_proto(net(nodes, {"w": np.ones((4, 3, 3, 3), np.float32)}, opset=opset))
    assert_in_order(model)
    assert model.provenance["opset"] == str(opset)
    assert shape_of(model) == ["batch", 4, 8, 8]


def test_all_element_types_and_ways_to_store_them() -> None:
    for dtype in (np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, bool):
        array = np.asarray([[0, 1], [1, 1]], dtype)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        for raw in (True, False):
            values = array.tobytes() if raw else array.reshape(-1).tolist()
            proto = net([helper.make_node("Cast", ["w"], ["y"], to=FLOAT)])
            proto.graph.initializer.append(helper.make_tensor("w", kind, array.shape, values, raw=raw))
            model = load_proto(proto)
            assert np.array_equal(weight(model.graph.node(0).inputs[0]), array), (dtype, raw)
    for kind, packed, numbers in (
        (TensorProto.INT4, b"\x71\x08", [1, 7, -8]),
        (TensorProto.UINT4, b"\xf1\x08", [1, 15, 8]),
    ):
        proto = net([helper.make_node("Cast", ["w"], ["y"], to=FLOAT)])
        proto.graph.initializer.append(helper.make_tensor("w", kind, [3], packed, raw=True))
        found = weight(load_proto(proto).graph.node(0).inputs[0])
        assert found is not None
        assert found.astype(int).tolist() == numbers


def branch(*nodes: onnx.NodeProto, output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, "branch", [], [onnx.ValueInfoProto(name=output)])


def squeeze_where_one(dims: Sequence[int | str]) -> onnx.ModelProto:
    """How PyTorch exports `x.squeeze(1)`: an If on the dimension, with branches of different rank."""
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[1])
    squeezed = branch(axes, helper.make_node("Squeeze", ["x", "axes"], ["s"]), output="s")
    same = branch(helper.make_node("Identity", ["x"], ["i"]), output="i")
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["size"]),
        helper.make_node("Equal", ["size", "one"], ["is_one"]),
        helper.make_node("If", ["is_one"], ["chosen"], then_branch=squeezed, else_branch=same),
        helper.make_node("Relu", ["chosen"], ["y"]),
    ]
    return net(nodes, {"one": np.asarray(1, np.int64)}, dims=dims)


@pytest.mark.parametrize(
    ("dims", "wanted"), [(["N", 1, 5], ["batch", 5]), (["N", 3, 5], ["batch", 3, 5]), ([2, 1, 5], [2, 5])]
)
def test_a_branch_whose_condition_is_known_is_taken(dims: Sequence[int | str], wanted: list[int | str]) -> None:
    model = load_proto(squeeze_where_one(dims))
    assert_in_order(model)
    assert shape_of(model) == wanted
    assert not any(node.op_type == "If" for node in model.graph)
    image = np.random.default_rng(0).normal(size=(2, *dims[1:])).astype(np.float32)
    (got,) = run_model(model, {"t0001": image}).values()
    np.testing.assert_array_equal(got, np.maximum(image.reshape(2, *wanted[1:]), 0))


def test_a_branch_that_depends_on_the_batch_fixes_it() -> None:
    proto = squeeze_where_one(["N", 1, 5])
    proto.graph.node[1].input[1] = "zero"
    proto.graph.initializer.append(numpy_helper.from_array(np.asarray(0, np.int64), "zero"))
    model = load_proto(proto)
    assert shape_of(model) == [1, 5]
    assert model.provenance["batch"] == "fixed at 1: A branch depends on the batch size."


# ---- shapes


def test_a_batch_stays_symbolic_through_reshapes_and_shape_arithmetic() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Div", ["n", "one"], ["m"]),
        helper.make_node("Unsqueeze", ["m", "zeros"], ["head"]),
        helper.make_node("Concat", ["head", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "one": np.int64(1), "zeros": np.int64([0]), "rest": np.int64([3, -1])}
    model = load_proto(net(nodes, {name: np.asarray(array) for name, array in constants.items()}))
    assert shape_of(model) == ["batch", 3, 64]
    assert model.provenance["batch"] == "symbolic"


def test_a_multiple_of_the_batch_is_named_so() -> None:
    model = load_proto(net([helper.make_node("Reshape", ["x", "s"], ["y"])], {"s": np.int64([-1, 8])}))
    assert shape_of(model) == ["batch_x24", 8]


def test_a_graph_for_one_sample_loses_its_symbolic_batch_and_says_why() -> None:
    model = load_proto(net([helper.make_node("Reshape", ["x", "s"], ["y"])], {"s": np.int64([1, 192])}))
    assert shape_of(model) == [1, 192]
    assert model.provenance["batch"].startswith("fixed at 1: ")


def test_dynamic_shapes_are_given_by_the_users_name() -> None:
    proto = net([helper.make_node("Relu", ["x"], ["y"])], dims=["N", 3, "H", "W"])
    assert shape_of(load_proto(proto, shapes={"x": (None, 3, 16, 24)})) == ["batch", 3, 16, 24]
    assert shape_of(load_proto(proto, shapes={"x": (2, 3, 16, 24)})) == [2, 3, 16, 24]
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert shape_of(load_proto(proto, shapes={"x": (1, 5)})) == [1, 5]


@pytest.mark.parametrize(
    ("shapes", "code"),
    [
        ({"xx": (1, 3, 8, 8)}, "unknown-input"),
        ({"x": (1, 4, 8, 8)}, "shape-conflict"),
        ({"x": (1, 3, 8)}, "shape-conflict"),
        ({"x": (0, 3, 8, 8)}, "shape-conflict"),
        ({"x": (1, 3, None, 8)}, "dynamic-shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: dict[str, tuple[int | None, ...]], code: str) -> None:
    proto = net([helper.make_node("Relu", ["x"], ["y"])], dims=["N", 3, "H", 8])
    with pytest.raises(UsageError) as caught:
        load_proto(proto, shapes=shapes)
    assert caught.value.code == code


def test_limits_can_be_raised() -> None:
    proto = net([helper.make_node("Expand", ["x", "s"], ["y"])], {"s": np.int64([2**20, 3, 8, 8])}, dims=[1, 3, 8, 8])
    assert shape_of(load_proto(proto, limits=Limits(tensor_bytes=1 << 40))) == [2**20, 3, 8, 8]
