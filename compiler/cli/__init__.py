"""The command line: `prunus COMMAND`. Heavy modules are imported inside the commands, so that help is instant."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..errors import PrunusError
from . import build, code, inspect, search, setup, show, survey, train

app = typer.Typer(
    name="prunus",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=show.print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compile a trained ONNX model for an FPGA, a CPU or a chip: prune, quantize, lower, and prove the result."""


# The commands in the order of `prunus --help`.
for _panel, _commands in (
    ("Compile", (build.compile_command, build.prune, train.train, build.quantize, search.search)),
    ("Pack", (code.pack, code.unpack)),
    ("Ask", (survey.inspect, inspect.check, inspect.estimate, inspect.diff, inspect.explain)),
    ("Set up", (setup.init, setup.targets, setup.passes, setup.bench, setup.doctor)),
):
    for _command in _commands:
        app.command(name=_command.__name__.removesuffix("_command"), rich_help_panel=_panel)(_command)


def main() -> None:
    """Entry point of the `prunus` script: runs a command and turns errors into messages and exit codes."""
    try:
        app()
    except PrunusError as error:
        show.print_error(error, as_json="--json" in sys.argv[1:])
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        show.console.print("[red]Interrupted.[/] Nothing was left half-written.")
        raise SystemExit(130) from None
