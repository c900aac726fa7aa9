"""The Python package around the kernels: sources for targets, stub, documentation."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import pytest

from prunus import kernels

ROOT = Path(__file__).resolve().parents[2]


def test_sources_are_those_of_the_repository():
    files, include = kernels.sources()
    assert files and files == sorted(files)
    if not (ROOT / "kernels").is_dir():
        pytest.skip("the repository is not beside the tests")
    assert {path.name for path in files} == {path.name for path in (ROOT / "kernels/src/portable").glob("*.c")}
    assert (include / "prunus" / "kernels.h").is_file()


def test_every_function_of_the_header_is_bound():
    _, include = kernels.sources()
    header = (include / "prunus" / "kernels.h").read_text("utf-8")
    declared = set(re.findall(r"^prunus_status prunus_(\w+)\(", header, re.MULTILINE))
    assert len(declared) >= 15
    assert declared <= set(kernels.__all__)


def test_everything_exported_is_documented():
    for name in kernels.__all__:
        assert inspect.getdoc(getattr(kernels, name)), name


def test_the_stub_is_what_stubgen_writes():
    stubgen = pytest.importorskip("nanobind.stubgen", reason="nanobind, which generates the stub, is not installed")
    if not (ROOT / "kernels").is_dir():
        pytest.skip("the repository is not beside the tests")
    generator = stubgen.StubGen(kernels._core)
    generator.put(kernels._core)
    expected = (ROOT / "kernels/_core.pyi").read_text("utf-8")
    hint = "python -m nanobind.stubgen -m prunus.kernels._core -o kernels/_core.pyi"
    assert generator.get() == expected, f"the stub is out of date: {hint}"


def test_the_examples_of_the_documentation_run():
    results = doctest.testmod(kernels)
    assert results.attempted > 0 and results.failed == 0
