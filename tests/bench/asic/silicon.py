"""Validation against published silicon, never on rows that were fitted: each row is predicted from the others alone.

python tests/bench/asic/silicon.py     exit status 1 when a bound of BOUNDS is missed
"""

from __future__ import annotations

import sys

import eyeriss
import nvdla
from reference import figures

# Largest error allowed: relative.
BOUNDS = {
    "mm2_28nm": 0.10,
    "mm2_16nm": 0.10,
    "resnet50_int8_fps_1GHz": 0.15,
    "avg_mW_16nm": 0.20,
    "ms": 0.10,
    "mW": 0.20,
    "cycles": 0.08,
    "cycles, mean": 0.02,
}


def check(what: str, error: float) -> str:
    """An error as a percentage, marked when it misses its bound."""
    missed = abs(error) > BOUNDS[what]
    if missed:
        failures.append(what)
    return f"{error:+7.1%}{'  MISSED' if missed else ''}"


failures: list[str] = []


def nvdla_rows() -> None:
    table = figures()["nvdla_primer"]
    rows = [dict(zip(table["cols"], row, strict=True)) for row in table["rows"]]
    print(f"NVDLA primer, {len(rows)} rows, leave one out ({table['source']})")
    for row in rows:
        found = nvdla.predict(row, nvdla.fit([other for other in rows if other is not row]))
        print(f"  {row['MACs']:5d} MACs {row['convbuf_kB']:4d} kB {row['SDRAM_GBps']:5.1f} GB/s")
        for key, value in found.items():
            print(f"    {key:24} {value:9.3f}  published {row[key]:8.3f}  {check(key, value / row[key] - 1)}")
    print(f"  fitted to all rows: {nvdla.fit(rows)}\n")


def eyeriss_rows() -> None:
    table = figures()["eyeriss_v1_alexnet"]
    power = dict(zip(table["layer"], table["power_mW"], strict=True))
    print(
        f"Eyeriss v1, AlexNet, {table['conditions']}; time: nothing fitted; power: clock energy from the other layers"
    )
    for name, ms in zip(table["layer"], table["processing_ms"], strict=True):
        clock = eyeriss.fit_clock([other for other in power if other != name], power)
        found_ms, found_mw, found = eyeriss.run(name, eyeriss.chip(clock))
        print(
            f"  {name}  {found_ms:6.2f} ms  published {ms:5.1f}  {check('ms', found_ms / ms - 1)}  {found.best.mapping}"
        )
        print(f"         {found_mw:6.0f} mW  published {power[name]:5d}  {check('mW', found_mw / power[name] - 1)}")
    print(f"  clock energy fitted to all rows: {eyeriss.fit_clock(list(power), power):.2f} pJ\n")


def eyeriss_v2_rows() -> None:
    rows = figures()["eyeriss_v2_pe"]
    print("Eyeriss v2, one element, sparse MobileNet; the correlation of zeros from the other layers")
    errors = []
    for row in rows:
        rho = eyeriss.fit_correlation([other for other in rows if other is not row])
        error = eyeriss.sparse_cycles(row, eyeriss.element(rho)) / row["cycles_measured"] - 1
        plain = eyeriss.independent(row) / row["cycles_measured"] - 1
        errors.append(abs(error))
        print(f"  {row['layer']}  rho {rho:.3f}  {check('cycles', error)}   with independent zeros {plain:+.1%}")
    mean = check("cycles, mean", sum(errors) / len(errors))
    print(f"  mean {mean}; rho of all rows {eyeriss.fit_correlation(rows):.3f}\n")


def main() -> int:
    nvdla_rows()
    eyeriss_rows()
    eyeriss_v2_rows()
    print(f"{len(failures)} bounds missed {failures or ''}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
