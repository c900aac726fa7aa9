"""What a target is handed: the networks as ONNX where it takes them, a float type where its device has one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import graphs
import pytest
from float_nets import residual_net

from prunus.compiler.errors import UsageError
from prunus.compiler.integer.graph import Graph
from prunus.compiler.lowering import lower, with_float_type
from prunus.compiler.target import Artifact, Device, Networks, Progress, no_progress

GPU = Device("g", "gpu", "gpu", "a GPU", data={"float_type": "float32", "batch": 1})
CPU = Device("c", "cpu", "tvm", "a CPU")


@dataclass
class OfGraphs:
    """A target that lowers integer graphs."""

    calls: list[str] = field(default_factory=list)

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        self.calls.append(f"graph {graph.name}")
        return Artifact(out, ())


class OfNetworks(OfGraphs):
    """One that takes ONNX."""

    def lower_networks(
        self, networks: Networks, graph: Graph, device: Device, out: Path, progress: Progress
    ) -> Artifact:
        self.calls.append(f"networks {len(list(networks.unquantized.graph))}")
        return Artifact(out, ())


def test_each_target_is_handed_what_it_takes(tmp_path: Path) -> None:
    model = residual_net().model()
    graph, _ = graphs.mlp()
    for target, said in ((OfGraphs(), f"graph {graph.name}"), (OfNetworks(), f"networks {len(list(model.graph))}")):
        lower(target, Networks(model, model), graph, CPU, tmp_path, no_progress)
        assert target.calls == [said]


def test_a_float_type_is_a_setting_of_the_device() -> None:
    assert with_float_type(GPU, "device") is GPU
    changed = with_float_type(GPU, "float16")
    assert changed.data == {"float_type": "float16", "batch": 1}
    assert GPU.data["float_type"] == "float32"


def test_a_device_of_integers_has_none(golden) -> None:
    assert with_float_type(CPU, "device") is CPU
    with pytest.raises(UsageError) as caught:
        with_float_type(CPU, "float16")
    golden("errors/no-float-type.txt", f"{caught.value}\n")
