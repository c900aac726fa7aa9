"""What pruning costs in accuracy: four trained networks with 1.25, 1.5, 2 and 3 times fewer multiply-accumulates.

    pip install 'prunus[train,bench]'
    python examples/accuracy_curves.py OUT --models FOLDER [--networks digits resnet8] [--seeds 3]
    python examples/accuracy_curves.py OUT --models FOLDER --tune
    python examples/accuracy_curves.py OUT --models FOLDER --distil [--transfer PICTURES.zip MORE.npz]

Channels are chosen and the rest is refitted on at most 512 unlabelled samples:

* `uniform`   magnitude, the same share of every group (the baseline)
* `obs`       the default: the scores of the criterion `obs`
* `inner`     the same scores, inside of residual blocks alone (scope `inner`)
* `searched`  the same scores inside of groups, and a search for the groups' widths (scope `searched`)
* `tuned`     (with --tune) `obs`, then ten epochs on the same samples as `--epochs 10` of the command line trains them
* `distilled` (with --distil) `obs`, or `inner` for ResNet-8, then trained on the unpruned network's answers to the same
  samples, and to windows of the natural pictures of --transfer where the network's recipe asks for them

Its recipes were compared by how close the pruned network comes to the unpruned one on calibration samples kept out of
training. Accuracy is scored on other, labelled samples. Channels that were dead before are removed first, not counted.
OUT/curves.json keeps every run, and runs that it holds are not repeated; OUT/curves.md and OUT/curves.svg show them.
FOLDER holds the networks of MLPerf Tiny and their data (tests/support/data_splits.toml names the files); without it,
only the network for digits is pruned.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from prunus.compiler.analysis.channels import Channels, channel_groups
from prunus.compiler.data import Data, load_data
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.reconstruct import reconstruct
from prunus.compiler.pruning.select import Selection, select

if TYPE_CHECKING:
    from PIL.Image import Image

ROOT = Path(__file__).resolve().parents[1]
RATIOS = (1.25, 1.5, 2.0, 3.0)
WAYS: Mapping[str, tuple[str, str]] = {
    "uniform": ("l2", "layer"),
    "obs": ("obs", "global"),
    "inner": ("obs", "inner"),
    "searched": ("obs", "searched"),
}
TUNED = 10  # epochs
PICTURES = {"resnet8": 1.0, "mobilenet_v1": 1 / 255}  # what networks make of a byte of a picture
MORE = {"ds_cnn": 300}  # samples that calibrate here, beyond those of data_splits.toml, and are not scored
TITLES = {
    "digits": "Digits CNN",
    "resnet8": "ResNet-8, CIFAR-10",
    "ds_cnn": "DS-CNN, keywords",
    "mobilenet_v1": "MobileNetV1-0.25, persons",
}


@dataclass(frozen=True)
class Recipe:
    """How a network is distilled: passes over its samples (and those of --transfer), and how these are varied.

    Where much is learned from, features with a strong weight hold back. A pass shows every sample `repeat` times, and
    `windows` of each picture of --transfer: many windows of few pictures, mixed with the samples, stand in for the data
    that is not there (Asano and Saeed, Extrapolating from a Single Image to a Thousand Classes, 2023).
    """

    epochs: int
    augment: tuple[str, ...]
    way: str = "obs"
    windows: int = 0
    repeat: int = 1
    learning_rate: float = 3e-3
    batch_norm: Literal["update", "insert"] = "update"
    feature_weight: float = 0.0


RECIPES = {
    "digits": Recipe(100, ("shift", "mixup")),
    "resnet8": Recipe(
        30,
        ("flip", "shift", "mixup"),
        "inner",
        24,
        repeat=8,
        learning_rate=1e-2,
        batch_norm="insert",
        feature_weight=1.0,
    ),
    "ds_cnn": Recipe(1000, ("shift", "noise"), learning_rate=5e-3),
    "mobilenet_v1": Recipe(
        30,
        ("flip", "crop", "mixup"),
        windows=8,
        repeat=24,
        learning_rate=1e-2,
        batch_norm="insert",
        feature_weight=1.0,
    ),
}


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network without its dead channels, samples to prune with, and labelled ones to score with."""

    name: str
    model: Model
    channels: Channels
    dead: float  # share of the MACs that dead channels took
    calibration: Data
    test: Data

    def score(self, model: Model) -> float:
        """Top-1 accuracy in per cent."""
        outputs = next(iter(run_model(model, self.test.inputs).values()))
        return 100 * float((outputs.argmax(axis=1) == self.test.labels).mean())


