"""The golden vectors are what the script writes, small, and readable as their README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parent
VECTORS = GOLDEN / "int"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the script has just written."""
    folder = tmp_path_factory.mktemp("int")
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    command = [sys.executable, "-W", "error", str(GOLDEN / "make_int.py"), "--out", str(folder)]
    subprocess.run(command, check=True, timeout=120, env=environment, start_new_session=True)
    return folder


def test_the_script_writes_the_same_bytes(fresh):
    names = sorted(path.name for path in VECTORS.glob("*.npz"))
    assert names == sorted(path.name for path in fresh.glob("*.npz"))
    changed = [name for name in names if (fresh / name).read_bytes() != (VECTORS / name).read_bytes()]
    assert not changed, "run tests/golden/make_int.py and look at why results change"


def test_the_folder_stays_small():
    assert sum(path.stat().st_size for path in VECTORS.iterdir()) < 1_000_000


def test_every_operator_has_a_vector():
    from prunus.compiler.integer import serialize

    kinds = set()
    for path in VECTORS.glob("*.npz"):
        with np.load(path) as archive:
            kinds |= {
                (op.kind, graph.scheme) for graph, *_ in [serialize.unpack_case(dict(archive))] for op in graph.ops
            }
    assert {kind for kind, _ in kinds} == set(serialize.OPS)
    for kind in ("conv", "depthwise", "gemm", "add", "mul", "concat", "avgpool", "requant"):
        assert {(kind, scheme) for scheme in ("f32", "fixed", "pow2")} <= kinds


def test_the_readme_reads_a_vector():
    (snippet,) = re.findall(r"```python\n(.*?)```", (VECTORS / "README.md").read_text("utf-8"), re.DOTALL)
    subprocess.run([sys.executable, "-I", "-c", snippet], cwd=VECTORS, check=True, timeout=60, start_new_session=True)
