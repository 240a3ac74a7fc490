"""What drivers do that can hurt: NVIDIA's on its own machines, elsewhere the software drivers told to imitate it.

The same questions go to both, so a machine with the hardware proves that the imitation is right, and one
without holds `interop` against it. docs/explanation/driver-behaviour.md tells users.
"""

from __future__ import annotations

import os
from typing import Any

import frames
import fresh
import image_cases
import opencl_probes as probes
import pytest
import software
from image_cases import KINDS
from interop_softgpu.machine import detect

from interop.protocols import Tiling

HARDWARE = detect(os.environ, own_rocm=None).nvidia
IMITATED = {
    "SOFTGPU_CL_QUERIES": "nvidia",
    "SOFTGPU_CL_ERRORS": "nvidia",
    "SOFTGPU_CL_FD": "nvidia",
    "SOFTGPU_CL_KINDS": "unchecked",
    "SOFTGPU_CL_REFUSAL": "leak",
    "SOFTGPU_CL_RELEASE_CONTEXT": "hang",
    "SOFTGPU_CL_USER_EVENTS": "block",
    "SOFTGPU_CL_LINE": "ignored",
    "SOFTGPU_CL_IMAGES": "tiled",
}


def environment() -> dict[str, str]:
    """NVIDIA's driver, or the software drivers that behave like it."""
    return {} if HARDWARE else software.environment("swiftshader", **IMITATED)


def ask(probe: Any, **arguments: Any) -> Any:
    return fresh.call(probe, environment(), timeout=90, **arguments)


def test_a_memory_descriptor_stays_open_until_the_release() -> None:
    found = ask(probes.descriptors_of_memory)
    assert found["codes"] == [0, 0, 0]
    assert found["open after import"]
    assert not found["open after release"]
    assert not found["semaphore open after import"]


def test_a_memory_descriptor_leaks_under_a_number_of_a_semaphore() -> None:
    assert ask(probes.descriptors_of_memory)["open after release, number used by a semaphore before"]


def test_refusals() -> None:
    found = ask(probes.refusals)
    assert found["number -64"] == -30
    assert found["semaphore, number -64"] == -30
    assert found["size 0"] == -61
    assert found["larger"] == 1
    assert found["still open"]
    assert found["host pointer"] == -37
    assert found["foreign file"] == {"code": 999, "object": True, "open": True}
    assert found["semaphore, foreign file"] == {"code": 999, "object": False, "open": True}
    assert found["no such file"] == 999
    assert found["smaller"] == 0


def test_what_comes_beside_a_refusal_keeps_its_context() -> None:
    found = ask(probes.kept_after_refusals, release=False)
    assert found["code"] == 999
    assert min(found["kept"]) >= 10
    assert ask(probes.kept_after_refusals, release=True) == {
        "code": 999,
        "kept": [0, 0, 0],
        "still open": True,
    }


def test_nothing_is_kept_of_a_refused_handle() -> None:
    assert fresh.call(probes.refused_by_interop, environment(), timeout=90) == {"refused": 3, "left": []}


def test_memory_passes_for_a_semaphore() -> None:
    assert ask(probes.kinds)["memory as semaphore"] == 0


def test_a_context_with_acquired_memory_is_never_released() -> None:
    assert ask(probes.release_of_a_context, give_back=False) == {"codes": [0], "returned": False}
    assert ask(probes.release_of_a_context, give_back=True) == {"codes": [0, 0], "returned": True}


def test_a_hand_over_behind_a_user_event_holds_its_caller_up() -> None:
    found = ask(probes.user_events)
    assert found["marker"] < 400
    assert min(found["acquire"], found["release"]) >= 490


def test_vulkan_can_be_asked_again_and_again() -> None:
    assert all(ask(probes.drivers_loaded_again)["found"])


def test_line_directives_are_ignored() -> None:
    found = ask(probes.lines)
    assert found["ignored"], found
    assert not found["honoured"], found


def test_optimal_images_are_read_right() -> None:
    assert ask(probes.images, linear=False, pitch=False) == {"code": 0, "right": True, "linear types": []}


# Without a pitch the imitation cannot tell an image in rows from another.
@pytest.mark.parametrize("pitch", [True, False] if HARDWARE else [True])
def test_linear_images_are_imported_and_read_wrong(*, pitch: bool) -> None:
    assert ask(probes.images, linear=True, pitch=pitch) == {"code": 0, "right": False, "linear types": []}


def test_no_wrong_texel_is_read() -> None:
    """Every kind of image is right in both directions, or refused with the reason before a texel is moved."""
    formats = ("r8uint", "rgba8unorm", "rgba16float", "rgba32float")
    cases = [(made, kind, tiling) for made in formats for kind in KINDS for tiling in Tiling]
    found = ask(image_cases.share, consumer="opencl", cases=cases)
    results = found["results"]
    assert not {name: result for name, result in results.items() if result.startswith("failed")}
    assert results["rgba8unorm 2D optimal"] == "pass"
    for made in formats:
        assert results[f"{made} 2D linear"].startswith("refused: Unsupported")
        assert "would see wrong texels" in results[f"{made} 2D linear"]
    assert found["descriptors"] == 0


def test_a_wait_may_come_before_its_signal() -> None:
    found = ask(probes.wait_before_signal)
    assert found["code"] == 0
    assert found["milliseconds"] < 2000  # the signal comes after that, so it would have waited for ever
    assert not found["early"]


@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
def test_frames_are_right_and_nothing_is_left(sync: str) -> None:
    found = fresh.call(frames.many, environment(), consumer="opencl", sync=sync, frames=100, timeout=110)
    assert found["wrong"] == 0
    assert found["left"] == []


def test_errors_in_a_source_have_the_users_lines() -> None:
    text = fresh.call(probes.compile_error, environment(), consumer="opencl")["text"]
    assert "kernel:3:" in text, text
