"""Whether the TVM that is installed is the right one, without importing it.

PyPI's package `tvm` is another project whose module takes the same name; and newer versions of `apache-tvm-ffi` crash
in the compiler of the TVM that we build on (`Schedule.tensorize` under 0.1.15.post2).
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ...compiler.errors import ToolError, missing_extra

FFI_VERSION = "0.1.14.post0"  # as in pyproject.toml


def fault() -> ToolError | None:
    """What keeps TVM from being used, with the fix; None where nothing is known to."""
    spec = find_spec("tvm")
    if spec is None or spec.origin is None:
        return missing_extra("apache-tvm", "tvm")
    if not Path(spec.origin).with_name("relax").is_dir():
        return ToolError(
            "The installed Python package 'tvm' is not Apache TVM.",
            code="wrong-tvm",
            why="PyPI's 'tvm' is another project of that name; Apache's is called 'apache-tvm'.",
            hint="pip uninstall tvm && pip install --force-reinstall 'prunus[tvm]'",
        )
    try:
        found = version("apache-tvm-ffi")
    except PackageNotFoundError:
        return missing_extra("apache-tvm-ffi", "tvm")
    if found == FFI_VERSION:
        return None
    return ToolError(
        "The installed version of 'apache-tvm-ffi' does not work with Apache TVM 0.27.",
        code="wrong-tvm-ffi",
        why=f"Found {found}, needed {FFI_VERSION}: others crash while a model is compiled.",
        hint=f"pip install 'apache-tvm-ffi=={FFI_VERSION}'",
    )
