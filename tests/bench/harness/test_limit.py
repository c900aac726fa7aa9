"""The limit: its formula on made-up rates, and that limit.c builds and measures something."""

from __future__ import annotations

import shutil

import pytest

from harness import limit as module
from harness.limit import Limit, NoLimit
from harness.machine import instruction_sets
from harness.shapes import conv, gemm


class MadeUp(Limit):
    def __init__(self) -> None:
        self.macs_per_second = {"avx512vnni": 100e9, "avx2": 25e9}

    def bytes_per_second(self, size: int) -> float:
        return 10e9


def test_convolutions_are_bound_by_their_products() -> None:
    layer = conv("layer", 64, 64, 10)
    dense = layer.macs / 100e9
    assert MadeUp().seconds(layer) == pytest.approx(dense)
    assert MadeUp().seconds(layer, 0.25) == pytest.approx(dense / 4)
    assert MadeUp().seconds(layer, 1, "avx2") == pytest.approx(dense * 4)


def test_one_row_is_bound_by_its_weights() -> None:
    layer = gemm("layer", 1, 1000, 1000)
    assert MadeUp().seconds(layer, 0.5) == pytest.approx(0.5e6 / 10e9)


def test_no_compiler_is_said() -> None:
    with pytest.raises(NoLimit, match="compiler"):
        Limit(compilers=["no-such-compiler"])


@pytest.mark.toolchain
def test_rates_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (shutil.which("gcc") or shutil.which("clang")):
        pytest.skip("no C compiler")
    if "avx2" not in instruction_sets():
        pytest.skip("no AVX2 on this CPU")
    monkeypatch.setattr(module, "SECONDS", 0.005)
    limit = Limit()
    assert set(limit.macs_per_second) == {name for name in module.RATES if name in instruction_sets()}
    assert all(1e9 < rate < 1e14 for rate in limit.macs_per_second.values())
    assert 1e9 < limit.bytes_per_second(1 << 14) < 1e13
