"""What devices want from compression."""

import pytest

from prunus.compiler.target import Formats


@pytest.mark.parametrize("width", ["weight_bits", "activation_bits", "border_bits"])
def test_refuses_codes_wider_than_int8(width: str) -> None:
    with pytest.raises(ValueError, match=f"{width} is 16; codes have at most 8 bits"):
        Formats(**{width: 16})  # type: ignore[arg-type]
