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


def _describe(tensor: ir.Tensor) -> str:
    quant = tensor.quant
    assert quant is not None
    shape = ", ".join(map(str, tensor.shape))
    return f"{tensor.name}: {c_type(tensor)[:-2]} [{shape}], real = (q - {quant.zero_point}) * {quant.scale:.9g}"


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


def header(model: Interface, plan: Plan) -> str:
    """model.h."""
    tensors = model.core.tensors
    inputs = [
        f"/* Input {_describe(tensors[name])} */\n"
        f"#define PRUNUS_MODEL_INPUT_{name}_BYTES {tensors[name].size}\n"
        f"{c_type(tensors[name])} *prunus_model_input_{name}(void);\n"
        for name in model.core.inputs
    ]
    outputs = [
        f"/* Output {_describe(tensors[name])} */\n"
        f"#define PRUNUS_MODEL_OUTPUT_{name}_BYTES {tensors[name].size}\n"
        f"const {c_type(tensors[name])} *prunus_model_output_{name}(void);\n"
        for name in model.core.outputs
    ]
    border = [f"{signature};\n" for signature in _border_signatures(model).values()]
    return HEADER.format(
        arena_bytes=plan.arena_bytes,
        inputs="\n".join(inputs),
        outputs="\n".join(outputs),
        border=BORDER + "".join(border) if border else "",
    )


def _border_signatures(model: Interface) -> dict[str, str]:
    """Function name -> its signature, for inputs that are quantized and outputs that are dequantized."""
    found = {}
    for name in model.quantize:
        c = c_type(model.core.tensors[name])
        function = f"prunus_model_quantize_{name}"
        found[function] = f"prunus_status {function}(const float *x, size_t count, {c} *y)"
    for name in model.dequantize:
        c = c_type(model.core.tensors[name])
        function = f"prunus_model_dequantize_{name}"
        found[function] = f"prunus_status {function}(const {c} *x, size_t count, float *y)"
    return found


def border_source(model: Interface) -> str:
    """model_float.c."""
    signatures = _border_signatures(model)
    text = ['/* Quantization of float inputs, dequantization of outputs. Generated. */\n#include "model.h"\n']
    for name, quantize in model.quantize.items():
        quant = model.core.quant(name)
        end = braces(
            type=braces(dtype=DTYPES[quant.dtype], zero_point=quantize.zero_point),
            qmin=quant.qmin,
            qmax=quant.qmax,
        )
        text.append(
            f"\n{signatures[f'prunus_model_quantize_{name}']} {{\n"
            f"  static const prunus_epilogue end = {end};\n"
            f"  return prunus_quantize(count, {literal(quantize.scale)}, &end, x, y);\n}}\n"
        )
    for name in model.dequantize:
        quant = model.core.quant(name)
        text.append(
            f"\n{signatures[f'prunus_model_dequantize_{name}']} {{\n"
            f"  static const prunus_type type = "
            f"{braces(dtype=DTYPES[quant.dtype], zero_point=quant.zero_point)};\n"
            f"  return prunus_dequantize(count, {literal(quant.scale)}, &type, x, y);\n}}\n"
        )
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
    for kind, const, names in (("input", "", model.core.inputs), ("output", "const ", model.core.outputs)):
        for name in names:
            c = f"{const}{c_type(model.core.tensors[name])} *"
            cast = "" if c.endswith("uint8_t *") else f"({c})"
            value = f"{cast}&arena[{plan.offsets[name]}]"
            lines.append(f"{c}prunus_model_{kind}_{name}(void) {{ return {value}; }}\n")
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
    for kind, names in (("input", model.core.inputs), ("output", model.core.outputs)):
        for name in names:
            tensor = model.core.tensors[name]
            text.append(constant(f"vectors_{kind}_{name}", values[name]))
            place = f"vectors_{kind}_{name}[index * {tensor.size} + i]"
            loop = f"  for (int i = 0; i < {tensor.size}; ++i) "
            if kind == "input":
                loads.append(f"{loop}prunus_model_input_{name}()[i] = {place};\n")
            else:
                checks.append(f"{loop}wrong += prunus_model_output_{name}()[i] != {place};\n")
    text.append(f"\nstatic void vectors_load(int index) {{\n{''.join(loads)}}}\n")
    text.append(f"\nstatic int vectors_wrong(int index) {{\n  int wrong = 0;\n{''.join(checks)}  return wrong;\n}}\n")
    return "".join(text)
