"""A bundle in the hands of its user: the README's commands as written, the user's names, the loader for Python."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest

from prunus.compiler.driver import Request, compile
from prunus.compiler.integer import ops
from prunus.targets.c.documents import describe
from prunus.targets.c.program import program
from prunus.targets.c.toolchain import missing_tool, toolchain_of
from prunus.tests.targets.c.conftest import Built, device_of, lowered, need
from prunus.tests.targets.tvm import unions

pytestmark = pytest.mark.toolchain

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
HOSTILE = '*/ int x; /* "; $(rm -rf x) `rm` \\ \n#error é'


def shown_commands(readme: str) -> list[str]:
    """The indented commands, without their explanations."""
    found = re.findall(r"^    ((?:make|cmake|ctest|python3)\b.*)$", readme, re.MULTILINE)
    return [re.split(r"  +", command)[0] for command in found]


@pytest.mark.parametrize("name", ["linux", "cortex-m4", pytest.param("riscv64", marks=pytest.mark.slow)])
def test_the_readme_s_commands_work(name: str, tmp_path: Path) -> None:
    need("make", "cmake")
    if missing := missing_tool(toolchain_of(device_of(name))):
        pytest.skip(missing)
    lowered(*graphs.mlp("fixed"), name, tmp_path)
    commands = shown_commands((tmp_path / "README.md").read_text())
    assert commands[:3] == ["make", "make run", "make size"]
    assert ("python3 model.py" in commands) == (name != "cortex-m4")
    if name == "riscv64":
        commands.remove("python3 model.py")  # for the machine that runs it
    for command in commands:
        argv = command.replace("python3", sys.executable).split()
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert command != "make run" or "wrong elements 0\n" in done.stdout + done.stderr  # qemu prints there
        assert not command.startswith("ctest") or "100% tests passed" in done.stdout


def test_the_readme_s_example_compiles(small: Built, tmp_path: Path) -> None:
    need("cc")
    (text,) = re.findall(r"```c\n(.*?)```", (small.artifact.root / "README.md").read_text(), re.DOTALL)
    includes, lines = (
        [line for line in text.splitlines() if line.startswith("#") == wanted] for wanted in (True, False)
    )
    program = tmp_path / "own.c"
    program.write_text("\n".join([*includes, "int own(void);", "int own(void) {", *lines, "return 0;", "}", ""]))
    root = small.artifact.root
    argv = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{root}", f"-I{root}/kernels/include", "-c"]
    done = subprocess.run(
        [*argv, str(program), "-o", str(tmp_path / "own.o")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_python_gets_what_the_reference_gives(small: Built, tmp_path: Path) -> None:
    need("cc", "make")
    root = shutil.copytree(small.artifact.root, tmp_path / "bundle")
    subprocess.run(["make", "-s", "library"], cwd=root, check=True, capture_output=True)
    (feed,) = small.feeds.values()
    np.save(root / "x.npy", feed)
    program = (
        "import numpy as np; from model import Model; (y,) = Model()(np.load('x.npy')).values(); np.save('y.npy', y)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True, capture_output=True)
    expected = ops.run(small.graph, small.feeds)[small.graph.outputs[0]]
    assert np.array_equal(np.load(root / "y.npy"), expected)


@pytest.mark.parametrize(("asked", "shown"), [("image", True), (HOSTILE, False)])
def test_the_user_s_names(asked: str, shown: bool, tmp_path: Path) -> None:
    """In bundle.json all, in text that people read those that are identifiers; the code's own names are numbered."""
    need("cc", "make")
    proto = onnx.load(DIGITS / "mlp.onnx")
    old = proto.graph.input[0].name
    proto.graph.input[0].name = asked
    for node in proto.graph.node:
        node.input[:] = [asked if name == old else name for name in node.input]
    onnx.save(proto, tmp_path / "named.onnx")
    x = np.load(DIGITS / "digits_flat.npz")["x"][:32]
    np.savez(tmp_path / "x.npz", x=x)
    request = Request(tmp_path / "named.onnx", "linux", tmp_path / "out", data=tmp_path / "x.npz", verify_samples=4)
    assert compile(request).report.fidelity.exact_fraction == 1.0  # type: ignore[union-attr]
    bundle = tmp_path / "out" / "artifact"
    description = json.loads((bundle / "bundle.json").read_text())
    assert [value["name"] for value in description["inputs"]] == [asked]
    assert [value["symbol"] for value in description["inputs"]] == ["input_0"]
    mentions = {
        p.name for p in bundle.rglob("*") if p.is_file() and re.search(rf"\b{re.escape(asked)}\b", p.read_text())
    }
    if shown:
        assert f"/* input_0 {asked}: " in (bundle / "model.h").read_text()
        assert f"* `input_0` (`{asked}`)" in (bundle / "README.md").read_text()
    else:
        assert mentions <= {"bundle.json"}
    done = subprocess.run(["make", "run"], cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_several_inputs_keep_the_model_s_order() -> None:
    graph = unions.union(unions.golden_cases()).graph
    tools = toolchain_of(device_of("linux"))
    reordered = replace(graph, inputs=graph.inputs[::-1])
    for each in (graph, reordered):
        names = [value["name"] for value in describe(each, program(each, tools), tools, {})["inputs"]]
        assert len(names) > 10
        assert names == [name for name in each.inputs if name in names]
