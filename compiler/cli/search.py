"""The command that searches architectures: many networks from one, and which of them are worth having."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..config.settings import Settings
from . import options as opt
from . import show
from .settings import takes


@takes("model", "target", "data", "calibration", "coreset", "criterion", "shape", "seed")
def search(
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the networks; the journal stands beside it.")],
    trials: Annotated[int, typer.Option(help="Networks to judge, those of an earlier run included.")] = 200,
    objective: Annotated[str, typer.Option(help="The cost to weigh against accuracy: latency, energy, lut, …")] = (
        "latency"
    ),
    json: opt.Json = False,
) -> None:
    """Search smaller networks than MODEL: widths, blocks and bits, by a device's cost and the measured loss.

    An interrupted search goes on where it stopped when the same command is given again.
    """
    from ..search.run import SearchRequest, run_search

    job = settings.job
    request = SearchRequest(
        model=settings.need("model"),
        target=settings.need("target"),
        out=out,
        data=settings.need("data"),
        trials=trials,
        objective=opt.cost_key(objective),
        calibration=job.calibration,
        options=settings.options,
        shapes=opt.parse_shapes(job.shape),
    )
    with show.progress_bar(not json) as progress:
        result = run_search(request, progress)
    if json:
        show.print_json(result)
    else:
        _print(result, out)


def _print(result: dict[str, Any], out: Path) -> None:
    from rich.table import Table

    from ..report.text import cost, percent, title

    key = result["objective"]
    table = Table(title=f"{show.printable(result['model'])} for {result['device']}", title_justify="left")
    for column in ("network", title(key), "score", "loss", "channels", "blocks gone", "bits"):
        table.add_column(column)
    for row in result["networks"]:
        table.add_row(
            row["file"],
            cost(row["estimated"], key),
            percent(row["score"]),
            f"{row['loss']:.3g}",
            " ".join(map(str, row["widths"].values())),
            str(len(row["skipped"])),
            str(row["weight_bits"]),
        )
    show.output.print(table)
    whole = result["unpruned"]
    score = result["networks"][0]["score_unpruned"]
    show.output.print(
        f"{result['trials']} networks judged, {len(result['front'])} on the front. "
        f"Unpruned: {cost(whole['cost'], key)}, {percent(score)}."
    )
    show.output.print(f"Written: {show.printable(str(out), 300)}", soft_wrap=True)
