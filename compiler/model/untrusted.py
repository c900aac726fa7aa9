"""Untrusted text, made fit to be shown in a terminal or a report."""

from __future__ import annotations

Text = str | bytes  # protobuf hands out bytes where a string field is not valid UTF-8

_SHOWN = 80  # characters in an error message
_KEPT = 1024  # characters of a name that are kept in memory


def kept(text: Text) -> str:
    """A name as it is kept for reports: decoded, and cut where it is absurdly long."""
    decoded = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    return decoded if len(decoded) <= _KEPT else decoded[: _KEPT - 1] + "…"


def escaped(text: str, allowed: str = "") -> str:
    """Control and bidirectional characters, but those allowed, as backslash escapes."""
    return "".join(char if char.isprintable() or char in allowed else ascii(char)[1:-1] for char in text)


def shown(text: Text, limit: int = _SHOWN) -> str:
    """A name in an error message: one line, no control or bidirectional characters, at most `limit` of its own."""
    start = kept(text)
    return escaped(start) if len(start) <= limit else escaped(start[:limit]) + "…"
