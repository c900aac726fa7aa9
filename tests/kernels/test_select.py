"""The limit model: what must hold whatever its constants are, and where they come from."""

from __future__ import annotations

import re
from pathlib import Path

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
    usable = {info.name for info in kernels.kernel_table() if info.usable and info.family == "conv"}
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
