"""Commands around the work: init, targets, passes, bench, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..config.settings import Settings
from ..errors import UsageError
from . import options as opt
from . import show
from .settings import takes


@takes("model", "target", "data")
def init(
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("prunus.toml"),
    json: opt.Json = False,
) -> None:
    """Write a configuration file with every setting and what it means, to adapt and compile with."""
    from ..config.file import template
    from ..output import write_text
    from ..registry import resolve

    job = settings.job
    resolve(job.target or "host-cpu")
    if out.exists():
        raise UsageError("The file exists already.", code="exists", where=str(out), hint="Choose another --out.")
    out.parent.mkdir(parents=True, exist_ok=True)
    start = {"model": Path("model.onnx"), "target": "host-cpu", "data": Path("data.npz"), "max_drop": 0.01}
    write_text(out, template(start | dict(settings.given), out.parent))
    if json:
        show.print_json({"out": str(out)})
        return
    show.output.print(f"Written: {show.printable(str(out), 300)}. Next: prunus compile --config {out}", soft_wrap=True)


def targets(json: opt.Json = False) -> None:
    """List the devices, with the backend that each uses by default."""
    from ..registry import all_devices

    rows = [
        {"device": each.name, "kind": each.kind, "backend": each.backend, "what": each.title}
        for each in all_devices().values()
    ]
    _table(rows, json)


def passes(json: opt.Json = False) -> None:
    """List the compression passes in the order in which they run."""
    from ..passes import PASSES

    rows = [{"pass": each.name, "what": each.summary, "ensures": ", ".join(each.ensures)} for each in PASSES]
    _table(rows, json)


def bench(
    what: Annotated[
        str,
        typer.Argument(help="A folder that `prunus compile` wrote; or `kernels`, or `models`.", show_default=False),
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[MODEL]...", help="For `models`: float ONNX files of yours.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this set of layers, or this network of ours (repeatable).", show_default="all"),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(
            help="For `models`: other engines, with commas, or `none`: onnxruntime-int8, openvino-int8, "
            "onnxruntime-f32, openvino-f32, openvino-bf16, torch-f32, tvm-f32.",
            show_default="all",
        ),
    ] = None,
    density: Annotated[
        list[float] | None,
        typer.Option(
            help="For `models`: the share of weights that stays, in blocks (repeatable).", show_default="several"
        ),
    ] = None,
    profile: Annotated[bool, typer.Option(help="For `models`: time every step of ours, too.")] = False,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds of kernels and models.")] = 11,
    threads: Annotated[int, typer.Option(help="Threads that models run on.")] = 1,
    json: opt.Json = False,
) -> None:
    """Time things on this machine, beside other engines: a compiled artefact, our kernels, or whole models."""
    from ..benchmark import bench_artifact
    from ..measurements import MEASUREMENTS, measure

    if rounds < 1 or threads < 1:
        raise UsageError("--rounds and --threads must be at least 1.", code="out-of-range")
    words = _words(files or [], peers, density or [], profile)
    if words and what != "models":
        raise UsageError(
            "Only `prunus bench models` takes models, --peers, --density and --profile.", code="bench-option"
        )
    if what not in MEASUREMENTS:
        _table(bench_artifact(Path(what)), json)
        return
    result = measure(what, only or [], rounds, threads, json, words)
    if json:
        show.print_json(result)


def _words(files: list[Path], peers: str | None, density: list[float], profile: bool) -> list[str]:
    """What the measurement of models is told. Raises UsageError for a file that is not there."""
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise UsageError("The model does not exist.", code="missing-file", where=str(missing))
    words = [str(file) for file in files] + (["--peers", peers] if peers else [])
    return words + [word for each in density for word in ("--density", str(each))] + ["--profile"] * profile


def doctor(json: opt.Json = False) -> None:
    """Say which packages, tools and devices are here, what each is needed for, and how to get what is missing."""
    from ..doctor import examine

    checks = examine()
    _table([{**check.row(), "ok": check.ok} for check in checks] if json else [check.row() for check in checks], json)


def _table(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        show.print_json(rows)
        return
    from rich.table import Table

    table = Table()
    for key in rows[0]:
        table.add_column(key)
    for row in rows:
        table.add_row(*(show.printable(str(value), 200) for value in row.values()))
    show.output.print(table)
