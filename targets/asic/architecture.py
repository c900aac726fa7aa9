"""What an accelerator is made of: the typed form of an architecture file.

The file follows Timeloop v4: a list of nodes, outermost first (DRAM, buffers, array, vector unit), under the heading
`architecture`. Two things differ. Every physical number carries its unit, and every energy, area and price carries a
source; so a file says where its figures come from. Reading and its errors are in `architecture_file`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .units import DIMENSIONS, Coefficient, UnitError, number

Operand = Literal["inputs", "weights", "outputs"]
OPERANDS: tuple[Operand, ...] = ("inputs", "weights", "outputs")
Dataflow = Literal["ws", "os", "is", "best"]
Dimension = Literal["K", "C", "P", "Q", "R", "S", "G"]


def _coefficient(*dimensions: str, sourced: bool) -> BeforeValidator:
    """Reads `512 KiB`, or a mapping with value, low, high, source, node and confidence."""

    def read(raw: Any) -> Coefficient:
        if isinstance(raw, Coefficient):
            return raw
        entry: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {"value": raw}
        unknown = sorted(set(map(str, entry)) - {"value", "low", "high", "source", "node", "confidence"})
        if unknown or "value" not in entry:
            wrong = f"has the unknown key '{unknown[0]}'" if unknown else "has no key 'value'"
            allowed = "value, low, high, source, node, confidence"
            raise UnitError("unknown-key" if unknown else "missing-key", f"It {wrong}.", f"Keys: {allowed}.")
        value, unit = number(entry["value"], *dimensions)
        source = str(entry.get("source", "")).strip()
        if sourced and len(source) < 3:
            raise UnitError("missing-source", "It has no source.", "Add `source:` (paper, standard, or 'assumption').")
        low = number(entry["low"], *dimensions)[0] if "low" in entry else value
        high = number(entry["high"], *dimensions)[0] if "high" in entry else value
        if not low <= value <= high:
            raise UnitError("bad-range", f"{value:g} is not in [{low:g}, {high:g}].", "Keep low <= value <= high.")
        confidence = str(entry.get("confidence", "definition" if not sourced else "medium"))
        if confidence not in ("definition", "high", "medium", "low"):
            raise UnitError(
                "bad-confidence", f"'{confidence[:20]}' is unknown.", "One of: definition, high, medium, low."
            )
        node = number(entry["node"], "length")[0] if "node" in entry else None
        if node is not None and node < 1:
            raise UnitError("bad-node", f"{node:g} nm is no process.", "Write it like '16 nm'.")
        return Coefficient(value, low, high, unit, source or "definition of this architecture", node, confidence)  # type: ignore[arg-type]

    assert all(name in DIMENSIONS for name in dimensions)
    return BeforeValidator(read)


Size = Annotated[Coefficient, _coefficient("size", sourced=False)]
Bandwidth = Annotated[Coefficient, _coefficient("port", "rate", sourced=False)]
Frequency = Annotated[Coefficient, _coefficient("frequency", sourced=False)]
Node = Annotated[Coefficient, _coefficient("length", sourced=False)]
Share = Annotated[Coefficient, _coefficient("fraction", sourced=False)]
EnergyPerByte = Annotated[Coefficient, _coefficient("energy_per_byte", sourced=True)]
Energy = Annotated[Coefficient, _coefficient("energy", sourced=True)]
Power = Annotated[Coefficient, _coefficient("power", sourced=True)]
PowerDensity = Annotated[Coefficient, _coefficient("power_density", sourced=True)]
Area = Annotated[Coefficient, _coefficient("area", sourced=True)]
AreaPerSize = Annotated[Coefficient, _coefficient("area_per_size", sourced=True)]
Money = Annotated[Coefficient, _coefficient("money", sourced=True)]
Defects = Annotated[Coefficient, _coefficient("defect_density", sourced=True)]
Diameter = Annotated[Coefficient, _coefficient("diameter", sourced=True)]
Count = Annotated[int, Field(ge=1, le=1 << 20, strict=True)]
Bits = Annotated[int, Field(ge=1, le=64, strict=True)]


def _zero(unit: str) -> Coefficient:
    return Coefficient(0.0, 0.0, 0.0, unit, "not stated: counted as zero")


class Record(BaseModel):
    """Base of all parts: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Technology(Record):
    """The process, and what is paid for the whole chip whatever it does."""

    node: Node
    clock: Frequency
    leakage: Power = _zero("W")
    leakage_density: PowerDensity = _zero("W/mm2")
    fixed_area: Area = _zero("mm2")


