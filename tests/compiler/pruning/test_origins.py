"""Which original channels the values of a pruned network hold, through cuts that follow each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pruning_nets import NETS

from prunus.compiler.analysis.channels import Channels, channel_groups
from prunus.compiler.analysis.channels.shapes import with_shapes
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.model.save import save
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.origins import origins


def without(model: Model, places: list[int]) -> Model:
    """Cut at these places of the first convolution's outputs."""
    channels: Channels = channel_groups(model)
    removed = channels.keep_all()
    removed[channels.units["w1", 0][places]] = True
    return cut(model, channels, removed)


def of_first(model: Model) -> dict[int, list[int]]:
    value = next(node for node in model.graph if node.op_type == "Conv").outputs[0]
    return {axis: found.tolist() for axis, found in origins(value).items()}


def test_positions_are_those_before_the_first_cut() -> None:
    model = NETS["residual"]()
    assert of_first(model) == {}
    once = without(model, [1, 5])
    assert of_first(once) == {1: [0, 2, 3, 4, 6, 7]}
    assert of_first(without(once, [0, 2])) == {1: [2, 4, 6, 7]}
    assert of_first(once.clone()) == of_first(once)
    assert of_first(model) == {}  # cutting leaves the model alone


def test_every_value_that_shrank_has_them_and_no_other() -> None:
    model = with_shapes(NETS["residual"]())
    small = without(model, [3])
    before = {value.name: value for node in model.graph for value in node.outputs}
    for node in small.graph:
        for value in node.outputs:
            whole, shape = before[value.name].shape, value.shape
            assert whole is not None and shape is not None
            shrunk = {axis for axis in range(len(shape)) if shape[axis] != whole[axis]}
            assert shrunk == set(origins(value))
            assert all(len(found) == shape[axis] for axis, found in origins(value).items())


def test_no_file_carries_them(tmp_path: Path) -> None:
    small = without(NETS["residual"](), [1])
    save(small, tmp_path / "small.onnx")
    assert of_first(load(tmp_path / "small.onnx")) == {}
    assert b"origins" not in small.to_bytes()
    assert np.array_equal(of_first(small)[1], [0, 2, 3, 4, 5, 6, 7])
