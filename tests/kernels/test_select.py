"""The limit model: what must hold whatever its constants are, and where they come from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import packed_networks
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus import kernels
from prunus.kernels import KernelError, _core, predict

CONV = ((1, 128, 28, 28), (512, 128, 1, 1))
LAYERS = {
    "pointwise": (CONV, {}),
    "3x3": (((1, 256, 14, 14), (256, 256, 3, 3)), {"pads": (1, 1, 1, 1)}),
    "strided": (((1, 64, 56, 56), (64, 64, 3, 3)), {"pads": (1, 1, 1, 1), "strides": (2, 2)}),
    "grouped": (((1, 64, 14, 14), (64, 16, 3, 3)), {"pads": (1, 1, 1, 1), "group": 4}),
    "matrix": (((128, 768), (3072, 768)), {}),
    "vector": (((1, 1024), (1024, 1024)), {}),
}
DENSITIES = (1.0, 0.75, 0.5, 0.25, 0.1, 0.05, 0.0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder; what the process used before comes back afterwards."""
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path))
    _core.reload_costs()
    yield tmp_path
    monkeypatch.undo()
    _core.reload_costs()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("block", [(1, 1), (4, 4), (16, 4), (32, 4), (32, 64)])
def test_fewer_blocks_never_cost_more(layer, block):
    shapes, options = LAYERS[layer]
    by_density = [predict(*shapes, density, block, **options) for density in DENSITIES]
    for kernel in {c.kernel for c in by_density[0].candidates}:
        seconds = [next(c.seconds for c in p.candidates if c.kernel == kernel) for p in by_density]
        assert seconds == sorted(seconds, reverse=True), kernel
    assert all(p.seconds <= p.dense_seconds * (1 + 1e-12) for p in by_density)


@pytest.mark.parametrize("layer", LAYERS)
def test_larger_blocks_never_cost_more(layer):
    shapes, options = LAYERS[layer]
    seconds = [
        predict(*shapes, 0.25, block, **options).seconds for block in [(1, 1), (4, 4), (16, 4), (32, 4), (32, 64)]
    ]
    assert seconds == sorted(seconds, reverse=True)


@given(
    out=st.integers(1, 600),
    channels=st.integers(1, 600),
    size=st.integers(1, 40),
    density=st.floats(0, 1),
    k=st.integers(1, 3),
)
def test_candidates_are_sorted_and_the_first_is_the_choice(out, channels, size, density, k):
    p = predict((1, channels, size + k, size + k), (out, channels, k, k), density)
    seconds = [c.seconds for c in p.candidates]
    assert seconds == sorted(seconds) and seconds[0] > 0
    assert (p.kernel, p.seconds) == (p.candidates[0].kernel, seconds[0])
    assert predict((1, channels, size + k, size + k), (out, channels, k, k), density) == p


def test_every_usable_kernel_is_a_candidate():
    usable = {info.name for info in kernels.kernel_table() if info.usable and info.family in ("conv", "rows")}
    assert {c.kernel for c in predict(*CONV).candidates} == usable
    for name in usable:
        only = predict(*CONV, kernel=name)
        assert [c.kernel for c in only.candidates] == [name]


def test_depthwise_layers_prefer_the_best_instruction_set():
    p = predict((1, 64, 56, 56), (64, 1, 3, 3), pads=(1, 1, 1, 1), group=64)
    isa = {info.name: info.isa for info in kernels.kernel_table()}
    order = [kernels.isas().index(isa[c.kernel]) for c in p.candidates]
    assert order == sorted(order)


def test_the_table_names_what_this_machine_has():
    table = kernels.kernel_table()
    assert len({info.name for info in table}) == len(table), "names are unique"
    assert {info.isa for info in table if info.usable} <= set(kernels.isas())
    assert any(info.isa == "generic" and info.usable for info in table)
    assert kernels.isas()[-1] == "generic"


