"""`prunus pack` and `prunus unpack`, and packed models wherever a model is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from packed_models import every_form, model_of

from prunus.compiler.coding import pack, unpack
from prunus.compiler.errors import InvalidModelError, LimitError, UsageError
from prunus.compiler.model.load import load
from prunus.compiler.model.loading.limits import Limits
from prunus.compiler.model.save import save, to_bytes

WEIGHT = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)


def prunus(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prunus.compiler.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(**every_form()))
    return path


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """y = x @ w, a model that loads with its weight."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    path = tmp_path / "layer.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def test_pack_and_unpack(model, tmp_path):
    packed, back = tmp_path / "small.prz", tmp_path / "back.onnx"
    summary = json.loads(prunus("pack", model, "--out", packed, "--json").stdout)
    assert summary["bytes_before"] == model.stat().st_size > 2 * summary["bytes_after"]
    assert summary["bytes_after"] == packed.stat().st_size and summary["methods"]["sparse+huffman"] >= 2
    text = prunus("unpack", packed, "--out", back).stdout
    assert f"{packed.stat().st_size:,} → {model.stat().st_size:,} bytes" in text
    assert back.read_bytes() == model.read_bytes()


def test_what_is_not_packed_is_refused(model, tmp_path):
    result = prunus("unpack", model, "--out", tmp_path / "back.onnx")
    assert result.returncode == InvalidModelError.exit_code and "prz-magic" in result.stderr
    assert not (tmp_path / "back.onnx").exists()


def test_a_damaged_file_leaves_nothing_behind(model, tmp_path):
    packed = tmp_path / "small.prz"
    packed.write_bytes(pack(model.read_bytes())[:-9])
    for command in ("unpack", "prune"):
        result = prunus(command, packed, "--out", tmp_path / "back.onnx")
        assert result.returncode == InvalidModelError.exit_code and "prz-truncated" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "small.prz"]


def test_packed_models_are_loaded_and_saved(layer, tmp_path):
    loaded, path = load(layer), tmp_path / "again.prz"
    save(loaded, path)
    assert unpack(path.read_bytes()) == to_bytes(loaded)
    (weight,) = load(path).graph.initializers.values()
    np.testing.assert_array_equal(weight.const_value.numpy(), WEIGHT)


def test_limits_hold_for_what_is_unpacked(layer, tmp_path):
    path = tmp_path / "again.prz"
    path.write_bytes(pack(layer.read_bytes()))
    with pytest.raises(LimitError) as caught:
        load(path, limits=Limits(file_bytes=path.stat().st_size))
    assert caught.value.code == "prz-limit" and "again.prz" in str(caught.value.where)


def test_weights_share_values_on_request(layer, tmp_path):
    packed = tmp_path / "small.prz"
    summary = json.loads(prunus("pack", layer, "--cluster", "4", "--out", packed, "--json").stdout)
    (weight,) = load(packed).graph.initializers.values()
    assert np.unique(weight.const_value.numpy()).size <= 16
    assert summary["bytes_after"] < 0.25 * summary["bytes_before"] and summary["notes"][0]["code"] == "weights-shared"
    assert prunus("pack", layer, "--cluster", "1", "--out", packed).returncode == UsageError.exit_code
