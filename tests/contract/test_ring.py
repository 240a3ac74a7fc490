"""A thousand frames through a ring for each driver, consumer and strategy: none wrong, nothing left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import fresh
import pytest
import ring_frames
import software

if TYPE_CHECKING:
    from interop_softgpu.activate import VulkanChoice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

FRAMES = 1000
CASES: list[tuple[VulkanChoice, str, str]] = [
    ("swiftshader", "opencl", "native"),
    ("swiftshader", "hip", "native"),
    ("lavapipe", "opencl", "bridged"),
    ("lavapipe", "hip", "bridged"),
    ("swiftshader", "numpy", "bridged"),
    ("swiftshader", "opencl", "blocking"),
    ("lavapipe", "hip", "blocking"),
]


@pytest.mark.soak
@pytest.mark.parametrize(("vulkan", "consumer", "sync"), CASES)
def test_a_thousand_frames_in_batches(vulkan: VulkanChoice, consumer: str, sync: str) -> None:
    found = fresh.call(
        ring_frames.many,
        software.environment(vulkan),
        consumer=consumer,
        sync=sync,
        frames=FRAMES,
        timeout=100,
    )
    assert found["plan"] == [sync, sync]
    assert found["checked"] == ring_frames.SLOTS
    assert (found["wrong sums"], found["wrong results"]) == (0, 0)
    assert (found["grown"], found["left"]) == ([], [])


@pytest.mark.soak
@pytest.mark.parametrize(("vulkan", "consumer", "sync"), CASES)
def test_a_thousand_frames_recorded_once(vulkan: VulkanChoice, consumer: str, sync: str) -> None:
    found = fresh.call(
        ring_frames.recorded,
        software.environment(vulkan),
        consumer=consumer,
        sync=sync,
        frames=FRAMES,
        timeout=100,
    )
    assert (found["frames"], found["wrong"], found["grown"]) == (FRAMES, 0, [])
