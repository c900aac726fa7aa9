"""External data comes from regular files in the model's folder, or the load is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from prunus.compiler.errors import InvalidModelError
from prunus.compiler.model.edit import weight
from prunus.compiler.model.load import load
from prunus.compiler.model.loading import external

WEIGHT = np.arange(4, dtype=np.float32)


def write_model(folder: Path, location: str, **entries: object) -> Path:
    """y = x + w, with w in another file."""
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    vector = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", [vector], [onnx.ValueInfoProto(name="y")], [tensor]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with data in it, beside a file that is none of the model's business."""
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    inside = tmp_path / "models"
    inside.mkdir()
    (inside / "data.bin").write_bytes(b"\0" * 8 + WEIGHT.tobytes())
    return inside


def loaded_weight(path: Path, **options: object) -> np.ndarray:
    found = weight(load(path, **options).graph.node(0).inputs[1])  # type: ignore[arg-type]
    assert found is not None
    return found


def test_data_beside_the_model_is_read(folder: Path) -> None:
    assert np.array_equal(loaded_weight(write_model(folder, "data.bin", offset=8, length=16)), WEIGHT)
    assert np.array_equal(loaded_weight(write_model(folder, "./data.bin", offset=8)), WEIGHT)


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "link.bin").symlink_to("data.bin")
    assert np.array_equal(loaded_weight(write_model(folder, "link.bin", offset=8)), WEIGHT)


def test_further_roots_are_allowed_by_name(folder: Path) -> None:
    (folder / "link.bin").symlink_to("../secret.bin")
    assert np.array_equal(loaded_weight(write_model(folder, "link.bin"), roots=[folder.parent]), WEIGHT)


def link_out(folder: Path) -> str:
    (folder / "link.bin").symlink_to("../secret.bin")
    return "link.bin"


def link_of_parent(folder: Path) -> str:
    (folder / "sub").symlink_to("..", target_is_directory=True)
    return "sub/secret.bin"


def hard_link(folder: Path) -> str:
    os.link(folder.parent / "secret.bin", folder / "hard.bin")
    return "hard.bin"


def link_to_device(folder: Path) -> str:
    (folder / "zero").symlink_to("/dev/zero")
    return "zero"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


def subfolder(folder: Path) -> str:
    (folder / "sub").mkdir()
    return "sub"


@pytest.mark.parametrize(
    ("locate", "code"),
    [
        (lambda folder: "../secret.bin", "external-path"),
        (lambda folder: "sub/../../secret.bin", "external-missing"),
        (lambda folder: str(folder.parent / "secret.bin"), "external-path"),
        (lambda folder: "/dev/zero", "external-path"),
        (lambda folder: "", "external-path"),
        (lambda folder: "absent.bin", "external-missing"),
        (link_out, "external-path"),
        (link_of_parent, "external-path"),
        (link_to_device, "external-path"),
        (hard_link, "external-hard-link"),
        (pipe, "external-kind"),
        (subfolder, "external-kind"),
    ],
)
def test_other_places_are_refused(folder: Path, locate: Callable[[Path], str], code: str) -> None:
    path = write_model(folder, locate(folder))
    with pytest.raises(InvalidModelError) as caught:
        load(path)
    assert caught.value.code == code, caught.value
    assert caught.value.hint


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({"offset": 12}, "external-range"),
        ({"offset": 2**62}, "external-range"),
        ({"offset": -8}, "external-range"),
        ({"offset": "1e3"}, "external-range"),
        ({"offset": "9" * 5000}, "external-range"),
        ({"length": 12}, "external-length"),
        ({"length": 2**50}, "external-length"),
    ],
)
def test_senseless_ranges_are_refused(folder: Path, entries: dict[str, object], code: str) -> None:
    path = write_model(folder, "data.bin", **entries)
    with pytest.raises(InvalidModelError) as caught:
        load(path)
    assert caught.value.code == code, caught.value


def test_a_file_that_changes_while_it_is_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = external._read_all

    def read_and_change(descriptor: int, offset: int, length: int) -> bytes:
        data = read(descriptor, offset, length)
        with (folder / "data.bin").open("ab") as file:
            file.write(b"more")
        return data

    monkeypatch.setattr(external, "_read_all", read_and_change)
    with pytest.raises(InvalidModelError) as caught:
        load(write_model(folder, "data.bin", offset=8))
    assert caught.value.code == "external-changed"


def test_a_link_swapped_in_after_the_check_is_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_below = external._open_below

    def swap_and_open(root: Path, parts: tuple[str, ...]) -> int:
        (folder / "data.bin").unlink()
        (folder / "data.bin").symlink_to("../secret.bin")
        return open_below(root, parts)

    monkeypatch.setattr(external, "_open_below", swap_and_open)
    with pytest.raises(InvalidModelError) as caught:
        load(write_model(folder, "data.bin"))
    assert caught.value.code == "external-missing"
