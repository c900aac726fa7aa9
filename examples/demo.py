"""Compiles the digits CNN, pruned and in int8, for an FPGA board, this CPU and an ASIC, and prints one table.

    make demo

Everything it needs lies in examples/digits; results go to out/demo/DEVICE, one report page each.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from prunus.compiler.driver import Compiled, Request, compile
from prunus.compiler.errors import PrunusError
from prunus.compiler.passes.base import Options

DIGITS = Path(__file__).resolve().parent / "digits"
DEVICES = ("pynq-z2", "host-cpu", "npu-16nm")
SPARSITY = 0.4
COSTS = ("latency_s", "latency_cycles", "energy_j", "lut", "dsp", "bram", "area_mm2", "usd")


def build(device: str, out: Path, bar: Progress) -> Compiled:
    """Compiles the CNN for one device with a progress bar of its own."""
    task = bar.add_task(device, total=1.0)
    request = Request(
        model=DIGITS / "cnn.onnx",
        target=device,
        out=out / device,
        data=DIGITS / "digits.npz",
        calibration=DIGITS / "calibration.npz",
        options=Options(sparsity=SPARSITY, max_drop=0.02),
        verify_samples=540,
    )
    return compile(request, lambda what, done: bar.update(task, description=f"{device}: {what}", completed=done))


def summary(results: dict[str, Compiled]) -> Table:
    """One column per device."""
    from prunus.compiler.report.html import percent, si, title

    table = Table(title=f"digits CNN, {SPARSITY:.0%} of the MACs pruned away, int8", title_justify="left")
    table.add_column("")
    for device in results:
        table.add_column(device, justify="right")
    reports = [each.report for each in results.values()]

    def row(name: str, cells: list[str]) -> None:
        if any(cells):
            table.add_row(name, *cells)

    row("Accuracy before", [percent(r.accuracy.before) for r in reports if r.accuracy])
    row("Accuracy after", [percent(r.accuracy.after) for r in reports if r.accuracy])
    row("Weights before", [si(r.size.bytes_before, "B") for r in reports])
    row("Weights after", [si(r.size.bytes_after, "B") for r in reports])
    row("MACs before", [si(r.size.macs_before) for r in reports])
    row("MACs after", [si(r.size.macs_after) for r in reports])
    exact = [r.fidelity.exact_fraction if r.fidelity else None for r in reports]
    row("Artefact = integer reference", ["not executed" if each is None else percent(each, 3) for each in exact])
    for key in COSTS:
        for basis in ("measured", "synthesised", "modelled"):
            found = [next((e for e in r.estimate if (e.name, e.basis) == (key, basis)), None) for r in reports]
            row(f"{title(key)} ({basis})", ["" if e is None else si(e.value, e.unit) for e in found])
    row("Every bound met", ["yes" if r.verdict.met else f"no: {r.verdict.binding}" for r in reports])
    return table


def main() -> int:
    console = Console()
    out = Path("out/demo")
    results: dict[str, Compiled] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        for device in DEVICES:
            try:
                results[device] = build(device, out, bar)
            except PrunusError as error:
                console.print(f"{device}: {error}", style="red", markup=False)
                return error.exit_code
    console.print(summary(results))
    for device, each in results.items():
        console.print(f"Report for {device}: {each.out / 'report.html'}", soft_wrap=True)
    return 0 if all(each.report.verdict.met for each in results.values()) else 5


if __name__ == "__main__":
    sys.exit(main())
