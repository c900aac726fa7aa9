"""Every peer computes the layer that is asked of it, in int8; the comparison sees a wrong one."""

from __future__ import annotations

import pytest
from harness.contest import TOLERANCE, difference
from harness.problem import broken, make
from harness.shapes import Layer, conv, depthwise, gemm

from peers import ENGINES, PEERS, Missing

LAYERS = (conv("3x3/2", 16, 32, 9, 3, 2), depthwise("dw", 16, 8, 6), gemm("rows", 5, 64, 48))


@pytest.fixture(params=sorted(ENGINES))
def peer(request: pytest.FixtureRequest):
    module = ENGINES[request.param]
    try:
        module.version()
    except Missing as reason:
        pytest.skip(str(reason))
    return module


@pytest.mark.parametrize("alone", [False, True], ids=["own layout", "NCHW"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_an_engine_computes_the_layer(peer, layer: Layer, alone: bool) -> None:
    problem = make(layer)
    try:
        prepared = peer.prepare(problem, alone)
    except RuntimeError as reason:
        assert "own layouts only" in str(reason) or "unequal padding" in str(reason)
        pytest.skip(str(reason))
    assert difference(problem, prepared) <= TOLERANCE


def test_a_wrong_layer_is_seen(peer) -> None:
    problem = make(LAYERS[0])
    assert difference(problem, peer.prepare(broken(problem))) > TOLERANCE


def test_the_empty_call_can_be_called(peer) -> None:
    peer.empty_call()()


def test_a_missing_peer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(Missing, match="pip install openvino"):
        PEERS["openvino"].version()


def test_openvino_must_run_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = PEERS["openvino"]
    try:
        peer.version()
    except Missing as reason:
        pytest.skip(str(reason))
    monkeypatch.setattr(peer, "executed", lambda request: ["brgconv_avx512_bf16"])
    with pytest.raises(RuntimeError, match="not as one int8 operator"):
        peer.prepare(make(LAYERS[0]))
