"""Chips that are in no catalogue entry of their own: by part number, or by a device file of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunus.compiler.errors import UsageError
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget, settings


def test_another_package_of_a_known_chip() -> None:
    target, device = resolve("hls:part=xc7z020clg484-2")
    _, board = resolve("pynq-z2")
    assert isinstance(target, HlsTarget)
    assert settings.part(device) == "xc7z020clg484-2"
    assert device.resources == board.resources
    assert device.name == "part-xc7z020clg484-2"


@pytest.mark.parametrize(
    "name", ["hls:part=xc7z999clg400-1", "hls:part=", "hls:part=x; touch owned", "rtl:part=xc7z020clg400-1"]
)
def test_a_chip_that_nobody_knows_or_no_part_at_all(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(name)
    assert caught.value.code == "unknown-part"
    assert ".toml" in (caught.value.hint or "")


def test_a_device_file_of_the_user(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[4] / "targets" / "devices" / "pynq-z2.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('name = "pynq-z2"', 'name = "mine"').replace("value = 220", "value = 90"))
    target, device = resolve(str(path))
    assert isinstance(target, HlsTarget)
    assert (device.name, device.resources["dsp"].value) == ("mine", 90)
    assert resolve(f"hls:{path}")[1] == device
    with pytest.raises(UsageError, match="no backend 'rtl'"):
        resolve(f"rtl:{path}")


def test_a_device_file_that_is_not_there_or_not_valid(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(str(tmp_path / "absent.toml"))
    assert caught.value.code == "device-file"
    (tmp_path / "bad.toml").write_text("name = 1\n")
    with pytest.raises(UsageError) as caught:
        resolve(str(tmp_path / "bad.toml"))
    assert caught.value.code == "device-file"
