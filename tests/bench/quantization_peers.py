"""Other quantizers, as quantization_accuracy.py runs them: ONNX file and calibration samples in, quantized ONNX out.

Each gets the model as its authors published it, the same samples as ours, and the settings that its own documentation
recommends for convolutional networks: 8 bits, one scale per channel where that is asked for, ranges by minimum and
maximum (onnxruntime's default; NNCF's own estimators).
"""

from __future__ import annotations

import importlib.metadata
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

Array = np.ndarray
Peer = Callable[[Path, Array, bool], onnx.ModelProto]  # (model file, calibration samples [n, ...], per channel)


def onnxruntime_static(path: Path, calibration: Array, per_channel: bool) -> onnx.ModelProto:
    """`quantize_static` on the file as it is: QDQ, u8 activations, s8 weights, minima and maxima."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "quantized.onnx"
        quantize_static(
            str(path),
            str(out),
            _reader(path, calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
        )
        return onnx.load(out)


def onnxruntime_preprocessed(path: Path, calibration: Array, per_channel: bool) -> onnx.ModelProto:
    """`quant_pre_process` (shape inference, graph optimisation: batch norms folded), then `quantize_static`."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(path), str(prepared))
        return onnxruntime_static(prepared, calibration, per_channel)


def nncf_quantize(path: Path, calibration: Array, per_channel: bool) -> onnx.ModelProto:
    """`nncf.quantize` with its defaults (bias correction included); always one scale per channel of weights."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    name = _input_name(path)
    dataset = nncf.Dataset([{name: sample[None]} for sample in calibration])
    return nncf.quantize(onnx.load(path), dataset, subset_size=len(calibration))


def _input_name(path: Path) -> str:
    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return next(value.name for value in graph.input if value.name not in constants)


def _reader(path: Path, calibration: Array) -> object:
    from onnxruntime.quantization import CalibrationDataReader

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            name = _input_name(path)
            self._samples: Iterator[dict[str, Array]] = ({name: sample[None]} for sample in calibration)

        def get_next(self) -> dict[str, Array] | None:
            return next(self._samples, None)

    return Samples()


PEERS: Mapping[str, tuple[str, Peer]] = {  # name in the table -> (distribution, function)
    "onnxruntime": ("onnxruntime", onnxruntime_static),
    "onnxruntime+pre": ("onnxruntime", onnxruntime_preprocessed),
    "nncf": ("nncf", nncf_quantize),
}


def version(distribution: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def logits_of(model: onnx.ModelProto) -> str:
    """The value before the Softmax that ends the model (quantizers behind it are looked through), or its output."""
    makers = {output: node for node in model.graph.node for output in node.output}
    name = model.graph.output[0].name
    node = makers.get(name)
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        node = makers.get(node.input[0])
    return node.input[0] if node is not None and node.op_type == "Softmax" else name


def integer_macs(model: onnx.ModelProto) -> float:
    """The share of multiply-accumulates whose weights and inputs are dequantized integers of at most 8 bits."""
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes = {value.name: _dims(value) for value in (*model.graph.value_info, *model.graph.output)}
    makers = {output: node for node in model.graph.node for output in node.output}
    total = integer = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        sources = [makers.get(name) for name in node.input[:2]]
        quantized = [source is not None and source.op_type == "DequantizeLinear" for source in sources]
        codes = sources[1].input[0] if quantized[1] and sources[1] is not None else node.input[1]
        dims = constants.get(codes)
        if dims is None and codes in makers:  # weights that NNCF quantizes in the graph
            dims = constants.get(makers[codes].input[0])
        if dims is None:
            continue
        spatial = shapes.get(node.output[0], ())[2:] if node.op_type == "Conv" else ()
        macs = int(np.prod(dims)) * int(np.prod(spatial, dtype=np.int64))
        total += macs
        integer += macs * all(quantized)
    return integer / total if total else 0.0


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
