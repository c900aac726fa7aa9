"""Networks and plans from Python: equal to the functions, checked arrays, threads, errors that say what is wrong."""

from __future__ import annotations

import threading

import numpy as np
import packed_networks
import pytest
from packed_networks import NETWORKS, f32, i32, sparse_weight

from prunus import kernels
from prunus.kernels import KernelError, Network, Output, Plan, Pool, Requant

U8 = Output("u8", 128)
X_SHAPE = (2, 8, 9, 7)


def random_x(shape=X_SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def conv_layer(out: int = 20, channels: int = 8, taps: int = 3, density: float = 0.4):
    return (
        sparse_weight(1, out, channels, taps, taps, density=density),
        np.arange(out, dtype=np.int32) * 50,
        f32(2**-7),
        U8,
    )


OPTIONS = {
    "plain": {},
    "padded": {"pads": (1, 2, 0, 1)},
    "strided": {"strides": (2, 3), "pads": (1, 1, 1, 1)},
    "dilated": {"dilations": (2, 2), "pads": (2, 2, 2, 2)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("isa", [None, *kernels.isas()])
def test_a_planned_convolution_is_the_function(options, isa):
    x, layer = random_x(), conv_layer()
    plan = Plan.conv2d(*layer, x_shape=x.shape, x_zero_point=7, isa=isa, **options)
    expected = kernels.conv2d(x, *layer, x_zero_point=7, **options)
    np.testing.assert_array_equal(plan.run(x), expected)
    assert (plan.output_shape, plan.output_dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize(
    "kernel", [info.name for info in kernels.kernel_table() if info.family in ("conv", "rows") and info.usable]
)
def test_a_named_kernel_is_used(kernel):
    x, layer = random_x(), conv_layer()
    plan = Plan.conv2d(*layer, x_shape=x.shape, kernel=kernel)
    assert kernel in {step["kernel"] for step in plan.describe()["steps"]}
    np.testing.assert_array_equal(plan.run(x), kernels.conv2d(x, *layer))


def test_kernels_of_rows_step_over_pixels_and_others_need_phases():
    x, layer = random_x((2, 8, 13, 11)), conv_layer()
    expected = kernels.conv2d(x, *layer, strides=(2, 2), pads=(1, 1, 1, 1))
    for kernel, phases in {"generic_rows16x4": 0, "generic_4x4": 1}.items():
        plan = Plan.conv2d(*layer, x_shape=x.shape, strides=(2, 2), pads=(1, 1, 1, 1), kernel=kernel)
        steps = plan.describe()["steps"]
        assert [step["kind"] for step in steps].count("phases") == phases
        assert kernel in {step["kernel"] for step in steps}
        np.testing.assert_array_equal(plan.run(x), expected)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_planned_matrix_product_is_the_function(rows):
    weight, x = sparse_weight(2, 30, 50), random_x((rows, 50))
    layer = weight, i32(*range(30)), Requant.fixed(i32(2**30), i32(37)), Output("s8", 3)
    plan = Plan.gemm(*layer, x_shape=x.shape, x_zero_point=9)
    np.testing.assert_array_equal(plan.run(x), kernels.gemm(x, *layer, x_zero_point=9))


def test_a_planned_depthwise_layer_is_the_function():
    layer = sparse_weight(3, 16, 1, 3, 3), i32(*range(16)), f32(2**-6), U8
    x = random_x()
    plan = Plan.conv2d(*layer, x_shape=x.shape, group=8, pads=(1, 1, 1, 1))
    np.testing.assert_array_equal(plan.run(x), kernels.depthwise2d(x, *layer, pads=(1, 1, 1, 1)))


def test_signed_inputs():
    x = random_x().view(np.int8)
    layer = conv_layer()
    plan = Plan.conv2d(*layer, x_shape=x.shape, x_type="s8", x_zero_point=-3)
    np.testing.assert_array_equal(plan.run(x), kernels.conv2d(x, *layer, x_zero_point=-3))


def chained(x: np.ndarray, layer) -> np.ndarray:
    y = kernels.conv2d(x, *layer, pads=(1, 1, 1, 1))
    return kernels.add(y, y, f32(0.5, 0.25), Output("s8"), a_zero_point=128, b_zero_point=128)


def chained_network(shape, layer) -> Network:
    net = Network()
    y = net.conv2d(net.input("u8", list(shape)), *layer, pads=(1, 1, 1, 1))
    net.output(net.add(y, y, f32(0.5, 0.25), Output("s8"), a_zero_point=128, b_zero_point=128))
    return net


def test_operators_are_chained():
    x, layer = random_x(), conv_layer()
    net = chained_network(x.shape, layer)
    assert net.inputs == [("u8", list(X_SHAPE))] and net.outputs == [("s8", [2, 20, 9, 7])]
    net.plan()
    np.testing.assert_array_equal(net.run([x])[0], chained(x, layer))


def test_a_seeded_fault_is_seen():
    x, layer = random_x(), conv_layer()
    weight = layer[0].copy()
    weight[3, 1, 1, 1] += 1
    net = chained_network(x.shape, (weight, *layer[1:]))
    net.plan()
    assert not np.array_equal(net.run([x])[0], chained(x, layer))


def test_the_batch_is_replaced():
    layer = conv_layer()
    net = chained_network((1, *X_SHAPE[1:]), layer)
    for batch in (3, 1, 4):
        net.plan(batch=batch)
        x = random_x((batch, *X_SHAPE[1:]))
        np.testing.assert_array_equal(net.run([x])[0], chained(x, layer))
    with pytest.raises(KernelError, match="E_OPTION"):
        net.plan(batch=-1)


def test_the_description_names_kernels_and_times():
    net = chained_network(X_SHAPE, conv_layer())
    net.plan()
    description = net.describe()
    usable = {info.name for info in kernels.kernel_table() if info.usable}
    conv = next(step for step in description["steps"] if step["kernel"])
    assert conv["kernel"] in usable and {loser["kernel"] for loser in conv["losers"]} < usable
    assert conv["predicted_seconds"] > 0 and 0 < conv["density"] < 1
    seconds = net.profile([random_x()])
    assert len(seconds) == len(description["steps"]) and min(seconds) >= 0
    assert net.workspace_bytes >= description["arena_bytes"] > 0


# -- arrays -----------------------------------------------------------------------------------------------------------


def planned() -> Network:
    net = chained_network(X_SHAPE, conv_layer())
    net.plan()
    return net


def test_inputs_may_have_any_layout():
    strided = np.asfortranarray(random_x())
    np.testing.assert_array_equal(planned().run([strided])[0], planned().run([random_x()])[0])


def test_results_in_the_caller_s_arrays():
    net, out = planned(), np.zeros((2, 20, 9, 7), np.int8)
    net.run_into([random_x()], [out])
    np.testing.assert_array_equal(out, net.run([random_x()])[0])
    plan = Plan.conv2d(*conv_layer(), x_shape=X_SHAPE)
    y = np.zeros(plan.output_shape, plan.output_dtype)
    assert plan.run(random_x(), out=y) is y
    np.testing.assert_array_equal(y, plan.run(random_x()))


@pytest.mark.parametrize(
    "inputs, error",
    [
        ([], "as many arrays as the network has inputs"),
        ([random_x(), random_x()], "as many arrays as the network has inputs"),
        ([random_x()[:1]], r"input 0 has the shape \(1, 8, 9, 7\) instead of \(2, 8, 9, 7\)"),
        ([random_x()[0]], "input 0 has the shape"),
    ],
)
def test_inputs_that_do_not_fit(inputs, error):
    with pytest.raises(KernelError, match=error):
        planned().run(inputs)


def test_element_types_are_not_converted():
    for x in (random_x().view(np.int8), random_x().astype(np.float32), random_x().astype(np.int64)):
        with pytest.raises(TypeError, match="input 0 must be an array of u8"):
            planned().run([x])


def test_outputs_that_do_not_fit():
    net, good = planned(), np.zeros((2, 20, 9, 7), np.int8)
    readonly = good.copy()
    readonly.flags.writeable = False
    for bad in (good.view(np.uint8), readonly, np.asfortranarray(good), good.astype(np.int16)):
        with pytest.raises(TypeError):
            net.run_into([random_x()], [bad])
    for bad in ([], [good, good], [good[:1]], [good.reshape(2, 20, 63)]):
        with pytest.raises(KernelError, match="E_SHAPE"):
            net.run_into([random_x()], bad)


def test_overlapping_arrays_are_refused():
    net = Network()
    x = net.input("u8", [1, 16])
    net.output(net.requantize(x, f32(0.5), Output("u8")))
    net.plan()
    memory = np.zeros((1, 24), np.uint8)
    with pytest.raises(KernelError, match="overlaps"):
        net.run_into([memory[:, :16]], [memory[:, 8:]])
    net.run_into([memory[:, :8].repeat(2, 1)], [memory[:, 8:]])


# -- errors -----------------------------------------------------------------------------------------------------------


def test_calls_out_of_order():
    net = chained_network(X_SHAPE, conv_layer())
    for call in (lambda: net.run([random_x()]), net.describe):
        with pytest.raises(KernelError, match="E_STATE"):
            call()
    net.plan()
    with pytest.raises(KernelError, match=r"E_STATE.*planned"):
        net.input("u8", [1, 2])
    with pytest.raises(KernelError, match="E_STATE"):
        Network().plan()


def test_the_network_s_own_words_reach_python():
    net = Network()
    x = net.input("u8", [1, 8, 9, 7])
    y = net.conv2d(x, *conv_layer())
    with pytest.raises(KernelError, match=r"network.conv2d: E_RANGE: operator 1 \(conv2d\): .*zero point"):
        net.conv2d(y, *conv_layer(channels=20), x_zero_point=3)


BAD_OPTIONS = {
    "isa": {"isa": "avx1024"},
    "kernel": {"kernel": "avx2_5x5"},
    "timed": {"timed": -1},
}


@pytest.mark.parametrize("options", BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_unknown_options(options):
    with pytest.raises(KernelError, match=r"network\.plan: E_OPTION"):
        chained_network(X_SHAPE, conv_layer()).plan(**options)


@pytest.mark.parametrize("isa", ["amx", "avx512vnni", "avxvnni", "avx2", "neon", "neondot", "neoni8mm"])
def test_instruction_sets_that_this_machine_lacks(isa):
    if isa in kernels.isas():
        pytest.skip(f"this machine has {isa}")
    with pytest.raises(KernelError, match="E_OPTION.*" + isa):
        Plan.conv2d(*conv_layer(), x_shape=X_SHAPE, isa=isa)


def test_ids_and_shapes_are_checked():
    net = Network()
    x = net.input("u8", [1, 8, 4, 4])
    for call in (
        lambda: net.requantize(7, f32(0.5), U8),
        lambda: net.requantize(-1, f32(0.5), U8),
        lambda: net.input("u8", [0, 3]),
        lambda: net.input("u8", [1] * 7),
        lambda: net.input("u8", [2**31 - 1, 2]),
        lambda: net.reshape(x, [1, 127]),
        lambda: net.conv2d(x, *conv_layer(channels=9)),
        lambda: net.conv2d(x, *conv_layer(taps=5)),
        lambda: net.lut(x, np.zeros(255, np.uint8)),
        lambda: net.output(99),
    ):
        with pytest.raises(KernelError, match="E_SHAPE"):
            call()
    with pytest.raises(KernelError, match="E_TYPE"):
        net.input("u4", [1, 2])


# -- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_threads_change_nothing(name):
    net = NETWORKS[name]()
    net.plan()
    inputs = packed_networks.random_inputs(net, 5)
    pool = Pool(3)
    assert pool.threads == 3
    for _ in range(3):
        for serial, parallel in zip(net.run(inputs), net.run(inputs, pool=pool), strict=True):
            np.testing.assert_array_equal(serial, parallel)


def test_pools_have_a_thread():
    for threads in (0, -1):
        with pytest.raises(KernelError, match="Pool"):
            Pool(threads)


def test_runs_overlap_and_survive_a_new_plan():
    layer, x = conv_layer(), random_x()
    net, expected = chained_network(X_SHAPE, layer), chained(x, layer)
    net.plan()
    pool, wrong = Pool(2), []

    def work(own_pool: Pool | None) -> None:
        for _ in range(30):
            if not np.array_equal(net.run([x], pool=own_pool)[0], expected):
                wrong.append(own_pool)

    threads = [threading.Thread(target=work, args=(p,)) for p in (None, None, pool, pool)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        net.plan()
    for thread in threads:
        thread.join()
    assert not wrong
