"""Writes the golden vectors of the integer contract: tests/golden/int/OP_SCHEME[_VARIANT].npz.

    .venv/bin/python tests/golden/make_int.py [--out FOLDER]

Each file is one small integer graph with inputs and the results that `compiler/integer/ops.py` defines; README.md
beside the files says how to read them with numpy alone. The same bytes come out every time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import int_recipes as r
from int_case import S8, S8_POW2, SCHEMES, U8, U8_POW2, Case

FOLDER = Path(__file__).resolve().parent / "int"
Recipe = Callable[[Case], None]

# Operators that requantize: one vector per scheme.
PER_SCHEME: dict[str, Recipe] = {
    "conv": r.conv,
    "depthwise": r.depthwise,
    "gemm": r.gemm,
    "add": r.add,
    "mul": r.mul,
    "concat": r.concat,
    "avgpool": r.avgpool,
    "requant": r.change,
    "net": r.network,
}

# (operator, variant, schemes, recipe): what deserves a vector of its own, in the schemes where it differs.
ALL, TWO = tuple(SCHEMES), ("f32", "pow2")
VARIANTS: tuple[tuple[str, str, tuple[str, ...], Recipe], ...] = (
    ("conv", "asymmetric", ("f32", "fixed31"), r.conv_asymmetric),
    ("conv", "dilated", ("f32",), r.conv_dilated),
    ("conv", "grouped", TWO, r.conv_grouped),
    ("conv", "pointwise", ("f32",), r.conv_pointwise),
    ("conv", "deep", ("f32", "fixed31"), r.conv_deep),
    ("conv", "large_window", ("f32",), r.conv_large_window),
    ("conv", "1d", ("f32",), r.conv_one_dimensional),
    ("conv", "w4", ALL, r.conv_weights(4)),
    ("conv", "w6", TWO, r.conv_weights(6)),
    ("conv", "a4", TWO, r.conv_narrow),
    ("conv", "zero_rows", TWO, r.conv_zero_rows),
    ("conv", "relu", ("f32", "fixed18"), r.conv_relu),
    ("conv", "per_tensor", ALL, r.conv_per_tensor),
    ("conv", "extreme", ALL, r.conv_extreme),
    ("depthwise", "multiplier2", TWO, r.depthwise_multiplier),
    ("depthwise", "dilated", ("f32",), r.depthwise_dilated),
    ("depthwise", "wide", ("f32",), r.depthwise_wide),
    ("gemm", "batched", ("f32",), r.gemm_batched),
    ("gemm", "deep", ("fixed31",), r.gemm_deep),
    ("gemm", "ties", ALL, r.gemm_ties),
    ("gemm", "left_shift", ("pow2",), r.gemm_left_shift),
    ("add", "broadcast", ("f32", "fixed18"), r.add_broadcast),
    ("add", "both_broadcast", ("fixed31",), r.add_both_broadcast),
    ("add", "ties", ALL, r.add_ties),
    ("add", "left_shift", ("pow2",), r.add_left_shift),
    ("mul", "broadcast", ("f32", "fixed31"), r.mul_broadcast),
    ("requant", "ties", ALL, r.change_ties),
    ("requant", "left_shift", ("pow2",), r.change_left_shift),
    ("requant", "clip", ("f32",), r.change_clip),
    ("concat", "last", ("f32", "fixed31"), r.concat_last),
    ("avgpool", "counts", ALL, r.avgpool_counts),
    ("avgpool", "global", ALL, r.avgpool_global),
)

# Operators without a requantization.
PLAIN: dict[str, Recipe] = {
    "maxpool": r.maxpool,
    "maxpool_padded_s8": r.maxpool_padded(S8),
    "maxpool_padded_s4": r.maxpool_padded(r.S4),
    "lut_u8_s8": r.lut(U8, S8),
    "lut_s8_u8": r.lut(S8, U8),
    "lut_u4_s8": r.lut(r.U4, S8),
    "softmax": lambda case: r.softmax(case, (2, 3, 10), -1, U8),
    "softmax_channels": lambda case: r.softmax(case, (2, 5, 3, 2), 0, S8),
    "softmax_long": lambda case: r.softmax(case, (1, 600), 0, U8),
    "softmax_uniform": r.softmax_uniform,
    "reshape": r.reshape,
    "transpose": r.transpose,
    "slice": r.cut,
    "pad": r.pad,
    "resize": r.resize,
    "quantize_u8": r.quantize(U8),
    "quantize_s8": r.quantize(S8),
    "quantize_u8_pow2": r.quantize(U8_POW2),
    "quantize_s8_pow2": r.quantize(S8_POW2),
    "quantize_image": r.quantize_image,
    "dequantize_u8": r.dequantize(U8),
    "dequantize_s8": r.dequantize(S8),
}


def recipes() -> Iterator[tuple[str, str, Recipe]]:
    """(file name, scheme, recipe) of every golden vector."""
    for op, recipe in PER_SCHEME.items():
        for scheme in SCHEMES:
            yield f"{op}_{scheme}", scheme, recipe
    for op, variant, schemes, recipe in VARIANTS:
        for scheme in schemes:
            yield f"{op}_{scheme}_{variant}", scheme, recipe
    for name, recipe in PLAIN.items():
        yield name, "pow2" if name.endswith("_pow2") else "f32", recipe


def main() -> None:
    """Writes all files and removes those that no recipe makes any more."""
    parser = argparse.ArgumentParser(description="Write the golden vectors of the integer contract.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    written = set()
    for name, scheme, recipe in recipes():
        case = Case(name, scheme)
        recipe(case)
        path = folder / f"{name}.npz"
        path.write_bytes(case.encode())
        written.add(path)
    for path in set(folder.glob("*.npz")) - written:
        path.unlink()


if __name__ == "__main__":
    main()
