"""The kept measurements: about architectures of their own, and still what the model of today is judged by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from designs import FITTED, HELD_OUT
from estimator import FMAX_BOUND, LUT_BOUND, error, predict

KEPT: dict[str, dict[str, Any]] = {
    row["name"]: row for row in json.loads(Path(__file__).with_name("estimator.json").read_text())
}
ROUTED = [design for design in HELD_OUT if "fmax_made_mhz" in KEPT.get(design.name, {})]


def test_no_architecture_is_both_fitted_and_judged() -> None:
    fitted = {design.architecture for design in FITTED}
    assert not fitted & {design.architecture for design in HELD_OUT}
    assert len({design.architecture for design in HELD_OUT}) == len(HELD_OUT) >= 20


@pytest.mark.parametrize("design", ROUTED[:4], ids=lambda design: design.name)
def test_predictions_of_today_lie_near_what_was_made(
    design: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("da4ml")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    row, _ = predict(design, tmp_path)
    kept = KEPT[design.name]
    assert row["depth"] == kept["depth"], "another pipeline than the one that was routed: measure again"
    now = {**kept, **row}
    assert abs(error(now, "lut")) <= LUT_BOUND
    assert abs(error(now, "fmax", "_mhz")) <= FMAX_BOUND