@dataclass(frozen=True)
class Run:
    """One pruned network: accuracy in per cent, times fewer MACs, and the processor's seconds that it took."""

    network: str
    way: str
    wanted: float
    seed: int
    ratio: float
    accuracy: float
    unpruned: float
    cpu_seconds: float


def network(name: str, folder: Path | None) -> Network:
    if name == "digits":
        loaded = load(ROOT / "examples" / "digits" / "cnn.onnx")
        samples, test = (load_data(ROOT / "examples" / "digits" / f, loaded) for f in ("calibration.npz", "digits.npz"))
    else:
        if folder is None:
            raise SystemExit(f"{name} needs --models FOLDER")
        sys.path.insert(0, str(ROOT / "tests" / "support"))
        from real_tasks import load_task

        task = load_task(name, folder)
        loaded = load(task.model)
        scored = Data(task.feeds(loaded), task.labels)
        more, test = scored.split(MORE.get(name, 0))
        samples = Data(
            {k: np.concatenate([x, more.inputs[k]]) for k, x in task.calibration_data(loaded).inputs.items()}
        )
    samples = Data(samples.inputs)  # no labels
    model = Pipeline.default(last="remove_dead_channels").run(loaded, Context(calibration=samples)).model
    before, channels = channel_groups(loaded).macs(), channel_groups(model)
    return Network(name, model, channels, 1 - channels.macs() / before, samples, test)


def prune(net: Network, way: str, ratio: float, seed: int) -> tuple[Model, Selection]:
    criterion, scope = WAYS[way]
    chosen = select(net.model, net.channels, 1 - 1 / ratio, criterion, data=net.calibration, scope=scope, seed=seed)
    pruned = cut(net.model, net.channels, chosen.removed)
    fitted = reconstruct(net.model, pruned, net.channels, chosen.removed, net.calibration, seed=seed)
    return fitted.model, chosen


def windows(sources: Iterable[Path], net: Network, seed: int = 0) -> Data:
    """Random windows of natural pictures, scaled to what the network takes.

    Szegedy et al., 2015: each is a quarter to all of the picture, up to 4:3 either way, half of them mirrored.
    """
    from PIL import Image  # comes with matplotlib

    rng = np.random.default_rng(seed)
    (key,), side = net.calibration.inputs, next(iter(net.calibration.inputs.values())).shape[1]
    found = []
    for picture in (each for source in sources for each in pictures(source)):
        for _ in range(RECIPES[net.name].windows):
            area, stretch = rng.uniform(0.25, 1), math.exp(rng.uniform(-1, 1) * math.log(4 / 3) / 2)
            size = [
                min(1, math.sqrt(area) * way) * old
                for way, old in zip((stretch, 1 / stretch), picture.size, strict=True)
            ]
            left, top = (rng.uniform(0, old - new) for old, new in zip(picture.size, size, strict=True))
            box = (left, top, left + size[0], top + size[1])
            window = np.asarray(picture.resize((side, side), Image.Resampling.BOX, box), np.float32)
            found.append(window[:, ::-1] if rng.random() < 0.5 else window)
    return Data({key: np.stack(found) * np.float32(PICTURES[net.name])}, source="pictures")


