"""Which channels are coupled, which are pinned, and why."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from light import random_light_model
from pruning_nets import HEAD, NETS, ints, net

from prunus.compiler.analysis.channels import REASONS, ChannelGroup, Channels, channel_groups
from prunus.compiler.analysis.channels.labels import components
from prunus.compiler.analysis.channels.rules import RULES
from prunus.compiler.analysis.channels.rules.einsum import parse_equation
from prunus.compiler.analysis.channels.rules.layout import factor_blocks
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.model.workload import workload


def group_of(channels: Channels, initializer: str, axis: int) -> ChannelGroup:
    """The only group on one axis of one initializer."""
    found = [g for g in channels.groups if any((m.initializer, m.axis) == (initializer, axis) for m in g.members)]
    assert len(found) == 1, found
    return found[0]


def roles(group: ChannelGroup) -> set[tuple[str, int, str]]:
    return {(member.initializer, member.axis, member.role) for member in group.members}


def test_a_chain_has_one_group_per_layer() -> None:
    channels = channel_groups(NETS["chain"]())
    first = group_of(channels, "w1", 0)
    assert roles(first) == {("w1", 0, "producer"), ("b1", 0, "follower"), ("w2", 1, "consumer")}
    second = group_of(channels, "w2", 0)
    assert (second.size, second.pinned_because) == (6, None)
    follows = {(name, 0, "follower") for name in ("s", "b", "m", "v")}
    assert roles(second) == {("w2", 0, "producer"), ("w3", 1, "consumer")} | follows
    assert channels.units["w3", 1].reshape(6, 4).tolist() == [[unit] * 4 for unit in second.units.tolist()]


def test_an_addition_couples_both_branches() -> None:
    channels = channel_groups(NETS["residual"]())
    group = group_of(channels, "w1", 0)
    assert group == group_of(channels, "w3", 0)
    assert roles(group) >= {("w1", 0, "producer"), ("w3", 0, "producer"), ("w2", 1, "consumer"), ("wy", 1, "consumer")}
    assert group_of(channels, "w2", 0).size == 6


def test_a_shuffle_between_grouped_convolutions_couples_across_groups() -> None:
    channels = channel_groups(NETS["shuffle"]())
    even, odd = group_of(channels, "w2", 0).units.tolist()  # the shuffle mixes every other position of three groups
    assert channels.units["w2", 0].reshape(3, 6).tolist() == [[even, odd] * 3] * 3
    assert channels.units["w4", 1].tolist() == [even, even, even, odd, odd, odd]


def test_attention_heads_lose_the_same_positions_of_query_and_key() -> None:
    channels = channel_groups(NETS["attention"]())
    group = group_of(channels, "wq", 1)
    assert group == group_of(channels, "wk", 1)
    assert group.size == 4 and group != group_of(channels, "wv", 1)
    assert any(site.weight is None for site in channels.sites)  # the product of query and key has no weight


def test_a_weight_used_twice_is_one_group() -> None:
    group = group_of(channel_groups(NETS["shared_weight"]()), "w1", 0)
    assert {("w2", 0, "producer"), ("w2", 1, "consumer")} <= roles(group)


def test_parameters_follow_through_constant_operators() -> None:
    group = group_of(channel_groups(NETS["followers"]()), "w1", 0)
    names = {member.initializer for member in group.members if member.role == "follower"}
    assert names == {"slope", "s", "b", "scale", "mask", "floor"}


def test_quantization_parameters_follow_their_axis() -> None:
    group = group_of(channel_groups(NETS["quantized"]()), "w1", 0)
    assert {("w1", 0, "producer"), ("s1", 0, "follower"), ("z1", 0, "follower"), ("w2", 1, "consumer")} <= roles(group)


def test_gates_and_directions_of_a_recurrent_layer_lose_the_same_units() -> None:
    channels = channel_groups(NETS["lstm"]())
    group = group_of(channels, "r2", 2)
    both = {("w2", 1, "producer"), ("r2", 1, "producer"), ("r2", 2, "consumer"), ("b2", 1, "follower")}
    assert roles(group) >= both | {("w3", 0, "consumer"), ("w4", 1, "consumer")}
    units = group.units.tolist()
    assert channels.units["w2", 1].reshape(4, 6).tolist() == [units] * 4
    assert channels.units["b2", 1].reshape(8, 6).tolist() == [units] * 8
    assert channels.units["w3", 0].reshape(2, 6).tolist() == [units] * 2  # both directions, side by side


def test_an_initial_state_and_peepholes_follow_the_hidden_units() -> None:
    group = group_of(channel_groups(NETS["peepholes"]()), "r1", 2)
    assert roles(group) >= {("wh", 1, "producer"), ("wc", 1, "producer"), ("p1", 1, "follower"), ("w2", 0, "consumer")}


def test_macs_of_a_recurrent_layer() -> None:
    """Seven steps of 4 * 8 * (6 + 8), then two directions of 4 * 6 * (8 + 6), and three products."""
    assert channel_groups(NETS["lstm"]()).macs() == 7 * (448 + 2 * 336) + 7 * 12 * 10 + 12 * 5 + 10 * 5


def test_letters_of_an_einsum_are_channels() -> None:
    channels = channel_groups(NETS["einsum_attention"]())
    heads, keys = group_of(channels, "wq", 1), group_of(channels, "wq", 2)
    assert heads == group_of(channels, "wv", 1) == group_of(channels, "wo", 0)  # whole heads
    assert keys == group_of(channels, "wk", 2) and keys != group_of(channels, "wv", 2)
    assert group_of(channels, "wt", 0) == group_of(channels, "wo", 2)


@pytest.mark.parametrize(
    ("equation", "ranks", "terms", "result"),
    [
        ("ij, jk -> ik", (2, 2), [["i", "j"], ["j", "k"]], ["i", "k"]),
        ("jb,ba", (2, 2), [["j", "b"], ["b", "a"]], ["a", "j"]),
        ("...i,ij->...j", (3, 2), [["…2", "…1", "i"], ["i", "j"]], ["…2", "…1", "j"]),
        ("...ij,...jk", (4, 3), [["…2", "…1", "i", "j"], ["…1", "j", "k"]], ["…2", "…1", "i", "k"]),
        ("i->", (1,), [["i"]], []),
    ],
)
def test_equations_of_einsums(equation, ranks, terms, result) -> None:
    assert parse_equation(equation, ranks) == (terms, result)


@pytest.mark.parametrize(
    ("code", "layers"),
    [
        ("unsupported-form", 'a = MatMul(x, w1)  d = Einsum<equation = "nii->ni">(a)  y = MatMul(d, w2)'),
        ("reduced-axis", 'a = MatMul(x, w1)  d = Einsum<equation = "nij->ni">(a)  y = MatMul(d, w2)'),
    ],
)
def test_einsums_that_mix_or_reduce_channels_are_pinned(code: str, layers: str) -> None:
    channels = channel_groups(net(layers, {"w1": (6, 8), "w2": (8, 5)}, x="float[N,8,6] x"))
    pin = group_of(channels, "w1", 1).pinned_because
    assert pin is not None and pin.code == code


def test_a_table_that_is_looked_up_and_multiplied_by_is_one_group() -> None:
    group = group_of(channel_groups(NETS["tied_embedding"]()), "table", 1)
    tied = {("table", 1, "producer"), ("table", 1, "consumer"), ("w1", 0, "consumer"), ("w2", 1, "producer")}
    assert roles(group) == tied


CONV = "a = Conv(x, w1)"
AFTER = "h = Conv(c, w2)  " + HEAD
WEIGHTS = {"w1": (8, 3, 1, 1), "w2": (6, 8, 1, 1), "wy": (5, 6), "by": (5,)}
CASES = {
    "softmax-axis": ("c = Softmax<axis = 1>(a)", {}, "n0001"),
    "normalised-axis": ("c = LRN<size = 3>(a)", {}, "n0001"),
    "reduced-axis": ("m = ReduceMean(a, axes)  c = Mul(a, m)", {"axes": ints(1)}, "n0001"),
    "ranked-axis": ("c = Hardmax<axis = 1>(a)", {}, "n0001"),
    "cumulative-axis": ("c = CumSum(a, axis)", {"axis": np.array(1)}, "n0001"),
    "unknown-op": ("c = Trilu(a)", {}, "n0001"),
    "layout-mismatch": (
        "d = Reshape(a, odd)  c = Reshape(d, even)",
        {"odd": ints(0, 16, 4, 8), "even": ints(0, 8, 8, 8)},
        "n0001",
    ),
    "dynamic-shape": (
        "s = Shape(x)  t = Add(s, more)  c = Reshape(a, t)",
        {"more": ints(0, 5, 0, 0)},
        "n0003",
    ),
    "shape-read": ("s = Shape<start = 1, end = 2>(a)  t = Cast<to = 1>(s)  c = Mul(a, t)", {}, "n0001"),
    "fixed-index": ("d = Gather<axis = 1>(a, one)  e = Unsqueeze(d, axes)  c = Mul(a, e)",
                    {"one": np.array(1), "axes": ints(1)}, "n0001"),
    "strided-slice": (
        "d = Slice(a, start, end, axis, step)  c = Concat<axis = 1>(d, d)",
        {"start": ints(0), "end": ints(8), "axis": ints(1), "step": ints(2)},
        "n0001",
    ),
    "resized-channels": (
        'd = Resize<mode = "nearest">(a, , scales)  c = Slice(d, start, end, axis)',
        {"scales": np.array([1, 2, 1, 1], np.float32), "start": ints(0), "end": ints(8), "axis": ints(1)},
        "n0001",
    ),
    "auxiliary-output": (
        "c, i = MaxPool<kernel_shape = [1, 1]>(a)  t = Cast<to = 1>(i)  z = ReduceMax(t)  w = Neg(z)",
        {},
        "n0001",
    ),
    "graph-input": ("c = Add(a, e)", {}, "e"),
}  # fmt: skip


@pytest.mark.parametrize("code", CASES)
def test_pinned_channels_say_why_and_where(code: str) -> None:
    middle, constants, where = CASES[code]
    x = "float[N,3,8,8] x, float[N,8,8,8] e" if code == "graph-input" else "float[N,3,8,8] x"
    model = net(f"{CONV}  {middle}  {AFTER}", {**WEIGHTS, **constants}, x=x)
    channels = channel_groups(model)
    pins = {group.pinned_because for group in channels.groups if ("w1", 0, "producer") in roles(group)}
    assert {(pin.code, pin.where) for pin in pins if pin is not None} == {(code, where)}
    assert group_of(channels, "w2", 0).pinned_because is None  # the next layer is free again


def test_every_reason_has_a_text_and_names_a_place() -> None:
    for build in NETS.values():
        model = build()
        places = {node.name for node in model.graph} | set(model.graph.initializers)
        places |= {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
        for group in channel_groups(model).groups:
            if group.pinned_because is not None:
                assert REASONS[group.pinned_because.code].text
                assert group.pinned_because.where in places


def test_a_body_of_control_flow_pins_what_it_reads() -> None:
    inner = onnx.parser.parse_graph("body () => (float[N,8,8,8] c) { c = Relu(a) }")
    proto = net(f"{CONV}  c = Relu(a)  {AFTER}", WEIGHTS).to_proto()
    branch = onnx.helper.make_node("If", ["flag"], ["c"], name="n0001", then_branch=inner, else_branch=inner)
    proto.graph.node[1].CopyFrom(branch)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "flag"))
    pin = group_of(channel_groups(Model(ir.from_proto(proto))), "w1", 0).pinned_because
    assert pin is not None and (pin.code, pin.where) == ("subgraph", "n0001")


def test_operators_of_other_domains_are_unknown() -> None:
    proto = net(f"{CONV}  c = Relu(a)  {AFTER}", WEIGHTS).to_proto()
    proto.graph.node[1].domain = "com.example"
    proto.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    for name in ("a", "c", "h", "p", "f", "y"):
        shape = {"p": ["N", 6, 1, 1], "f": ["N", 6], "y": ["N", 5]}.get(name, ["N", 6 if name == "h" else 8, 8, 8])
        proto.graph.value_info.append(onnx.helper.make_tensor_value_info(name, 1, shape))
    for value in proto.graph.value_info:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = "batch"
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    pin = group_of(channel_groups(Model(ir.from_proto(proto))), "w1", 0).pinned_because
    assert pin is not None and pin.code == "unknown-op"


def test_mixing_channels_with_the_batch_is_pinned() -> None:
    """At a batch of one [N, 6] -> [2, 3 N] and similar look harmless."""
    model = net(
        "a = Gemm(x, w1)  c = Reshape(a, all)  d = Reshape(c, back)  y = Gemm(d, w2)",
        {"w1": (3, 6), "all": ints(-1), "back": ints(-1, 6), "w2": (6, 5)},
        x="float[N,3] x",
    )
    pin = group_of(channel_groups(model), "w1", 1).pinned_because
    assert pin is not None and pin.code == "layout-mismatch"


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "resnet50", "densenet121"])
def test_counts_the_macs_of_real_topologies(name: str) -> None:
    model = load_proto(random_light_model(name))
    assert channel_groups(model).macs() == workload(model).macs


def test_the_groups_of_resnet50() -> None:
    """Two inner groups in each of 16 blocks, one on each of four residual streams, and the first convolution's."""
    channels = channel_groups(load_proto(random_light_model("resnet50")))
    sizes = sorted(group.size for group in channels.prunable)
    inner = [64] * 6 + [128] * 8 + [256] * 12 + [512] * 6
    assert sizes == sorted([*inner, 64, 256, 512, 1024, 2048])


