"""A board's top module and pin constraints, from the data of its device file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ....compiler.errors import UsageError
from ....compiler.quantity import Quantity
from ....compiler.target import Device
from ..synth import FAMILIES

_PIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
_VCO_HZ = (4e8, 8e8)  # ECP5's PLL (Lattice FPGA-TN-02200)


@dataclass(frozen=True)
class Board:
    """What a build needs to know. `pins`: clock, rx, tx and led, and `high`, outputs that are held at 1."""

    family: str
    parameters: Mapping[str, str]
    pins: Mapping[str, str]
    high: tuple[str, ...]
    oscillator_hz: float
    clock_hz: float
    baud: int

    @property
    def cycles_per_bit(self) -> int:
        return max(4, round(self.clock_hz / self.baud))


def board_of(device: Device) -> Board:
    """The board that a device file describes. Raises UsageError `device-setting` where something is missing."""
    pins = _table(device, "pins")
    parameters = _table(device, "parameters")
    family = _text(device, "family")
    if family not in FAMILIES:
        raise _bad(device, "family", f"Known families: {', '.join(FAMILIES)}.")
    high = pins.pop("high", [])
    for name, pin in [*pins.items(), *(("high", pin) for pin in high)]:
        if not isinstance(pin, str) or not pin or set(pin) - set(_PIN):
            raise _bad(device, f"pins.{name}", "A pin is a name like B2 or a number in quotes.")
    missing = [name for name in ("clock", "rx", "tx", "led") if name not in pins]
    if missing:
        raise _bad(device, f"pins.{missing[0]}", "The board's serial line, clock and a light need pins.")
    _refuse_shared_pins(device, {**pins, **{f"high[{number}]": pin for number, pin in enumerate(high)}})
    oscillator = _constant(device, "oscillator_hz")
    clock = 1e9 / _constant(device, "clock_period_ns")
    if family != "ecp5" and abs(clock / oscillator - 1) > 1e-3:
        raise _bad(device, "clock_period_ns", "Only boards of the family ecp5 can multiply their oscillator's clock.")
    return Board(
        family,
        {name: str(value) for name, value in sorted(parameters.items())},
        dict(sorted(pins.items())),
        tuple(high),
        oscillator,
        clock,
        int(_constant(device, "baud")),
    )


def clock_hz(device: Device) -> float:
    """The clock that designs are made for."""
    return 1e9 / _constant(device, "clock_period_ns")


def top(board: Board, x_bits: int, y_bits: int) -> str:
    """The module `top`: clock, the network behind the serial line, a light while it answers."""
    high = "".join(f",\n  output wire high{number}" for number in range(len(board.high)))
    held = "".join(f"  assign high{number} = 1'b1;\n" for number in range(len(board.high)))
    return f"""\
