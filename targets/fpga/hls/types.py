"""Fixed-point types in the notation of HLS tools, and how many bits exact arithmetic needs.

`fixed<W, I>` holds multiples of 2^-(W - I); here a type is given by its width and its number of fraction bits, which
may exceed the width or be negative. Source: AMD UG1399, "Arbitrary Precision Fixed-Point Data Types".
"""

from __future__ import annotations

from dataclasses import dataclass

ROUND_SATURATE = "RND_CONV,SAT"  # half to even, clip: what the integer contract asks of every requantization
ROUND_SATURATE_SYMMETRIC = "RND_CONV,SAT_SYM"  # the same, without the lowest signed value


@dataclass(frozen=True)
class Fixed:
    """A fixed-point type: `width` bits, `fraction` of them below the binary point; `modes` as ap_fixed writes them."""

    width: int
    fraction: int
    signed: bool = True
    modes: str = ""

    def __str__(self) -> str:
        modes = f",{self.modes}" if self.modes else ""
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.width - self.fraction}{modes}>"

    @property
    def lowest(self) -> int:
        """The smallest integer that the bits hold (in units of 2^-fraction)."""
        if not self.signed:
            return 0
        return -(1 << (self.width - 1)) + (1 if self.modes.endswith("SAT_SYM") else 0)

    @property
    def highest(self) -> int:
        return (1 << (self.width - 1 if self.signed else self.width)) - 1

    @property
    def max_abs(self) -> int:
        return max(-self.lowest, self.highest)


def signed_width(largest: int) -> int:
    """The width of a signed type that holds every integer of [-largest, largest]."""
    return max(2, int(largest).bit_length() + 1)


def holding(largest: int, fraction: int) -> Fixed:
    """A signed type for the integers of [-largest, largest], in units of 2^-fraction; never rounds nor saturates."""
    return Fixed(signed_width(largest), fraction)


def saturating(qmin: int, qmax: int, fraction: int) -> Fixed | None:
    """The type that rounds half to even and clips to exactly [qmin, qmax], or None where no type does."""
    if qmin == 0 and qmax > 0 and (qmax + 1) & qmax == 0:
        return Fixed(qmax.bit_length(), fraction, signed=False, modes=ROUND_SATURATE)
    if qmax > 0 and (qmax + 1) & qmax == 0 and qmin in (-qmax - 1, -qmax):
        modes = ROUND_SATURATE if qmin == -qmax - 1 else ROUND_SATURATE_SYMMETRIC
        return Fixed(qmax.bit_length() + 1, fraction, modes=modes)
    return None
