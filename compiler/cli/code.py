"""Commands that turn models into small files and back: pack, unpack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..config.settings import Settings
from . import options as opt
from . import show
from .settings import takes


@takes("model", "cluster", "shape")
def pack(
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="The packed model, a .prz file.")] = Path("model.prz"),
    json: opt.Json = False,
) -> None:
    """Pack MODEL: ONNX in, a small file out that every command reads and that unpacks to the very same bytes.

    Only --cluster changes the model, before it is packed.
    """
    from ..coding import methods
    from ..coding import pack as packed_model
    from ..model.loading.files import read_model
    from ..model.loading.limits import Limits
    from ..model.save import write_file

    model = settings.need("model")
    content, notes = read_model(model, Limits()), list[dict[str, Any]]()
    size_before = len(content)
    if settings.options.cluster is not None:
        content, notes = _clustered(settings)
    with show.progress_bar(not json) as progress:
        progress("Coding the model", 0.0)
        packed = packed_model(content)
        progress("done", 1.0)
    write_file(out, packed)
    _print_summary(
        {
            "out": str(out),
            "bytes_before": size_before,
            "bytes_after": len(packed),
            "methods": dict(methods(packed)),
            "notes": notes,
        },
        json,
    )


def _clustered(settings: Settings) -> tuple[bytes, list[dict[str, Any]]]:
    """(the ONNX file whose weights share values, what to say of every layer)"""
    from ..model.load import load
    from ..model.save import to_bytes
    from ..passes.base import Context
    from ..passes.cluster_weights import ClusterWeights

    loaded = load(settings.need("model"), shapes=opt.parse_shapes(settings.job.shape))
    result = ClusterWeights().run(loaded, Context(options=settings.options))
    notes = [
        {"code": note.code, "text": note.text, "where": loaded.original(note.where), "hint": note.hint}
        for note in result.notes
    ]
    return to_bytes(result.model), notes


@takes("model", model="The packed model, a .prz file.")
def unpack(
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="The ONNX file.")] = Path("model.onnx"),
    json: opt.Json = False,
) -> None:
    """Unpack MODEL, which `prunus pack` wrote: the ONNX file, byte for byte."""
    from ..coding import methods
    from ..model.loading.files import read_packed
    from ..model.loading.limits import Limits
    from ..model.save import write_file

    packed, content = read_packed(settings.need("model"), Limits())
    write_file(out, content)
    sizes = {"bytes_before": len(packed), "bytes_after": len(content)}
    _print_summary({"out": str(out), **sizes, "methods": dict(methods(packed)), "notes": []}, json)


def _print_summary(summary: dict[str, Any], json: bool) -> None:
    if json:
        show.print_json(summary)
        return
    before, after = summary["bytes_before"], summary["bytes_after"]
    ways = ", ".join(f"{count} {name}" for name, count in summary["methods"].items()) or "none"
    show.output.print(f"{before:,} → {after:,} bytes ({after / before:.1%}). Tensors coded apart: {ways}.")
    for note in summary["notes"]:
        where = f" [dim]{show.printable(note['where'])}[/]" if note["where"] else ""
        show.output.print(f"  {show.printable(note['text'], 300)}{where}")
    for hint in dict.fromkeys(note["hint"] for note in summary["notes"]):
        show.output.print(f"  [dim]{show.printable(hint, 300)}[/]")
    show.output.print(f"Written: {show.printable(summary['out'], 300)}", soft_wrap=True)