module top (
  input wire oscillator,
  input wire rx,
  output wire tx,
  output wire led{high}
);
  wire clk;
{_clock(board)}
  serial_network #(
    .CYCLES_PER_BIT({board.cycles_per_bit}),
    .X_BITS({x_bits}),
    .Y_BITS({y_bits})
  ) serial (.clk(clk), .rx(rx), .tx(tx), .busy(led));
{held}endmodule
"""


def _clock(board: Board) -> str:
    if abs(board.clock_hz / board.oscillator_hz - 1) < 1e-3:
        return "  assign clk = oscillator;"
    divide, multiply, output = pll(board.oscillator_hz, board.clock_hz)
    return f"""\
  EHXPLLL #(
    .CLKI_DIV({divide}), .CLKFB_DIV({multiply}), .CLKOP_DIV({output}), .CLKOP_CPHASE({output - 1}),
    .CLKOP_ENABLE("ENABLED"), .FEEDBK_PATH("CLKOP"), .OUTDIVIDER_MUXA("DIVA")
  ) pll (
    .CLKI(oscillator), .CLKFB(clk), .CLKOP(clk), .RST(1'b0), .STDBY(1'b0), .PHASESEL0(1'b0), .PHASESEL1(1'b0),
    .PHASEDIR(1'b0), .PHASESTEP(1'b0), .PHASELOADREG(1'b0), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b1)
  );"""


def pll(from_hz: float, to_hz: float) -> tuple[int, int, int]:
    """(input, feedback, output divider) of ECP5's PLL with the clock nearest to `to_hz`, not above it."""
    best: tuple[float, tuple[int, int, int]] | None = None
    for divide in range(1, 6):
        multiply = int(to_hz * divide / from_hz * (1 + 1e-9))
        if not 1 <= multiply <= 80:
            continue
        made = from_hz * multiply / divide
        output = round(sum(_VCO_HZ) / 2 / made)
        if 1 <= output <= 128 and _VCO_HZ[0] <= made * output <= _VCO_HZ[1] and (best is None or made > best[0]):
            best = made, (divide, multiply, output)
    if best is None:
        raise UsageError(
            f"No setting of the PLL makes {to_hz / 1e6:g} MHz of {from_hz / 1e6:g} MHz.", code="device-setting"
        )
    return best[1]


# -- constraints ----------------------------------------------------------------------------------------------------


def _lpf(pins: Mapping[str, str], oscillator_hz: float) -> str:
    lines = [f'FREQUENCY PORT "oscillator" {oscillator_hz / 1e6:g} MHZ;']
    for port, pin in pins.items():
        lines += [f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" IO_TYPE=LVCMOS33;']
    return "\n".join(lines) + "\n"


def _pcf(pins: Mapping[str, str], oscillator_hz: float) -> str:
    return f"set_frequency oscillator {oscillator_hz / 1e6:g}\n" + "".join(
        f"set_io {port} {pin}\n" for port, pin in pins.items()
    )


def _cst(pins: Mapping[str, str], oscillator_hz: float) -> str:
    return "".join(f'IO_LOC "{port}" {pin};\nIO_PORT "{port}" IO_TYPE=LVCMOS33;\n' for port, pin in pins.items())


CONSTRAINTS: Mapping[str, tuple[str, Callable[[Mapping[str, str], float], str]]] = {
    "ecp5": ("top.lpf", _lpf),
    "ice40": ("top.pcf", _pcf),
    "gowin": ("top.cst", _cst),
}


def constraints(board: Board) -> tuple[str, str]:
    """The name and the text of the constraint file."""
    name, write = CONSTRAINTS[board.family]
    pins = {"oscillator": board.pins["clock"], **{port: board.pins[port] for port in ("rx", "tx", "led")}}
    pins |= {f"high{number}": pin for number, pin in enumerate(board.high)}
    return name, write(pins, board.oscillator_hz)


# -- device files -----------------------------------------------------------------------------------------------------


def _text(device: Device, key: str) -> str:
    found = device.data.get(key)
    if not isinstance(found, str):
        raise _bad(device, key, "The backend 'rtl' needs it in the device file.")
    return found


def _table(device: Device, key: str) -> dict[str, Any]:
    found = device.data.get(key)
    if not isinstance(found, Mapping):
        raise _bad(device, key, "The backend 'rtl' needs it in the device file.")
    return dict(found)


def _constant(device: Device, key: str) -> float:
    found = device.data.get(key)
    if not isinstance(found, Quantity):
        raise _bad(device, key, "The backend 'rtl' needs it in the device file.")
    return found.value


def _refuse_shared_pins(device: Device, pins: Mapping[str, str]) -> None:
    taken: dict[str, str] = {}
    for name, pin in pins.items():
        if pin in taken:
            raise _bad(device, f"pins.{name}", f"The pin {pin} is that of pins.{taken[pin]} already.")
        taken[pin] = name


def _bad(device: Device, key: str, hint: str) -> UsageError:
    return UsageError(
        f"The device '{device.name}' has no usable setting '{key}'.",
        code="device-setting",
        where=device.name,
        hint=hint,
    )
