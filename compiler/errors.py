"""The one hierarchy of errors.

Every error says *what* went wrong, *where* (the user's own node or file name), *why*, and what to do about it (*hint*).
`exit_code` is what the command line returns; `code` is a stable, machine-readable reason.
"""

from __future__ import annotations

from typing import ClassVar

from .model.untrusted import escaped


class PrunusError(Exception):
    """Base of all errors that Prunus raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, code: str, where: str | None = None, why: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.code = code
        self.where = where
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        lines += [
            f"  {label}: {text}"
            for label, text in (("where", self.where), ("why", self.why), ("hint", self.hint))
            if text
        ]
        return escaped("\n".join(lines), allowed="\n")  # names in it come from models

    def as_dict(self) -> dict[str, str | int | None]:
        """The error as JSON-ready data (what `--json` prints)."""
        return {
            "error": type(self).__name__,
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


class UsageError(PrunusError):
    """A wrong option, configuration key, device name or data file."""

    exit_code = 2


class InvalidModelError(PrunusError):
    """The model file is damaged, unsafe or not valid ONNX."""

    exit_code = 3


class UnsupportedError(PrunusError):
    """The model is valid, but something in it cannot be compiled for this target."""

    exit_code = 4


class BudgetError(PrunusError):
    """The result misses the accuracy bound or a budget that the user set."""

    exit_code = 5


class ToolError(PrunusError):
    """A tool or an optional package is missing, or failed."""

    exit_code = 6


class LimitError(PrunusError):
    """A resource limit or a time-out was reached."""

    exit_code = 7


def missing_extra(package: str, extra: str) -> ToolError:
    """The error for an optional dependency that is not installed."""
    return ToolError(
        f"The Python package '{package}' is not installed.",
        code="missing-extra",
        why=f"It belongs to the optional extra '{extra}'.",
        hint=f"Install it with: pip install 'prunus[{extra}]'",
    )
