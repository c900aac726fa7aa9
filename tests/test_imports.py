"""Imports point one way: targets -> compiler, kernels; compiler and kernels know nobody."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {"compiler": {"compiler"}, "kernels": {"kernels"}, "targets": {"targets", "compiler", "kernels"}}


def imported_rooms(source: str, package: tuple[str, ...]) -> set[str]:
    """The top-level rooms (compiler, targets, kernels) that a module of `package` imports."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["prunus", *package][: len(package) + 2 - node.level] if node.level else []
            names = [".".join([*base, *([node.module] if node.module else [])])]
            if node.level and len(base) == 1 and not node.module:
                names = [f"prunus.{alias.name}" for alias in node.names]
        rooms |= {parts[1] for name in names if (parts := name.split("."))[0] == "prunus" and len(parts) > 1}
    return rooms


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_room_imports_only_what_it_may(room: str) -> None:
    folder = ROOT / room
    if not folder.is_dir():
        pytest.skip("the sources are not beside the tests")
    for path in sorted(folder.rglob("*.py")):
        package = path.relative_to(ROOT).parent.parts
        found = imported_rooms(path.read_text(encoding="utf-8"), package)
        assert found <= ALLOWED[room], f"{path.relative_to(ROOT)} imports {found - ALLOWED[room]}"


def test_the_check_sees_a_wrong_import() -> None:
    assert imported_rooms("from ..targets import catalog", ("compiler",)) == {"targets"}
    assert imported_rooms("from ...kernels.select import x", ("compiler", "passes")) == {"kernels"}
    assert imported_rooms("from .. import targets", ("compiler",)) == {"targets"}
    assert imported_rooms("import prunus.targets.asic", ("kernels",)) == {"targets"}
    assert imported_rooms("from .model import Model", ("compiler",)) == {"compiler"}
