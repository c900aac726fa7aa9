"""What the command line prints: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import PrunusError
from ..model.untrusted import shown

if TYPE_CHECKING:
    from ..report.schema import EstimateInfo, ReportData
    from ..target import Progress

console = Console(stderr=True, highlight=False)
output = Console(highlight=False)
UNDONE = ("training-undone",)  # notes on what was asked for and not kept: said here, too, beside the report
_SPEED_S = 600.0  # of the past, from which the time that is left is told; stages differ in speed


def printable(text: str, limit: int = 80) -> str:
    """Untrusted text made safe for a terminal: control and bidirectional characters escaped, markup off, cut short."""
    return escape(shown(text, limit))


def print_json(data: Any) -> None:
    """Machine-readable output: one JSON document."""
    sys.stdout.write(json.dumps(data, indent=2, sort_keys=True) + "\n")


def print_version(wanted: bool) -> None:
    """Prints the version of the package and ends, when asked to."""
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"prunus {version('prunus')}\n")
        raise typer.Exit


def print_error(error: PrunusError, as_json: bool) -> None:
    """What, where, why and what to do; as JSON on standard output when asked for."""
    if as_json:
        print_json(error.as_dict())
        return
    console.print(f"[bold red]Error:[/] {printable(error.what, 400)} [dim]({error.code})[/]", soft_wrap=True)
    for label, text in (("where", error.where), ("why", error.why), ("do", error.hint)):
        if text:
            lines = [printable(line, 300) for line in text.splitlines()[:12]]
            console.print(f"  [bold]{label:>5}[/]  " + "\n         ".join(lines), soft_wrap=True)


@contextmanager
def progress_bar(enabled: bool = True) -> Iterator[Progress]:
    """A progress bar on standard error, with the time that is left; it appears only on a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
    )
    shown = enabled and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown, speed_estimate_period=_SPEED_S) as bar:
        task = bar.add_task("Starting", total=1.0)
        yield lambda what, done: bar.update(task, description=escape(what), completed=done)


def estimate_rows(estimates: Sequence[EstimateInfo]) -> Iterator[tuple[str, str, str, str]]:
    """(cost, value, range, basis) of every estimate, for tables."""
    from ..report.text import si, title

    for each in estimates:
        spread = "" if each.low == each.high else f"{si(each.low, each.unit)} … {si(each.high, each.unit)}"
        yield title(each.name), si(each.value, each.unit), spread, each.basis


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table with one column for each key of the first row; values are untrusted text."""
    from rich.table import Table

    table = Table()
    for key in rows[0] if rows else ():
        table.add_column(key)
    for row in rows:
        table.add_row(*(printable(str(value)) for value in row.values()))
    output.print(table)


def print_report(report: ReportData, folder: str) -> None:
    """The summary of one compilation as a table."""
    from rich.table import Table

    from ..report.text import percent, si

    table = Table(title=f"{printable(report.model.name)} for {report.device.name}", title_justify="left")
    for column, justify in (("", "left"), ("before", "right"), ("after", "right"), ("basis", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    if report.accuracy:
        accuracy = report.accuracy
        table.add_row(
            f"{accuracy.metric} ({accuracy.samples} samples)",
            percent(accuracy.before),
            percent(accuracy.after),
            "measured",
        )
    table.add_row("Weights", si(report.size.bytes_before, "B"), si(report.size.bytes_after, "B"), "measured")
    if report.coding:
        coding = report.coding
        table.add_row("model.onnx → model.prz", si(coding.onnx_bytes, "B"), si(coding.packed_bytes, "B"), "measured")
    table.add_row("MACs", si(report.size.macs_before), si(report.size.macs_after), "measured")
    if report.fidelity:
        exact = report.fidelity.exact_fraction
        share = "not executed" if exact is None else percent(exact, 4 if exact < 1 else 0)
        table.add_row("Artefact = integer reference", "", share, "measured" if exact is not None else "")
        if report.fidelity.sqnr_db is not None:
            table.add_row("SQNR of the logits", "", f"{report.fidelity.sqnr_db:.1f} dB", "measured")
    baseline = {row[0]: row[1] for row in estimate_rows(report.baseline)}
    for name, value, _, basis in estimate_rows(report.estimate):
        table.add_row(name, baseline.get(name, "") if basis == "modelled" else "", value, basis)
    output.print(table)
    verdict = report.verdict
    state = (
        "[green]every bound is met[/]"
        if verdict.met
        else f"[red]missed: {escape(verdict.binding)}[/] ({escape(verdict.why)})"
    )
    output.print(f"Verdict: {state}. Costs before: the same network quantized, not pruned.")
    for note in (note for each in report.passes for note in each.notes if note.code in UNDONE):
        output.print(f"[yellow]Note:[/] {escape(note.text)} {escape(note.hint)}")
    output.print(f"Artefact: {escape(folder)}/artifact", soft_wrap=True)
    output.print(f"Report: {escape(folder)}/report.html", soft_wrap=True)
