"""`prunus bench kernels` and `prunus bench models`: the scripts are found, called and reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prunus.compiler import measurements
from prunus.compiler.cli import app
from prunus.compiler.errors import ToolError, UsageError

FAKE = """\
import json, sys
print("measuring", sys.argv[1:])
if "--out" in sys.argv:
    open(sys.argv[sys.argv.index("--out") + 1], "w").write(json.dumps({"words": sys.argv[1:5]}))
sys.exit(3 if "fail" in sys.argv else 0)
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in measurements.MEASUREMENTS:
        (tmp_path / f"{name}.py").write_text(FAKE)
    monkeypatch.setattr(measurements, "SCRIPTS", tmp_path)
    return tmp_path


def test_options_reach_the_script(scripts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert measurements.measure("models", ["resnet8"], 3, 2, as_json=False) is None
    printed = capfd.readouterr().out
    assert "['--rounds', '3', '--network', 'resnet8', '--threads', '2']" in printed


def test_json_is_the_script_s_result(scripts: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "kernels", "--only", "mlp", "--rounds", "5", "--json"])
    assert json.loads(result.stdout) == {"words": ["--rounds", "5", "--set", "mlp"]}


def test_a_failure_is_an_error(scripts: Path) -> None:
    with pytest.raises(ToolError, match="failed"):
        measurements.measure("kernels", ["fail"], 1, 1, as_json=False)


def test_kernels_run_on_one_thread(scripts: Path) -> None:
    with pytest.raises(UsageError, match="one thread"):
        measurements.measure("kernels", [], 1, 2, as_json=False)


def test_without_the_sources_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "SCRIPTS", tmp_path)
    with pytest.raises(ToolError, match="not installed") as error:
        measurements.measure("kernels", [], 1, 1, as_json=False)
    assert error.value.code == "missing-measurement"


def test_the_scripts_of_the_source_tree_have_these_names() -> None:
    if not measurements.SCRIPTS.is_dir():
        pytest.skip("the sources are not beside the tests")
    for name, option in measurements.MEASUREMENTS.items():
        assert f'"{option}"' in (measurements.SCRIPTS / f"{name}.py").read_text(encoding="utf-8")


def test_a_folder_is_still_a_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert result.exception.code == "no-report"


def test_models_of_one_s_own_and_peers_reach_the_script(scripts: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine.onnx"
    model.touch()
    words = ["bench", "models", str(model), "--peers", "openvino-int8,torch-f32", "--density", "1", "--json"]
    result = CliRunner().invoke(app, words)
    assert json.loads(result.stdout) == {"words": [str(model), "--peers", "openvino-int8,torch-f32", "--density"]}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["models", "nowhere.onnx"], "missing-file"),
        (["kernels", "--peers", "none"], "bench-option"),
        (["out", "--profile"], "bench-option"),
    ],
)
def test_options_that_lead_nowhere(scripts: Path, words: list[str], code: str) -> None:
    result = CliRunner().invoke(app, ["bench", *words])
    assert isinstance(result.exception, UsageError)
    assert result.exception.code == code


def test_an_unknown_peer_is_a_usage_error() -> None:
    if not measurements.SCRIPTS.is_dir():
        pytest.skip("the sources are not beside the tests")
    with pytest.raises(UsageError, match="does not know") as caught:
        measurements.measure("models", [], 1, 1, as_json=False, words=["--peers", "tensorrt"])
    assert caught.value.code == "bench-option"
