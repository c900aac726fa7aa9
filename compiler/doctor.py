"""What `prunus doctor` looks at: packages, tools and devices of this machine, and how to get what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from .registry import catalogs


@dataclass(frozen=True)
class Check:
    """One thing that is here or not; `fix` says what to do where it is missing or broken."""

    what: str
    found: str
    needed_for: str
    ok: bool = True
    fix: str = ""

    def row(self) -> dict[str, str]:
        """The check as three columns."""
        found = f"{self.found}: {self.fix}" if self.fix else self.found
        return {"what": self.what, "found": found, "needed for": self.needed_for}


def package(name: str, extra: str) -> Check:
    """A Python package of one of our extras."""
    try:
        return Check(name, version(name), f"extra {extra}")
    except PackageNotFoundError:
        return Check(name, "missing", f"extra {extra}", ok=False, fix=f"pip install 'prunus[{extra}]'")


def examine() -> list[Check]:
    """The compiler's own packages, then what the catalogues' targets need, in their order."""
    checks = [package("torch", "train"), package("optuna", "search"), package("psutil", "bench")]
    for catalog in catalogs():
        module = catalog.load()
        if hasattr(module, "checks"):
            checks += module.checks()
    return checks
