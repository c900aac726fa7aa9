"""Packed models: the same bytes come back, each tensor in its smallest form, and malformed files are refused."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from packed_models import HEADER_BYTES, ROW_BYTES, bell, every_form, model_of, sealed, with_int4

from prunus.compiler.coding import Method, huffman, pack, sections, unpack
from prunus.compiler.coding.payloads import find_payloads
from prunus.compiler.coding.tensors import smallest_form
from prunus.compiler.errors import InvalidModelError, LimitError, PrunusError, UnsupportedError

EVERY_FORM = model_of(**every_form())
FORMS = {name: smallest_form(np.frombuffer(a.tobytes(), np.uint8), 8 * a.itemsize) for name, a in every_form().items()}


# -- round trips --------------------------------------------------------------------------------------------------


def test_every_form_comes_back():
    packed = pack(EVERY_FORM)
    assert unpack(packed) == EVERY_FORM
    assert {section.method for section in sections(packed)} == set(Method)


def test_each_tensor_takes_the_form_that_fits():
    for name, (method, body) in FORMS.items():
        wanted = {"huffman": Method.HUFFMAN, "sparse": Method.SPARSE_HUFFMAN, "zstd": Method.ZSTD}.get(
            name.split("_")[0], method
        )
        assert method == wanted, name
        assert name == "stored" or len(body) < every_form()[name].nbytes, name
    assert FORMS["huffman_palette"][1][0] == 1 and FORMS["sparse_planes"][1][0] == 2
    assert FORMS["huffman_pairs"][1][1] > 1, "several elements per symbol"


def test_packing_twice_gives_the_same_bytes():
    assert pack(EVERY_FORM) == pack(EVERY_FORM)


def test_four_bit_weights_come_back():
    model = with_int4()
    packed = pack(model)
    assert unpack(packed) == model and len(packed) < 0.8 * len(model)


def test_a_bell_of_int8_beats_its_8_bits():
    weights = bell(np.random.default_rng(0), (64, 64, 3, 3), width=8)
    assert len(pack(model_of(w=weights))) < 0.68 * weights.nbytes


def test_tensors_in_attributes_subgraphs_and_functions_are_found():
    value = numpy_helper.from_array(np.arange(500, dtype=np.float32), "value")
    constant = helper.make_node("Constant", [], ["c"], value=value)
    body = helper.make_graph([constant], "body", [], [], [numpy_helper.from_array(np.ones(500, np.int8), "inner")])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)
    proto = onnx.ModelProto.FromString(model_of(top=np.ones(300, np.float64)))
    proto.graph.node.append(branch)
    opsets = [helper.make_opsetid("", 21)]
    proto.functions.append(helper.make_function("local", "f", [], ["c"], [constant], opsets))
    proto.graph.initializer.append(helper.make_tensor("floats", onnx.TensorProto.FLOAT, [200], [1.5] * 200))
    model = proto.SerializeToString()
    found = find_payloads(model, 100)
    assert sorted((each.stop - each.start, each.bits) for each in found) == [
        (500, 8), (500, 8), (800, 32), (2000, 32), (2000, 32), (2000, 32), (2400, 64)
    ]  # fmt: skip
    assert unpack(pack(model)) == model


@given(st.binary(max_size=400), st.sampled_from([np.int8, np.float16, np.float32, np.int64]), st.integers(1, 40))
def test_any_tensor_comes_back(content, kind, repeats):
    whole = content[: len(content) // np.dtype(kind).itemsize * np.dtype(kind).itemsize] * repeats
    model = model_of(w=np.frombuffer(whole, kind))
    assert unpack(pack(model)) == model


@given(st.binary(max_size=300))
def test_what_is_no_model_is_refused_or_comes_back(content):
    try:
        packed = pack(content)
    except InvalidModelError as error:
        assert error.code == "not-onnx"
        return
    assert unpack(packed) == content


def test_weights_in_other_files_are_refused():
    proto = onnx.ModelProto.FromString(model_of(w=np.ones(500, np.float32)))
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    with pytest.raises(UnsupportedError) as caught:
        pack(proto.SerializeToString())
    assert caught.value.code == "external-data"


def test_real_models_come_back(models):
    for path in sorted(models.glob("*.onnx")):
        model = path.read_bytes()
        if len(model) < 200_000:
            packed = pack(model)
            assert unpack(packed) == model and len(packed) < len(model), path.name


@pytest.mark.slow
def test_large_real_models_come_back(models):
    for path in sorted(models.glob("*.onnx")):
        assert unpack(pack(path.read_bytes())) == path.read_bytes(), path.name


# -- entropy ------------------------------------------------------------------------------------------------------


def pruned_int8(path, sparsity: float) -> list[np.ndarray]:
    """The weights of a trained network, the smallest ones zeroed, rounded to int8 with one scale per channel."""
    found = []
    for tensor in onnx.load(path).graph.initializer:
        weight = numpy_helper.to_array(tensor)
        if weight.dtype == np.float32 and weight.ndim == 4 and weight.size >= 4096:
            kept = np.where(np.abs(weight) < np.quantile(np.abs(weight), sparsity), 0, weight)
            scale = np.abs(kept).max(axis=(1, 2, 3), keepdims=True) / 127
            found.append(np.rint(kept / np.where(scale == 0, 1, scale)).astype(np.int8))
    return found


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("name", ["mlperf_ic_resnet8_fp32", "mlperf_vww_mobilenetv1_025_96_fp32"])
def test_codes_of_real_pruned_weights_are_within_one_percent_of_the_entropy(models, name, sparsity):
    """Of the weights other than the zeros that pruning made, whose places are coded apart."""
    for weight in pruned_int8(models / f"{name}.onnx", sparsity):
        symbols = weight[weight != 0].view(np.uint8)
        counts = np.bincount(symbols, minlength=256)
        assert int((counts * huffman.code_lengths(counts)).sum()) <= 1.01 * huffman.entropy_bits(counts)


@pytest.mark.slow
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8])
def test_whole_forms_of_real_pruned_weights_are_within_one_percent_of_the_entropy(models, sparsity):
    """Codes, their lengths, gaps and segment sizes, beside the entropy of the int8 values with their zeros."""
    stored = least = 0.0
    for weight in pruned_int8(models / "imagenet_mobilenetv2_1.0_224_dequant_fp32.onnx", sparsity):
        symbols = weight.reshape(-1).view(np.uint8)
        stored += 8 * len(smallest_form(symbols, 8)[1])
        least += huffman.entropy_bits(np.bincount(symbols, minlength=256))
    assert stored <= 1.01 * least


# -- damage -------------------------------------------------------------------------------------------------------


# a file of its own, since the sizes that messages name depend on the version of zstd
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "packed"
PACKED, MODEL = (GOLDEN / "model.prz").read_bytes(), (GOLDEN / "model.onnx").read_bytes()


def set_bytes(at: int, form: str, value: int) -> bytes:
    changed = bytearray(PACKED)
    struct.pack_into(f"<{form}", changed, at, value)
    return sealed(changed)


def first_row(method: Method) -> int:
    """Where the row of the first section with this method lies."""
    rows = sections(PACKED)
    return HEADER_BYTES + ROW_BYTES * next(i for i, row in enumerate(rows) if row.method == method and i)


def first_body(method: Method) -> int:
    rows = sections(PACKED)
    index = (first_row(method) - HEADER_BYTES) // ROW_BYTES
    return HEADER_BYTES + ROW_BYTES * len(rows) + sum(row.stored for row in rows[:index])


HUFFMAN, SPARSE = Method.HUFFMAN, Method.SPARSE_HUFFMAN
DAMAGED: dict[str, Callable[[], bytes]] = {
    "prz-empty-header": lambda: PACKED[:20],
    "prz-truncated": lambda: PACKED[:-1],
    "prz-other-file": lambda: MODEL,
    "prz-version": lambda: set_bytes(8, "I", 9),
    "prz-flipped-bit": lambda: PACKED[:900] + bytes([PACKED[900] ^ 1]) + PACKED[901:],
    "prz-huge-model": lambda: set_bytes(24, "Q", 1 << 60),
    "prz-many-sections": lambda: set_bytes(36, "I", 0xFFFFFFFF),
    "prz-no-sections": lambda: set_bytes(36, "I", 0),
    "prz-model-checksum": lambda: set_bytes(32, "I", 1),
    "prz-section-checksum": lambda: set_bytes(HEADER_BYTES + 24, "I", 1),
    "prz-unknown-method": lambda: set_bytes(first_row(HUFFMAN) + 28, "B", 7),
    "prz-section-elsewhere": lambda: set_bytes(first_row(HUFFMAN), "Q", 1 << 62),
    "prz-section-too-large": lambda: set_bytes(first_row(HUFFMAN) + 8, "Q", 1 << 40),
    "prz-bits": lambda: set_bytes(first_row(HUFFMAN) + 29, "B", 3),
    "prz-layout": lambda: set_bytes(first_body(HUFFMAN), "B", 2),
    "prz-elements-per-symbol": lambda: set_bytes(first_body(HUFFMAN) + 1, "B", 8),
    "prz-palette-size": lambda: set_bytes(first_body(HUFFMAN) + 2, "H", 9),
    "prz-code-incomplete": lambda: set_bytes(first_body(HUFFMAN) + 11, "B", 0x11),
    "prz-sparse-huge": lambda: set_bytes(first_body(SPARSE) + 8, "Q", 1 << 50),
    "prz-sparse-kept": lambda: set_bytes(first_body(SPARSE) + 8, "Q", 100),
    "prz-zstd-garbage": lambda: set_bytes(first_body(Method.ZSTD), "I", 0),
}


def text_of(error: PrunusError) -> str:
    return f"{error}\n  code: {error.code} (exit code {error.exit_code})\n"


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused(name, golden):
    with pytest.raises((InvalidModelError, LimitError)) as caught:
        unpack(DAMAGED[name]())
    golden(f"errors/{name}.txt", text_of(caught.value))


def test_every_truncation_is_refused():
    packed = pack(model_of(w=bell(np.random.default_rng(3), (60, 30), 0.5)))
    for length in range(len(packed)):
        with pytest.raises(InvalidModelError):
            unpack(packed[:length])


def test_every_changed_byte_is_noticed():
    for at in range(0, len(PACKED), 37):
        changed = bytearray(PACKED)
        changed[at] ^= 1 << at % 8
        with pytest.raises((InvalidModelError, LimitError)):
            unpack(bytes(changed))


@settings(max_examples=100)
@given(data=st.data())
def test_random_damage_with_a_fitting_checksum(data):
    """The checksum is not the only defence: an error, or the model after all."""
    changed = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(8, len(changed) - 8) | st.integers(8, HEADER_BYTES + 20 * ROW_BYTES))
        if data.draw(st.booleans()):
            changed[at] = data.draw(st.integers(0, 255))
        else:
            edges = [0, 1, 255, 1 << 31, (1 << 32) - 1, 1 << 48, (1 << 64) - 1]
            struct.pack_into("<Q", changed, at, data.draw(st.sampled_from(edges)))
    with contextlib.suppress(InvalidModelError, LimitError):
        assert unpack(sealed(changed), 1 << 24) == MODEL


def test_the_limit_holds_before_anything_is_decoded():
    with pytest.raises(LimitError) as caught:
        unpack(PACKED, limit_bytes=len(MODEL) - 1)
    assert caught.value.code == "prz-limit"
    assert unpack(PACKED, limit_bytes=len(MODEL)) == MODEL
