"""Reading architecture files. An error names the file, the path inside it, and the nearest valid key."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from ...compiler.errors import UsageError
from .architecture import Architecture
from .units import Coefficient, UnitError

LIMIT_BYTES = 1 << 20


class ArchitectureError(UsageError):
    """An architecture file that is not valid. `where` is `FILE: architecture.nodes[1].size`."""


class _LenientLoader(yaml.SafeLoader):
    """Plain YAML without aliases: a small file could grow without bound."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", self.get_mark())
        return super().compose_node(parent, index)


class _Loader(_LenientLoader):
    """No key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str, unique_keys: bool = True) -> Any:
    """Parses YAML safely. Raises ArchitectureError with line and column. Other tools' files may give a key twice."""
    if len(text) > LIMIT_BYTES:
        raise ArchitectureError("The file is too large.", code="architecture-size", where=where)
    try:
        return yaml.load(text, Loader=_Loader if unique_keys else _LenientLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        why = str(getattr(error, "problem", None) or "it is nested too deeply or holds a bad value")
        raise ArchitectureError("The file is not valid YAML.", code="yaml-syntax", where=place, why=why) from error


def load_architecture(path: Path) -> Architecture:
    """Reads an architecture file. Raises ArchitectureError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArchitectureError(
            "The architecture file cannot be read.", code="architecture-file", where=str(path), why=str(error)
        ) from error
    return parse_architecture(file_data(text, path.name), path.name)


def file_data(text: str, where: str) -> Any:
    """The content of an architecture file; SCALE-Sim's .cfg and ZigZag's hardware YAML are converted."""
    from .exchange import scalesim, zigzag

    if where.endswith(".cfg"):
        return scalesim.architecture_data(text, where)
    data = read_yaml(text, where, unique_keys="operational_array" not in text)
    return zigzag.architecture_data(data, where)[0] if zigzag.is_zigzag(data) else data


@cache
def catalogue() -> Mapping[str, Architecture]:
    """The architectures that come with Prunus, by name, sorted."""
    folder = files(__package__) / "architectures"
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda e: e.name)
    return {
        entry.name[:-5]: parse_architecture(read_yaml(entry.read_text(encoding="utf-8"), entry.name), entry.name)
        for entry in found
    }


@cache
def catalogue_data(name: str) -> dict[str, Any]:
    """The raw data of one architecture of the catalogue."""
    entry = files(__package__) / "architectures" / f"{name}.yaml"
    return dict(read_yaml(entry.read_text(encoding="utf-8"), entry.name))


def parse_architecture(data: Any, where: str) -> Architecture:
    """Validates the content of a file. Raises ArchitectureError with the path of the first thing that is wrong."""
    if not isinstance(data, Mapping) or "architecture" not in data:
        near = _nearest("architecture", list(map(str, data)) if isinstance(data, Mapping) else [])
        raise ArchitectureError(
            "The file describes no architecture.",
            code="missing-key",
            where=where,
            why="It has no key 'architecture' at the top.",
            hint=f"Is '{near}' misspelt?" if near else "Write `architecture:` and put everything under it.",
        )
    for key in data:
        if key != "architecture":
            raise ArchitectureError(
                f"The key '{str(key)[:40]}' is not known here.", code="unknown-key", where=where, hint="Remove it."
            )
    try:
        return Architecture.model_validate(data["architecture"])
    except ValidationError as error:
        raise _explain(error, data["architecture"], where) from error


def _explain(error: ValidationError, data: Any, where: str) -> ArchitectureError:
    """The first problem, unknown keys before their consequences, as one error with path and hint."""
    problems = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    problem = problems[0]
    location = [part for part in problem["loc"] if not _is_tag(part, problem["loc"], data)]
    path = _path(("architecture", *location))
    place = f"{where}: {path}"
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, UnitError):
        return ArchitectureError(
            f"'{path}' is not valid.", code=cause.code, where=place, why=str(cause), hint=cause.hint
        )
    if problem["type"] == "extra_forbidden":
        near = _nearest(str(location[-1]), _valid_keys(location[:-1], data))
        return ArchitectureError(
            f"The key '{str(location[-1])[:40]}' is not known here.",
            code="unknown-key",
            where=place,
            hint=f"Did you mean '{near}'?" if near else f"Keys: {', '.join(_valid_keys(location[:-1], data))}.",
        )
    if problem["type"] == "missing":
        others = [str(each["loc"][-1]) for each in problems if each["type"] == "extra_forbidden"]
        near = _nearest(str(location[-1]), others)
        return ArchitectureError(
            f"'{path}' is missing.",
            code="missing-key",
            where=place,
            hint=f"Is '{near}' misspelt?" if near else f"Add `{location[-1]}:`.",
        )
    if problem["type"].startswith("union_tag"):
        given = str(_at(data, location).get("class", "")) if isinstance(_at(data, location), Mapping) else ""
        tags = ("dram", "sram", "systolic", "spatial", "row_stationary", "vector")
        near = _nearest(given, tags)
        return ArchitectureError(
            f"The class of '{path}' is not known.",
            code="unknown-class",
            where=f"{place}.class",
            hint=f"Did you mean '{near}'?" if near and given else f"Classes: {', '.join(tags)}.",
        )
    return ArchitectureError(f"'{path}' is not valid.", code="bad-value", where=place, why=_sentence(problem["msg"]))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _is_tag(part: Any, location: Sequence[Any], data: Any) -> bool:
    """Pydantic puts the chosen class of a node into the path; the file does not have it there."""
    index = list(location).index(part)
    return index >= 2 and location[0] == "nodes" and index == 2 and isinstance(location[1], int)


def _path(parts: Sequence[Any]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _at(data: Any, location: Sequence[Any]) -> Any:
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _valid_keys(location: Sequence[Any], data: Any) -> list[str]:
    """The keys of the record at `location`, found by walking the models along the data."""
    model: Any = Architecture
    for depth, part in enumerate(location):
        if isinstance(part, int):
            tag = (_at(data, location[: depth + 1]) or {}).get("class")
            model = next((m for m in _members(model) if _tag(m) == tag), None)
        else:
            fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
            field = next((f for key, f in fields.items() if part in (key, f.alias)), None)
            model = field.annotation if field is not None else None
            model = next((m for m in _members(model) if isinstance(m, type) and issubclass(m, BaseModel)), model)
            if len(_members(field.annotation if field else None)) > 1 and part == "nodes":
                model = field.annotation if field else None
        if model is None:
            return []
    fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
    return sorted(field.alias or key for key, field in fields.items())


def _members(annotation: Any) -> list[Any]:
    """All classes inside a union, tuple or annotation."""
    if get_origin(annotation) in (Union, types.UnionType, tuple) or hasattr(annotation, "__metadata__"):
        return [member for each in get_args(annotation) for member in _members(each)]
    return [annotation]


def _tag(model: Any) -> str | None:
    field = getattr(model, "model_fields", {}).get("kind")
    return get_args(field.annotation)[0] if field is not None else None


def _nearest(word: str, known: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return near[0] if near else None


def coefficients(architecture: Architecture) -> dict[str, Coefficient]:
    """Every stated coefficient by its path, for reports: value, range, source, node and confidence."""
    found: dict[str, Coefficient] = {}

    def walk(record: BaseModel, path: str) -> None:
        for key in type(record).model_fields:
            value = getattr(record, key)
            if isinstance(value, Coefficient):
                if not value.source.startswith("not stated"):
                    found[f"{path}{key}"] = value
            elif isinstance(value, BaseModel):
                walk(value, f"{path}{key}.")
            elif key == "nodes":
                for node in value:
                    walk(node, f"{path}{node.name}.")

    walk(architecture, "")
    return found