class Dram(Record):
    """Memory outside the chip."""

    kind: Literal["dram"] = Field(alias="class")
    name: str = "DRAM"
    bandwidth: Bandwidth
    efficiency: Share = Coefficient(1.0, 1.0, 1.0, "", "definition of this architecture")
    energy: EnergyPerByte = _zero("pJ/B")


class Buffer(Record):
    """On-chip SRAM that holds tiles of the operands it keeps. An operand that no buffer keeps streams past it."""

    kind: Literal["sram"] = Field(alias="class")
    name: str
    size: Size
    keeps: tuple[Operand, ...] = OPERANDS
    bandwidth: Bandwidth = Coefficient(float("inf"), float("inf"), float("inf"), "B/cycle", "not stated: unlimited")
    double_buffered: bool = True
    energy: EnergyPerByte = _zero("pJ/B")
    area: AreaPerSize = _zero("mm2/KiB")
    fixed_area: Area = _zero("mm2")  # decoders and sense amplifiers, whatever the size


class Skipping(Record):
    """What an array does with zeros. `gate` saves energy only, `skip` saves time as well."""

    weights: Literal["none", "gate", "skip"] = "none"
    inputs: Literal["none", "gate", "skip"] = "none"
    block: tuple[Count, Count] | None = None  # (output, input) channels of a zero block that is skipped
    n_m: tuple[Count, Count] | None = None  # at most n weights of m are stored and multiplied
    format: Literal["bitmask", "rle", "csr", "none"] = "none"  # of weights in memory
    occupancy_correlation: Share = Coefficient(0.0, 0.0, 0.0, "", "operands taken as independent")


class ProcessingElement(Record):
    """One multiplier-accumulator with its registers. Widths are in bits."""

    weight_bits: Bits = 8
    input_bits: Bits = 8
    accumulator_bits: Bits = 32
    weight_registers: Size | None = None  # per element; None: one weight
    input_registers: Size | None = None
    output_registers: Size | None = None
    energy: Energy = _zero("pJ")  # one multiply-accumulate
    register_energy: EnergyPerByte = _zero("pJ/B")
    hop_energy: EnergyPerByte = _zero("pJ/B")  # to a neighbour
    clock_energy: Energy = _zero("pJ")  # per element and cycle, whatever it does
    area: Area = _zero("mm2")
    area_from_bits: bool = False  # where `area` is not stated: from the widths, synthesised on open cells and scaled


class Systolic(Record):
    """Rows x columns, operands enter at the edges; convolutions as matrix products (im2col)."""

    kind: Literal["systolic"] = Field(alias="class")
    name: str = "array"
    rows: Count
    columns: Count
    dataflow: Dataflow = "ws"
    accumulators: Size | None = None  # memory that adds up partial sums of a tile beside the array
    pe: ProcessingElement
    skipping: Skipping = Skipping()


class Spatial(Record):
    """Loop dimensions unrolled over multipliers, all fed every cycle (NVDLA's atomic C and K, most NPUs)."""

    kind: Literal["spatial"] = Field(alias="class")
    name: str = "array"
    unroll: Mapping[Dimension, Count]
    depthwise_unroll: Mapping[Dimension, Count] | None = None
    pack_first_layer: bool = False  # unrolls C x S where the layer has at most 4 input channels
    weight_reuse: Count = 1  # output positions for which one set of weights stays in the registers
    weight_load: Count = 1  # cycles until the next set of weights is there; hidden behind as many positions
    pe: ProcessingElement
    skipping: Skipping = Skipping()

    @model_validator(mode="after")
    def _unrolls_something(self) -> Spatial:
        if not self.unroll:
            raise UnitError("empty-unroll", "Nothing is unrolled.", "Write it like {K: 16, C: 64}.")
        return self


