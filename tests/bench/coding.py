"""How small models become, and how fast they come back: packed models beside zstd and gzip on the same files.

    python tests/bench/coding.py [--models FOLDER] [--prune 0.5] [FILE.onnx ...]

Rows per file: the ONNX file as it is; with its weights pruned by magnitude (`--prune` of each) and rounded to int8, one
scale per channel; with 16 values shared among those. Ratios are bytes of the coded file per byte of the ONNX file;
`entropy` is by how much the large int8 tensors exceed their order-0 entropy, everything written of them included.
Decoding is the median of five, in bytes of the ONNX file per second of one
core's time, which a busy machine does not change much.
"""

from __future__ import annotations

import argparse
import gzip
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import zstandard
from onnx import numpy_helper

from prunus.compiler.coding import huffman, pack, sections, unpack
from prunus.compiler.coding.cluster import cluster
from prunus.kernels import cpu_description, unpack_model

ROOT = Path(__file__).resolve().parents[2]
SMALLEST_WEIGHT = 4096  # elements; smaller tensors say little about codes


def to_int8(model: bytes, sparsity: float, cluster_bits: int | None = None) -> bytes | None:
    """The same file with its float weights pruned, rounded to int8 and stored as such; None where it has none.

    For measuring sizes only: the graph is not that of a quantized model.
    """
    proto = onnx.ModelProto.FromString(model)
    found = False
    for tensor in proto.graph.initializer:
        weight = numpy_helper.to_array(tensor)
        if weight.dtype != np.float32 or weight.ndim < 2 or not np.isfinite(weight).all():
            continue
        found = True
        kept = np.where(np.abs(weight) < np.quantile(np.abs(weight), sparsity), 0, weight)
        axes = tuple(range(1, weight.ndim)) if weight.ndim == 4 else (0,)
        scale = np.abs(kept).max(axis=axes, keepdims=True) / 127
        codes = np.rint(kept / np.where(scale == 0, 1, scale)).astype(np.int8)
        tensor.CopyFrom(numpy_helper.from_array(cluster(codes, cluster_bits) if cluster_bits else codes, tensor.name))
    return proto.SerializeToString() if found else None


def beside_entropy(model: bytes, packed: bytes) -> str:
    """Stored bytes of the large int8 tensors, relative to their entropy."""
    int8 = [t for t in onnx.ModelProto.FromString(model).graph.initializer if t.data_type == onnx.TensorProto.INT8]
    contents = {t.raw_data for t in int8 if len(t.raw_data) >= SMALLEST_WEIGHT}
    stored = least = 0.0
    for section in sections(packed)[1:]:
        content = model[section.start : section.start + section.size]
        if content in contents:
            stored += 8 * section.stored
            least += huffman.entropy_bits(np.bincount(np.frombuffer(content, np.uint8), minlength=256))
    return f"{stored / least - 1:+8.2%}" if least else "       -"


def seconds(call: Callable[[], bytes], expected: bytes) -> float:
    """The median processor time of five calls; the result must be what was packed."""
    times = []
    for _ in range(5):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
        if result != expected:
            raise SystemExit("a model did not come back")
    return statistics.median(times)


def decompress(frame: bytes, size: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)


def row(name: str, kind: str, model: bytes) -> str:
    start = time.process_time()
    packed = pack(model)
    packing = time.process_time() - start
    zstd = zstandard.ZstdCompressor(level=19).compress(model)
    ratios = [len(coded) / len(model) for coded in (packed, zstd, gzip.compress(model, 9, mtime=0))]
    speeds = [
        len(model) / seconds(call, model) / 1e6
        for call in (
            lambda: unpack_model(packed, decompress),
            lambda: unpack(packed),
            lambda: zstandard.decompress(zstd),
        )
    ]
    return (
        f"{name[:36]:36} {kind:9} {len(model):>10,}  {ratios[0]:6.1%} {ratios[1]:6.1%} {ratios[2]:6.1%} "
        f"{beside_entropy(model, packed)}  {packing:6.1f} s  {speeds[0]:7.0f} {speeds[1]:7.1f} {speeds[2]:7.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--prune", type=float, default=0.5)
    parser.add_argument("files", nargs="*", type=Path)
    arguments = parser.parse_args()
    files = arguments.files or sorted(arguments.models.glob("*.onnx"))
    if not files:
        sys.exit(f"no models in {arguments.models}: give --models FOLDER or files")
    print(f"{cpu_description()}, Python {platform.python_version()}, zstandard {zstandard.__version__}, one thread")
    print(f"{'':57}  ratios of the file      over            MB/s of decoding")
    print(f"{'model':36} {'kind':9} {'bytes':>10}    .prz   zstd   gzip  entropy     packing     C++  Python    zstd")
    for file in files:
        model = file.read_bytes()
        print(row(file.stem, "as it is", model), flush=True)
        for kind, bits in (("int8", None), ("16 values", 4)):
            coded = to_int8(model, arguments.prune, bits)
            if coded is not None:
                print(row("", kind, coded), flush=True)


if __name__ == "__main__":
    main()
