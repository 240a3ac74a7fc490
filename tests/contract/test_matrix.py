"""A thousand frames for each driver, consumer and strategy: none wrong, nothing left, nobody blocked."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import frames
import fresh
import pytest
import software

if TYPE_CHECKING:
    from interop_softgpu.activate import VulkanChoice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

FRAMES = 1000
HELD = 1.5
"""Seconds for which the producer's queue is stopped: long beside what a busy machine takes to enqueue a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to connect two software drivers, and the strategy that must come of it."""

    vulkan: VulkanChoice
    consumer: str
    expected: str
    back: str = ""
    """The strategy towards the producer, where it is another one."""
    sync: str = "auto"
    switches: dict[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        """The test's id."""
        limits = "".join(f"-{name.removeprefix('SOFTGPU_')}={value}" for name, value in self.switches.items())
        forced = "" if self.sync == "auto" else "-forced"
        return f"{self.vulkan}-{self.consumer}-{self.expected}{forced}{limits}"

    def environment(self) -> dict[str, str]:
        return software.environment(self.vulkan, **self.switches)


def cases() -> list[Case]:
    found: list[Case] = []
    for consumer, semaphores in (("opencl", "SOFTGPU_CL_SEMAPHORES"), ("hip", "SOFTGPU_HIP_SEMAPHORES")):
        found += [
            Case(vulkan="swiftshader", consumer=consumer, expected="native"),
            Case(vulkan="swiftshader", consumer=consumer, expected="bridged", switches={semaphores: "0"}),
            Case(vulkan="lavapipe", consumer=consumer, expected="bridged"),
            Case(vulkan="swiftshader", consumer=consumer, expected="blocking", sync="blocking"),
            Case(vulkan="lavapipe", consumer=consumer, expected="blocking", sync="blocking"),
        ]
    found.append(Case(vulkan="swiftshader", consumer="numpy", expected="bridged"))
    files = {"SOFTGPU_SEMAPHORE_HANDLES": "sync_fd"}
    found += [
        Case(vulkan="swiftshader", consumer="opencl", expected="native", switches=files),
        Case(
            vulkan="swiftshader",
            consumer="opencl",
            expected="native",
            back="bridged",
            switches={**files, "SOFTGPU_CL_QUERIES": "nvidia"},
        ),
        Case(vulkan="swiftshader", consumer="hip", expected="bridged", switches=files),
    ]
    return found


@pytest.mark.soak
@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_thousand_frames(case: Case) -> None:
    found = fresh.call(
        frames.many, case.environment(), consumer=case.consumer, sync=case.sync, frames=FRAMES, timeout=100
    )
    assert found["path"] == "zero-copy", found["explanation"]
    assert found["plan"] == [case.expected, case.back or case.expected], found["explanation"]
    assert ("sync_fd)" in found["explanation"]) == ("sync_fd" in str(case) and case.consumer == "opencl")
    assert (found["wrong"], found["grown"], found["left"]) == (0, [], [])


@pytest.mark.parametrize("case", cases(), ids=str)
def test_the_caller_is_blocked_by_the_blocking_strategy_alone(case: Case) -> None:
    found = fresh.call(
        frames.behind_a_held_queue, case.environment(), consumer=case.consumer, sync=case.sync, seconds=HELD
    )
    assert not found["wrong"]
    assert found["total"] >= HELD
    if case.expected == "blocking":
        assert found["enqueued"] >= HELD
    else:
        assert not found["ran while held"]
        assert found["enqueued"] < HELD / 2


@pytest.mark.parametrize("room", ["1", "2", "3", "8"])
def test_a_full_queue_keeps_no_release_from_being_made(room: str) -> None:
    """A device may keep its caller waiting for room, also behind a hold that the caller's link must end."""
    drivers = software.environment("swiftshader", SOFTGPU_HIP_QUEUE=room)
    run: dict[str, Any] = {"consumer": "hip", "sync": "bridged", "frames": 20, "seconds": 0.3}
    assert fresh.call(frames.in_a_full_queue, drivers, timeout=60, **run)["wrong"] == 0
