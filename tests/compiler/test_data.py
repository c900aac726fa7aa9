"""Data sets are read as they are, or refused with what is expected, what was found and what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from prunus.compiler import data_files
from prunus.compiler.data import Data, load_data
from prunus.compiler.data_files import DataWarning
from prunus.compiler.errors import LimitError, PrunusError, UsageError
from prunus.compiler.model.load import load, load_proto
from prunus.compiler.model.model import Model


def model_with(**inputs: tuple[int, list[int | str]]) -> Model:
    """A model with the given inputs, name -> (element type, dimensions), and one output for each."""
    entries = [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in inputs]
    outputs = [onnx.ValueInfoProto(name=f"{name}_out") for name in inputs]
    graph = helper.make_graph(nodes, "g", entries, outputs)
    return load_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8))


IMAGES = model_with(image=(TensorProto.FLOAT, ["N", 3, 4, 4]))
PIXELS = model_with(image=(TensorProto.UINT8, [1, 4, 4, 3]))
PAIRS = model_with(left=(TensorProto.FLOAT, ["N", 2]), right=(TensorProto.INT64, ["N"]))
X = np.random.default_rng(0).random((6, 3, 4, 4), dtype=np.float32)
Y = np.arange(6)


def read(folder: Path, model: Model = IMAGES, **arrays: np.ndarray) -> Data:
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
    return load_data(folder / "data.npz", model)


# ---- what works


def test_x_and_y(tmp_path: Path) -> None:
    data = read(tmp_path, x=X, y=Y)
    assert len(data) == 6
    assert list(data.inputs) == ["t0001"]
    assert np.array_equal(data.inputs["t0001"], X)
    assert data.labels is not None
    assert np.array_equal(data.labels, Y)
    assert data.source == "data.npz"


def test_arrays_go_by_the_users_name_or_the_plain_one(tmp_path: Path) -> None:
    for name in ("image", "t0001"):
        assert np.array_equal(read(tmp_path, **{name: X}).inputs["t0001"], X)
    pairs = read(tmp_path, PAIRS, left=np.ones((5, 2), np.float32), right=np.arange(5))
    assert {name: array.shape for name, array in pairs.inputs.items()} == {"t0001": (5, 2), "t0002": (5,)}


def test_an_input_called_y_is_no_label(tmp_path: Path) -> None:
    data = read(tmp_path, model_with(y=(TensorProto.FLOAT, ["N", 2])), y=np.ones((5, 2), np.float32))
    assert data.labels is None
    assert data.inputs["t0001"].shape == (5, 2)


def test_arrays_that_nothing_asks_for_are_ignored(tmp_path: Path) -> None:
    data = read(tmp_path, x=X, y=Y, scale=np.float32(3), names=np.array(["a", "b"]), clip=np.arange(99))
    assert len(data) == 6


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.full((2, 3, 4, 4), 255, np.uint8), np.float32(255)),
        (np.full((2, 3, 4, 4), -7, np.int64), np.float32(-7)),
        (np.full((2, 3, 4, 4), 0.1, np.float64), np.float32(0.1)),
        (np.full((2, 3, 4, 4), 0.1, np.float16), np.float32(np.float16(0.1))),
        (np.full((2, 3, 4, 4), True), np.float32(1)),
    ],
)
def test_types_are_cast_where_no_value_changes(tmp_path: Path, array: np.ndarray, wanted: np.float32) -> None:
    (found,) = read(tmp_path, x=array).inputs.values()
    assert found.dtype == np.float32
    assert (found == wanted).all()


def test_whole_numbers_fit_an_integer_input(tmp_path: Path) -> None:
    (found,) = read(tmp_path, PIXELS, x=np.full((2, 4, 4, 3), 254.0)).inputs.values()
    assert found.dtype == np.uint8
    assert (found == 254).all()


def test_npy_files_and_folders(tmp_path: Path) -> None:
    np.save(tmp_path / "only.npy", X)
    assert len(load_data(tmp_path / "only.npy", IMAGES)) == 6
    named = tmp_path / "named"
    named.mkdir()
    np.save(named / "x.npy", X)
    np.save(named / "y.npy", Y)
    data = load_data(named, IMAGES)
    assert data.labels is not None
    assert len(data) == 6
    parts = tmp_path / "parts"
    parts.mkdir()
    np.savez(parts / "b.npz", x=X[4:], y=Y[4:])
    np.savez(parts / "a.npz", x=X[:4], y=Y[:4])
    joined = load_data(parts, IMAGES)
    assert np.array_equal(joined.inputs["t0001"], X)
    assert joined.labels is not None
    assert np.array_equal(joined.labels, Y)


def test_a_single_sample_is_warned_about(tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match="single sample"):
        assert len(read(tmp_path, x=X[:1])) == 1


def test_labels_under_another_name_are_warned_about(tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match="Call it y"):
        assert read(tmp_path, x=X, Labels=Y).labels is None


# ---- what is refused


def damaged(folder: Path) -> Path:
    np.savez(folder / "data.npz", x=X)
    path = folder / "data.npz"
    path.write_bytes(path.read_bytes()[:-200])
    return path


def damaged_inside(folder: Path) -> Path:
    np.savez_compressed(folder / "data.npz", x=X)
    path = folder / "data.npz"
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)
    return path


def pickled(folder: Path) -> Path:
    np.savez(folder / "data.npz", x=np.array([{"a": 1}, None], dtype=object))
    return folder / "data.npz"


def pickled_npy(folder: Path) -> Path:
    np.save(folder / "data.npy", np.array([print], dtype=object))
    return folder / "data.npy"


def text(folder: Path) -> Path:
    (folder / "data.npz").write_text("x,y\n1,2\n")
    return folder / "data.npz"


def mixed_folder(folder: Path) -> Path:
    np.savez(folder / "a.npz", x=X)
    np.save(folder / "x.npy", X)
    return folder


def unlike_parts(folder: Path) -> Path:
    np.savez(folder / "a.npz", x=X)
    np.savez(folder / "b.npz", x=X[:, :2])
    return folder


def empty_folder(folder: Path) -> Path:
    return folder


def no_file(folder: Path) -> Path:
    return folder / "absent.npz"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (no_file, "data-file"),
        (text, "data-file"),
        (damaged, "data-file"),
        (damaged_inside, "data-file"),
        (mixed_folder, "data-file"),
        (pickled, "data-pickle"),
        (pickled_npy, "data-pickle"),
        (empty_folder, "data-empty"),
        (unlike_parts, "data-shape"),
    ],
)
def test_what_cannot_be_read_is_refused(make: Callable[[Path], Path], code: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_data(make(tmp_path), IMAGES)
    assert caught.value.code == code, caught.value
    assert caught.value.exit_code == 2
    assert caught.value.hint


REFUSED: dict[str, tuple[Model, dict[str, np.ndarray], str]] = {
    "missing-input": (IMAGES, {"x_int8": X, "y": Y}, "data-missing-input"),
    "misspelt-input": (PAIRS, {"lefft": np.ones((5, 2)), "right": np.arange(5)}, "data-missing-input"),
    "x-for-two-inputs": (PAIRS, {"x": np.ones((5, 2))}, "data-missing-input"),
    "no-arrays": (IMAGES, {}, "data-missing-input"),
    "no-samples": (IMAGES, {"x": X[:0]}, "data-empty"),
    "wrong-shape": (IMAGES, {"x": X[:, :2]}, "data-shape"),
    "channels-last": (IMAGES, {"x": X.transpose(0, 2, 3, 1)}, "data-shape"),
    "no-sample-dimension": (IMAGES, {"x": X[0]}, "data-shape"),
    "flat": (IMAGES, {"x": X.reshape(6, -1)}, "data-shape"),
    "single-number": (IMAGES, {"x": np.float32(1)}, "data-shape"),
    "fractions-for-integers": (PIXELS, {"x": np.full((2, 4, 4, 3), 0.5)}, "data-type"),
    "too-large-for-the-type": (PIXELS, {"x": np.full((2, 4, 4, 3), 256)}, "data-type"),
    "overflow-to-infinity": (IMAGES, {"x": np.full((2, 3, 4, 4), 1e300)}, "data-type"),
    "text": (IMAGES, {"x": np.full((2, 3, 4, 4), "a")}, "data-type"),
    "complex": (IMAGES, {"x": np.full((2, 3, 4, 4), 1j)}, "data-type"),
    "nan": (IMAGES, {"x": np.where(np.arange(6).reshape(-1, 1, 1, 1) == 4, np.nan, X)}, "data-not-finite"),
    "labels-of-another-length": (IMAGES, {"x": X, "y": Y[:5]}, "data-length-mismatch"),
    "labels-of-text": (IMAGES, {"x": X, "y": np.array(list("abcdef"))}, "data-labels"),
    "inputs-of-different-length": (PAIRS, {"left": np.ones((5, 2)), "right": np.arange(4)}, "data-length-mismatch"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_data_that_does_not_fit_is_refused(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    model, arrays, code = REFUSED[name]
    with pytest.raises(PrunusError) as caught:
        read(tmp_path, model, **arrays)
    error = caught.value
    assert type(error) is UsageError
    assert error.code == code, error
    assert error.hint
    golden(f"errors/data-{name}.txt", f"{error}\n  code: {error.code} (exit code {error.exit_code})\n")


def test_absurd_sizes_are_refused_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "_MAX_BYTES", 1000)
    with pytest.raises(LimitError) as caught:
        read(tmp_path, x=X)
    assert caught.value.code == "data-limit"


def test_samples_must_fill_whole_batches_of_a_fixed_size(tmp_path: Path) -> None:
    model = model_with(image=(TensorProto.FLOAT, [4, 2]))
    assert len(read(tmp_path, model, x=np.ones((8, 2)))) == 8
    with pytest.raises(UsageError) as caught:
        read(tmp_path, model, x=np.ones((6, 2)))
    assert caught.value.code == "data-batch"


@pytest.mark.parametrize(
    ("network", "file", "samples"),
    [
        ("mlperf_ic_resnet8_fp32", "data_cifar10_mlperf_ic01_200", 200),
        ("mlperf_ic_resnet8_fp32", "data_cifar10_train_calib500_unlabelled", 500),
        ("mlperf_vww_mobilenetv1_025_96_fp32", "data_vww_coco128_256", 256),
        ("mlperf_sww_1dconv_fp32", "data_sww_calib45", 45),
    ],
)
def test_real_data_fit_their_models(network: str, file: str, samples: int, models: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        data = load_data(models / f"{file}.npz", load(models / f"{network}.onnx"))
    assert len(data) == samples


def test_real_data_that_need_a_step_of_the_users_say_so(models: Path) -> None:
    with pytest.raises(UsageError, match=r"Is it x_int8\?"):
        load_data(models / "data_kws01_mlperf_1000.npz", load(models / "mlperf_kws_dscnn_fp32.onnx"))
    with pytest.raises(UsageError, match=r"Expected \[n, 640\], got \[96, 200, 128\]"):
        load_data(models / "data_ad01_mlperf_96clips_fp16.npz", load(models / "mlperf_ad_autoencoder_fp32.onnx"))
