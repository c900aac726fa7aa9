"""What a reader says of a packed model that it refuses."""

from __future__ import annotations

from ..errors import InvalidModelError

_HINT = "Pack the model again, or copy the file again and compare its size."


def damaged(why: str, code: str = "prz-damaged") -> InvalidModelError:
    """The error for a packed model that breaks FORMAT.md; `why` says where."""
    return InvalidModelError("The packed model is damaged.", code=code, why=why, hint=_HINT)
