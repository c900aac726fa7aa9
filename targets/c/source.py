"""The generated C: model.h, model.c, model_weights.h, model_float.c, vectors.h.

Only numbers and names that `refuse_unsafe_names` has passed enter the text, so nothing needs escaping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.integer import graph as ir
from ..bundle import is_identifier
from .arena import Plan
from .calls import DTYPES, Call, Code, Place, braces, literal
from .interface import Interface

Array = npt.NDArray[Any]

C_TYPES: Mapping[str, str] = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "float32": "float",
}
WIDTH = 118  # characters of a line of numbers


def c_type(tensor: ir.Tensor) -> str:
    """The element type of an integer tensor."""
    assert tensor.quant is not None
    return {"u8": "uint8_t", "s8": "int8_t"}[tensor.quant.dtype]


def constant(name: str, values: Array, declaration: str = "static const") -> str:
    """The definition of a constant array."""
    flat = np.asarray(values).ravel()
    words = [literal(value) for value in flat.tolist()] if flat.dtype.kind == "f" else [*map(str, flat.tolist())]
    per_line = max(1, WIDTH // (max(map(len, words), default=1) + 2))
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return f"{declaration} {C_TYPES[flat.dtype.name]} {name}[{flat.size}] = {{\n  " + ",\n  ".join(lines) + "};\n"


def _describe(value: Mapping[str, Any]) -> str:
    """Of an entry of bundle.json. A user's name is shown where it is an identifier: nothing else enters the code."""
    name = f" {value['name']}" if is_identifier(value["name"]) else ""
    shape = ", ".join(map(str, value["shape"]))
    return f"{name}: {value['dtype']} [{shape}], real = (q - {value['zero_point']}) * {value['scale']:.9g}"


# -- model.h ------------------------------------------------------------------------------------------------------

HEADER = """\
/* An integer neural network in C. Generated.
 *
 * Write the inputs, call prunus_model_run(), read the outputs. They stand in the model's static arena and share bytes
 * with everything between them: write all inputs before every run, read the outputs before the next. Not reentrant.
 */
#ifndef PRUNUS_MODEL_H
#define PRUNUS_MODEL_H

#include "prunus/kernels.h"

#ifdef __cplusplus
extern "C" {{
#endif

#define PRUNUS_ARENA_BYTES {arena_bytes}

{inputs}
{outputs}
/* PRUNUS_OK, always, unless this file and the kernels do not belong together. */
prunus_status prunus_model_run(void);
{border}
#ifdef PRUNUS_MODEL_TRACE
/* For verification, yours to define: is shown every result of an operator, in order. */
void prunus_model_trace(const void *data, size_t bytes);
#endif

#ifdef __cplusplus
}}
#endif
#endif
"""

BORDER = """
/* model_float.c: y[i] is the integer of x[i], and back. A float unit helps, but is not needed. */
"""


def header(model: Interface, plan: Plan, description: Mapping[str, Any]) -> str:
    """model.h. `description`: the content of bundle.json."""
    tensors = model.core.tensors
    inputs = [
        f"/* {value['symbol']}{_describe(value)} */\n"
        f"#define PRUNUS_MODEL_{symbol.upper()}_BYTES {tensors[name].size}\n"
        f"{c_type(tensors[name])} *prunus_model_{symbol}(void);\n"
        for (symbol, name), value in zip(model.inputs(), description["inputs"], strict=True)
    ]
    outputs = [
        f"/* {value['symbol']}{_describe(value)} */\n"
        f"#define PRUNUS_MODEL_{symbol.upper()}_BYTES {tensors[name].size}\n"
        f"const {c_type(tensors[name])} *prunus_model_{symbol}(void);\n"
        for (symbol, name), value in zip(model.outputs(), description["outputs"], strict=True)
    ]
    border = [f"{signature};\n" for signature in _border_signatures(model).values()]
    return HEADER.format(
        arena_bytes=plan.arena_bytes,
        inputs="\n".join(inputs),
        outputs="\n".join(outputs),
        border=BORDER + "".join(border) if border else "",
    )


def _border_signatures(model: Interface) -> dict[str, str]:
    """Input that is quantized or output that is dequantized -> the signature of the function that does it."""
    found = {}
    for symbol, name in model.inputs():
        if name in model.quantize:
            y = f"{c_type(model.core.tensors[name])} *y"
            found[symbol] = f"prunus_status prunus_model_quantize_{symbol}(const float *x, size_t count, {y})"
    for symbol, name in model.outputs():
        if name in model.dequantize:
            x = f"const {c_type(model.core.tensors[name])} *x"
            found[symbol] = f"prunus_status prunus_model_dequantize_{symbol}({x}, size_t count, float *y)"
    return found


