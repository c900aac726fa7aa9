"""Runs in a process of its own, because hls4ml can abort the process that calls it.

python -m prunus.targets.fpga.hls.worker write SPEC.npz           writes ./project
python -m prunus.targets.fpga.hls.worker run LIBRARY IN.npz OUT.npz   runs a compiled project on samples
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .spec import HlsLayer, Spec

PROJECT = "project"


def configuration(spec: Spec) -> dict[str, Any]:
    """hls4ml's configuration: every type of every layer, and the schedule."""
    from hls4ml.utils.config import create_config

    config: dict[str, Any] = create_config(
        output_dir=PROJECT,
        project_name=spec.project,
        backend=spec.backend,
        part=spec.part,
        clock_period=spec.clock_period_ns,
        io_type=spec.io_type,
    )
    config["TraceOutput"] = True
    config["HLSConfig"] = {
        # the default type is never used: every layer states its own
        "Model": {"Precision": "fixed<32,16>", "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": {
            layer.name: {
                "Precision": dict(layer.types),
                "Strategy": layer.strategy,
                "ReuseFactor": layer.reuse_factor,
                "Trace": layer.traced,
            }
            for layer in spec.layers
        },
    }
    return config


def layer_dict(layer: HlsLayer) -> dict[str, Any]:
    """One entry of the list that hls4ml's ModelGraph is built from."""
    entry: dict[str, Any] = {"class_name": layer.class_name, "name": layer.name, **layer.attributes, **layer.arrays}
    if layer.inputs:
        entry |= {"inputs": list(layer.inputs), "outputs": [layer.name]}
    return entry


def write(spec: Spec) -> None:
    """Writes the project to ./project."""
    from hls4ml.model.graph import ModelGraph

    layers = [layer_dict(layer) for layer in spec.layers]
    model = ModelGraph.from_layer_list(
        configuration(spec), layers, inputs=list(spec.inputs), outputs=list(spec.outputs)
    )
    _set_depths(model, {layer.name: layer.stream_depth for layer in spec.layers if layer.stream_depth})
    model.write()


def _set_depths(model: Any, depths: dict[str, int]) -> None:
    """Gives every stream its depth. What hls4ml inserts itself: copies take that of the layer they copy, padding, which
    only convolutions read, one row."""
    for layer in model.get_layers():
        copied = layer.name.removeprefix("clone_") if layer.class_name == "Clone" else layer.name
        for variable in layer.variables.values():
            depth = variable.shape[-2] if layer.class_name.startswith("ZeroPadding") else depths.get(copied)
            pragma = getattr(variable, "pragma", None)
            if depth and isinstance(pragma, tuple) and pragma[0] == "stream":
                variable.pragma = ("stream", int(depth))


class _Trace(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p)]


def run(
    library: Path, feeds: list[npt.NDArray[np.float64]], sizes: dict[str, int], outputs: dict[str, int]
) -> dict[str, Any]:
    """Runs every sample. feeds: [n, size] per input; sizes, outputs: elements of each traced layer and each output.

    Returns the layers' and the outputs' values, [n, size] each, as real numbers.
    """
    top = ctypes.CDLL(str(library))
    function = getattr(top, f"{library.stem}_double")
    count = len(feeds[0])
    found = {name: np.empty((count, size)) for name, size in {**sizes, **outputs}.items()}
    results = [np.zeros(size) for size in outputs.values()]
    traces = (_Trace * len(sizes))()
    top.allocate_trace_storage(ctypes.c_size_t(ctypes.sizeof(ctypes.c_double)))
    for sample in range(count):
        arrays = [np.ascontiguousarray(feed[sample]) for feed in feeds] + results
        function(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays))
        top.collect_trace_output(traces)
        for trace in traces:
            name = trace.name.decode("ascii")
            data = ctypes.cast(trace.data, ctypes.POINTER(ctypes.c_double))
            found[name][sample] = np.ctypeslib.as_array(data, (sizes[name],))
        for name, array in zip(outputs, results, strict=True):
            found[name][sample] = array
    top.free_trace_storage()
    return found


def main(arguments: list[str]) -> None:
    """Dispatches the two commands above."""
    if arguments[0] == "write":
        write(Spec.load(Path(arguments[1])))
        return
    library, source, destination = map(Path, arguments[1:4])
    with np.load(source, allow_pickle=False) as data:
        feeds = [data[name] for name in data.files if name.startswith("in.")]
        sizes = {name[6:]: int(data[name]) for name in data.files if name.startswith("trace.")}
        outputs = {name[4:]: int(data[name]) for name in data.files if name.startswith("out.")}
    np.savez(destination, **run(library, feeds, sizes, outputs))


if __name__ == "__main__":
    main(sys.argv[1:])
