"""Images of SwiftShader in the CUDA backend, over the stand-in for the driver."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import fresh
import image_cases
import pytest
import software
from stand_in import search

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

FORMATS = [
    f"{letters}{numbers}" for letters in ("r", "rg", "rgba") for numbers in ("8unorm", "16float", "32sint")
]
# SwiftShader keeps optimal images in rows of two texels and more, as the stand-in does for these.
KINDS = {
    "2D": {"extent": (128, 64, 1)},
    "2D array": {"extent": (64, 32, 1), "array_layers": 5},
    "2D mips": {"extent": (128, 64, 1), "mip_levels": 6},
}


def test_every_kind_is_right_both_ways(stand_in: Path) -> None:
    environment = software.environment(LD_LIBRARY_PATH=search(stand_in))
    found = fresh.call(
        image_cases.share_over_stand_in, environment, consumer="cuda", kinds=KINDS, formats=FORMATS
    )
    for name, result in found["results"].items():
        if name.endswith(("optimal", "2D linear")):
            assert result == "pass", name
        else:
            assert result.startswith("refused: producer: InvalidArgument: a linear image must be 2D"), result
    assert (found["descriptors"], found["live"]) == (0, 0)
    assert found["offer"] == "yes, optimal and linear"


@pytest.mark.parametrize("code", [1, 2, 801, 999])
def test_what_is_not_mapped_is_given_back(stand_in: Path, code: int) -> None:
    switches = {"LD_LIBRARY_PATH": search(stand_in), "FAKE_CUDA_MAP_ARRAY": str(code)}
    found = fresh.call(
        image_cases.share_over_stand_in,
        software.environment("swiftshader", **switches),
        consumer="cuda",
        kinds={"2D": KINDS["2D"]},
        formats=FORMATS[:1],
    )
    assert found["results"][f"{FORMATS[0]} 2D linear"] == "pass"
    refusal = found["results"][f"{FORMATS[0]} 2D optimal"]
    assert refusal.startswith(f"refused: {'DriverError' if code == 2 else 'Unsupported'}: ")
    assert f"returned {code}" in refusal
    assert (found["descriptors"], found["live"]) == (0, 0)