def border_source(model: Interface) -> str:
    """model_float.c."""
    text = ['/* Quantization of float inputs, dequantization of outputs. Generated. */\n#include "model.h"\n']
    values = dict(model.values())
    for symbol, signature in _border_signatures(model).items():
        name = values[symbol]
        quant, quantize = model.core.quant(name), model.quantize.get(name)
        quant_type = braces(dtype=DTYPES[quant.dtype], zero_point=quant.zero_point)
        if quantize is not None:
            end = braces(type=quant_type, qmin=quant.qmin, qmax=quant.qmax)
            constants = f"static const prunus_epilogue end = {end};"
            call = f"prunus_quantize(count, {literal(quantize.scale)}, &end, x, y)"
        else:
            constants = f"static const prunus_type type = {quant_type};"
            call = f"prunus_dequantize(count, {literal(quant.scale)}, &type, x, y)"
        text.append(f"\n{signature} {{\n  {constants}\n  return {call};\n}}\n")
    return "".join(text)


# -- model.c ------------------------------------------------------------------------------------------------------

MODEL = """\
/* The network, operator by operator, on a static arena. Generated. */
#include "model.h"

#include "model_weights.h"

#ifdef PRUNUS_MODEL_TRACE
#define TRACE(offset, bytes) prunus_model_trace(&arena[offset], bytes)
#else
#define TRACE(offset, bytes) ((void)0)
#endif

static uint8_t arena[PRUNUS_ARENA_BYTES];

{structs}
prunus_status prunus_model_run(void) {{
  prunus_status status = PRUNUS_OK;
{body}  return status;
}}

{places}"""


def model_source(model: Interface, plan: Plan, codes: Sequence[Code]) -> str:
    """model.c. `codes`: one per operator of the core."""
    structs = [
        fill(f"static const {kind} {name} = {value};", 120, subsequent_indent="    ", break_long_words=False) + "\n"
        for code in codes
        for name, (kind, value) in sorted(code.structs.items())
    ]
    body = []
    for op, code in zip(model.core.ops, codes, strict=True):
        body.append(f"  /* {op.name}: {op.kind} -> {op.output} */\n")
        for call in code.calls:
            body.append(f"  status = {_call(call, plan)};\n  if (status) return status;\n")
        body.append(f"  TRACE({plan.offsets[op.output]}, {model.core.tensors[op.output].size});\n")
    return MODEL.format(structs="".join(structs), body="".join(body), places=_places(model, plan))


def _call(call: Call, plan: Plan) -> str:
    words = [
        f"&arena[{plan.offsets[argument.tensor] + argument.offset}]" if isinstance(argument, Place) else argument
        for argument in call.arguments
    ]
    return f"{call.kernel}({', '.join(words)})"


def _places(model: Interface, plan: Plan) -> str:
    lines = []
    for const, values in (("", model.inputs()), ("const ", model.outputs())):
        for symbol, name in values:
            c = f"{const}{c_type(model.core.tensors[name])} *"
            cast = "" if c.endswith("uint8_t *") else f"({c})"
            lines.append(f"{c}prunus_model_{symbol}(void) {{ return {cast}&arena[{plan.offsets[name]}]; }}\n")
    return "".join(lines)


def weights_source(codes: Sequence[Code]) -> str:
    """model_weights.h: every constant array, in the order of the operators."""
    arrays = {name: values for code in codes for name, values in code.arrays.items()}
    bytes_ = sum(values.nbytes for values in arrays.values())
    text = [f"/* Weights, biases, multipliers and tables: {bytes_} bytes. Generated, for model.c alone. */\n"]
    text.append('#include "prunus/kernels.h"\n\n')
    return "".join([*text, *(constant(name, values) for name, values in arrays.items())])


# -- vectors.h ----------------------------------------------------------------------------------------------------


def vectors_source(model: Interface, values: Mapping[str, Array]) -> str:
    """vectors.h: inputs and expected outputs of a few samples, and how to write and compare them."""
    count = len(next(iter(values.values()))) if values else 0
    text = ["/* Test vectors: inputs and the outputs of the integer reference. Generated, for main.c alone. */\n"]
    text.append(f'#include "model.h"\n\nenum {{ VECTORS = {count} }};\n\n')
    loads, checks = [], []
    for symbol, name in model.values():
        size = model.core.tensors[name].size
        text.append(constant(f"vectors_{symbol}", values[name]))
        loop, place = f"  for (int i = 0; i < {size}; ++i) ", f"vectors_{symbol}[index * {size} + i]"
        if symbol.startswith("input"):
            loads.append(f"{loop}prunus_model_{symbol}()[i] = {place};\n")
        else:
            checks.append(f"{loop}wrong += prunus_model_{symbol}()[i] != {place};\n")
    text.append(f"\nstatic void vectors_load(int index) {{\n{''.join(loads)}}}\n")
    text.append(f"\nstatic int vectors_wrong(int index) {{\n  int wrong = 0;\n{''.join(checks)}  return wrong;\n}}\n")
    return "".join(text)
