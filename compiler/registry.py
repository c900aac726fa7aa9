"""From a name to a target: backends and catalogues are found through entry points, so third parties take our path.

`prunus.targets` lists target classes by backend name; `prunus.catalog` lists modules with `resolve(spec)`,
`device_files()` and, for `prunus doctor`, `checks()`. The compiler itself imports neither.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import PrunusError, ToolError, UsageError
from .target import Device, Target

CATALOGS = "prunus.catalog"


def catalogs() -> list[EntryPoint]:
    """Of every installed package, ours first. Raises ToolError where there is none."""
    points = sorted(entry_points(group=CATALOGS), key=lambda point: (point.name != "prunus", point.name))
    if not points:
        raise ToolError(
            "No device catalogue is installed.",
            code="missing-catalog",
            why="The installation registers no entry point in the group 'prunus.catalog'.",
            hint="Install the package again: pip install --force-reinstall prunus",
        )
    return points


def resolve(spec: str) -> tuple[Target, Device]:
    """`[backend:]DEVICE` -> (target, device). Raises UsageError for unknown names, ToolError for missing backends."""
    failure: PrunusError | None = None
    for point in catalogs():
        try:
            found: tuple[Target, Device] = point.load().resolve(spec)
        except UsageError as error:
            failure = failure or error
        else:
            return found
    assert failure is not None
    raise failure


def all_devices() -> dict[str, Any]:
    """Every device file of every catalogue by name."""
    devices: dict[str, Any] = {}
    for point in reversed(catalogs()):
        devices |= point.load().device_files()
    return dict(sorted(devices.items()))
