"""A pipelined netlist as synthesisable Verilog-2001. Names are made here; no string of a model gets in.

Nodes are plain bit vectors: every operand is extended by hand to the width of the result, where addition modulo 2^w is
right for signed and unsigned numbers alike, so that no rule of Verilog about signs is relied upon.
"""

from __future__ import annotations

from collections.abc import Iterator

from .bus import Bus
from .netlist import Clamp, Larger, Lookup, RoundEven, Shift, Sum
from .pipeline import Pipeline

MODULE = "network"


def emit(pipeline: Pipeline, inputs: Bus, outputs: Bus) -> str:
    """The module `network(clk, in_valid, x, out_valid, y)`: one sample a cycle, `depth` cycles later its result."""
    return "\n".join(_Writer(pipeline, inputs, outputs).lines()) + "\n"


class _Writer:
    def __init__(self, pipeline: Pipeline, inputs: Bus, outputs: Bus) -> None:
        self.pipeline, self.net = pipeline, pipeline.netlist
        self.inputs, self.outputs = inputs, outputs
        self.last = pipeline.last_use()
        self.tables: dict[tuple[int, tuple[int, ...]], str] = {}

    def lines(self) -> Iterator[str]:
        depth = self.pipeline.depth
        yield f"// {depth} stages, one sample a cycle."
        yield f"module {MODULE} ("
        yield "  input wire clk,"
        yield "  input wire in_valid,"
        yield f"  input wire [{self.inputs.bits - 1}:0] x,"
        yield "  output wire out_valid,"
        yield f"  output wire [{self.outputs.bits - 1}:0] y"
        yield ");"
        yield f"  reg [{depth - 1}:0] valid = {depth}'d0;"
        shifted = f"{{valid[{depth - 2}:0], in_valid}}" if depth > 1 else "in_valid"
        yield f"  always @(posedge clk) valid <= {shifted};"
        yield f"  assign out_valid = valid[{depth - 1}];"
        yield from self._inputs()
        for stage in range(depth):
            yield ""
            yield f"  // stage {stage}"
            yield from self._stage(stage)
        yield ""
        low = 0
        for node, (width, _) in zip(self.net.outputs, self.outputs.elements, strict=True):
            yield f"  assign y[{low + width - 1}:{low}] = {self._bits(node, width - 1, 0, depth)};"
            low += width
        yield from self._functions()
        yield "endmodule"

    def _inputs(self) -> Iterator[str]:
        starts = [0]
        for width, _ in self.inputs.elements:
            starts.append(starts[-1] + width)
        for index, node in self.net.inputs().items():
            width = self.net.width(node)
            yield f"  wire [{width - 1}:0] n{node} = x[{starts[index] + width - 1}:{starts[index]}];"

    def _stage(self, stage: int) -> Iterator[str]:
        for number, node in enumerate(self.net.nodes):
            if self.pipeline.stages[number] == stage and not self.net.is_const(number) and node.operands:
                yield f"  wire [{self.net.width(number) - 1}:0] n{number} = {self._expression(number, stage)};"
        held = [
            number
            for number in range(len(self.net.nodes))
            if self.pipeline.stages[number] <= stage < self.last[number] and not self.net.is_const(number)
        ]
        for number in held:
            yield f"  reg [{self.net.width(number) - 1}:0] n{number}_{stage + 1};"
        if held:
            yield "  always @(posedge clk) begin"
            yield from (f"    n{n}_{stage + 1} <= {self._name(n, stage)};" for n in held)
            yield "  end"

    def _name(self, number: int, stage: int) -> str:
        return f"n{number}" if stage == self.pipeline.stages[number] else f"n{number}_{stage}"

    # -- expressions ----------------------------------------------------------------------------------------------

    def _bits(self, number: int, high: int, low: int, stage: int) -> str:
        """Bits high..low of a node, extended by its sign."""
        if self.net.is_const(number):
            value = self.net.intervals[number][0] >> low
            return _literal(value, high - low + 1)
        name, width = self._name(number, stage), self.net.width(number)
        sign = f"{name}[{width - 1}]" if self.net.signed(number) else "1'b0"
        if low >= width:
            return f"{{{high - low + 1}{{{sign}}}}}"
        top = min(high, width - 1)
        part = name if (top, low) == (width - 1, 0) else f"{name}[{top}:{low}]" if top > low else f"{name}[{low}]"
        return part if high == top else f"{{{{{high - top}{{{sign}}}}}, {part}}}"

    def _expression(self, number: int, stage: int) -> str:
        node = self.net.nodes[number]
        if isinstance(node, Sum):
            return self._sum(number, node, stage)
        [a, *others] = node.operands
        width = self.net.width(number)
        if isinstance(node, Shift):
            return f"{{{self._bits(a, width - node.left - 1, 0, stage)}, {node.left}'d0}}"
        if isinstance(node, RoundEven):
            odd = f"{self._bits(a, node.right, node.right, stage)} & |{self._bits(a, node.right - 1, 0, stage)}"
            if width == 1:
                return odd
            return f"{{{self._bits(a, node.right + width - 1, node.right + 1, stage)}, {odd}}}"
        if isinstance(node, Clamp):
            return self._clamp(number, node, stage)
        if isinstance(node, Larger):
            b = others[0]
            wide = max(self.net.width(a), self.net.width(b)) + 1
            one, other = (f"$signed({self._bits(x, wide - 1, 0, stage)})" for x in (a, b))
            return f"({one} > {other}) ? {self._bits(a, width - 1, 0, stage)} : {self._bits(b, width - 1, 0, stage)}"
        assert isinstance(node, Lookup)
        return f"{self._table(node)}({self._bits(a, self.net.width(a) - 1, 0, stage)})"

    def _sum(self, number: int, node: Sum, stage: int) -> str:
        """An adder over the bits that both operands reach; lower bits of the other one are passed on."""
        (a, b), width = node.operands, self.net.width(number)
        if node.left and not node.minus:
            a, b, shift = b, a, node.left
        else:
            shift = node.right
        sign = "-" if node.minus else "+"
        if node.left and node.minus:
            left = f"{{{self._bits(a, width - node.left - 1, 0, stage)}, {node.left}'d0}}"
            return f"{left} - {self._bits(b, width - 1, 0, stage)}"
        if not shift:
            return f"{self._bits(a, width - 1, 0, stage)} {sign} {self._bits(b, width - 1, 0, stage)}"
        upper = self._bits(b, width - shift - 1, 0, stage)
        if self.net.signed(a) or self.net.width(a) > shift:
            upper = f"{self._bits(a, width - 1, shift, stage)} {sign} {upper}"
        elif node.minus:
            upper = f"{width - shift}'d0 - {upper}"
        else:
            return f"{{{upper}, {self._bits(a, shift - 1, 0, stage)}}}"
        return f"{{{upper}, {self._bits(a, shift - 1, 0, stage)}}}"

    def _clamp(self, number: int, node: Clamp, stage: int) -> str:
        [a] = node.operands
        width, wide = self.net.width(number), self.net.width(a)
        low, high = self.net.intervals[a]
        found = self._bits(a, width - 1, 0, stage)
        if high > node.high:
            found = f"{self._above(a, node.high, wide, stage)} ? {_literal(node.high, width)} : {found}"
        if low < node.low:
            found = f"{self._below(a, node.low, wide, stage)} ? {_literal(node.low, width)} : {found}"
        return found

    def _above(self, a: int, limit: int, wide: int, stage: int) -> str:
        """Whether a node is above a limit; with 2^k - 1 that is any higher bit of a number that is not negative."""
        bits = (limit + 1).bit_length() - 1
        top = wide - 1 - self.net.signed(a)
        if limit >= 0 and limit + 1 == 1 << bits:
            any_bit = f"(|{self._bits(a, top, bits, stage)})"
            return f"(~{self._bits(a, wide - 1, wide - 1, stage)} & {any_bit})" if self.net.signed(a) else any_bit
        return f"($signed({self._bits(a, wide, 0, stage)}) > $signed({_literal(limit, wide + 1)}))"

    def _below(self, a: int, limit: int, wide: int, stage: int) -> str:
        """Whether a node is below a limit; with 0 that is its sign, with -2^k any higher bit that is not the sign."""
        sign = self._bits(a, wide - 1, wide - 1, stage)
        if limit == 0:
            return sign
        bits = (-limit).bit_length() - 1
        if limit < 0 and -limit == 1 << bits:
            return f"({sign} & ~(&{self._bits(a, wide - 1, bits, stage)}))"
        return f"($signed({self._bits(a, wide, 0, stage)}) < $signed({_literal(limit, wide + 1)}))"

    def _table(self, node: Lookup) -> str:
        """The name of the function for a table, which equal nodes share."""
        key = (node.first, node.table)
        self.tables.setdefault(key, f"table{len(self.tables)}")
        return self.tables[key]

    def _functions(self) -> Iterator[str]:
        for (first, table), name in self.tables.items():
            low, high = min(table), max(table)
            out = max((high if high >= 0 else ~high).bit_length(), (~low).bit_length() if low < 0 else 0) + (low < 0)
            last = first + len(table) - 1
            bits = max(last.bit_length(), (~first).bit_length() if first < 0 else 0) + (first < 0)
            yield ""
            yield f"  function [{out - 1}:0] {name}(input [{bits - 1}:0] index);"
            yield "    case (index)"
            for offset, entry in enumerate(table):
                yield f"      {_literal(first + offset, bits)}: {name} = {_literal(entry, out)};"
            yield f"      default: {name} = {out}'d0;"
            yield "    endcase"
            yield "  endfunction"


def _literal(value: int, width: int) -> str:
    """A constant in two's complement."""
    return f"{width}'d{value & ((1 << width) - 1)}"
