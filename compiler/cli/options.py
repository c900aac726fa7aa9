"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from ..errors import UsageError
from ..search.budget import Share

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Untrusted = Annotated[bool, typer.Option("--untrusted", help="Work in a child process with memory and time limits.")]


# What a budget may bound: its name on the command line -> (key of quantity.UNITS, factors of the units it may carry).
_TIME = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_BYTES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "kib": 1024.0, "mib": 1024.0**2}
_PLAIN = {"": 1.0, "k": 1e3, "m": 1e6}
BUDGETS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "latency": ("latency_s", _TIME),
    "energy": ("energy_j", {"j": 1.0, "mj": 1e-3, "uj": 1e-6, "nj": 1e-9}),
    "area": ("area_mm2", {"": 1.0, "mm2": 1.0}),
    "usd": ("usd", {"": 1.0}),
    "ram": ("ram_bytes", _BYTES),
    "flash": ("flash_bytes", _BYTES),
    **{key: (key, _PLAIN) for key in ("lut", "ff", "dsp", "bram")},
}


def parse_budget(text: str | None) -> dict[str, float | Share]:
    """`latency=1ms,lut=60%` -> {'latency_s': 0.001, 'lut': Share(0.6)}. Raises UsageError."""
    budget: dict[str, float | Share] = {}
    for item in filter(None, (part.strip() for part in (text or "").split(","))):
        name, _, amount = item.partition("=")
        key, units = cost_key(name), BUDGETS[name][1]
        match = re.fullmatch(r"([0-9.]+(?:e-?[0-9]+)?)\s*([a-z0-9]*|%)", amount.strip().lower())
        if match and match[2] == "%" and _positive(match[1]) and float(match[1]) <= 100:
            budget[key] = Share(float(match[1]) / 100)
            continue
        if not match or match[2] not in units or not _positive(match[1]):
            allowed = ", ".join(unit or "no unit" for unit in units)
            raise UsageError(
                f"The budget '{item[:60]}' cannot be read.",
                code="bad-budget",
                why="It needs a positive number and a unit, or a share of the unpruned network up to 100 %.",
                hint=f"Write {name}=NUMBER with one of: {allowed}; or {name}=60%.",
            )
        budget[key] = float(match[1]) * units[match[2]]
    return budget


def cost_key(name: str) -> str:
    """`latency` -> 'latency_s'. Raises UsageError."""
    if name not in BUDGETS:
        near = difflib.get_close_matches(name, BUDGETS, n=1)
        raise UsageError(
            f"There is no budget called '{name[:40]}'.",
            code="unknown-budget",
            hint=f"Did you mean {near[0]}?" if near else f"Budgets: {', '.join(BUDGETS)}.",
        )
    return BUDGETS[name][0]


def _positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def parse_shapes(items: Sequence[str]) -> dict[str, tuple[int, ...]] | None:
    """`['image=3x224x224']` -> {'image': (3, 224, 224)}. Raises UsageError."""
    shapes: dict[str, tuple[int, ...]] = {}
    for item in items:
        name, separator, dims = item.rpartition("=")
        if not separator or not re.fullmatch(r"[1-9][0-9]*(x[1-9][0-9]*)*", dims):
            raise UsageError(
                f"The shape '{item[:60]}' cannot be read.", code="bad-shape", hint="Write --shape NAME=3x224x224."
            )
        shapes[name] = tuple(int(dim) for dim in dims.split("x"))
    return shapes or None


def load_function(option: str, spec: str | None) -> Callable[..., Any] | None:
    """`package.module:function`, the user's own code, imported only because this option names it."""
    if spec is None:
        return None
    module, _, name = spec.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"The function '{spec[:80]}' of --{option} cannot be imported.",
            code="bad-function",
            why=str(error),
            hint=f"Give --{option} package.module:function; the module must be on PYTHONPATH.",
        ) from error
    if not callable(function):
        raise UsageError(f"'{spec[:80]}' of --{option} is not a function.", code="bad-function")
    return function  # type: ignore[no-any-return]
