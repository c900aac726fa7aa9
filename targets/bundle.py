"""What the bundles of several targets share: refusals, digests, test vectors, timings."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.errors import InvalidModelError, UnsupportedError, UsageError
from ..compiler.integer import graph as ir
from ..compiler.integer import ops
from ..compiler.quantity import Quantity
from ..compiler.target import Finding

Array = npt.NDArray[Any]
VECTOR_SAMPLES = 2
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


# -- refusals -----------------------------------------------------------------------------------------------------


def is_identifier(name: str) -> bool:
    """Whether a name is made of letters, digits and underscores alone: harmless in any text that is generated."""
    return _PLAIN.fullmatch(name) is not None


def refuse_unsafe_names(graph: ir.Graph) -> None:
    """Raises InvalidModelError where a name could mean something in generated code: only identifiers pass."""
    names = [*graph.tensors, *(op.name for op in graph.ops), *(name for op in graph.ops for name in op.outputs)]
    unsafe = next((name for name in names if not is_identifier(name)), None)
    if unsafe is not None:
        raise InvalidModelError(
            "A name of the graph is not a plain identifier.",
            code="unsafe-name",
            where=ascii(unsafe[:64]),
            hint="Load the model through prunus.compiler.load, which renames everything.",
        )


def refuse_unsupported(found: Sequence[Finding], backend: str) -> None:
    """Raises UnsupportedError that names the operators which a check found unsupported."""
    refused = [finding for finding in found if finding.placement == "unsupported"]
    if refused:
        raise UnsupportedError(
            f"{backend} cannot take {len(refused)} operator(s).",
            code=refused[0].reason_code,
            where=", ".join(finding.layer for finding in refused[:5]),
            why="; ".join(dict.fromkeys(finding.reason_code for finding in refused)),
            hint=refused[0].hint,
        )


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_changed(root: Path, digests: Mapping[str, str], names: Sequence[str]) -> None:
    """Raises UsageError where one of the named files is not what the lowering wrote."""
    for name in names:
        if not (root / name).is_file() or digest(root / name) != digests[name]:
            raise UsageError(
                "The artefact has changed since it was built.",
                code="artifact-changed",
                where=str(root / name),
                hint="Compile the model again.",
            )


# -- test vectors -------------------------------------------------------------------------------------------------


def element_type(tensor: ir.Tensor) -> str:
    """The numpy name of a tensor's element type."""
    return tensor.dtype if tensor.quant is None else np.dtype(ir.NUMPY_TYPE[tensor.quant.dtype]).name


def value_description(tensor: ir.Tensor) -> dict[str, Any]:
    """Name, element type and shape (batch `n`) of an input or output, for a bundle's description."""
    return {"name": tensor.name, "dtype": element_type(tensor), "shape": ["n", *tensor.shape]}


def sample_inputs(graph: ir.Graph, count: int, seed: int = 0) -> dict[str, Array]:
    """Seeded random inputs that cover the range of the operator which quantizes them."""
    rng = np.random.default_rng(seed)
    return {name: _sample(graph, graph.tensors[name], count, rng) for name in graph.inputs}


def _sample(graph: ir.Graph, tensor: ir.Tensor, count: int, rng: np.random.Generator) -> Array:
    shape = (count, *tensor.shape)
    quantize = next((op for op in graph.consumers.get(tensor.name, ()) if isinstance(op, ir.Quantize)), None)
    if tensor.quant is not None:
        return rng.integers(tensor.quant.qmin, tensor.quant.qmax + 1, shape).astype(element_type(tensor))
    if np.issubdtype(np.dtype(tensor.dtype), np.integer):
        info = np.iinfo(tensor.dtype)
        return rng.integers(max(info.min, -128), min(info.max, 255) + 1, shape).astype(tensor.dtype)
    if quantize is None:
        return rng.normal(size=shape).astype(tensor.dtype)
    out = graph.quant(quantize.output)
    low, high = ((q - quantize.zero_point) * quantize.scale for q in (out.qmin, out.qmax))
    return rng.uniform(low, high, shape).astype(tensor.dtype)


def write_vectors(path: Path, graph: ir.Graph) -> None:
    """in.NAME and out.NAME: inputs, and the outputs of the integer reference."""
    inputs = sample_inputs(graph, VECTOR_SAMPLES)
    expected = ops.run(graph, inputs)
    arrays = {f"in.{name}": array for name, array in inputs.items()}
    arrays |= {f"out.{name}": expected[name] for name in graph.outputs}
    np.savez(path, allow_pickle=False, **arrays)


# -- measurements -------------------------------------------------------------------------------------------------


def processor() -> str:
    """The CPU's name as the operating system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def measured_latency(seconds: Array, what: str, how: str) -> Quantity:
    """Median latency of one sample on one thread, with the 10th and 90th percentile."""
    low, median, high = (float(value) for value in np.quantile(seconds, (0.1, 0.5, 0.9)))
    source = f"{len(seconds)} runs of {what}, batch 1, one thread, 10th to 90th percentile; {processor()}; {how}"
    return Quantity(median, low, high, "s", "measured", source)
