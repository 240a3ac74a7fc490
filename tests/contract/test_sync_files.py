"""Semaphores by sync_fd, one descriptor for each hand-over: order, the rules of both APIs, and nothing left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import failing
import fresh
import pytest
import ring_frames
import software
import sync_files

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

HELD = 0.3
"""Seconds for which a queue is stopped."""


def environment(**switches: str) -> dict[str, str]:
    return software.environment("swiftshader", SOFTGPU_SEMAPHORE_HANDLES="sync_fd", **switches)


@pytest.mark.parametrize("broken", ["", "consumer", "producer"])
def test_each_side_waits_and_a_broken_wait_is_seen(broken: str) -> None:
    found = fresh.call(sync_files.waits, environment(), broken=broken, seconds=HELD)
    assert found["producer"] == (broken == "producer")
    if broken != "producer":  # one that does not wait may have a frame wrong or right while the other is held
        assert found["consumer"] == (broken == "consumer")


@pytest.mark.parametrize(
    "use",
    [
        sync_files.a_signal_that_has_run,
        sync_files.many_in_flight,
        sync_files.what_is_no_sync_file,
        sync_files.misuse,
    ],
)
def test_the_rules(use: Callable[[], None]) -> None:
    fresh.call(use, environment())


def test_a_late_signal_is_waited_for() -> None:
    found = fresh.call(sync_files.waits, environment(SOFTGPU_SIGNAL_DELAY_MS="20"), broken="", seconds=HELD)
    assert found == {"consumer": False, "producer": False}


@pytest.mark.parametrize(
    "switches", [{}, {"SOFTGPU_CL_QUERIES": "nvidia"}], ids=["both ways", "bridged back"]
)
def test_frames_in_batches(switches: dict[str, str]) -> None:
    found = fresh.call(
        ring_frames.many, environment(**switches), consumer="opencl", sync="auto", frames=300, timeout=100
    )
    assert found["plan"] == ["native", "bridged" if switches else "native"]
    assert (found["wrong sums"], found["wrong results"]) == (0, 0)
    assert (found["grown"], found["left"]) == ([], [])


def test_frames_recorded_once() -> None:
    found = fresh.call(
        ring_frames.recorded, environment(), consumer="opencl", sync="native", frames=300, timeout=100
    )
    assert (found["frames"], found["wrong"], found["grown"]) == (300, 0, [])


def test_a_driver_call_that_fails_leaves_nothing() -> None:
    found = fresh.call(
        failing.campaign, environment(), timeout=100, consumer="opencl", sync="native", every=10**9
    )
    assert found["defects"] == []
    assert found["typed"] > found["absorbed"]


@pytest.mark.parametrize(
    "function", ["vkGetSemaphoreFdKHR", "vkImportSemaphoreFdKHR", "clGetSemaphoreHandleForTypeKHR"]
)
def test_sync_files_that_a_driver_offers_and_refuses_are_passed_over(function: str) -> None:
    found = fresh.call(sync_files.fallen_through, environment(SOFTGPU_FAIL=f"{function}:1+"))
    assert found["plan"] == ["bridged", "bridged"]
    assert "sync_fd: tried, and failed" in found["explanation"]
    assert not found["wrong"]


def test_the_doctor_names_it() -> None:
    command = [sys.executable, "-m", "interop", "doctor", "--test"]
    done = fresh.run(command, environment(COLUMNS="300"), timeout=100)
    assert "native (binary, sync_fd)" in done.output, done.output
