"""A driver that refuses what it offers: the next best is taken, works, and the reason is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import fresh
import host_memory
import pytest
import software

if TYPE_CHECKING:
    from interop_softgpu.activate import VulkanChoice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

CASES: list[tuple[VulkanChoice, str, str, str, list[str]]] = [
    ("lavapipe", "hip", "hipImportExternalMemory", "zero-copy host_allocation", ["bridged", "bridged"]),
    (
        "lavapipe",
        "opencl",
        "clCreateBufferWithProperties",
        "zero-copy host_allocation",
        ["bridged", "bridged"],
    ),
    ("swiftshader", "hip", "hipImportExternalMemory", "staged None", ["blocking", "blocking"]),
    ("swiftshader", "opencl", "clCreateBufferWithProperties", "staged None", ["blocking", "blocking"]),
    ("swiftshader", "hip", "hipImportExternalSemaphore", "zero-copy opaque_fd", ["bridged", "bridged"]),
    (
        "swiftshader",
        "opencl",
        "clCreateSemaphoreWithPropertiesKHR",
        "zero-copy opaque_fd",
        ["bridged", "bridged"],
    ),
]


@pytest.mark.parametrize(("vulkan", "consumer", "function", "path", "plan"), CASES)
def test_the_next_best_is_taken(
    vulkan: VulkanChoice, consumer: str, function: str, path: str, plan: list[str]
) -> None:
    found = fresh.call(
        host_memory.many,
        software.environment(vulkan, SOFTGPU_FAIL=f"{function}:1+"),
        consumer=consumer,
        sync="auto",
        frames_wanted=60,
        handle_type=None,
    )
    assert (found["path"], found["plan"]) == (path, plan), found["explanation"]
    reasons = [line for line in found["explanation"].splitlines() if function in line]
    assert reasons
    assert all("tried, and failed" in reason for reason in reasons)
    assert (found["wrong"], found["left"]) == (0, [])


@pytest.mark.parametrize(
    ("consumer", "function"),
    [("hip", "hipImportExternalMemory"), ("opencl", "clCreateBufferWithProperties")],
)
def test_what_was_forced_fails(consumer: str, function: str) -> None:
    done = fresh.attempt(
        host_memory.many,
        software.environment("lavapipe", SOFTGPU_FAIL=f"{function}:1+"),
        consumer=consumer,
        sync="auto",
        frames_wanted=20,
        handle_type="opaque_fd",
    )
    assert done.status != 0
    assert f"{function} returned" in done.output
