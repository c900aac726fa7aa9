"""Models quantized by onnxruntime's own tool are read too: other spelling, opset 13, Softmax quantized at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from real_tasks import load_task, original

from prunus.compiler.analysis.witness import witness
from prunus.compiler.data import Data
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer.check import check_graph
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.model.load import load
from prunus.compiler.target import Formats

EQUAL = 0.9999
FLOAT_PARTS = {  # network -> operators that the tool leaves between quantized ones
    "ds_cnn": {"terminal-softmax"},
    "resnet8": {"terminal-softmax"},
    "wake_word": {"terminal-softmax", "no-integer-form"},  # a batch normalisation that it did not fold
    "autoencoder": {"constant-operand"},  # batch normalisations as Mul and Add with constants
}


class Samples(CalibrationDataReader):
    """One sample at a time under the file's input name."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.feeds = iter([{name: array[index : index + 1]} for index in range(len(array))])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


@pytest.mark.parametrize("activation", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("name", FLOAT_PARTS)
def test_models_of_quantize_static(models: Path, tmp_path: Path, name: str, activation: QuantType):
    source = load_task(name, models).model
    _, data = original(name, models)
    samples = next(iter(data.inputs.values()))[:12]
    prepared, target = tmp_path / "prepared.onnx", tmp_path / "int8.onnx"
    quant_pre_process(source, prepared)
    quantize_static(
        prepared,
        target,
        Samples(onnx.load(prepared).graph.input[0].name, samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=activation,
        weight_type=QuantType.QInt8,
    )
    model = load(target)
    graph = read_qdq(model, Formats())
    check_graph(graph)
    assert {op.reason for op in graph.ops if isinstance(op, ir.Island)} == FLOAT_PARTS[name]
    found = witness(model, graph, Data({graph.inputs[0]: samples}))
    assert found.max_difference <= 1
    assert found.equal >= EQUAL
    assert found.agreement == 1.0
