"""The configuration file: TOML with one table per section, checked, merged with the command line, and written back.

    model = "model.onnx"
    target = "pynq-z2"

    [pruning]
    sparsity = 0.5

Paths are relative to the file. What the command line says comes before the file, and the file before the defaults.
"""

from __future__ import annotations

import difflib
import json
import os
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from ..errors import UsageError
from .options import ENTRIES, TABLES
from .setting import Entry
from .settings import Settings


def _is_scalar(entry: Entry) -> bool:
    """Whether TOML has the type itself; paths and tuples come as strings and arrays."""
    return entry.type in (bool, int, float, str)


def _model(table: str) -> type[pydantic.BaseModel]:
    """What a table of the file may hold."""
    known: dict[str, Any] = {
        entry.name: (entry.type, pydantic.Field(default=None, strict=_is_scalar(entry) or None))
        for entry in TABLES[table]
    }
    return pydantic.create_model(f"Table_{table}", **known)


def merged(file: Path | None, given: Mapping[str, Any]) -> Settings:
    """Merges a configuration file with what the command line gives; None and () there mean: not given.

    Raises:
        UsageError: see `read`; or a number is out of its range (`out-of-range`).
    """
    found = ({} if file is None else read(file)) | {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None and value != []
    }
    for name, value in found.items():
        ENTRIES[name].setting.check(name, value)
    return Settings(found)


def read(file: Path) -> dict[str, Any]:
    """The settings in a file by name, paths resolved.

    Raises:
        UsageError: the file is missing or no TOML (code `config-file`), has an unknown table or key (`unknown-key`,
            with the nearest known one), or a value of another type (`bad-value`).
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            "The configuration file cannot be opened.",
            code="config-file",
            where=str(file),
            why=error.strerror,
            hint="`prunus init` writes one to start from.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            "The configuration file is not valid TOML.", code="config-file", where=str(file), why=str(error)
        ) from error
    found: dict[str, Any] = {}
    top = {key: value for key, value in document.items() if not isinstance(value, dict)}
    tables = {"": top} | {key: value for key, value in document.items() if isinstance(value, dict)}
    for table, content in tables.items():
        if table not in TABLES:
            raise _unknown(table, "", file)
        for key in content:
            if all(key != entry.name for entry in TABLES[table]):
                raise _unknown(key, table, file)
        found |= _checked(table, content, file)
    return {name: file.parent / value if isinstance(value, Path) else value for name, value in found.items()}


def _checked(table: str, content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    try:
        return _model(table).model_validate(content).model_dump(exclude_unset=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise UsageError(
            f"The value of '{key}' does not fit.",
            code="bad-value",
            where=_place(table, file),
            why=f"{first['msg']}; it is {str(first['input'])[:60]!r}.",
            hint=ENTRIES[key].setting.help,
        ) from error


def _unknown(key: str, table: str, file: Path) -> UsageError:
    """The error for a name that means nothing here, with the place where it would, or the nearest name."""
    spelt = key.replace("-", "_")
    names = [*ENTRIES, *filter(None, TABLES)]
    near = [spelt] if spelt in names else difflib.get_close_matches(spelt, names, 1)
    if not near:
        hint = "`prunus init` writes a file with every key and what it means."
    elif near[0] not in ENTRIES:
        hint = f"Did you mean the table [{near[0]}]?"
    else:
        home = ENTRIES[near[0]].section.table
        hint = f"Did you mean {near[0]}{f' in [{home}]' if home else ' at the top, before the first table'}?"
    return UsageError(
        f"The configuration has an unknown key '{key[:60]}'.", code="unknown-key", where=_place(table, file), hint=hint
    )


def _place(table: str, file: Path) -> str:
    return f"{file}, [{table}]" if table else str(file)


def plain(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings as JSON-ready data, in the file's order; paths relative to `folder`."""
    return {name: _plain(values[name], folder) for name in ENTRIES if values.get(name) is not None}


def _plain(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return Path(os.path.relpath(value.absolute(), folder.absolute())).as_posix()
    return list(value) if isinstance(value, tuple) else value


def toml(values: Mapping[str, Any], folder: Path) -> str:
    """Settings as the text of a configuration file that lies in `folder`."""
    lines = []
    for table, group in TABLES.items():
        found = plain({entry.name: values.get(entry.name) for entry in group}, folder)
        if found:
            lines += ["", f"[{table}]"] if table else []
            lines += [f"{name} = {_toml(value)}" for name, value in found.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value in TOML, whose strings, numbers and arrays are those of JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def template(given: Mapping[str, Any], folder: Path) -> str:
    """A file with every key and what it means; what is not in `given` is commented out at its default."""
    lines = [
        "# What `prunus compile --config prunus.toml` does. The command line overrides this file;",
        "# paths are relative to it. Lines behind a # show the defaults.",
    ]
    for table, group in TABLES.items():
        lines += ["", f"[{table}]"] if table else []
        for entry in group:
            lines += ["", *textwrap.wrap(entry.about, 100, initial_indent="# ", subsequent_indent="# ")]
            if entry.name in given:
                lines.append(f"{entry.name} = {_toml(_plain(given[entry.name], folder))}")
            else:
                shown = entry.setting.example if entry.default is None else entry.default
                lines.append(f"# {entry.name} = {_toml(_plain(shown, folder))}")
    return "\n".join(lines) + "\n"
