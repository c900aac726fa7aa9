"""The folder that is handed over: the model, the library of its operators, a loader, test vectors, and what they are.

model.onnx         one node of domain `prunus` per integer region, standard ONNX between them
libprunus_ort.so   the operators of that domain for onnxruntime
loader.py          opens a session; checks it on the vectors
vectors.npz        in.NAME and out.NAME: inputs and the outputs of the integer reference
bundle.json        names, shapes, types, regions, digests of the files above
README.txt
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ...compiler.errors import ToolError
from ...compiler.integer import graph as ir
from ...compiler.output import as_json, write_text
from ..bundle import digest, value_description, write_vectors
from ..native import split
from .model import build_model

SCHEMA = "prunus.ort-bundle/1"
MODEL, LIBRARY, LOADER = "model.onnx", "libprunus_ort.so", "loader.py"
VECTORS, DESCRIPTION, README = "vectors.npz", "bundle.json", "README.txt"
MIN_ONNXRUNTIME = "1.17"  # ORT_API_VERSION of src/ort_api.h
LOADER_TEMPLATE = Path(__file__).parent / "runtime" / LOADER

README_TEXT = """\
An integer neural network for onnxruntime, with operators of its own.

  python loader.py       runs model.onnx on vectors.npz and prints the largest error

  from loader import load
  outputs = load(threads=1).run(None, {{{example}: array}})

It needs onnxruntime {onnxruntime} or later for CPUs of this kind, in any language: register {library} with
RegisterCustomOpsLibrary (Python: SessionOptions.register_custom_ops_library) before opening model.onnx.
The library chooses the kernels for the CPU it runs on; PRUNUS_ISA=generic restricts them.

Inputs and outputs (n is the batch, which is free):
{values}
"""


def find_library() -> Path:
    """The operators' library, built with this package. Raises ToolError where it is missing."""
    candidates = [Path(__file__).with_name(LIBRARY)]
    with contextlib.suppress(PackageNotFoundError):  # an editable installation keeps apart what was built
        candidates.append(Path(str(distribution("prunus").locate_file(f"prunus/targets/ort/{LIBRARY}"))))
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise ToolError(
            "The library with the operators for onnxruntime is missing.",
            code="missing-library",
            where=LIBRARY,
            why="It is built together with the package.",
            hint="Install the package again: pip install --no-build-isolation -e .",
        )
    return found


def write_bundle(out: Path, graph: ir.Graph) -> dict[str, Any]:
    """Writes all files; returns the content of bundle.json."""
    (out / MODEL).write_bytes(build_model(graph).SerializeToString(deterministic=True))
    shutil.copyfile(find_library(), out / LIBRARY)
    shutil.copyfile(LOADER_TEMPLATE, out / LOADER)
    write_vectors(out / VECTORS, graph)
    description: dict[str, Any] = {
        "schema": SCHEMA,
        "inputs": [value_description(graph.tensors[name]) for name in graph.inputs],
        "outputs": [value_description(graph.tensors[name]) for name in graph.outputs],
        "parts": [_part(part) for part in split(graph)],
        "packages": {"onnxruntime": f">={MIN_ONNXRUNTIME}"},
        "sha256": {name: digest(out / name) for name in (MODEL, LIBRARY, LOADER, VECTORS)},
    }
    write_text(out / DESCRIPTION, as_json(description))
    write_text(out / README, _readme(description))
    return description


def _part(part: ir.Graph | ir.Island) -> dict[str, Any]:
    kind = {"island": part.reason} if isinstance(part, ir.Island) else {"operators": len(part.ops)}
    return {"name": part.name, **kind, "inputs": list(part.inputs), "outputs": list(part.outputs)}


def _readme(description: Mapping[str, Any]) -> str:
    values = [
        f"  {kind:6} {value['name']}  {value['dtype']}  [{', '.join(map(str, value['shape']))}]"
        for kind in ("input", "output")
        for value in description[f"{kind}s"]
    ]
    return README_TEXT.format(
        example=repr(description["inputs"][0]["name"]) if description["inputs"] else "",
        onnxruntime=MIN_ONNXRUNTIME,
        library=LIBRARY,
        values="\n".join(values),
    )
