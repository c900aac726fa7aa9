"""The modelled latency of Cortex-M cores beside what MLPerf Tiny published for boards with those cores.

    python tests/bench/board_results.py [--instructions] [--out FILE]

The table of results (v0.5, v0.7, v1.0) and the four networks come from the folder of real models. Compared are results
of the closed division, whose networks are these very ones, on chips whose core has a device file; the modelled cycles
take the board's clock. Boards with other cores or with an accelerator are counted as left out, by reason.

What the comparison can say: published figures are those of others' kernels (TFLM, CMSIS-NN, microTVM, X-CUBE-AI,
Plumerai), two to four times apart on the same chip; ours ran on none of these boards. A result inside the modelled
range says that our code is expected in that class. Nothing in the model was fitted to these boards: instructions per
unit of work are fitted to counts of an emulator, cycles per instruction come from the cores' reference manuals.

`--instructions` checks the first half of the model: it compiles and runs each network in the emulator and prints the
instructions that were counted beside those modelled. Energy of microcontrollers is not modelled.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "support"))

from integer_models import integer_model
from real_tasks import load_task

from prunus.compiler.model.load import load
from prunus.compiler.model.workload import Workload, workload
from prunus.compiler.quantity import Quantity
from prunus.targets.c import CTarget
from prunus.targets.c.execute import measure_memory
from prunus.targets.c.program import program
from prunus.targets.c.toolchain import missing_tool, toolchain_of
from prunus.targets.catalog import device_files

TABLE = "board_results_mlperf_tiny_v05_v07_v10.csv"
NETWORKS: Mapping[str, str] = {"ic": "resnet8", "kws": "ds_cnn", "vww": "mobilenet_v1", "ad": "autoencoder"}

# part of the system's name in the results -> (device with the same core, clock in MHz as the chip's data sheet has it)
BOARDS: Mapping[str, tuple[str, float]] = {
    "L4R5ZI": ("cortex-m4", 120),  # STM32L4R5
    "cy8cproto_062_4343w": ("cortex-m4", 150),  # PSoC 62
    "H7A3ZI": ("cortex-m7", 280),  # STM32H7A3
    "F746NG": ("cortex-m7", 216),  # STM32F746
    "U575ZI": ("cortex-m33", 160),  # STM32U575
    "U585I": ("cortex-m33", 160),  # STM32U585
    "NRF5340": ("cortex-m33", 128),  # nRF5340, application core
    "RA6M4": ("cortex-m33", 200),  # RA6M4
}
OTHERS: Mapping[str, str] = {
    "xG24": "accelerator for matrices beside the Cortex-M33",
    "Andes": "RISC-V",
    "RX65N": "RX",
    "gap9": "cluster of RISC-V cores and accelerator",
    "syntiant": "neural accelerator",
}


@dataclass(frozen=True)
class Row:
    """One published result beside the model; latencies in seconds."""

    device: str
    system: str
    who: str
    task: str
    measured: float
    modelled: float
    low: float
    high: float

    @property
    def place(self) -> str:
        """Where the published latency lies."""
        if self.measured < self.low:
            return "faster"
        return "inside" if self.measured <= self.high else "slower"

    def line(self) -> str:
        low, value, high = (1e3 * x for x in (self.low, self.modelled, self.high))
        return (
            f"{self.device:<11}{self.system:<32}{self.who:<27}{self.task:<5}{1e3 * self.measured:9.1f}"
            f"{value:10.1f}  {f'{low:.1f} to {high:.1f}':<18}{self.measured / self.modelled:7.2f}  {self.place}"
        )


def latency(work: Workload, device_name: str, clock_hz: float) -> Quantity:
    """The modelled cycles at a board's clock."""
    (found,) = CTarget().cost([work], device_files()[device_name].device("c"))
    cycles = found.costs["latency_cycles"]
    low, value, high = (cycles_ / clock_hz for cycles_ in (cycles.low, cycles.value, cycles.high))
    return Quantity(value, low, high, "s", "modelled", cycles.source)


