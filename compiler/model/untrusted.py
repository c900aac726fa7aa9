"""Untrusted text, made fit to be shown in a terminal or a report."""

from __future__ import annotations

Text = str | bytes  # protobuf hands out bytes where a string field is not valid UTF-8

_SHOWN = 80  # characters in an error message
_KEPT = 1024  # characters of a name that are kept in memory


def kept(text: Text) -> str:
    """A name as it is kept for reports: decoded, and cut where it is absurdly long."""
    decoded = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    return decoded if len(decoded) <= _KEPT else decoded[: _KEPT - 1] + "…"


def shown(text: Text) -> str:
    """A name in an error message: one line, no control or bidirectional characters, short."""
    start = kept(text)
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in start[:_SHOWN])
    return line if len(start) <= _SHOWN else line + "…"
