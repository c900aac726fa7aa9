"""One setting: a field of a section, as users see it.

    sparsity: Annotated[float, Setting("Share of the work to prune away.", at_least=0, below=0.96)] = 0.0

is an attribute in Python, `--sparsity` on the command line, and `sparsity` in the configuration file.
"""

from __future__ import annotations

import operator
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

from ..errors import UsageError


def flag(name: str) -> str:
    """A setting's spelling on the command line."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Setting:
    """What is said about a field, and what it may be.

    `choices` are offered on the tab key and listed in help; the pass that reads the field has the last word. `example`
    stands in the template of the configuration file where there is no default.
    """

    help: str
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    short: str = ""
    example: str | float | None = None

    def check(self, name: str, value: Any) -> None:
        """Raises UsageError (`out-of-range`) for a number beyond the bounds."""
        if not isinstance(value, (int, float)):
            return
        bounds = (
            ("from", self.at_least, operator.ge),
            ("above", self.above, operator.gt),
            ("to", self.at_most, operator.le),
            ("to below", self.below, operator.lt),
        )
        stated = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
        if all(holds(value, bound) for _, bound, holds in stated):
            return
        raise UsageError(
            f"{flag(name)} {value} is out of range.",
            code="out-of-range",
            hint=f"Give a number {' '.join(f'{words} {bound:g}' for words, bound, _ in stated)}.",
        )


class Section(Protocol):
    """A frozen dataclass whose annotated fields are settings; `table` is its place in the file, "" the top."""

    table: ClassVar[str]
    panel: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@dataclass(frozen=True)
class Entry:
    """A setting with its field: name, type without None, default."""

    name: str
    type: Any
    default: Any
    setting: Setting
    section: type[Section]

    @property
    def option(self) -> str:
        """Its spelling on the command line."""
        return flag(self.name)

    @property
    def flag(self) -> str:
        """The same with its opposite, where it is on or off."""
        return f"{self.option}/--no-{self.option[2:]}" if self.type is bool else self.option

    @property
    def choices(self) -> tuple[str, ...]:
        """What the setting names, or its type allows."""
        return self.setting.choices or (typing.get_args(self.type) if typing.get_origin(self.type) is Literal else ())

    @property
    def about(self) -> str:
        """What it is, and what it may be."""
        return f"{self.setting.help} One of: {', '.join(self.choices)}." if self.choices else self.setting.help


def entries(section: type[Section]) -> Iterator[Entry]:
    """The settings of a section in their order; fields without a `Setting` are not for users."""
    hints = typing.get_type_hints(section, include_extras=True)
    for each in fields(section):
        kind, *notes = typing.get_args(hints[each.name]) or (hints[each.name],)
        setting = next((note for note in notes if isinstance(note, Setting)), None)
        if setting is not None:
            default = None if each.default is MISSING else each.default
            yield Entry(each.name, _without_none(kind), default, setting, section)


def _without_none(kind: Any) -> Any:
    """`Path | None` -> `Path`: leaving a setting out is how None is said."""
    present = [each for each in typing.get_args(kind) if each is not type(None)]
    return present[0] if type(None) in typing.get_args(kind) and len(present) == 1 else kind