def pictures(source: Path) -> Iterator[Image]:
    """Those of a .zip of .jpg files, or of the array `x` [n, height, width, 3] of bytes in an .npz file."""
    from PIL import Image

    if source.suffix == ".npz":
        yield from map(Image.fromarray, np.load(source)["x"])
        return
    with zipfile.ZipFile(source) as archive:
        for name in sorted(each for each in archive.namelist() if each.endswith(".jpg")):
            yield Image.open(archive.open(name)).convert("RGB")


def distil(net: Network, pruned: Model, seed: int, epochs: int | None, transfer: Data | None) -> Model:
    """Trains on the unpruned network's answers, and on what is left of its block outputs."""
    from prunus.compiler.training import Tuning, fine_tune

    recipe = RECIPES[net.name]
    tuning = Tuning(
        epochs=epochs or recipe.epochs,
        batch=min(64, len(net.calibration) // 4),
        learning_rate=recipe.learning_rate,
        loss="cross_entropy",
        temperature=4.0,
        batch_norm=recipe.batch_norm,
        feature_weight=recipe.feature_weight,
        augment=recipe.augment,
        seed=seed,
    )
    data = Data({name: np.concatenate([x] * recipe.repeat) for name, x in net.calibration.inputs.items()})
    return fine_tune(pruned, data, tuning, teacher=net.model, features="blocks", transfer=transfer).model


def tune(net: Network, ratio: float, seed: int) -> tuple[Model, Selection]:
    """As the command line does where only the number of epochs is given: some samples judge, and harm is undone."""
    from prunus.compiler.passes.base import Options
    from prunus.compiler.passes.fine_tune import FineTune
    from prunus.compiler.passes.training_verdict import with_judging
    from prunus.compiler.training import Tuning

    options = Options(training=Tuning(epochs=TUNED, seed=seed), seed=seed)
    context = with_judging(Context(options=options, calibration=net.calibration, original=net.model), net.model)
    assert context.calibration is not None
    pruned, chosen = prune(replace(net, calibration=context.calibration), "obs", ratio, seed)
    return FineTune().run(pruned, context).model, chosen


def measure(
    net: Network,
    ratio: float,
    seed: int,
    ways: Iterable[str],
    epochs: int | None = None,
    transfer: Data | None = None,
) -> Iterable[Run]:
    """The runs of one seed; `tuned` begins with `obs`, `distilled` with what its recipe says."""
    unpruned = net.score(net.model)
    for way in ways:
        started = time.process_time()
        if way == "tuned":
            model, chosen = tune(net, ratio, seed)
        else:
            model, chosen = prune(net, way if way in WAYS else RECIPES[net.name].way, ratio, seed)
        if way == "distilled":
            model = distil(net, model, seed, epochs, transfer)
        seconds = time.process_time() - started
        reached = chosen.macs_before / chosen.macs_after
        yield Run(net.name, way, ratio, seed, round(reached, 4), net.score(model), unpruned, round(seconds, 1))


def read(path: Path) -> list[Run]:
    return [Run(**run) for run in json.loads(path.read_text())["runs"]] if path.is_file() else []


def write(path: Path, runs: list[Run], dead: Mapping[str, float]) -> None:
    path.write_text(json.dumps({"dead": dict(dead), "runs": [asdict(run) for run in runs]}, indent=1) + "\n")


def summary(runs: Iterable[Run]) -> dict[tuple[str, str, float], tuple[float, float, int]]:
    """(network, way, wanted ratio) -> mean accuracy, its standard deviation over the seeds, how many seeds."""
    found: dict[tuple[str, str, float], list[float]] = {}
    for run in runs:
        found.setdefault((run.network, run.way, run.wanted), []).append(run.accuracy)
    return {key: (float(np.mean(each)), float(np.std(each)), len(each)) for key, each in found.items()}


def table(runs: list[Run]) -> str:
    """Markdown: one line for each network and way."""
    means = summary(runs)
    lines = [
        "| network | way | " + " | ".join(f"{ratio:g}x" for ratio in RATIOS) + " |",
        "|---" * (2 + len(RATIOS)) + "|",
    ]
    for name, way in dict.fromkeys((run.network, run.way) for run in runs):
        unpruned = next(run.unpruned for run in runs if run.network == name)
        cells = [means.get((name, way, ratio)) for ratio in RATIOS]
        texts = [
            "" if cell is None else f"{cell[0]:.1f}" + (f" ± {cell[1]:.1f}" if cell[2] > 1 else "") for cell in cells
        ]
        lines.append(f"| {TITLES[name]} ({unpruned:.1f}) | {way} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def plot(runs: list[Run], path: Path) -> None:
    """Accuracy over MACs saved, one panel for each network; bars are the standard deviation over the seeds."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "prunus"
    import matplotlib.pyplot as plt

    means, names = summary(runs), [name for name in TITLES if any(run.network == name for run in runs)]
    styles = {
        "uniform": ("#999999", "s"),
        "obs": ("#4477aa", "o"),
        "inner": ("#aa3377", "p"),
        "searched": ("#cc3311", "D"),
        "tuned": ("#ccbb44", "v"),
        "distilled": ("#228833", "^"),
    }
    figure, axes = plt.subplots(1, len(names), figsize=(3.3 * len(names), 3.1), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        unpruned = next(run.unpruned for run in runs if run.network == name)
        axis.axhline(unpruned, color="black", linewidth=0.8, linestyle=":")
        for way, (colour, mark) in styles.items():
            points = [(ratio, *means[name, way, ratio][:2]) for ratio in RATIOS if (name, way, ratio) in means]
            if points:
                x, y, spread = zip(*points, strict=True)
                axis.errorbar(
                    x, y, spread, color=colour, marker=mark, markersize=4, linewidth=1.2, capsize=2, label=way
                )
        axis.set(title=TITLES[name], xlabel="times fewer MACs", xticks=RATIOS, xticklabels=[f"{r:g}" for r in RATIOS])
        axis.set_ylim(max(0, unpruned - 45), min(100.5, unpruned + 5))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("top-1 accuracy, %")
    drawn = {way: line for axis in axes[0] for line, way in zip(*axis.get_legend_handles_labels(), strict=True)}
    ways = [way for way in styles if way in drawn]
    axes[0][-1].legend([drawn[way] for way in ways], ways, loc="lower left", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--networks", nargs="+", choices=TITLES)
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--distil", action="store_true")
    parser.add_argument(
        "--transfer", nargs="+", type=Path, help="natural pictures to distil on, too: .zip of .jpg, .npz"
    )
    parser.add_argument("--epochs", type=int, help="of distillation, in place of each network's own number")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "curves.json"
    runs = read(path)
    dead: dict[str, float] = json.loads(path.read_text())["dead"] if path.is_file() else {}
    trained = [way for way, wanted in (("tuned", asked.tune), ("distilled", asked.distil)) if wanted]
    ways = trained or asked.ways
    for name in asked.networks or (TITLES if asked.models else ["digits"]):
        net = network(name, asked.models)
        transfer = windows(asked.transfer, net) if asked.transfer and RECIPES[name].windows else None
        dead[name] = round(net.dead, 4)
        for seed in range(asked.seeds):
            for ratio in asked.ratios:
                done = {(run.network, run.way, run.wanted, run.seed) for run in runs}
                todo = [way for way in ways if (name, way, ratio, seed) not in done]
                for run in measure(net, ratio, seed, todo, asked.epochs, transfer):
                    runs.append(run)
                    write(path, runs, dead)
                    print(run, flush=True)
    (asked.out / "curves.md").write_text(table(runs))
    plot(runs, asked.out / "curves.svg")
    print(table(runs))


if __name__ == "__main__":
    main()
