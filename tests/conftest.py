"""Shared fixtures: where the real models are, and how golden files are updated."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# the same examples everywhere, and no test depends on the machine's speed
settings.register_profile("prunus", deadline=None, derandomize=True)
settings.load_profile("prunus")

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


def shared_models() -> Path:
    """The folder of real trained models; skips the calling test where it is absent."""
    folder = Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    if not folder.is_dir():
        pytest.skip(f"no real models in {folder} (set PRUNUS_MODELS to their folder)")
    return folder


@pytest.fixture(scope="session")
def models() -> Path:
    """`shared_models()` as a fixture."""
    return shared_models()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest):
    """`golden(name, text)`: compares text with tests/golden/NAME, or rewrites it under --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.is_file(), f"{path} is missing; run pytest with --update-golden and look at it"
        assert text == path.read_text(encoding="utf-8"), f"differs from {path}; --update-golden rewrites it"

    return check
