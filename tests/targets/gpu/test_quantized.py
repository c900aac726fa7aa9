"""The int8 network in the form that TensorRT takes, and its comparison with the integer reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from prunus.compiler.errors import ToolError, UnsupportedError
from prunus.targets.gpu.quantized import agreement, quantized_model, with_float_biases
from prunus.tests.targets.gpu.conftest import Compressed


def constants(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def test_everything_that_is_quantized_is_s8_around_zero(dense: Compressed) -> None:
    proto = quantized_model(dense.networks.quantized)
    known = constants(proto)
    quantizers = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(quantizers) > 20
    for node in quantizers:
        zero_point = known[node.input[2]]
        assert zero_point.dtype == np.int8
        assert not zero_point.any()
    weights = [node for node in quantizers if node.input[0] in known]
    assert weights
    for node in weights:  # per channel
        assert known[node.input[1]].size == known[node.input[0]].shape[0]


def test_biases_are_the_numbers_that_they_stand_for(dense: Compressed) -> None:
    before = dense.networks.quantized.to_proto()
    known = constants(before)
    biases = [n for n in before.graph.node if n.op_type == "DequantizeLinear" and known.get(n.input[0]) is not None]
    biases = [node for node in biases if known[node.input[0]].dtype == np.int32]
    assert biases
    after = constants(with_float_biases(before))
    for node in biases:
        real = known[node.input[0]].astype(np.float64) * known[node.input[1]]
        assert after[node.output[0]].dtype == np.float32
        assert np.allclose(after[node.output[0]], real, rtol=1e-7, atol=0)
    assert not any(array.dtype == np.int32 for array in after.values())


def test_an_offset_is_refused(dense: Compressed) -> None:
    proto = dense.networks.quantized.to_proto()
    node = next(node for node in proto.graph.node if node.op_type == "QuantizeLinear")
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == node.input[2])
    tensor.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), tensor.name))
    with pytest.raises(UnsupportedError, match="zero point other than 0") as caught:
        with_float_biases(proto)
    assert caught.value.code == "zero-point"


def test_outputs_agree_with_the_reference(dense: Compressed) -> None:
    found = agreement(quantized_model(dense.networks.quantized), dense.graph)
    assert found.equal > 0.98
    assert found.sqnr_db is None or found.sqnr_db > 30


def test_a_seeded_fault_is_found(dense: Compressed) -> None:
    proto = quantized_model(dense.networks.quantized)
    node = next(node for node in proto.graph.node if node.op_type == "Conv")
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == node.input[2])
    bias.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(bias) - np.float32(1), bias.name))
    with pytest.raises(ToolError, match="something else") as caught:
        agreement(proto, dense.graph)
    assert caught.value.code == "qdq-differs"
