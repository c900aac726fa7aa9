"""Output folders are complete or absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prunus.compiler.errors import LimitError, ToolError, UsageError
from prunus.compiler.output import MANIFEST, staged, write_manifest


def fill(folder: Path, text: str) -> None:
    (folder / "a.txt").write_text(text)
    write_manifest(folder, {"target": "t"})


def test_a_finished_folder_takes_its_place_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with staged(tmp_path / "out") as folder:
            fill(folder, text)
            assert folder != tmp_path / "out"
        assert (tmp_path / "out" / "a.txt").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_earlier_result_and_nothing_else(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as folder:
        fill(folder, "good")
    with pytest.raises(RuntimeError), staged(tmp_path / "out") as folder:
        fill(folder, "bad")
        raise RuntimeError("stop")
    assert (tmp_path / "out" / "a.txt").read_text() == "good"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_foreign_files_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError) as caught, staged(tmp_path):
        raise AssertionError("must not be entered")
    assert caught.value.code == "output-not-empty"
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_file_or_a_link_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link"):
        with pytest.raises(UsageError) as caught, staged(tmp_path / name):
            raise AssertionError("must not be entered")
        assert caught.value.code == "output-not-folder"


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as folder:
        with pytest.raises(LimitError) as caught, staged(tmp_path / "out"):
            raise AssertionError("must not be entered")
        fill(folder, "first")
    assert caught.value.code == "output-locked"
    assert (tmp_path / "out" / "a.txt").read_text() == "first"


def test_an_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ToolError) as caught, staged(tmp_path / "file" / "out"):
        raise AssertionError("must not be entered")
    assert caught.value.code == "output-not-writable"


@pytest.mark.parametrize("name", ["with space; and $(semicolon)", "ümlaut", "a'b\"c"])
def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    with staged(tmp_path / name) as folder:
        fill(folder, "x")
    assert (tmp_path / name / MANIFEST).is_file()


def test_manifest_lists_every_file_with_digest_except_the_dated_report(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.bin").write_bytes(b"abc")
    (tmp_path / "report.json").write_text("{}")
    write_manifest(tmp_path, {"device": "d"})
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["device"] == "d"
    assert manifest["files"] == [
        {"bytes": None, "path": "report.json", "sha256": None},
        {"bytes": 3, "path": "sub/b.bin", "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    ]
