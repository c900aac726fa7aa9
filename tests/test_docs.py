"""Every command shown in the documents works; every link leads somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/compression.md",
    "docs/configuration.md",
    "SECURITY.md",
    "kernels/README.md",
    "targets/c/README.md",
    "targets/ort/README.md",
    "targets/fpga/README.md",
    "targets/gpu/README.md",
    "tests/bench/README.md",
)


def text(name: str) -> str:
    path = ROOT / name
    if not path.is_file():
        pytest.skip("the documents are not beside the tests")
    return path.read_text(encoding="utf-8")


def shown_commands(document: str) -> set[str]:
    """`prunus …` and `make …` in code, as written."""
    found = re.findall(r"`((?:prunus|make) [^`\n]+)`", document)
    found += [line.strip() for line in document.splitlines() if re.match(r"    (prunus|make) ", line)]
    return {command.split("  ")[0] for command in found}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_shown_commands_exist(name: str) -> None:
    makefile = text("Makefile")
    help_texts: dict[str, str] = {}
    for command in sorted(shown_commands(text(name))):
        tool, *words = shlex.split(command.split(" #")[0])
        if tool == "make":
            for word in words:
                assert re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE), f"{name}: make {word}"
            continue
        if words[0].startswith("-"):
            continue
        if words[0] not in help_texts:
            result = subprocess.run(
                [sys.executable, "-m", "prunus.compiler.cli", words[0], "--help"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, f"{name}: {command}"
            help_texts[words[0]] = result.stdout
        for option in (word for word in words if word.startswith("--")):
            assert option in help_texts[words[0]], f"{name}: {command} has no {option}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", text(name)):
        if not target.startswith("https://"):
            assert (ROOT / name).parent.joinpath(target).exists() or (ROOT / target).exists(), f"{name}: {target}"


@pytest.mark.parametrize("name", ["README.md", "docs/compression.md"])
def test_the_python_shown_runs(name: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", text(name), re.DOTALL)
    assert blocks
    for block in blocks:
        result = subprocess.run(
            [sys.executable, "-c", block], capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
        )
        assert result.returncode == 0, result.stderr
        if name == "README.md":
            assert "exact_fraction" in block
            assert result.stdout.strip().endswith("1.0")


@pytest.mark.slow
def test_the_commands_of_the_guide_run_in_order(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for name, source in (("model.onnx", "cnn.onnx"), ("data.npz", "digits.npz")):
        (tmp_path / name).write_bytes((ROOT / "examples" / "digits" / source).read_bytes())
    commands = [line.strip() for line in text("docs/compression.md").splitlines() if line.startswith("    prunus ")]
    assert len(commands) > 15
    for command in commands:
        result = subprocess.run(
            [sys.executable, "-m", "prunus.compiler.cli", *shlex.split(command)[1:]],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


def test_the_guide_names_every_technique() -> None:
    from prunus.compiler.config.options import TABLES
    from prunus.compiler.coreset import METHODS

    guide = text("docs/compression.md")
    places = ("pruning", "quantization", "coding")
    entries = [entry for table in places for entry in TABLES[table]]
    named = {choice for entry in entries if entry.name != "pattern" for choice in entry.choices}
    missing = sorted(name for name in {*named, *METHODS} - {"device", "any", "never"} if name not in guide)
    missing += [entry.option for entry in entries if entry.option not in guide]
    assert not missing


def test_the_configuration_file_is_shown_whole(request: pytest.FixtureRequest) -> None:
    from prunus.compiler.config.file import template

    page, wanted = ROOT / "docs" / "configuration.md", template({}, Path())
    (shown,) = re.findall(r"```toml\n(.*?)```", text("docs/configuration.md"), re.DOTALL)
    if request.config.getoption("--update-golden"):
        page.write_text(page.read_text(encoding="utf-8").replace(shown, wanted), encoding="utf-8")
    else:
        assert shown == wanted, "--update-golden rewrites it"


def test_the_readme_lists_every_device() -> None:
    from prunus.targets.catalog import device_files

    readme = text("README.md")
    for name in device_files():
        assert f"`{name}`" in readme
