"""What the user asks of number formats, within what the device takes."""

from __future__ import annotations

from dataclasses import replace

from ..config.options import Options
from ..errors import UsageError
from ..target import Formats

GRANULARITIES = ("device", "channel", "tensor")
SCALES = ("device", "any", "pow2")


def asked_formats(formats: Formats, options: Options) -> Formats:
    """The device's formats, narrowed to what `options` asks.

    Raises:
        UsageError: the device cannot do what is asked (`beyond-the-device`), or a name is unknown.
    """
    for name, value, known in (
        ("granularity", options.granularity, GRANULARITIES),
        ("scales", options.scales, SCALES),
    ):
        if value not in known:
            raise UsageError(
                f"There is no {name} called '{value[:64]}'.",
                code="out-of-range",
                hint=f"Give one of: {', '.join(known)}.",
            )
    for field, wanted in (("weight_bits", options.weight_bits), ("activation_bits", options.activation_bits)):
        if wanted is not None and wanted > getattr(formats, field):
            raise _beyond(f"{wanted}-bit {field.split('_')[0]}s", f"It takes {getattr(formats, field)} bits.", field)
    if options.granularity == "channel" and not formats.per_channel:
        raise _beyond("one scale per channel", "It has one scale per tensor.", "granularity")
    if options.scales == "any" and formats.scheme == "pow2":
        raise _beyond("any scale", "Its scales are powers of two.", "scales")
    pow2 = options.scales == "pow2" or formats.scheme == "pow2"
    return replace(
        formats,
        scheme="pow2" if pow2 else formats.scheme,
        activation="s8" if pow2 else formats.activation,  # with zero point 0, what is signed needs a sign
        per_channel=formats.per_channel and options.granularity != "tensor",
        weight_bits=options.weight_bits or formats.weight_bits,
        activation_bits=options.activation_bits or formats.activation_bits,
    )


def _beyond(what: str, why: str, option: str) -> UsageError:
    return UsageError(
        f"The device does not take {what}.",
        code="beyond-the-device",
        why=why,
        hint=f"Leave out --{option.replace('_', '-')}, or choose another device.",
    )
