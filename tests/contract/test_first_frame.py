"""What is loaded between ``connect`` and the first frame: only what that frame needs."""

from __future__ import annotations

import sys

import fresh
import imports
import pytest
import software

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")
MOST = 107
"""Modules of ours from the import of the package on, declarations of plugins left out."""
FOR_OTHERS = {
    "kernels",
    "image",
    "images",
    "host",
    "render",
    "adopted",
    "doctor",
    "ipc",
    "checking",
    "tuning",
}
STRATEGIES = {"bridged", "blocking", "one_shot", "holds"}


@pytest.mark.parametrize("consumer", ["opencl", "hip"])
def test_a_first_frame_loads_what_it_needs_and_no_more(consumer: str) -> None:
    found = fresh.call(imports.until_first_frame, software.environment("swiftshader"), consumer=consumer)
    assert found["words"] == [7] * 16
    assert "native" in found["sync"]
    parts = [name.split(".") for name in found["loaded"]]
    ours = [
        each for each in parts if each[0].startswith("interop") and each[-1] != "plugin" and len(each) > 1
    ]
    assert not [each for each in ours if FOR_OTHERS & set(each) and "protocols" not in each]
    assert not [each for each in ours if each[:2] == ["interop", "sync"] and STRATEGIES & set(each)]
    assert len(ours) <= MOST, sorted(map(".".join, ours))


def test_a_first_frame_parses_no_metadata() -> None:
    hip, opencl = (
        fresh.call(imports.until_first_frame, software.environment("swiftshader"), consumer=consumer)[
            "loaded"
        ]
        for consumer in ("hip", "opencl")
    )
    assert "importlib.metadata" in opencl  # by pyopencl, so it was not there before
    assert "importlib.metadata" not in hip


def test_a_first_frame_loads_no_compiler_and_no_wrappers_of_vulkan() -> None:
    found = fresh.call(imports.until_first_frame, software.environment("swiftshader"), consumer="hip")
    assert "rocm.bindings.hip" in found["loaded"]
    assert "rocm.bindings.hiprtc" not in found["loaded"]
    assert "vulkan._vulkancache" in found["loaded"]
    assert "vulkan._vulkan" not in found["loaded"]
