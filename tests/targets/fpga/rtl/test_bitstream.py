"""The real tools: from an integer graph to a bitstream with the board's wrapper, timing met. Slow."""

from __future__ import annotations

from pathlib import Path

import graphs
import pytest

from prunus.targets import catalog
from prunus.targets.fpga.rtl import RtlTarget
from prunus.targets.fpga.synth import tools

pytestmark = [pytest.mark.slow, pytest.mark.toolchain]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("board", "features", "bitstream"),
    [
        ("ulx3s-85f", (16, 16, 16, 5), "top.bit"),
        ("icebreaker", (8, 6, 4), "top.bin"),
        ("tang-nano-9k", (8, 6, 4), "top.fs"),
    ],
)
def test_a_network_becomes_a_bitstream_that_meets_its_clock(
    board: str, features: tuple[int, ...], bitstream: str, tmp_path: Path
) -> None:
    pytest.importorskip("da4ml")
    if tools.find("yosys") is None:
        pytest.skip("yosys is not installed (pip install 'prunus[rtl]')")
    device = catalog.device_files()[board].device("rtl")
    graph, _ = graphs.mlp("pow2", features=features, density=0.5)
    out = tmp_path / "artifact"
    out.mkdir()
    artifact = RtlTarget().lower(graph, device, out)
    assert (out / "build" / bitstream).stat().st_size > 1000
    clocks = artifact.manifest["build"]["clocks_hz"]
    assert clocks and all(reached >= asked for reached, asked in clocks.values()), clocks
    assert artifact.costs["lut"].basis == "synthesised"
    assert artifact.costs["interval_cycles"].value == 1
    assert artifact.costs["lut"].value <= device.resources["lut"].value
