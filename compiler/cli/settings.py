"""From settings to options of a command: each becomes one, in the panel of its section.

    @takes("model", "data", Pruning)
    def prune(settings: Settings, json: opt.Json = False) -> None: ...

makes a command with an argument MODEL, `--data`, one option per setting of the section, `--config` and `--json`. What
stands on the command line is merged with the configuration file into the one argument `settings`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..config.options import ENTRIES
from ..config.setting import Entry, Section, entries

_ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="A configuration file, as `prunus init` writes it.", show_default=False),
]
Command = Callable[..., None]


def takes(*wanted: str | type[Section], **help_texts: str) -> Callable[[Command], Command]:
    """Gives a command settings, by name or by section, as options; `help_texts` say more than the settings do.

    The command's first parameter takes the merged `Settings`. `model` becomes the argument MODEL, which may be left out
    where the file names it.
    """
    taken = [entry for each in wanted for entry in ([ENTRIES[each]] if isinstance(each, str) else entries(each))]

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(**arguments: Any) -> None:
            from ..config.file import merged

            given = {entry.name: arguments.pop(entry.name) for entry in taken}
            command(merged(arguments.pop("config"), given), **arguments)

        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        parameters = [_parameter(entry, help_texts.get(entry.name) or _about(entry)) for entry in taken]
        parameters += [
            inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_ConfigFile)
        ]
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _parameter(entry: Entry, about: str) -> inspect.Parameter:
    """A setting as typer wants it, without a default: what is not given must not override the file."""
    info: Any
    if entry.name == "model":
        info = typer.Argument(help=about, show_default=False)
    else:
        names = [entry.flag, entry.setting.short] if entry.setting.short else [entry.flag]
        info = typer.Option(
            *names,
            help=about,
            rich_help_panel=entry.section.panel,
            show_default=False,
            autocompletion=_completion(entry),
        )
    kind = list[str] if entry.type == tuple[str, ...] else entry.type
    annotation = Annotated[kind | None, info]  # type: ignore[valid-type]
    return _keyword(entry.name, annotation)


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _about(entry: Entry) -> str:
    """What it is, its choices (typer shows those of a Literal itself), and its default if it has one."""
    setting, default = entry.setting, entry.default
    choices = f" One of: {', '.join(setting.choices)}." if setting.choices else ""
    if default is None or default == ():
        return escape(setting.help + choices)
    words = ("off", "on")[default] if isinstance(default, bool) else default
    return f"{escape(setting.help + choices)} [dim]Default: {words}[/]"


def _completion(entry: Entry) -> Callable[[str], list[str]] | None:
    """What the tab key offers: devices, passes, or the setting's choices."""
    if not entry.choices and entry.name not in ("target", "skip_pass"):
        return None

    def complete(incomplete: str) -> list[str]:
        return [each for each in _offered(entry) if each.startswith(incomplete)]

    return complete


def _offered(entry: Entry) -> tuple[str, ...]:
    if entry.name == "target":
        from ..registry import all_devices

        return tuple(all_devices())
    if entry.name == "skip_pass":
        from ..passes import PASSES

        return tuple(each.name for each in PASSES)
    return entry.choices