class RowStationary(Record):
    """Eyeriss: a column of elements convolves rows; words are delivered over multicast buses."""

    kind: Literal["row_stationary"] = Field(alias="class")
    name: str = "array"
    rows: Count
    columns: Count
    filter_words: Count  # scratch pad sizes, in words
    input_words: Count
    output_words: Count
    filter_bus: Count  # words per cycle from the buffer
    input_bus: Count
    output_bus: Count
    pe: ProcessingElement
    skipping: Skipping = Skipping()


class Vector(Record):
    """Everything that is not a product: pooling, elementwise, softmax."""

    kind: Literal["vector"] = Field(alias="class")
    name: str = "vector"
    lanes: Count
    fused_elementwise: bool = False  # adds and multiplies results on their way from the array to memory
    energy: Energy = _zero("pJ")
    area: Area = _zero("mm2")


class Manufacturing(Record):
    """What a die costs, and what comes on top of silicon per unit. Non-recurring costs are inputs, never guesses."""

    wafer: Money
    wafer_diameter: Diameter
    defects: Defects
    yield_model: Literal["murphy", "negative_binomial"] = "murphy"
    clustering: Annotated[float, Field(gt=0)] = 3.0
    nre: Money = _zero("USD")
    masks: Money = _zero("USD")
    package: Money = _zero("USD")
    test: Money = _zero("USD")
    volume: Annotated[int, Field(ge=1, strict=True)] | None = None


ArrayNode = Systolic | Spatial | RowStationary
AnyNode = Annotated[Dram | Buffer | Systolic | Spatial | RowStationary | Vector, Field(discriminator="kind")]


class Architecture(Record):
    """One accelerator. Nodes are listed outermost first: one DRAM, buffers, one array, at most one vector unit."""

    version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = ""
    technology: Technology
    nodes: tuple[AnyNode, ...]
    host_vector: bool = False  # layers that are not products run elsewhere and cost nothing here
    on_chip_activations: bool = True  # activations may stay in the buffer from layer to layer
    manufacturing: Manufacturing | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Architecture:
        counts = {
            "dram": sum(isinstance(node, Dram) for node in self.nodes),
            "array (systolic, spatial or row_stationary)": sum(isinstance(n, ArrayNode) for n in self.nodes),
        }
        for what, count in counts.items():
            if count != 1:
                raise UnitError("node-count", f"There are {count} nodes of class {what}.", "Give exactly one.")
        if sum(isinstance(node, Vector) for node in self.nodes) > 1:
            raise UnitError("node-count", "There are several vector units.", "Give one, with all its lanes.")
        return self

    @property
    def dram(self) -> Dram:
        return next(node for node in self.nodes if isinstance(node, Dram))

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Buffer))

    @property
    def array(self) -> ArrayNode:
        return next(node for node in self.nodes if isinstance(node, ArrayNode))

    @property
    def vector(self) -> Vector | None:
        return next((node for node in self.nodes if isinstance(node, Vector)), None)

    def per_cycle(self, bandwidth: Coefficient) -> float:
        """Bytes per clock cycle of a bandwidth given per cycle or per second."""
        return bandwidth.value if bandwidth.unit == "B/cycle" else bandwidth.value / self.technology.clock.value

    @property
    def elements(self) -> int:
        """Multiplier-accumulators of the array."""
        if isinstance(self.array, Spatial):
            total = 1
            for factor in self.array.unroll.values():
                total *= factor
            return total
        return self.array.rows * self.array.columns
