"""Every bad model file gets a named error with a reason and a hint, and leaves nothing behind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.errors import InvalidModelError, LimitError, PrunusError, UnsupportedError, UsageError
from prunus.compiler.model.load import load

Make = Callable[[Path], Path]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
IMAGE = (1, 3, 8, 8)
QONNX = "qonnx.custom_op.general"


def info(name: str, dims: Sequence[int | str] | None = IMAGE, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def node(op: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    """`node("Conv", "x w", "y", group=1)`; the node is named like its first output."""
    return helper.make_node(op, inputs.split(), outputs.split(), f"the_{outputs.split()[0]}", **attributes)


def constant(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def model(
    *nodes: onnx.NodeProto,
    inputs: Sequence[onnx.ValueInfoProto] = (info("x"),),
    outputs: Sequence[str] = ("y",),
    constants: Sequence[onnx.TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    opset: int | None = 21,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, [onnx.ValueInfoProto(name=name) for name in outputs], constants)
    opsets = [helper.make_opsetid("", opset)] if opset is not None else []
    opsets += [helper.make_opsetid("local", 1)] if functions else []
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)


RELU = node("Relu", "x", "y")


def conv(**attributes: object) -> onnx.ModelProto:
    weight = constant("w", np.ones((4, 3, 3, 3)))
    return model(node("Conv", "x w", "y", **attributes), constants=[weight])


def quantize(scale: float, zero_point_type: type = np.uint8) -> onnx.ModelProto:
    constants = [constant("s", scale), constant("z", 3, zero_point_type)]
    q = node("QuantizeLinear", "x s z", "q", output_dtype=TensorProto.UINT8)
    return model(q, node("DequantizeLinear", "q s", "y"), constants=constants)


def fake_quantized(bits: int = 6, scale: object = 0.5, **attributes: object) -> onnx.ModelProto:
    """y = Quant(x) of QONNX."""
    constants = [constant("s", scale), constant("z", 0), constant("b", bits)]
    return model(node("Quant", "x s z b", "y", domain=QONNX, **attributes), constants=constants)


def shaped_by(op: str, shape: Sequence[int], inputs: str = "x shape") -> onnx.ModelProto:
    return model(node(op, inputs, "y"), constants=[constant("shape", shape, np.int64)])


def with_weight(**fields: object) -> onnx.ModelProto:
    """y = x + w, where w has the given fields."""
    tensor = onnx.TensorProto(name="w", **{"data_type": FLOAT, "dims": [4], **fields})  # type: ignore[arg-type]
    return model(node("Add", "x w", "y"), inputs=[info("x", (1, 4))], constants=[tensor])


def edited(proto: onnx.ModelProto, edit: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    edit(proto)
    return proto


def field(number: int, payload: bytes) -> bytes:
    """One length-delimited protobuf field."""
    size, encoded = len(payload), b""
    while size > 127:
        encoded += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + encoded + bytes([size]) + payload


def deeply_nested(depth: int) -> bytes:
    """graph { node { attribute { g { node ...: put together by hand, since protobuf builds nothing so deep."""
    graph = b""
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(6, graph)))
    return field(7, graph)


def functions(count: int, last_calls: str) -> onnx.ModelProto:
    """f0 .. f(count-1): each calls the next one twice; the last one calls `last_calls`."""
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]
    made = []
    for index in range(count):
        callee, domain = (f"f{index + 1}", "local") if index + 1 < count else (last_calls, "local")
        if callee == "Relu":
            domain = ""
        body = [
            helper.make_node(callee, ["a"], ["b"], domain=domain),
            helper.make_node(callee, ["b"], ["c"], domain=domain),
        ]
        made.append(helper.make_function("local", f"f{index}", ["a"], ["c"], body, opsets))
    return model(helper.make_node("f0", ["x"], ["y"], domain="local"), functions=made)


def endless_loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["v"], ["w"])],
        "body",
        [info("i", (), INT64), info("go", (), TensorProto.BOOL), info("v")],
        [info("on", (), TensorProto.BOOL), info("w")],
    )
    loop = node("Loop", "n c x", "y", body=body)
    return model(loop, constants=[constant("n", 2**62, np.int64), constant("c", True, np.bool_)])


def chain(length: int) -> onnx.ModelProto:
    names = ["x", *(f"v{index}" for index in range(length - 1)), "y"]
    return model(*(onnx.NodeProto(op_type="Relu", input=[a], output=[b]) for a, b in itertools.pairwise(names)))


def resize(scale: float) -> onnx.ModelProto:
    return model(
        node("Resize", "x roi scales", "y"), constants=[constant("roi", []), constant("scales", [1, 1, scale, scale])]
    )


def twice_named_inputs(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(info("x"))


# ---- what is wrong -> (how to make it, the error, its code)
CONTENTS: dict[str, tuple[bytes, type[PrunusError], str]] = {
    "empty": (b"", InvalidModelError, "empty-file"),
    "random": (np.random.default_rng(7).bytes(4096), InvalidModelError, "not-onnx"),
    "truncated": (conv().SerializeToString()[:-20], InvalidModelError, "not-onnx"),
    "html": (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", InvalidModelError, "wrong-format"),
    "lfs-pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 132\n",
        InvalidModelError,
        "wrong-format",
    ),
    "zip": (b"PK\x03\x04" + b"\0" * 60, InvalidModelError, "wrong-format"),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 60, InvalidModelError, "wrong-format"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 60, InvalidModelError, "wrong-format"),
    "millions-of-empty-nodes": (field(7, b"\x0a\x00" * 1_000_001), LimitError, "field-limit"),
    "nested-too-deeply": (deeply_nested(40), LimitError, "nesting-limit"),
}

MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], type[PrunusError], str]] = {
    # versions
    "opset-999": (lambda: model(RELU, opset=999), UnsupportedError, "opset-version"),
    "ir-99": (lambda: edited(model(RELU), lambda m: setattr(m, "ir_version", 99)), UnsupportedError, "ir-version"),
    "no-opset": (lambda: model(RELU, opset=None), InvalidModelError, "no-opset"),
    "two-opsets": (
        lambda: edited(model(RELU), lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 17))),
        InvalidModelError,
        "duplicate-opset",
    ),
    "unknown-operator": (lambda: model(node("Convv", "x", "y")), UnsupportedError, "unknown-operator"),
    "custom-domain": (
        lambda: model(node("FancyPool", "x", "y", domain="com.example")),
        UnsupportedError,
        "custom-domain",
    ),
    "qonnx-12-bits": (lambda: fake_quantized(bits=12), UnsupportedError, "qonnx"),
    "qonnx-rounding": (lambda: fake_quantized(rounding_mode="FLOOR"), UnsupportedError, "qonnx"),
    "qonnx-scale-0": (lambda: fake_quantized(scale=0.0), UnsupportedError, "qonnx"),
    "qonnx-scale-per-channel": (lambda: fake_quantized(scale=[1.0, 2.0]), UnsupportedError, "qonnx"),
    "qonnx-bipolar-activation": (
        lambda: model(node("BipolarQuant", "x s", "y", domain=QONNX), constants=[constant("s", 1.0)]),
        UnsupportedError,
        "qonnx",
    ),
    "qoperator-without-scales": (
        lambda: model(node("QLinearAdd", "x x", "y", domain="com.microsoft")),
        InvalidModelError,
        "operator-arity",
    ),
    "operator-newer-than-opset": (
        lambda: model(node("Gelu", "x", "y"), opset=13),
        InvalidModelError,
        "operator-version",
    ),
    # graph
    "cycle": (
        lambda: model(node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")),
        InvalidModelError,
        "cycle",
    ),
    "undefined-input": (lambda: model(node("Add", "x nowhere", "y")), InvalidModelError, "undefined-value"),
    "undefined-output": (lambda: model(RELU, outputs=["z"]), InvalidModelError, "undefined-value"),
    "duplicate-output": (lambda: model(RELU, node("Abs", "x", "y")), InvalidModelError, "duplicate-value"),
    "output-named-like-an-input": (lambda: model(node("Relu", "x", "x"), outputs=["x"]), InvalidModelError, "cycle"),
    "duplicate-input-names": (lambda: edited(model(RELU), twice_named_inputs), InvalidModelError, "duplicate-name"),
    "empty-input-name": (lambda: model(RELU, inputs=[info("x"), info("")]), InvalidModelError, "empty-name"),
    "no-outputs": (lambda: model(RELU, outputs=[]), InvalidModelError, "no-outputs"),
    "recursive-function": (lambda: functions(3, "f0"), InvalidModelError, "recursive-function"),
    "function-bomb": (lambda: functions(30, "Relu"), LimitError, "expansion-limit"),
    "reference-to-no-attribute": (
        lambda: edited(conv(group=1), lambda m: setattr(m.graph.node[0].attribute[0], "ref_attr_name", "g")),
        InvalidModelError,
        "attribute-reference",
    ),
    "nested-functions": (lambda: functions(60, "Relu"), LimitError, "expansion-limit"),
    "infinite-loop": (endless_loop, UnsupportedError, "control-flow"),
    "100k-nodes": (lambda: chain(100_000), LimitError, "node-limit"),
    # tensors
    "dims-and-bytes-differ": (lambda: with_weight(raw_data=b"\0" * 12), InvalidModelError, "tensor-data"),
    "dims-and-numbers-differ": (lambda: with_weight(float_data=[1.0, 2.0]), InvalidModelError, "tensor-data"),
    "data-in-the-wrong-field": (lambda: with_weight(int64_data=[1, 2, 3, 4]), InvalidModelError, "tensor-data"),
    "negative-dim": (lambda: with_weight(dims=[-4], raw_data=b"\0" * 16), InvalidModelError, "tensor-shape"),
    "dims-overflow-int64": (lambda: with_weight(dims=[2**40, 2**40], raw_data=b"\0" * 16), LimitError, "tensor-limit"),
    "unknown-element-type": (lambda: with_weight(data_type=99, raw_data=b"\0" * 16), UnsupportedError, "element-type"),
    "text-tensor": (
        lambda: with_weight(data_type=TensorProto.STRING, string_data=[b"a"] * 4),
        UnsupportedError,
        "element-type",
    ),
    "nan-weight": (
        lambda: with_weight(raw_data=np.float32([1, np.nan, 2, 3]).tobytes()),
        InvalidModelError,
        "weight-not-finite",
    ),
    "infinite-weight": (
        lambda: with_weight(raw_data=np.float32([1, np.inf, 2, 3]).tobytes()),
        InvalidModelError,
        "weight-not-finite",
    ),
    "zero-size-weight": (lambda: with_weight(dims=[0, 4], raw_data=b""), InvalidModelError, "zero-size"),
    "rank-100": (lambda: with_weight(dims=[1] * 100, raw_data=b"\0" * 4), LimitError, "rank-limit"),
    "constant-of-shape-4-tib": (
        lambda: shaped_by("ConstantOfShape", [2**20, 2**20], "shape"),
        LimitError,
        "tensor-limit",
    ),
    "expand-bomb": (lambda: shaped_by("Expand", [2**30, 3, 8, 8]), LimitError, "tensor-limit"),
    "tile-bomb": (lambda: shaped_by("Tile", [2**30, 2**30, 1, 1]), LimitError, "tensor-limit"),
    "range-bomb": (
        lambda: model(
            node("Range", "a b c", "y"),
            constants=[constant(name, value, np.int64) for name, value in (("a", 0), ("b", 2**50), ("c", 1))],
        ),
        LimitError,
        "tensor-limit",
    ),
    "range-without-step": (
        lambda: model(
            node("Range", "a b c", "y"),
            constants=[constant(name, value, np.int64) for name, value in (("a", 0), ("b", 9), ("c", 0))],
        ),
        InvalidModelError,
        "constant-range",
    ),
    "huge-resize": (lambda: resize(1e9), LimitError, "tensor-limit"),
    "resize-by-zero": (lambda: resize(0.0), InvalidModelError, "constant-range"),
    "resize-by-nan": (lambda: resize(float("nan")), InvalidModelError, "weight-not-finite"),
    "many-large-values": (
        lambda: model(
            *(node("Expand", "x shape", f"e{index}") for index in range(9)),
            outputs=[f"e{index}" for index in range(9)],
            constants=[constant("shape", [2**20, 3, 8, 8], np.int64)],
        ),
        LimitError,
        "total-limit",
    ),
    "shape-depends-on-data": (
        lambda: model(node("NonZero", "x", "y")),
        UnsupportedError,
        "data-dependent",
    ),
    "reshape-by-input": (
        lambda: model(node("Reshape", "x s", "y"), inputs=[info("x"), info("s", (2,), INT64)]),
        UnsupportedError,
        "shape-unknown",
    ),
    "dynamic-shape": (lambda: model(RELU, inputs=[info("x", ("N", 3, "H", "W"))]), UsageError, "dynamic-shape"),
    "input-without-shape": (lambda: model(RELU, inputs=[info("x", None)]), UsageError, "dynamic-shape"),
    "negative-input-dim": (lambda: model(RELU, inputs=[info("x", (1, -3))]), InvalidModelError, "zero-size"),
    "sequence-input": (
        lambda: model(
            node("SequenceAt", "x i", "y"),
            inputs=[helper.make_tensor_sequence_value_info("x", FLOAT, IMAGE)],
            constants=[constant("i", 0, np.int64)],
        ),
        UnsupportedError,
        "not-a-tensor",
    ),
    "sparse-weights": (
        lambda: edited(model(RELU), lambda m: m.graph.sparse_initializer.add()),
        UnsupportedError,
        "sparse-tensor",
    ),
    # operators
    "group-0": (lambda: conv(group=0), InvalidModelError, "attribute-range"),
    "stride-0": (lambda: conv(strides=[0, 1]), InvalidModelError, "attribute-range"),
    "negative-pad": (lambda: conv(pads=[-1, 0, 0, 0]), InvalidModelError, "attribute-range"),
    "huge-pad": (lambda: conv(pads=[2**40, 0, 0, 0]), InvalidModelError, "attribute-range"),
    "pad-bomb": (lambda: conv(pads=[2**18, 2**18, 0, 0]), LimitError, "tensor-limit"),
    "huge-dilation": (lambda: conv(dilations=[1000, 1000]), InvalidModelError, "zero-size"),
    "kernel-larger-than-input": (
        lambda: model(node("MaxPool", "x", "y", kernel_shape=[9, 9])),
        InvalidModelError,
        "zero-size",
    ),
    "kernel-shape-differs-from-weight": (lambda: conv(kernel_shape=[5, 5]), InvalidModelError, "parameter-shape"),
    "channels-do-not-fit": (
        lambda: model(conv().graph.node[0], constants=[constant("w", np.ones((4, 2, 3, 3)))]),
        InvalidModelError,
        "parameter-shape",
    ),
    "group-does-not-divide": (lambda: conv(group=3), InvalidModelError, "parameter-shape"),
    "negative-variance": (
        lambda: model(
            node("BatchNormalization", "x a a a v", "y"),
            constants=[constant("a", [1, 1, 1]), constant("v", [1, -1, 1])],
        ),
        InvalidModelError,
        "constant-range",
    ),
    "block-size-0": (lambda: model(node("DepthToSpace", "x", "y", blocksize=0)), InvalidModelError, "attribute-range"),
    "axis-out-of-range": (lambda: model(node("Softmax", "x", "y", axis=7)), InvalidModelError, "shape-mismatch"),
    "split-into-0": (lambda: model(node("Split", "x", "y", num_outputs=0)), InvalidModelError, "attribute-range"),
    "unknown-attribute": (lambda: conv(stride=[1, 1]), InvalidModelError, "unknown-attribute"),
    "missing-attribute": (lambda: model(node("Concat", "x x", "y")), InvalidModelError, "missing-attribute"),
    "wrong-attribute-type": (lambda: conv(group=1.0), InvalidModelError, "attribute-type"),
    "text-in-an-attribute": (lambda: conv(auto_pad='";system("id")//'), InvalidModelError, "attribute-string"),
    "too-many-inputs": (lambda: model(node("Relu", "x x", "y")), InvalidModelError, "operator-arity"),
    "mixed-types": (
        lambda: model(node("Add", "x w", "y"), constants=[constant("w", 1, np.int64)]),
        InvalidModelError,
        "shape-mismatch",
    ),
    "scale-0": (lambda: quantize(0.0), InvalidModelError, "constant-range"),
    "scale-nan": (lambda: quantize(float("nan")), InvalidModelError, "weight-not-finite"),
    "scale-negative": (lambda: quantize(-0.5), InvalidModelError, "constant-range"),
    "scale-infinite": (lambda: quantize(float("inf")), InvalidModelError, "constant-range"),
    "zero-point-of-another-type": (
        lambda: quantize(0.5, np.int8),
        InvalidModelError,
        "shape-mismatch",
    ),
    "random-operator": (
        lambda: model(node("Bernoulli", "x", "y")),
        UnsupportedError,
        "random",
    ),
}
ONNX_TEXT = {"ir-99", "mixed-types", "opset-999", "zero-point-of-another-type"}  # depends on the version of onnx


def refusal(path: Path, error: type[PrunusError], code: str) -> PrunusError:
    """Loads the file, which must be refused as stated; returns the error."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(PrunusError) as caught:
        load(path)
    assert type(caught.value) is error, caught.value
    assert caught.value.code == code, caught.value
    assert caught.value.exit_code == error.exit_code
    assert caught.value.hint
    assert sorted(path.parent.iterdir()) == before
    return caught.value


def text_of(error: PrunusError, folder: Path) -> str:
    return f"{error}\n  code: {error.code} (exit code {error.exit_code})\n".replace(str(folder), "FOLDER")


@pytest.mark.parametrize("name", sorted(CONTENTS))
def test_file_is_refused(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    data, error, code = CONTENTS[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    found = refusal(path, error, code)
    if name not in ONNX_TEXT:
        golden(f"errors/{name}.txt", text_of(found, tmp_path))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_model_is_refused(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    make, error, code = MODELS[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(make().SerializeToString())
    found = refusal(path, error, code)
    if name not in ONNX_TEXT:
        golden(f"errors/{name}.txt", text_of(found, tmp_path))


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    refusal(tmp_path, InvalidModelError, "not-a-file")
    refusal(fifo, InvalidModelError, "not-a-file")
    refusal(Path("/dev/zero"), InvalidModelError, "not-a-file")
    refusal(tmp_path / "absent.onnx", UsageError, "model-file")
    refusal(tmp_path / "nul\0byte.onnx", UsageError, "model-file")


def test_file_over_2_gib_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate((2 << 30) + 1)
    assert "external data" in str(refusal(path, LimitError, "file-limit"))
