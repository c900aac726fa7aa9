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
    "SECURITY.md",
    "kernels/README.md",
    "targets/c/README.md",
    "targets/ort/README.md",
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


def test_the_python_of_the_readme_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL)
    assert blocks
    for block in blocks:
        result = subprocess.run(
            [sys.executable, "-c", block], capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
        )
        assert result.returncode == 0, result.stderr
        assert "exact_fraction" in block
        assert result.stdout.strip().endswith("1.0")


def test_the_readme_lists_every_device() -> None:
    from prunus.targets.catalog import device_files

    readme = text("README.md")
    for name in device_files():
        assert f"`{name}`" in readme
