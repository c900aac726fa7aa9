"""Lottery tickets: the weights that are left learn from where they started, and not from anywhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_nets import accuracy, named, perceptron, samples, stop_at

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data  # noqa: E402
from prunus.compiler.errors import UsageError  # noqa: E402
from prunus.compiler.model.edit import weight  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.pruning.patterns import Pattern  # noqa: E402
from prunus.compiler.training import Tuning, fine_tune  # noqa: E402
from prunus.compiler.training.initialise import initialised  # noqa: E402
from prunus.compiler.training.lottery import Ticket, find_ticket, masked  # noqa: E402
from prunus.compiler.training.parameters import trainable  # noqa: E402
from prunus.compiler.training.plans import Lottery  # noqa: E402

torch.set_num_threads(1)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Data, Data]:
    model = load(DIGITS / "mlp.onnx")
    found = [np.load(DIGITS / f"{name}.npz") for name in ("calibration", "digits")]
    rows = [
        Data({model.graph.inputs[0].name: each["x"].reshape(-1, 64).astype(np.float32)}, each["y"]) for each in found
    ]
    return model, rows[0], rows[1]


def arrays(model: Model, names: tuple[str, ...]) -> list[np.ndarray]:
    return [weight(model.graph.initializers[name]) for name in names]


@pytest.mark.parametrize("rewind", [0, 2])
def test_the_rewound_network_beats_the_same_mask_drawn_anew(rewind: int, digits: tuple[Model, Data, Data]) -> None:
    """90 % of the weights are gone; the mean over two seeds."""
    model, train, test = digits
    found, anew = [], []
    for seed in range(2):
        tuning = Tuning(epochs=20, learning_rate=0.05, seed=seed)
        ticket = find_ticket(model, train, tuning, Lottery(0.9, rounds=4, rewind=rewind))
        found.append(accuracy(ticket.model, test))
        other = masked(initialised(model, trainable(model), 100 + seed), ticket.masks)
        anew.append(accuracy(fine_tune(other, train, tuning).model, test))
    assert np.mean(found) > np.mean(anew) + 0.2


def test_rounds_remove_equal_shares_of_what_is_left(digits: tuple[Model, Data, Data]) -> None:
    model, train, _ = digits
    ticket = find_ticket(model, train, Tuning(epochs=2), Lottery(0.75, rounds=2))
    assert [each.sparsity for each in ticket.rounds] == pytest.approx([0.5, 0.75], abs=1e-3)
    for name, mask in ticket.masks.items():
        for each in (ticket.model, ticket.untrained):
            np.testing.assert_array_equal(weight(each.graph.initializers[name]) != 0, mask)


def test_weights_go_back_to_the_initial_ones_or_to_an_early_epoch(digits: tuple[Model, Data, Data]) -> None:
    model, train, _ = digits
    tuning = Tuning(epochs=4, seed=5)
    names = trainable(model)
    start = initialised(model, names, 5)
    early = fine_tune(start, train, tuning, until=2).model
    for rewind, origin in ((0, start), (2, early)):
        ticket = find_ticket(model, train, tuning, Lottery(0.5, rounds=1, rewind=rewind))
        for ours, theirs, name in zip(arrays(ticket.untrained, names), arrays(origin, names), names, strict=True):
            np.testing.assert_array_equal(ours, np.where(ticket.masks.get(name, True), theirs, 0))


def test_a_checkpoint_model_is_what_weights_go_back_to() -> None:
    """The trained model counts as the first training; its initial weights come from a file of other plain names."""
    before = perceptron(3)
    data = samples(perceptron(1), 64, 1)
    trained = fine_tune(before, data, Tuning(epochs=2)).model
    ticket = find_ticket(trained, data, Tuning(epochs=2), Lottery(0.5, rounds=1), initial=before)
    for name in ("a", "c"):
        kept = weight(ticket.untrained.graph.initializers[named(trained, name)])
        after, first = (weight(each.graph.initializers[named(each, name)]) for each in (trained, before))
        largest = np.sort(np.abs(after).ravel())[after.size // 2]
        np.testing.assert_array_equal(kept, np.where(np.abs(after) >= largest, first, 0))


@pytest.mark.parametrize("pattern", [Pattern("n_m", (2, 4)), Pattern("block", (2, 2))])
def test_tickets_in_patterns(pattern: Pattern, digits: tuple[Model, Data, Data]) -> None:
    model, train, _ = digits
    ticket = find_ticket(model, train, Tuning(epochs=1), Lottery(0.5, pattern, rounds=2))
    assert ticket.rounds[-1].sparsity == pytest.approx(0.5, abs=0.01)


# -- repeatable, resumable, and what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.2, 0.6, 0.95])
def test_an_interrupted_search_resumes_to_the_same_bytes(fraction: float, tmp_path: Path) -> None:
    model, data, tuning = perceptron(), samples(perceptron(1), 64, 1), Tuning(epochs=3, seed=1)
    plan = Lottery(0.6, rounds=2, rewind=1)

    def search(**options: object) -> Ticket:
        return find_ticket(model, data, tuning, plan, **options)

    whole = search()
    with pytest.raises(KeyboardInterrupt):
        search(checkpoint=tmp_path / "run.ckpt", progress=stop_at(fraction))
    resumed = search(checkpoint=tmp_path / "run.ckpt")
    assert resumed.model.to_bytes() == whole.model.to_bytes()
    assert resumed.rounds == whole.rounds
    with pytest.raises(UsageError) as refusal:
        find_ticket(model, data, replace(tuning, seed=2), plan, checkpoint=tmp_path / "run.ckpt")
    assert refusal.value.code == "checkpoint-mismatch"


def test_progress_never_goes_back() -> None:
    seen: list[float] = []
    find_ticket(
        perceptron(), samples(perceptron(1), 64, 1), Tuning(epochs=2), Lottery(0.6, rounds=2, rewind=1),
        progress=lambda _what, share: seen.append(share),
    )  # fmt: skip
    assert seen[-1] == 1
    assert seen == sorted(seen)


def test_bad_searches_are_named() -> None:
    model, data, tuning = perceptron(), samples(perceptron(1), 64, 1), Tuning(epochs=2)

    def refused(plan: Lottery, **options: object) -> str:
        with pytest.raises(UsageError) as error:
            find_ticket(model, data, tuning, plan, **options)
        return error.value.code

    assert refused(Lottery(0.5, rewind=2)) == "bad-schedule"
    assert refused(Lottery(0.5), initial=perceptron(hidden=8)) == "initial-mismatch"
    assert refused(Lottery(0.95, Pattern("block", (4, 4)))) == "target-out-of-reach"
    for options in ({"sparsity": 1.0}, {"sparsity": 0.5, "rounds": 0}, {"sparsity": 0.5, "rewind": -1}):
        with pytest.raises(UsageError) as error:
            Lottery(**options)
        assert error.value.code == "bad-schedule"
