"""The float network as GPU kernels: ONNX -> Relax -> dlight's schedules -> CUDA or OpenCL inside a host library.

The library carries the kernels as source text; TVM's runtime for the device compiles them when it loads the library.
Neither a GPU nor its vendor's compiler is needed here. Every name in the source comes from TVM's operator names and
from the plain names that loading gave the model.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from ...compiler.errors import InvalidModelError, ToolError, UnsupportedError, UsageError
from ...compiler.model.model import Model
from ...compiler.target import Device
from ..process import run
from ..tvm.build import COMPILE_TIMEOUT_S, LINK_FLAGS
from ..tvm.lazy import FAILURES, import_tvm
from .schedules import scheduled

FLOAT_TYPES = ("float32", "float16")
SUFFIX = {"cuda": ".cu", "opencl": ".cl"}  # of the kernels' source
# of one block of threads: what every device of the kind has
LIMITS: Mapping[str, Mapping[str, int]] = {
    "cuda": {"max_threads_per_block": 1024, "max_shared_memory_per_block": 49152, "thread_warp_size": 32},
    "opencl": {"max_num_threads": 256},
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Settings:
    """What a device file says about the library."""

    api: str  # cuda or opencl
    arch: str  # of CUDA devices, such as sm_87; empty: TVM's default
    host: str  # triple of the host's CPU; empty: this machine
    batch: int
    float_type: str

    @property
    def linker(self) -> tuple[str, str]:
        """The C compiler that links for the host, and the Debian package that holds it."""
        if not self.host:
            return "gcc", "gcc"
        return f"{self.host}-gcc", f"gcc-{self.host}"


def settings_of(device: Device) -> Settings:
    """Reads the device's settings. Raises UsageError for what is none of the known values."""
    data = device.data
    found = Settings(
        api=str(data.get("api", "")),
        arch=str(data.get("arch", "")),
        host=str(data.get("host", "")),
        batch=int(data.get("batch", 1)),
        float_type=str(data.get("float_type", FLOAT_TYPES[0])),
    )
    words = [word for word in (found.arch, found.host) if word and not _WORD.fullmatch(word)]
    if found.api not in SUFFIX or found.float_type not in FLOAT_TYPES or found.batch < 1 or words:
        raise UsageError(
            "A setting of the GPU is not one of the known values.",
            code="device-setting",
            where=device.name,
            why=f"api {found.api[:64]!r}, float_type {found.float_type[:64]!r}, batch {found.batch}, {words!r:.64}",
            hint=f"api: {', '.join(SUFFIX)}; float_type: {', '.join(FLOAT_TYPES)}; batch: 1 or more.",
        )
    return found


def read_model(model: Model, settings: Settings) -> Any:
    """The model as a Relax module, its free batch bound. Raises UnsupportedError, InvalidModelError."""
    proto = model.to_proto()
    refuse_unsafe_names(proto)
    for value in proto.graph.input:
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.HasField("dim_value"):
            batch.dim_value = settings.batch
    del proto.graph.value_info[:]  # inferred with the batch that was bound
    relax = import_tvm().relax
    try:
        module = relax.frontend.onnx.from_onnx(proto, keep_params_in_input=False)
        if settings.float_type == "float16":
            module = relax.transform.ToMixedPrecision(out_dtype="float16")(relax.transform.ConvertToDataflow()(module))
    except FAILURES as error:
        raise UnsupportedError(
            "TVM's ONNX frontend does not read the float network.",
            code="float-unsupported",
            why=str(error)[:500],
            hint="The int8 model alone needs no TVM: `prunus quantize` writes it for TensorRT.",
        ) from error
    return module


def refuse_unsafe_names(proto: onnx.ModelProto) -> None:
    """Raises InvalidModelError where a name could mean something in generated code: only identifiers pass."""
    graph = proto.graph
    values = [*graph.input, *graph.output, *graph.initializer]
    names = [value.name for value in values] + [name for node in graph.node for name in (node.name, *node.output)]
    unsafe = next((name for name in names if name and not _PLAIN.fullmatch(name)), None)
    if unsafe is not None:
        raise InvalidModelError(
            "A name of the model is not a plain identifier.",
            code="unsafe-name",
            where=ascii(unsafe[:64]),
            hint="Load the model through prunus.compiler.load, which renames everything.",
        )


@dataclass(frozen=True)
class Built:
    """The source of the GPU kernels, and how many got a plainer schedule since a rule of TVM's failed, by rule."""

    source: str
    plain: Mapping[str, int]


def build_library(model: Model, settings: Settings, library: Path) -> Built:
    """Compiles the model into `library`.

    Raises UnsupportedError, InvalidModelError, and ToolError where TVM or the linker is missing or fails.
    """
    tvm = import_tvm()
    linker = _find_linker(settings)
    module = read_model(model, settings)
    host = {"kind": "llvm", **({"mtriple": settings.host} if settings.host else {})}
    gpu = {"kind": settings.api, **LIMITS[settings.api], **({"arch": settings.arch} if settings.arch else {})}
    try:
        target = tvm.target.Target(gpu, host=tvm.target.Target(host))
        module, plain = scheduled(module, target)
        executable = tvm.compile(module, target=target)
    except FAILURES as error:
        raise ToolError("TVM failed to compile the float network.", code="tvm-failed", why=str(error)[-500:]) from error
    _link(executable, linker, library)
    source = "\n".join(part.inspect_source() for part in _device_modules(executable.mod, settings.api))
    return Built(source, plain)


def _find_linker(settings: Settings) -> str:
    name, package = settings.linker
    found = shutil.which(name)
    if found is None:
        raise ToolError(
            "The C compiler that links for the GPU's host is missing.",
            code="missing-compiler",
            where=name,
            hint=f"Debian: apt install {package}",
        )
    return found


def _device_modules(module: Any, api: str) -> list[Any]:
    """The modules of GPU kernels below a host module, in order."""
    found = [module] if module.kind == api else []
    return found + [inner for each in module.imports for inner in _device_modules(each, api)]


def _link(executable: Any, linker: str, library: Path) -> None:
    with TemporaryDirectory(prefix="prunus-gpu-") as name:

        def link_objects(_name: str, files: Sequence[str], **_options: Any) -> None:
            argv = [linker, *LINK_FLAGS, *(Path(file).name for file in files), "-lm", "-o", str(library.absolute())]
            run(argv, what="Linking the library", cwd=Path(name), timeout_s=COMPILE_TIMEOUT_S)

        executable.export_library(str(library), fcompile=link_objects, workspace_dir=name, addons=[])
