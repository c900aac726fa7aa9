"""TVM is imported on first use: most of the target works without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...compiler.errors import missing_extra
from .installed import fault


def import_tvm() -> Any:
    """The package `tvm`. Raises ToolError where it is not installed, or not one that works (`installed.py`)."""
    found = fault()
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
