"""Commands around the work: init, targets, passes, bench, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from . import options as opt
from . import show

_STARTER = """\
#!/bin/sh
# Made by `prunus init`. Compiles one model for one device; every option is explained by `prunus compile --help`.
set -eu
prunus compile {model} \\
  --target {target} \\
  --data {data} \\
  --sparsity 0.3 \\
  --max-drop 0.01 \\
  --out out
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where to put the starter script.")] = Path(),
    model: Annotated[str, typer.Option(help="Your model.")] = "model.onnx",
    data: Annotated[str, typer.Option(help="Your samples.")] = "data.npz",
    target: opt.TargetName = "host-cpu",
) -> None:
    """Write a starter script, compile.sh, to adapt."""
    import shlex

    from ..output import write_text
    from ..registry import resolve

    resolve(target)
    path = folder / "compile.sh"
    if path.exists():
        raise UsageError("compile.sh exists already.", code="exists", where=str(path), hint="Choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, _STARTER.format(model=shlex.quote(model), data=shlex.quote(data), target=shlex.quote(target)))
    path.chmod(0o755)
    show.output.print(f"Written: {path}. Put your model and data beside it and run it.", soft_wrap=True)


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
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this set of layers, or this network (repeatable).", show_default="all"),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds of kernels and models.")] = 11,
    threads: Annotated[int, typer.Option(help="Threads that models run on.")] = 1,
    json: opt.Json = False,
) -> None:
    """Time things on this machine, beside other engines: a compiled artefact, our kernels, or whole models."""
    from ..benchmark import bench_artifact
    from ..measurements import MEASUREMENTS, measure

    if rounds < 1 or threads < 1:
        raise UsageError("--rounds and --threads must be at least 1.", code="out-of-range")
    if what not in MEASUREMENTS:
        _table(bench_artifact(Path(what)), json)
        return
    result = measure(what, only or [], rounds, threads, json)
    if json:
        show.print_json(result)


def doctor(json: opt.Json = False) -> None:
    """Say which optional packages and tools are here, and what each is needed for."""
    import shutil
    from importlib.metadata import PackageNotFoundError, version

    rows: list[dict[str, Any]] = []
    for package, extra in (("hls4ml", "fpga"), ("apache-tvm", "tvm"), ("torch", "train"), ("psutil", "bench")):
        try:
            found = version(package)
        except PackageNotFoundError:
            found = f"missing: pip install 'prunus[{extra}]'"
        rows.append({"what": package, "found": found, "needed for": f"extra {extra}"})
    for tool, use in (
        ("g++", "C simulation, CPU artefacts"),
        ("gcc", "CPU artefacts"),
        ("arm-none-eabi-gcc", "programs for Cortex-M (Debian: gcc-arm-none-eabi, libnewlib-arm-none-eabi)"),
        ("qemu-system-arm", "running them here (Debian: qemu-system-arm)"),
        ("vitis_hls", "synthesis for AMD FPGAs"),
        ("vivado", "bitstreams for AMD FPGAs"),
    ):
        rows.append({"what": tool, "found": shutil.which(tool) or "not on the PATH", "needed for": use})
    _table(rows, json)


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