def published(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if row["division"] == "closed"]


def compare(results: Sequence[Mapping[str, str]], works: Mapping[str, Workload]) -> tuple[list[Row], Counter[str]]:
    """Rows of boards that have a device, and how many results are left out, by reason."""
    rows, left_out = [], Counter[str]()
    for result in results:
        system = result["system"]
        key = next((key for key in BOARDS if key in system.replace("_L4R5", "-L4R5")), None)
        if key is None:
            left_out[next((why for part, why in OTHERS.items() if part in system), "unknown board")] += 1
            continue
        device, mhz = BOARDS[key]
        model = latency(works[result["task"]], device, mhz * 1e6)
        who = f"{result['org']} {result['round']}"
        seconds = 1 / float(result["median_inf_per_s"])
        rows.append(Row(device, system, who, result["task"], seconds, model.value, model.low, model.high))
    return sorted(rows, key=lambda row: (row.device, row.task, row.measured)), left_out


def summarise(rows: Sequence[Row], left_out: Mapping[str, int]) -> None:
    print(
        f"\n{'core':<12}{'results':>8}{'inside':>8}{'faster':>8}{'slower':>8}   published / modelled: median (extremes)"
    )
    for device in (*sorted({row.device for row in rows}), "all"):
        some = [row for row in rows if device in (row.device, "all")]
        places = Counter(row.place for row in some)
        ratios = [row.measured / row.modelled for row in some]
        print(
            f"{device:<12}{len(some):>8}{places['inside']:>8}{places['faster']:>8}{places['slower']:>8}   "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(f"{sum(row.place == 'inside' for row in rows) / len(rows):.0%} of the published results lie in the range.")
    for why, count in sorted(left_out.items()):
        print(f"left out: {count:>3} results, {why}")


def instructions(folder: Path, works: Mapping[str, Workload]) -> None:
    """Instructions of one inference: modelled, and counted by the emulator on the compiled bundle."""
    print(f"\n{'core':<12}{'network':<14}{'modelled':>14}{'counted':>14}{'ratio':>8}")
    for task, network in NETWORKS.items():
        graph, _ = integer_model(network, folder, CTarget().formats(device_files()["cortex-m4"].device("c")), samples=1)
        for name in sorted({device for device, _ in BOARDS.values()}):
            device = device_files()[name].device("c")
            tools = toolchain_of(device)
            if missing := missing_tool(tools):
                print(f"{name:<12}{network:<14}not executed: {missing}")
                continue
            with tempfile.TemporaryDirectory(prefix="prunus-c-") as out:
                CTarget().lower(graph, device, Path(out))
                counted = measure_memory(Path(out), program(graph, tools), tools)["instructions"]
            cycles = CTarget().cost([works[task]], device)[0].costs["latency_cycles"].value
            modelled = cycles / device.data["cycles_per_instruction"].value
            print(f"{name:<12}{network:<14}{modelled:>14,.0f}{counted:>14,}{modelled / counted:>8.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instructions", action="store_true", help="count instructions in the emulator, too")
    parser.add_argument("--out", type=Path, help="write everything that was compared as JSON")
    asked = parser.parse_args()
    folder = Path(os.environ.get("PRUNUS_MODELS", TESTS.parent.parent / "shared" / "models"))
    works = {task: workload(load(load_task(name, folder).model)) for task, name in NETWORKS.items()}
    rows, left_out = compare(published(folder / TABLE), works)
    columns = f"{'core':<11}{'board':<32}{'kernels':<27}{'task':<5}{'ms':>9}{'modelled':>10}  {'range':<18}{'ratio':>7}"
    print(columns)
    for row in rows:
        print(row.line())
    summarise(rows, left_out)
    if asked.instructions:
        instructions(folder, works)
    if asked.out:
        asked.out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
