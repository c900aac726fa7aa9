"""ONNX files whose tensors bring out every form of a packed model, and packed files with checksums made to fit."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

CHECKSUM = slice(12, 16)
HEADER_BYTES, ROW_BYTES = 64, 32


def model_of(**tensors: npt.NDArray[Any]) -> bytes:
    """An ONNX file with these initializers; nothing uses them."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return proto.SerializeToString(deterministic=True)


def bell(
    rng: np.random.Generator, shape: tuple[int, ...], density: float = 1.0, width: float = 20.0
) -> npt.NDArray[Any]:
    """int8 weights like trained ones: a bell, and zeros that pruning made."""
    weights = np.clip(np.rint(rng.normal(0, width, shape)), -127, 127)
    return (weights * (rng.random(shape) < density)).astype(np.int8)


def every_form(seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Tensors by the form that is the smallest for each."""
    rng = np.random.default_rng(seed)
    codebook = rng.normal(0, 1, 16).astype(np.float32)
    pruned = rng.normal(0, 1, 20_000) * (rng.random(20_000) < 0.1)
    return {
        "stored": rng.integers(0, 256, 3000).astype(np.uint8),
        "zstd": np.tile(rng.integers(0, 256, 256).astype(np.uint8), 20),
        "huffman_int8": bell(rng, (70, 90)),
        "huffman_pairs": rng.choice(4, 5001, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8),
        "huffman_planes": rng.normal(0, 0.1, (40, 50)).astype(np.float32),
        "huffman_palette": codebook[rng.choice(16, 5000, p=rng.dirichlet(np.ones(16)))],
        "sparse_int8": bell(rng, (90, 60), 0.1),
        "sparse_far": np.where(rng.random(30_000) < 0.002, rng.integers(1, 100, 30_000), 0).astype(np.int8),
        "sparse_planes": pruned.astype(np.float32),
        "half": rng.normal(0, 1, 4000).astype(np.float16),
        "double": rng.normal(0, 1, 1000).astype(np.float64),
        "lone": np.full(2000, 7, np.int8),
        "small": np.arange(5, dtype=np.int64),
    }


def with_int4(seed: int = 0) -> bytes:
    """An ONNX file with 4-bit weights, an odd number of them."""
    codes = np.clip(np.rint(np.random.default_rng(seed).normal(0, 2, 20_001)), -8, 7).astype(int)
    proto = onnx.ModelProto.FromString(model_of())
    proto.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, [20_001], codes.tolist()))
    packed = np.concatenate([codes & 15, [0]]).astype(np.uint8)
    proto.graph.initializer[0].ClearField("int32_data")
    proto.graph.initializer[0].raw_data = (packed[::2] | packed[1::2] << 4).tobytes()
    return proto.SerializeToString(deterministic=True)


def sealed(packed: bytes | bytearray) -> bytes:
    """The file with the checksum that fits."""
    crc = zlib.crc32(packed[CHECKSUM.stop :], zlib.crc32(packed[: CHECKSUM.start]))
    return bytes(packed[: CHECKSUM.start]) + struct.pack("<I", crc) + bytes(packed[CHECKSUM.stop :])