@pytest.mark.parametrize(
    "shapes, options, error",
    [
        (((1, 8, 4, 4), (8, 9, 1, 1)), {}, "E_SHAPE"),
        (((1, 8, 4, 4), (8, 8)), {}, "E_SHAPE"),
        (((1, 8, 4, 4), (8, 8, 5, 5)), {}, "E_SHAPE"),
        (((0, 8, 4, 4), (8, 8, 1, 1)), {}, "E_SHAPE"),
        (CONV, {"density": 1.5}, "E_RANGE"),
        (CONV, {"density": float("nan")}, "E_RANGE"),
        (CONV, {"block": (0, 4)}, "E_SHAPE"),
        (CONV, {"kernel": "avx1024_4x4"}, "E_OPTION"),
    ],
)
def test_what_cannot_be_predicted(shapes, options, error):
    with pytest.raises(KernelError, match=error):
        predict(*shapes, **options)


# -- the cache --------------------------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_say_so(cache):
    assert predict(*CONV).source.startswith("defaults for ")
    assert "no file" in kernels.costs().source


def test_what_was_measured_is_kept_and_used(cache):
    before = kernels.costs()
    measured = kernels.autotune(0.2)
    assert measured.source == f"measured: {cache / 'coefficients.txt'}"
    assert measured.kernels.keys() == before.kernels.keys()
    usable = {info.name for info in kernels.kernel_table() if info.usable}
    assert all(measured.kernels[name] != before.kernels[name] for name in usable)
    _core.reload_costs()
    assert kernels.costs() == measured, "numbers survive the file exactly"
    assert [path.name for path in cache.iterdir()] == ["coefficients.txt"], "nothing temporary is left"


def damaged(text: str) -> dict[str, str]:
    lines = text.splitlines()
    number = re.compile(r"(kernel \S+) \S+")
    return {
        "empty": "",
        "incomplete": "\n".join(lines[:-1]),
        "not a file of this version": text.replace("coefficients 1", "coefficients 2", 1),
        "another machine": text.replace(lines[1], lines[1] + " and more", 1),
        "damaged line": number.sub(r"\1 nan", text, count=1),
        "damaged line ": number.sub(r"\1 -1e9", text, count=1),
        "damaged line  ": number.sub(r"\1 1e9x", text, count=1),
        "damaged line   ": text.replace("\nend", "\nkernel too short\nend"),
        "incomplete ": "\n".join(line for line in lines if not line.startswith("relayout")) + "\n",
    }


@pytest.mark.parametrize("which", range(9))
def test_damaged_and_foreign_files_are_ignored_with_a_reason(cache, which):
    path = cache / "coefficients.txt"
    kernels.autotune(0.1)
    reason, text = list(damaged(path.read_text("utf-8")).items())[which]
    path.write_text(text, "utf-8")
    _core.reload_costs()
    source = kernels.costs().source
    assert source.startswith("defaults for ")
    assert reason.strip().replace("empty", "version") in source


def test_a_binary_file_is_ignored(cache):
    (cache / "coefficients.txt").write_bytes(bytes(range(256)) * 64)
    _core.reload_costs()
    assert kernels.costs().source.startswith("defaults for ")


def test_an_empty_setting_turns_the_cache_off(monkeypatch, cache):
    monkeypatch.setenv("PRUNUS_CACHE", "")
    _core.reload_costs()
    assert "no cache folder" in kernels.costs().source
    assert kernels.autotune(0.1).source == "measured now"


def test_the_cache_follows_the_user_s_folders(monkeypatch, tmp_path, cache):
    monkeypatch.delenv("PRUNUS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    _core.reload_costs()
    assert str(tmp_path / "xdg" / "prunus") in kernels.costs().source
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    _core.reload_costs()
    assert str(tmp_path / "home" / ".cache" / "prunus") in kernels.costs().source


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_costs_only_the_file(monkeypatch, cache):
    monkeypatch.setenv("PRUNUS_CACHE", "/proc/prunus")
    assert kernels.autotune(0.1).source == "measured now"


# -- timed plans ------------------------------------------------------------------------------------------------------

LAYER = (
    packed_networks.sparse_weight(7, 64, 32, 3, 3, density=0.3),
    np.zeros(64, np.int32),
    packed_networks.f32(2**-7),
    kernels.Output("u8", 128),
)


def timed_plan(path: Path, count: int = 2) -> dict[str, Any]:
    plan = kernels.Plan.conv2d(*LAYER, x_shape=(1, 32, 12, 12), timed=count, cache=str(path))
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 12, 12)).astype(np.uint8)
    np.testing.assert_array_equal(plan.run(x), kernels.conv2d(x, *LAYER))
    return plan.describe()


