"""The artefact: the same bytes for the same graph, no trace of the machine, no name that was not made here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import graphs
import numpy as np
import pytest

from prunus.compiler.errors import InvalidModelError, LimitError, ToolError
from prunus.compiler.integer import graph as ir
from prunus.compiler.target import Artifact
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget, process
from prunus.targets.fpga.hls.lower import lower_graph
from prunus.targets.fpga.hls.spec import HlsLayer, Spec
from prunus.targets.fpga.hls.vectors import INPUTS, OUTPUTS

needs_hls4ml = pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml is not installed")
_, DEVICE = resolve("pynq-z2")
HOSTILE = 'x"); system("touch owned"); //\n#include </etc/passwd>'


def lower(out: Path, graph: ir.Graph) -> Artifact:
    out.mkdir()
    return HlsTarget().lower(graph, DEVICE, out)


def digests(artifact: Artifact) -> dict[str, str]:
    return {name: hashlib.sha256((artifact.root / name).read_bytes()).hexdigest() for name in artifact.files}


@needs_hls4ml
def test_two_runs_and_a_hostile_twin_give_the_same_bytes(tmp_path: Path) -> None:
    graph, _ = graphs.mlp("pow2")
    twin = replace(graph, name=HOSTILE)
    first, second = lower(tmp_path / "one", graph), lower(tmp_path / "a b; c", twin)
    assert digests(first) == digests(second)
    assert first.manifest == second.manifest
    for name in first.files:
        content = (first.root / name).read_bytes()
        assert str(tmp_path).encode() not in content
        assert b"owned" not in content


@needs_hls4ml
def test_what_the_artefact_holds(tmp_path: Path) -> None:
    graph, _ = graphs.mlp("pow2")
    artifact = lower(tmp_path / "out", graph)
    assert {"build.sh", "README.txt", "firmware.zip", "project/firmware/firmware.cpp"} <= set(artifact.files)
    json.dumps(artifact.manifest)
    with zipfile.ZipFile(artifact.root / "firmware.zip") as archive:
        assert set(archive.namelist()) == set(artifact.files) - {"firmware.zip"}
        assert all(entry.date_time == (1980, 1, 1, 0, 0, 0) for entry in archive.infolist())
    source = (artifact.root / "project/firmware/parameters.h").read_text()
    for layer in artifact.manifest["layers"]:
        if layer["reuse_factor"]:
            assert f"reuse_factor = {layer['reuse_factor']};" in source
            assert f"nnet::{layer['strategy'].lower()}" in source
    lines = {name: (artifact.root / f"project/tb_data/{name}").read_text().splitlines() for name in (INPUTS, OUTPUTS)}
    assert {len(line.split()) for line in lines[INPUTS]} == {16}
    assert {len(line.split()) for line in lines[OUTPUTS]} == {5}
    assert len(lines[INPUTS]) == len(lines[OUTPUTS]) == 16
    tcl = (artifact.root / "project/project.tcl").read_text()
    assert 'set part "xc7z020clg400-1"' in tcl and "set clock_period 10" in tcl
    assert [port["tensor"] for port in artifact.manifest["ports"]] == ["t0001", "t0004"]


@needs_hls4ml
@pytest.mark.toolchain
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_a_simulation_that_takes_too_long(tmp_path: Path) -> None:
    graph, feeds = graphs.mlp("pow2")
    artifact = lower(tmp_path / "out", graph)
    with pytest.raises(LimitError) as caught:
        HlsTarget(compile_timeout_s=0.05).run(artifact, graph, feeds)
    assert caught.value.code == "time-out"


@needs_hls4ml
def test_the_build_script_names_what_is_missing(tmp_path: Path) -> None:
    artifact = lower(tmp_path / "out", graphs.mlp("pow2")[0])
    environment = {"PATH": os.pathsep.join(["/usr/bin", "/bin"])}
    run = subprocess.run(
        [str(artifact.root / "build.sh")], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 6
    assert "vitis-run" in run.stderr


@pytest.mark.parametrize("name", [HOSTILE, "a b", "../x", "int x;", "t" * 99, "n\u00e4me", "`id`", "{}"])
def test_names_that_are_not_plain_reach_nothing(name: str, tmp_path: Path) -> None:
    graph, _ = graphs.mlp("pow2")
    renamed = rename(graph, "t0003", name)
    with pytest.raises(InvalidModelError) as caught:
        HlsTarget().lower(renamed, DEVICE, tmp_path)
    assert caught.value.code == "name-not-plain"
    assert not any(tmp_path.iterdir())


def rename(graph: ir.Graph, old: str, new: str) -> ir.Graph:
    """The graph with one tensor under another name."""
    ops = tuple(
        replace(
            op,
            inputs=tuple(new if name == old else name for name in op.inputs),
            output=new if op.output == old else op.output,
        )
        for op in graph.ops
    )
    tensors = {new if name == old else name: tensor for name, tensor in graph.tensors.items()}
    return ir.Graph(graph.name, graph.inputs, graph.outputs, tensors, ops, graph.scheme)


def spec_of(graph: ir.Graph) -> Spec:
    lowered = lower_graph(graph)
    inputs, outputs = (tuple(lowered.values[n].layer for n in names) for names in (lowered.inputs, lowered.outputs))
    return Spec(lowered.layers, inputs, outputs, lowered.io_type, "Vitis", "part", 5.0)


def test_the_worker_refuses_such_names_too(tmp_path: Path) -> None:
    spec = spec_of(graphs.mlp("pow2")[0])
    layers = (*spec.layers[:-1], replace(spec.layers[-1], name=HOSTILE))
    replace(spec, layers=layers).save(tmp_path / "spec.npz")
    with pytest.raises(ToolError, match="Writing failed") as caught:
        process.worker(["write", "spec.npz"], tmp_path, what="Writing", code="hls4ml-failed", timeout_s=60)
    assert "A name is not a plain identifier" in (caught.value.why or "")
    assert not (tmp_path / "project").exists()
    assert not (tmp_path / "owned").exists()


def test_layers_that_differ_in_case_alone_are_refused() -> None:
    spec = spec_of(graphs.mlp("pow2")[0])
    twins = (replace(spec.layers[0], name="ab"), replace(spec.layers[1], name="aB", inputs=("ab",)))
    with pytest.raises(InvalidModelError, match="case alone"):
        replace(spec, layers=twins, inputs=("ab",), outputs=("aB",)).check_names()


def test_a_spec_survives_its_file(tmp_path: Path) -> None:
    spec = spec_of(graphs.residual_cnn("pow2")[0])
    spec.save(tmp_path / "spec.npz")
    loaded = Spec.load(tmp_path / "spec.npz")
    assert loaded.text() == spec.text()
    assert (loaded.inputs, loaded.outputs, loaded.part) == (spec.inputs, spec.outputs, spec.part)
    for old, new in zip(spec.layers, loaded.layers, strict=True):
        assert isinstance(new, HlsLayer) and new.shape == old.shape
        for key, array in old.arrays.items():
            np.testing.assert_array_equal(new.arrays[key], array)


def test_importing_the_target_does_not_import_hls4ml() -> None:
    code = "import sys, prunus.targets.fpga.hls; sys.exit('hls4ml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
