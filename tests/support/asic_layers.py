"""Layers and architectures that the tests of the cost model share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prunus.compiler.model.workload import Layer
from prunus.targets.asic.architecture import Architecture
from prunus.targets.asic.architecture_file import catalogue_data, parse_architecture


def conv(channels_in: int = 64, channels: int = 64, size: int = 56, kernel: int = 3, **changes: Any) -> Layer:
    """An int8 convolution with stride 1 and equal padding."""
    weights = channels_in * channels * kernel * kernel
    layer = Layer(
        name="c",
        op="conv",
        in_shape=(channels_in, size, size),
        out_shape=(channels, size, size),
        macs=weights * size * size,
        in_channels=channels_in,
        out_channels=channels,
        kernel=(kernel, kernel),
        weights=weights,
        weight_bits=8,
        input_bits=8,
        output_bits=8,
        input_elements=channels_in * size * size,
        output_elements=channels * size * size,
    )
    return replace(layer, **changes)


def altered(change: Callable[[dict[str, Any]], object], name: str = "npu-16nm") -> Architecture:
    """An architecture of the catalogue with its raw data changed."""
    data = copy.deepcopy(catalogue_data(name))
    change(data["architecture"])
    return parse_architecture(data, f"{name}.yaml")


def node(data: dict[str, Any], name: str) -> dict[str, Any]:
    """A node of the raw data by its name."""
    return next(each for each in data["nodes"] if each["name"] == name)
