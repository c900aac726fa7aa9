"""What describes a bundle and builds it: bundle.json, Makefile, CMakeLists.txt, README.md.

The user's names of inputs and outputs stand in bundle.json, whatever they are, and in comments and the README where
they are identifiers; code calls them `input_0`, `output_0` and so on, in the model's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...compiler.integer import graph as ir
from ..bundle import element_type, is_identifier
from .interface import Interface
from .program import RUNTIME, Program, board_files, keep_flags, link_flags, model_sources, size_flags
from .source import c_type
from .toolchain import Toolchain

SCHEMA = "prunus.c-bundle/2"


# -- bundle.json --------------------------------------------------------------------------------------------------


def describe(graph: ir.Graph, made: Program, toolchain: Toolchain, names: Mapping[str, str]) -> dict[str, Any]:
    """The content of bundle.json, without digests. `names`: plain names of the graph's inputs and outputs -> the
    user's."""
    model = made.model
    return {
        "schema": SCHEMA,
        "inputs": [_input(model, symbol, name, names) for symbol, name in model.inputs()],
        "outputs": [_output(graph, model, symbol, name, names) for symbol, name in model.outputs()],
        "host": [op.name for op in graph.ops if isinstance(op, ir.Island)],
        "memory": {
            "arena_bytes": made.plan.arena_bytes,
            "live_bytes": made.plan.live_bytes,
            "stack_bytes": made.memory.stack_bytes,
            "constant_bytes": made.memory.constant_bytes,
            "code_bytes": made.memory.code_bytes,
        },
        "kernels": list(made.kernels),
        "compiler": {"name": toolchain.compiler, "flags": list(toolchain.compile_flags(made.macros))},
        "toolchain": asdict(toolchain),
    }


def _value(model: Interface, symbol: str, name: str) -> dict[str, Any]:
    tensor, quant = model.core.tensors[name], model.core.quant(name)
    return {
        "symbol": symbol,
        "dtype": element_type(tensor),
        "shape": list(tensor.shape),
        "scale": quant.scale,
        "zero_point": quant.zero_point,
    }


def _input(model: Interface, symbol: str, name: str, names: Mapping[str, str]) -> dict[str, Any]:
    outer = model.quantize[name].inputs[0] if name in model.quantize else name
    return {**_value(model, symbol, name), "name": names.get(outer, outer), "float": name in model.quantize}


def _output(graph: ir.Graph, model: Interface, symbol: str, name: str, names: Mapping[str, str]) -> dict[str, Any]:
    """`name`: the model's output that it is, or that float layers of the caller make of it."""
    reached = {name}
    for op in graph.ops:
        if isinstance(op, (ir.Dequantize, ir.Island)) and reached.intersection(op.inputs):
            reached.update(op.outputs)
    outer = next((output for output in graph.outputs if output in reached), name)
    finished = outer == name or (name in model.dequantize and model.dequantize[name].output == outer)
    return {
        **_value(model, symbol, name),
        "name": names.get(outer, outer),
        "float": name in model.dequantize,
        "float_layers_follow": not finished,
    }


# -- files --------------------------------------------------------------------------------------------------------


def documents(made: Program, toolchain: Toolchain, title: str, description: Mapping[str, Any]) -> dict[str, str]:
    """File name -> text."""
    flags = " ".join(toolchain.compile_flags(made.macros))
    sources = model_sources(made)
    runner = " ".join(toolchain.runner())
    makefile = _template("Makefile.in").format(
        title=title,
        compiler=toolchain.compiler,
        size_tool=toolchain.size_tool,
        flags=flags,
        board_flags=toolchain.tick_flag if toolchain.embedded else "",
        model_sources=" ".join(sources),
        keep=" ".join((*size_flags(toolchain), *keep_flags(made.model))),
        board=board_files(toolchain)[0],
        link=" ".join(link_flags(toolchain)),
        emulator=runner,
    )
    lists = _template("CMakeLists.txt.in").format(model_sources="\n  ".join(sources), macros=" ".join(made.macros))
    if not toolchain.embedded:
        makefile += _template("Makefile.linux.in")
        lists += _template("CMakeLists.linux.in")
    return {"Makefile": makefile, "CMakeLists.txt": lists, "README.md": _readme(made, toolchain, title, description)}


def _template(name: str) -> str:
    return (RUNTIME / name).read_text(encoding="utf-8")


def _readme(made: Program, toolchain: Toolchain, title: str, description: Mapping[str, Any]) -> str:
    model, memory = made.model, made.memory
    follow = any(output["float_layers_follow"] for output in description["outputs"])
    linux = _template("README.linux.in") if not toolchain.embedded else ""
    if toolchain.compiler != "cc" and linux:
        linux += _template("README.cross.in")
    return _template("README.md.in").format(
        summary=f"{len(model.core.ops)} operators on {', '.join(made.kernels)}.",
        title=title,
        linux=linux,
        flags=" ".join(toolchain.compile_flags(made.macros)),
        example=_example(model),
        values="\n".join(_line(value) for kind in ("inputs", "outputs") for value in description[kind]),
        leftover="\nFloat layers at the end (Softmax, say) are left to the caller.\n" if follow else "",
        arena_bytes=made.plan.arena_bytes,
        constant_bytes=memory.constant_bytes,
        stack_bytes=memory.stack_bytes,
    )


def _line(value: Mapping[str, Any]) -> str:
    name = f" (`{value['name']}`)" if is_identifier(value["name"]) else ""
    grid = f"real = (q - {value['zero_point']}) * {value['scale']:.9g}"
    return f"* `{value['symbol']}`{name}: {value['dtype']} {value['shape']}, {grid}"


def _example(model: Interface) -> str:
    """A call with every input and output: floats where the model has functions for them."""
    declarations, before, after = [], [], []
    for symbol, name in model.values():
        place, count = f"prunus_model_{symbol}()", f"PRUNUS_MODEL_{symbol.upper()}_BYTES"
        if name in model.quantize:
            before.append(f"prunus_model_quantize_{symbol}({symbol}, {count}, {place});")
        elif symbol.startswith("input"):
            before.append(f"memcpy({place}, {symbol}, {count});")
        elif name in model.dequantize:
            after.append(f"prunus_model_dequantize_{symbol}({place}, {count}, {symbol});")
        else:
            after.append(f"memcpy({symbol}, {place}, {count});")
        is_float = name in model.quantize or name in model.dequantize
        declarations.append(f"{'float' if is_float else c_type(model.core.tensors[name])} {symbol}[{count}];")
    return "\n".join((*declarations, "", *before, "if (prunus_model_run() != PRUNUS_OK) return 1;", *after))