def convolution(description: dict[str, Any]) -> dict[str, Any]:
    return next(step for step in description["steps"] if step["losers"])


@pytest.fixture
def timings(tmp_path):
    if sum(info.usable for info in kernels.kernel_table() if info.family == "conv") < 2:
        pytest.skip("one kernel has nobody to race with")
    return tmp_path / "timings.txt"


def test_what_was_timed_is_remembered(timings):
    first = convolution(timed_plan(timings))
    assert first["timed_seconds"] > 0
    text = timings.read_text("utf-8")
    assert text.startswith("prunus timings 1\nmachine ") and text.endswith("\nend\n")
    assert convolution(timed_plan(timings)) == first, "seconds come from the file, not from a second race"
    assert timings.read_text("utf-8") == text


def test_the_file_decides(timings):
    first = convolution(timed_plan(timings))
    lines = timings.read_text("utf-8").splitlines()
    lines = [re.sub(rf"( {first['kernel']}) \S+$", r"\1 1000", line) for line in lines]
    timings.write_text("\n".join(lines) + "\n", "utf-8")
    second = convolution(timed_plan(timings))
    assert second["kernel"] != first["kernel"] and second["kernel"] in {loser["kernel"] for loser in first["losers"]}


def test_a_dense_kernel_always_takes_part(timings):
    table = {info.name: info for info in kernels.kernel_table()}
    kept = np.kron(np.random.default_rng(0).random((64, 256)) < 0.1, np.ones((16, 4)))
    weight = (packed_networks.sparse_weight(8, 1024, 1024, density=1.0) * kept).astype(np.int8)
    layer = weight, np.zeros(1024, np.int32), packed_networks.f32(2**-7), kernels.Output("u8", 128)
    families = {info.family for info in table.values() if info.usable}
    if not {"gemv_blocks", "gemv_dense"} <= families:
        pytest.skip("needs two families of kernels for one vector")
    for name in (info.name for info in table.values() if info.usable and info.family == "gemv_blocks"):
        timings.unlink(missing_ok=True)
        isa = table[name].isa
        plan = kernels.Plan.gemm(*layer, x_shape=(1, 1024), timed=1, cache=str(timings), isa=isa)
        step = convolution(plan.describe())
        raced = [line.split(" ")[1] for line in timings.read_text("utf-8").splitlines()[2:-1]]
        assert sorted(table[kernel].family for kernel in raced) == ["gemv_blocks", "gemv_dense"], raced
        assert step["timed_seconds"] > 0


@pytest.mark.parametrize("damage", ["other machine", "garbage", "empty", "nan"])
def test_damaged_timings_are_ignored_with_a_reason(timings, damage):
    first = convolution(timed_plan(timings))
    text = timings.read_text("utf-8")
    changed = {
        "other machine": text.replace("machine ", "machine Z80 ", 1),
        "garbage": "\x00\xff" * 500,
        "empty": "",
        "nan": re.sub(rf"( {first['kernel']}) \S+", r"\1 nan", text),
    }[damage]
    timings.write_text(changed, "utf-8")
    description = timed_plan(timings)
    assert convolution(description)["timed_seconds"] > 0
    assert str(timings) in description["timings"]
    assert re.search("another machine|not a file|damaged line", description["timings"])


def test_the_description_says_where_costs_come_from(cache):
    plan = kernels.Plan.conv2d(*LAYER, x_shape=(1, 32, 12, 12))
    assert plan.describe()["costs"] == kernels.costs().source
