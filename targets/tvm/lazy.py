"""TVM is imported on first use: most of the target works without it.

Two installations look right and are not: the package `tvm` of PyPI is another project, and versions of `apache-tvm-ffi`
other than the pinned one crash or do not load. `problem` tells them apart without importing anything.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...compiler.errors import ToolError, missing_extra

FFI_VERSION = "0.1.14.post0"  # as in pyproject.toml; 0.1.15.post2 ends in a segmentation fault


def problem() -> ToolError | None:
    """What keeps TVM from being used, with the fix; None where nothing is known to. Imports nothing."""
    spec = importlib.util.find_spec("tvm")
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


def import_tvm() -> Any:
    """The package `tvm`. Raises ToolError where it is not installed, or not one that works."""
    found = problem()
    if found is not None:
        raise found
    try:
        import tvm
        import tvm.relax.frontend.onnx
    except ImportError as error:
        raise missing_extra("apache-tvm", "tvm") from error
    return tvm


# what TVM's frontend, passes and code generator raise; its own errors are RuntimeErrors
FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def rename_globals(function: Any, new: Callable[[Any], Any]) -> Any:
    """A Relax function with `new(variable)` in place of every global variable that it refers to."""
    relax = import_tvm().relax
    methods = {"visit_global_var_": lambda _self, variable: new(variable)}
    mutator = relax.expr_functor.mutator(type("RenameGlobals", (relax.PyExprMutator,), methods))
    return mutator().visit_expr(function)
