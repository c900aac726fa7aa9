"""A compiler pass for equal bytes: the size functions that TVM makes for a symbolic batch, in canonical form.

VMShapeLower collects the sizes of all buffers (multiples of the batch) into functions `shape_func…`. It writes them in
the order of memory addresses and merges equal functions, so their content, number and names differ from run to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .lazy import import_tvm, rename_globals

_MADE_BY_TVM = "shape_func"


def canonical_sizes() -> Any:
    """The pass: stores in the order of their slots, equal functions merged, names in the order of first use.

    The stores of one function are independent: each computes one size from the batch.
    """
    tvm = import_tvm()

    def run(module: Any, _context: Any) -> Any:
        functions = sorted(module.functions_items(), key=lambda item: str(item[0].name_hint))
        sizes = {var: _sorted_stores(func) for var, func in functions if var.name_hint.startswith(_MADE_BY_TVM)}
        merged = _Merged(sizes)
        result = {
            var: rename_globals(func, merged.new_name) if isinstance(func, tvm.relax.Function) else func
            for var, func in functions
            if var not in sizes
        }
        return tvm.IRModule({**result, **merged.functions}, attrs=module.attrs)

    return tvm.transform.module_pass(run, opt_level=0, name="CanonicalSizes")


def _sorted_stores(function: Any) -> Any:
    tirx = import_tvm().tirx
    if not isinstance(function.body, tirx.SeqStmt):
        return function
    return function.with_body(tirx.SeqStmt(sorted(function.body.seq, key=lambda store: int(store.indices[0]))))


class _Merged:
    """The size functions under their new global variables, one per content; filled while their callers are renamed."""

    def __init__(self, sizes: Mapping[Any, Any]) -> None:
        self.functions: dict[Any, Any] = {}
        self._sizes = sizes
        self._by_content: dict[str, Any] = {}
        self._builder = import_tvm().relax.BlockBuilder()  # makes global variables that carry their function's type

    def new_name(self, variable: Any) -> Any:
        """The global variable that takes the place of another one."""
        if variable not in self._sizes:
            return variable
        name = f"sizes_{len(self.functions)}"
        function = self._sizes[variable].with_attr("global_symbol", "sizes")
        content = str(function.script())
        if content not in self._by_content:
            self._by_content[content] = self._builder.add_func(function, name)
            self.functions[self._by_content[content]] = function.with_attr("global_symbol", name)
        return self._by_content[content]
