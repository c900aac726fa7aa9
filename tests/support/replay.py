"""A C program that replays golden vectors on the portable kernels: for compilers, flags and machines without Python.

    source = program(cases)      # {name: (graph, feeds, results)}

The program prints how many operators it ran and each one that differs, and fails if any does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops

Case = tuple[ir.Graph, Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "uint32": "uint32_t", "float32": "float"}
DTYPES = {"u8": "PRUNUS_U8", "s8": "PRUNUS_S8"}
SCHEMES = {"f32": "PRUNUS_F32", "fixed": "PRUNUS_FIXED", "pow2": "PRUNUS_POW2"}

HEAD = """#include "prunus/kernels.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static unsigned char y[1 << 16];
static int ran, failed;

static void verify(const char *name, prunus_status status, const void *expected, size_t size) {
  ++ran;
  if (status == PRUNUS_OK && memcmp(y, expected, size) == 0) return;
  ++failed;
  printf("%s differs: %s\\n", name, prunus_status_text(status));
}
"""
TAIL = """
  printf("%d operators, %d differ\\n", ran, failed);
  return failed != 0 || ran == 0;
}
"""


def braces(values: Sequence[object]) -> str:
    return "{" + ", ".join(str(value) for value in values) + "}"


def literal(value: float) -> str:
    """A C literal of exactly this float32."""
    if np.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    return f"{float(value).hex()}f"


class Operator:
    """One operator as C: its arrays, and the call."""

    def __init__(self, name: str, graph: ir.Graph, op: ir.Op, inputs: Sequence[np.ndarray], y: np.ndarray) -> None:
        self.name, self.graph, self.op, self.y = name, graph, op, y
        self.arrays: list[str] = []
        self.x = [self.array(f"x{i}", x) for i, x in enumerate(inputs)]
        self.shapes = [x.shape for x in inputs]

    def array(self, field: str, data: np.ndarray) -> str:
        """Declares a constant array; gives its C name."""
        name = f"{self.name}_{field}"
        values = [literal(v) if data.dtype.kind == "f" else str(v) for v in data.ravel().tolist()]
        self.arrays.append(f"static const {C_TYPES[data.dtype.name]} {name}[] = {braces(values)};")
        return name

    def type(self, name: str) -> str:
        quant = self.graph.quant(name)
        return braces([DTYPES[quant.dtype], quant.zero_point])

    def epilogue(self) -> str:
        op = self.op
        m, multiplier, f32 = op.requant, "NULL", "NULL"
        if m.scheme == "f32":
            f32 = self.array("m", m.multiplier.astype(np.float32))
        else:
            multiplier = self.array("m", m.multiplier.astype(np.int32))
        requant = braces([SCHEMES[m.scheme], m.size, f32, multiplier, self.array("shift", m.shift)])
        return braces([requant, self.type(op.output), op.qmin, op.qmax])

    def window(self) -> str:
        w = self.op.window
        return braces([*w.kernel, *w.strides, *w.pads, *w.dilations])

    def call(self) -> str:
        """C statements that set `status`."""
        return getattr(self, self.op.kind)()

    def linear(self, function: str, struct: str, fields: Sequence[object]) -> str:
        weight, bias = self.array("w", self.op.weight), self.array("bias", self.op.bias)
        args = braces([*fields, self.type(self.op.inputs[0]), self.epilogue()])
        return f"const prunus_{struct} args = {args}; status = {function}(&args, {self.x[0]}, {weight}, {bias}, y);"

    def conv(self) -> str:
        n, c, h, w = self.shapes[0]
        group = self.op.group if isinstance(self.op, ir.QConv) else c
        sizes = (n, c, h, w, *self.y.shape[1:], group, self.window())
        return self.linear(f"prunus_{self.op.kind}2d", "conv2d_args", sizes)

    depthwise = conv

    def gemm(self) -> str:
        shape = self.shapes[0]
        return self.linear("prunus_gemm", "gemm_args", (int(np.prod(shape[:-1])), shape[-1], self.y.shape[-1]))

    def add(self) -> str:
        rank = self.y.ndim
        shapes = [braces([1] * (rank - len(shape)) + list(shape)) for shape in self.shapes]
        args = braces([rank, *shapes, *(self.type(name) for name in self.op.inputs), self.epilogue()])
        return f"const prunus_binary_args args = {args}; status = prunus_{self.op.kind}(&args, {', '.join(self.x)}, y);"

    mul = add

    def requant(self) -> str:
        size = self.y.size
        args = braces([1, size, size, 0, 0, self.type(self.op.inputs[0]), self.epilogue()])
        return f"const prunus_requant_args args = {args}; status = prunus_requantize(&args, {self.x[0]}, y);"

    def pool(self) -> str:
        n, c, h, w = self.shapes[0]
        x = self.op.inputs[0]
        fields = (n, c, h, w, *self.y.shape[2:], self.window(), self.type(x), self.graph.quant(x).qmin)
        return f"const prunus_pool2d_args args = {braces(fields)};"

    def maxpool(self) -> str:
        return f"{self.pool()} status = prunus_maxpool2d(&args, {self.x[0]}, y);"

    def avgpool(self) -> str:
        index = self.array("index", self.op.count_index)
        end = f"const prunus_epilogue end = {self.epilogue()};"
        return f"{self.pool()} {end} status = prunus_avgpool2d(&args, &end, {index}, {self.x[0]}, y);"

    def softmax(self) -> str:
        axis = self.op.axis + 1 if self.op.axis >= 0 else self.y.ndim + self.op.axis
        shape, quant = self.y.shape, self.graph.quant(self.op.output)
        outer, inner = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
        types = (self.type(self.op.inputs[0]), self.type(self.op.output))
        args = braces([outer, shape[axis], inner, self.op.reciprocal, *types, quant.qmin, quant.qmax])
        table = self.array("table", self.op.table)
        return f"const prunus_softmax_args args = {args}; status = prunus_softmax(&args, {table}, {self.x[0]}, y);"

    def quantize(self) -> str:
        op, quant = self.op, self.graph.quant(self.op.output)
        none = braces(["PRUNUS_F32", 0, "NULL", "NULL", "NULL"])
        end = braces([none, braces([DTYPES[quant.dtype], op.zero_point]), quant.qmin, quant.qmax])
        scale = literal(np.float32(op.scale))
        call = f"prunus_quantize({self.y.size}, {scale}, &end, {self.x[0]}, y)"
        return f"const prunus_epilogue end = {end}; status = {call};"


def program(cases: Mapping[str, Case]) -> str:
    """C source that runs every operator it knows how to call, on the reference's own inputs."""
    arrays, functions, calls = [], [], []
    for name, (graph, feeds, _) in cases.items():
        values = ops.run(graph, feeds, keep=True)
        for index, op in enumerate(graph.ops):
            if not hasattr(Operator, op.kind):
                continue
            inputs = [values[i].astype(np.float32) if op.kind == "quantize" else values[i] for i in op.inputs]
            c = Operator(f"{name}_{index}", graph, op, inputs, values[op.output])
            call = c.call()
            expected = c.array("y", c.y)
            arrays += c.arrays
            body = f'{call} verify("{c.name}", status, {expected}, sizeof {expected});'
            functions.append(f"static void {c.name}(void) {{ prunus_status status; {body} }}")
            calls.append(f"  {c.name}();")
    return "\n".join([HEAD, *arrays, *functions, "int main(void) {", *calls, TAIL])
