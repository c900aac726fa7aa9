"""Findings, refusals and formats: what needs no compiler."""

from __future__ import annotations

import sys
from dataclasses import replace

import graphs
import numpy as np
import pytest

from prunus.compiler.errors import InvalidModelError, ToolError, UnsupportedError, UsageError
from prunus.compiler.integer import graph as ir
from prunus.compiler.target import Target
from prunus.targets import catalog
from prunus.targets.native.limits import MAX_RANK
from prunus.targets.tvm import TvmTarget, build
from prunus.targets.tvm.platform import Platform, from_settings
from prunus.tests.targets.tvm import float_cases

U8 = ir.QType("u8", 0.5, 3)
HALF = ir.Requant("f32", np.array([0.5], np.float32), np.zeros(1, np.int32))


def one(cls: type[ir.Op], shapes: list[tuple[int, ...]], out: tuple[int, ...], **fields) -> ir.Graph:
    """A graph of one operator on u8 tensors."""
    names = tuple(f"x{i}" for i in range(len(shapes)))
    tensors = {name: ir.Tensor(name, shape, U8) for name, shape in zip(names, shapes, strict=True)}
    op = cls(name="op", inputs=names, output="y", **fields)
    return ir.Graph("one", names, ("y",), {**tensors, "y": ir.Tensor("y", out, U8)}, (op,))


def codes(graph: ir.Graph, device) -> list[tuple[str, str]]:
    return [(finding.placement, finding.reason_code) for finding in TvmTarget().check(graph, device)]


def test_is_a_target(device):
    target = TvmTarget()
    assert isinstance(target, Target)
    formats = target.formats(device)
    assert (formats.scheme, formats.activation, formats.zero_point, formats.softmax) == ("f32", "u8", "affine", "float")
    assert set(formats.reasons) >= {"scheme", "activation", "zero_point", "per_channel", "block", "softmax"}


def test_one_finding_per_operator_in_graph_order(device):
    graph, _ = graphs.mlp()
    found = TvmTarget().check(graph, device)
    assert [finding.layer for finding in found] == [op.name for op in graph.ops]
    assert codes(graph, device) == [("integer", "kernel")] * 5 + [("float", "terminal-softmax")]


def test_reshapes_are_views(device):
    assert codes(one(ir.QReshape, [(2, 3)], (6,)), device) == [("integer", "view")]


def test_unknown_island_operators_are_refused(device, tmp_path):
    graph = float_cases.island("Celu")
    (finding,) = TvmTarget().check(graph, device)
    assert (finding.placement, finding.reason_code) == ("unsupported", "island-unsupported")
    assert "Celu" in finding.hint
    with pytest.raises(UnsupportedError) as caught:
        TvmTarget().lower(graph, device, tmp_path)
    assert (caught.value.code, caught.value.where) == ("island-unsupported", "op")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_foreign_domains_are_refused(device):
    graph = float_cases.island("Relu", domain="evil.example")
    assert codes(graph, device) == [("unsupported", "island-unsupported")]


def test_high_ranks_are_refused(device):
    ones = (1,) * MAX_RANK
    graph = one(ir.QTranspose, [ones], ones, perm=tuple(range(len(ones))))
    assert codes(graph, device) == [("unsupported", "rank-too-high")]


def test_ambiguous_broadcasts_are_refused(device):
    graph = one(ir.QMul, [(2, 3), (3,)], (2, 3), requant=HALF, qmin=0, qmax=255)
    assert codes(graph, device) == [("unsupported", "broadcast-rank")]


@pytest.mark.parametrize("name", ["a b", "x;rm -rf /", "../t0001", "", "n\n", "é", "x" * 65])
def test_names_that_are_not_plain_are_refused(device, tmp_path, name):
    graph = float_cases.island("Relu")
    tensors = {**graph.tensors, name: replace(graph.tensors["y"], name=name)}
    bad_tensor = ir.Graph("g", graph.inputs, (name,), tensors, (replace(graph.ops[0], output=name),))
    bad_operator = replace(graph, ops=(replace(graph.ops[0], name=name),))
    for bad in (bad_tensor, bad_operator):
        with pytest.raises(InvalidModelError) as caught:
            TvmTarget().lower(bad, device, tmp_path)
        assert caught.value.code == "unsafe-name"
    assert list(tmp_path.iterdir()) == []


def test_missing_tvm_names_the_extra(monkeypatch, device, tmp_path):
    monkeypatch.setitem(sys.modules, "tvm", None)
    with pytest.raises(ToolError) as caught:
        TvmTarget().lower(graphs.mlp()[0], device, tmp_path)
    assert caught.value.code == "missing-extra"
    assert "prunus[tvm]" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["host-cpu", "raspberry-pi-4"])
def test_missing_compiler_says_what_to_install(monkeypatch, tmp_path, golden, name):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    settings = {
        **catalog.device_files()[name].settings,
        "triple": catalog.device_files()[name].settings.get("triple", "x86_64-linux-gnu"),
    }
    with pytest.raises(ToolError) as caught:
        build.find_toolchain(from_settings(settings))
    assert caught.value.code == "missing-compiler"
    golden(f"errors/tvm-compiler-{name}.txt", f"{caught.value}\n")


@pytest.mark.parametrize("word", ["native -fplugin=x", "-wrapper", "a\nb", "x" * 80])
@pytest.mark.parametrize("key", ["compiler", "triple", "cpu", "needs", "emulator"])
def test_settings_cannot_smuggle_flags(key, word):
    with pytest.raises(UsageError) as caught:
        from_settings({key: word})
    assert caught.value.code == "device-setting"


def test_a_platform_survives_its_description():
    platform = Platform("x-g++", "g++-x", "x-linux", "fast", ("a", "b"), "a", "qemu-x")
    assert from_settings(platform.as_dict()) == platform
