"""What was asked for: settings by name, as the sections that the library takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UsageError
from ..training.tuning import Tuning
from .options import ENTRIES, Job, Options, Score
from .setting import Section, entries

NAME = "prunus.toml"


@dataclass(frozen=True)
class Settings:
    """Everything that was asked for: what was given, by name, and the sections with defaults filled in."""

    given: Mapping[str, Any]

    @property
    def job(self) -> Job:
        return Job(**self._of(Job))

    @property
    def score(self) -> Score:
        return Score(**self._of(Score))

    @property
    def options(self) -> Options:
        """The options of the passes; training is off unless epochs were given."""
        training = self.tuning if "epochs" in self.given else replace(self.tuning, epochs=0)
        return Options(**self._of(Options), training=training)

    @property
    def tuning(self) -> Tuning:
        return Tuning(**self._of(Tuning), seed=self.given.get("seed", 0))

    @property
    def effective(self) -> dict[str, Any]:
        """Every setting that has a value, defaults included."""
        values = {name: self.given.get(name, entry.default) for name, entry in ENTRIES.items()}
        if not self.options.training.epochs:
            del values["epochs"]
        return {name: value for name, value in values.items() if value is not None}

    def only(self, *sections: type[Section]) -> Settings:
        """The same without what other sections were given."""
        names = {entry.name for section in sections for entry in entries(section)}
        return Settings({name: value for name, value in self.given.items() if name in names})

    def need(self, name: str) -> Any:
        """A setting that cannot be left out. Raises UsageError (`missing-setting`)."""
        if name not in self.given:
            spelling = name.upper() if name == "model" else ENTRIES[name].option
            raise UsageError(
                f"{spelling} is missing.",
                code="missing-setting",
                why=ENTRIES[name].setting.help,
                hint=f"Give it on the command line, or as {name} in a file: --config {NAME}.",
            )
        return self.given[name]

    def _of(self, section: type[Section]) -> dict[str, Any]:
        return dict(self.only(section).given)