def test_the_analysis_is_deterministic() -> None:
    proto = random_light_model("shufflenet")
    first, second = (channel_groups(load_proto(proto)) for _ in range(2))
    assert first.groups == second.groups
    assert all(np.array_equal(first.units[place], second.units[place]) for place in first.units)


def test_rules_are_for_operators_that_exist() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert set(RULES) <= known


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_components_equal_those_of_a_plain_search(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = case
    expected = list(range(count))
    for _ in range(count):
        for left, right in edges:
            expected[left] = expected[right] = min(expected[left], expected[right])
    left, right = (np.array([edge[side] for edge in edges], dtype=np.int64) for side in (0, 1))
    assert components(count, left, right).tolist() == expected


@pytest.mark.parametrize(
    ("old", "new", "blocks"),
    [
        ((1, 12, 5), (3, 4, 5), [([1], [0, 1]), ([2], [2])]),
        ((7, 64, 2, 2), (7, 256), [([0], [0]), ([1, 2, 3], [1])]),
        ((7, 6, 4), (7, 4, 6), [([0], [0]), ([1, 2], [1, 2])]),
        ((2, 1, 3), (1, 2, 1, 3, 1), [([0], [1]), ([2], [3])]),
        ((1,), (1, 1), []),
    ],
)
def test_shapes_split_into_the_smallest_matching_blocks(old, new, blocks) -> None:
    assert list(factor_blocks(old, new)) == blocks
