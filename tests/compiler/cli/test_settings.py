"""One setting is a field in Python, an option of the command line and a key of the file: all three, for each."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from prunus.compiler.cli import app
from prunus.compiler.cli.settings import _completion
from prunus.compiler.config.file import merged, read, template, toml
from prunus.compiler.config.options import CRITERIA, ENTRIES, SECTIONS, TABLES, Options
from prunus.compiler.config.setting import entries
from prunus.compiler.config.settings import Settings
from prunus.compiler.errors import UsageError
from prunus.compiler.training.tuning import Tuning

# Fields that users do not set by name: the seed and training come from other settings.
NO_SETTINGS = {Options: {"training", "extra"}, Tuning: {"seed"}}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def flags(command: str) -> set[str]:
    return {name for parameter in COMMANDS[command].params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("section", [Options, *SECTIONS], ids=lambda section: section.__name__)
def test_every_field_is_an_option_and_a_key(section: type) -> None:
    keys = {
        key for table in tomllib.loads(uncommented()).values() for key in (table if isinstance(table, dict) else ())
    }
    keys |= tomllib.loads(uncommented()).keys()
    for field in dataclasses.fields(section):
        if field.name in NO_SETTINGS.get(section, ()):
            continue
        assert field.name in ENTRIES, f"{section.__name__}.{field.name} has no Setting"
        assert field.name in keys, f"{field.name} is no key of the configuration file"
        entry = ENTRIES[field.name]
        assert (entry.option if field.name != "model" else "model") in flags("compile"), (
            f"compile has no {entry.option}"
        )


def uncommented() -> str:
    """The template with every setting switched on."""
    lines = template({}, Path()).splitlines()
    return "\n".join(line.removeprefix("# ") for line in lines if " = " in line or line.startswith("["))


def test_a_forgotten_setting_is_noticed() -> None:
    @dataclasses.dataclass(frozen=True)
    class Forgetful:
        table = panel = ""
        sparsity: float = 0.0

    assert not list(entries(Forgetful))
    with pytest.raises(AssertionError, match="has no Setting"):
        test_every_field_is_an_option_and_a_key(dataclasses.make_dataclass("Forgetful", [("pruned", float, 0.0)]))


def test_names_are_unique() -> None:
    names = [entry.name for section in SECTIONS for entry in entries(section)]
    assert len(names) == len(set(names))


def test_what_is_off_by_default_has_an_example() -> None:
    for entry in ENTRIES.values():
        assert entry.default is not None or entry.setting.example is not None, entry.name


def test_the_template_is_valid_and_asks_for_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "prunus.toml"
    file.write_text(template({}, tmp_path))
    assert read(file) == {}
    file.write_text(uncommented())
    found = read(file)
    assert found.keys() == ENTRIES.keys()
    for name, entry in ENTRIES.items():
        if entry.default is not None and not isinstance(entry.default, Path):
            assert found[name] == entry.default, name


def test_settings_survive_a_round_trip(tmp_path: Path) -> None:
    given = {
        "model": tmp_path / 'a "quoted" näme.onnx',
        "sparsity": 0.25,
        "measure": True,
        "skip_pass": ("equalise", "fold_input"),
        "epochs": 3,
        "learning_rate": 1e-05,
        "metric": "mine:score\x7f",
    }
    file = tmp_path / "out" / "prunus.toml"
    file.parent.mkdir()
    file.write_text(toml(given, file.parent), encoding="utf-8")
    found = read(file)
    assert found.pop("model").resolve() == given.pop("model")
    assert found == given


def test_the_command_line_comes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "prunus.toml"
    file.write_text('data = "samples.npz"\nseed = 3\n[pruning]\nsparsity = 0.5\ncriterion = "l1"\n')
    settings = merged(file, {"sparsity": 0.25, "criterion": None, "skip_pass": []})
    assert replace(settings.options, training=Tuning()) == Options(
        sparsity=0.25, criterion="l1", seed=3, training=Tuning()
    )
    assert settings.job.data == tmp_path / "samples.npz"
    assert settings.job.skip_pass == ()


def test_epochs_switch_training_on() -> None:
    assert merged(None, {"batch": 8, "qat_epochs": 2}).options.training == Tuning(epochs=0, batch=8)
    with pytest.raises(UsageError):
        merged(None, {"epochs": 0})
    assert merged(None, {"epochs": 2, "batch": 8, "seed": 5}).options.training == Tuning(epochs=2, batch=8, seed=5)


def test_what_is_kept_reproduces_the_run(tmp_path: Path) -> None:
    settings = Settings({"model": tmp_path / "m.onnx", "target": "host-cpu", "sparsity": 0.5, "epochs": 2})
    file = tmp_path / "prunus.toml"
    file.write_text(toml(settings.effective, tmp_path))
    again = merged(file, {})
    assert again.options == settings.options
    assert again.job.verify_samples == settings.job.verify_samples
    assert again.job.model == tmp_path / "m.onnx"


BAD_FILES = {
    "unknown-key": "[pruning]\nsparsty = 0.5\n",
    "unknown-key-of-another-table": "sparsity = 0.5\n",
    "unknown-key-with-dashes": "[pruning]\nlayer-sparsity = 0.5\n",
    "unknown-table": "[prunning]\nsparsity = 0.5\n",
    "wrong-type": '[pruning]\nsparsity = "half"\n',
    "not-one-of": '[training]\nloss = "hinge"\n',
    "out-of-range": "[pruning]\nsparsity = 1.5\n",
    "no-toml": "sparsity: 0.5\n",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_explained(name: str, tmp_path: Path, golden) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "prunus.toml"
    file.write_text(BAD_FILES[name])
    with pytest.raises(UsageError) as caught:
        merged(file, {})
    golden(f"errors/config-{name}.txt", f"{caught.value}\n".replace(f"{tmp_path}/", ""))


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        merged(tmp_path / "prunus.toml", {})
    assert caught.value.code == "config-file"


def test_choices_are_those_of_the_passes() -> None:
    from prunus.compiler.pruning.blocks import BLOCK_CRITERIA
    from prunus.compiler.pruning.criteria import CRITERIA as CHANNEL_CRITERIA
    from prunus.compiler.pruning.patterns import parse_pattern
    from prunus.compiler.pruning.sparsify import CRITERIA as WEIGHT_CRITERIA
    from prunus.compiler.quantization.calibrate import METHODS

    assert set(CRITERIA) == {"auto", *CHANNEL_CRITERIA}
    assert set(ENTRIES["layer_criterion"].choices) == set(BLOCK_CRITERIA)
    assert set(ENTRIES["weight_criterion"].choices) == {"auto", *WEIGHT_CRITERIA}
    assert set(ENTRIES["ranges"].choices) == {"auto", *METHODS}
    for pattern in set(ENTRIES["pattern"].choices) - {"auto"}:
        parse_pattern(pattern)


def test_tables_are_panels() -> None:
    for table, group in TABLES.items():
        assert group, table


def test_the_tab_key_offers_what_fits() -> None:
    def offered(name: str, begun: str) -> list[str]:
        complete = _completion(ENTRIES[name])
        assert complete is not None
        return complete(begun)

    assert offered("criterion", "sens") == ["sensitivity"]
    assert offered("schedule", "") == list(ENTRIES["schedule"].choices)
    assert offered("precision", "b") == ["bfloat16"]
    assert "pynq-z2" in offered("target", "pynq")
    assert offered("skip_pass", "prune_") == ["prune_layers", "prune_channels", "prune_weights"]
    assert _completion(ENTRIES["sparsity"]) is None


@pytest.mark.parametrize("command", ["compile", "prune", "quantize", "train", "estimate", "check"])
def test_every_command_that_compresses_takes_a_file(command: str) -> None:
    assert {"--config", "-c"} <= flags(command)
