"""What is handed to hls4ml: a list of layers with every type stated, as plain data that travels as one `.npz`.

The lowering writes a `Spec`, a subprocess that alone imports hls4ml reads it. Names were made from the plain names of
the integer graph; both sides refuse anything else, because hls4ml writes names into C++, Tcl and YAML as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ....compiler.errors import InvalidModelError

IoType = Literal["io_parallel", "io_stream"]
Strategy = Literal["Latency", "Resource"]
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")


@dataclass(frozen=True, eq=False)
class HlsLayer:
    """One layer of hls4ml's model. Attributes and arrays go to it verbatim; `types` maps a role (`result`, `weight`,
    `bias`, `accum`, `scale`) to a type. `shape` is the output's: channels last, without the batch."""

    class_name: str
    name: str
    inputs: tuple[str, ...]
    types: Mapping[str, str]
    shape: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    strategy: Strategy = "Latency"
    reuse_factor: int = 1
    n_in: int = 0  # products per output and call, for layers that multiply
    n_out: int = 0
    stream_depth: int = 0  # of the output's FIFO, in pixels; 0 leaves it to hls4ml
    calls: int = 1  # how often a sample asks for the products: output pixels of a convolution

    @property
    def traced(self) -> bool:
        """Whether the C simulation shows the layer's output: it computes something of its own."""
        return self.class_name not in ("InputLayer", "Reshape")

    @property
    def products(self) -> int:
        """Products of one call, shared `reuse_factor` times: n_in of a depthwise layer, n_in * n_out of a dense one."""
        return self.n_in * (1 if self.class_name in ("DepthwiseConv2D", "BatchNormalization") else self.n_out)

    def scheduled(self, strategy: Strategy, reuse_factor: int, stream_depth: int = 0) -> HlsLayer:
        """The layer with another schedule."""
        return replace(self, strategy=strategy, reuse_factor=reuse_factor, stream_depth=stream_depth)


@dataclass(frozen=True, eq=False)
class Spec:
    """One hls4ml project: layers in topological order and the tool's settings."""

    layers: tuple[HlsLayer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    io_type: IoType
    backend: str
    part: str
    clock_period_ns: float
    project: str = "firmware"

    def save(self, path: Path) -> None:
        """Writes the spec as `.npz` without pickles."""
        meta = {key: value for key, value in asdict(self).items() if key != "layers"}
        meta["layers"] = [_layer_meta(layer) for layer in self.layers]
        arrays: dict[str, npt.NDArray[Any]] = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
        for index, layer in enumerate(self.layers):
            arrays |= {f"{index}.{key}": value for key, value in layer.arrays.items()}
        np.savez(path, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Spec:
        """Reads a spec and checks its names. Raises InvalidModelError."""
        with np.load(path, allow_pickle=False) as data:
            meta = json.loads(bytes(data["meta"]).decode())
            layers = [
                HlsLayer(
                    **{**values, "inputs": tuple(values["inputs"]), "shape": tuple(values["shape"])},
                    arrays={key.split(".", 1)[1]: data[key] for key in data.files if key.startswith(f"{index}.")},
                )
                for index, values in enumerate(meta.pop("layers"))
            ]
        meta |= {"inputs": tuple(meta["inputs"]), "outputs": tuple(meta["outputs"])}
        spec = cls(layers=tuple(layers), **meta)
        spec.check_names()
        return spec

    def check_names(self) -> None:
        """Raises InvalidModelError unless every name is a plain identifier and none differ in case alone."""
        names = [layer.name for layer in self.layers]
        for name in (
            self.project,
            *names,
            *self.inputs,
            *self.outputs,
            *(i for layer in self.layers for i in layer.inputs),
        ):
            if not _PLAIN.fullmatch(name):
                raise _bad_name("A name is not a plain identifier.", name)
        if len({name.lower() for name in names}) != len(names):
            raise _bad_name("Two layers have the same name, or names that differ in case alone.", sorted(names)[0])

    def text(self) -> str:
        """The layers, one per line, for golden files and reports."""
        lines = []
        for layer in self.layers:
            facts = {**layer.attributes, **{f"type.{role}": text for role, text in layer.types.items()}}
            words = [f"{key}={_word(value)}" for key, value in sorted(facts.items())]
            words += [f"{key}[{'x'.join(map(str, array.shape))}]" for key, array in sorted(layer.arrays.items())]
            if layer.products:
                words += [f"{layer.strategy}/{layer.reuse_factor}"]
            if layer.stream_depth:
                words += [f"depth/{layer.stream_depth}"]
            lines.append(f"{layer.name} = {layer.class_name}({', '.join(layer.inputs)}) {' '.join(words)}")
        return "\n".join(lines) + "\n"


def _layer_meta(layer: HlsLayer) -> dict[str, Any]:
    meta = {key: getattr(layer, key) for key in layer.__dataclass_fields__ if key != "arrays"}
    return {**meta, "types": dict(layer.types), "attributes": dict(layer.attributes)}


def _word(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _bad_name(what: str, name: str) -> InvalidModelError:
    return InvalidModelError(
        what,
        code="name-not-plain",
        where=ascii(name)[:64],
        why="Names reach C++ and Tcl code.",
        hint="Load the model with prunus.compiler.model.load, which gives every value a plain name.",
    )
