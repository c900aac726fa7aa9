"""Saved models are standard, deterministic, complete or absent, and carry the user's names where these are safe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.errors import ToolError
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load, load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.model.save import save


def model_named(inputs: Sequence[str], outputs: Sequence[str]) -> Model:
    """Each output is the sum of all inputs, halved."""
    vectors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in inputs]
    nodes = [helper.make_node("Sum", list(inputs), ["sum of all"])]
    nodes += [helper.make_node("Mul", ["sum of all", "half"], [name]) for name in outputs]
    half = numpy_helper.from_array(np.float32(0.5), "half")
    graph = helper.make_graph(nodes, "g", vectors, [onnx.ValueInfoProto(name=name) for name in outputs], [half])
    return load_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8))


def outer_names(path: Path) -> tuple[list[str], list[str]]:
    proto = onnx.load(path)
    return [value.name for value in proto.graph.input], [value.name for value in proto.graph.output]


def test_safe_names_come_back_and_the_file_is_a_drop_in(tmp_path: Path) -> None:
    model = model_named(["image", "mask_2"], ["scores", "boxes"])
    save(model, tmp_path / "out.onnx")
    assert outer_names(tmp_path / "out.onnx") == (["image", "mask_2"], ["scores", "boxes"])
    proto = onnx.load(tmp_path / "out.onnx")
    assert proto.ir_version <= 10
    onnx.checker.check_model(proto, full_check=True)
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = run_model(proto, {"image": rows, "mask_2": rows})
    assert np.array_equal(found["boxes"], rows)


@pytest.mark.parametrize(
    "name",
    ["input:0", "gpu_0/data", "a b", "x;y", "t0002", "n12", "1st", "größe", "x" * 65, 'a"\nb', "$(id)", "-x"],
)
def test_other_names_stay_plain(name: str, tmp_path: Path) -> None:
    save(model_named([name, "x" * 64], ["y"]), tmp_path / "out.onnx")
    assert outer_names(tmp_path / "out.onnx") == (["t0001", "x" * 64], ["y"])


def test_saving_changes_nothing_and_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    model = model_named(["a"], ["y"])
    before = model.to_bytes()
    save(model, tmp_path / "1.onnx")
    save(model, tmp_path / "2.onnx")
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()
    assert model.to_bytes() == before
    assert load(tmp_path / "1.onnx").to_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.onnx", "2.onnx"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.onnx"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolError) as caught:
        save(model_named(["a"], ["y"]), path)
    assert caught.value.code == "output-failed"
    assert "No space left" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        save(model_named(["a"], ["y"]), tmp_path / "absent" / "out.onnx")
    assert caught.value.exit_code == 6


def test_an_input_or_a_constant_may_be_an_output(tmp_path: Path) -> None:
    vector = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    outputs = [vector, onnx.ValueInfoProto(name="k"), onnx.ValueInfoProto(name="y")]
    constant = numpy_helper.from_array(np.float32([1, 2]), "k")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [vector], outputs, [constant])
    model = load_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8))
    save(model, tmp_path / "out.onnx")
    assert outer_names(tmp_path / "out.onnx") == (["x"], ["x", "t0003", "y"])
