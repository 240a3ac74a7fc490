"""Every kind of driver call failed once, interrupts at random points, forks, and ends with work in flight.

The whole of the first two, with every call and 500 interrupts, are commands: see CONTRIBUTING.md.
"""

from __future__ import annotations

import sys

import endings
import failing
import fresh
import interrupts
import pytest
import software

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

NEVER = 10**9
"""As ``every``: only the first call of each function."""


@pytest.mark.parametrize(("consumer", "sync"), [("opencl", "native"), ("hip", "bridged")])
def test_a_driver_call_that_fails_is_a_typed_error_and_leaves_nothing(consumer: str, sync: str) -> None:
    found = fresh.call(
        failing.campaign, software.environment(), timeout=100, consumer=consumer, sync=sync, every=NEVER
    )
    assert found["defects"] == []
    assert found["failed"] > 35
    assert found["typed"] > found["absorbed"]


def test_the_campaign_sees_a_leak_and_a_wrong_type() -> None:
    """With the framework broken on purpose: it gives nothing back once a device cannot be made current."""
    found = fresh.call(failing.broken, software.environment(), consumer="hip", sync="native")
    assert any("objects of hip" in defect for defect in found["defects"])
    assert any("KeyError" in defect for defect in found["defects"])


@pytest.mark.parametrize(("consumer", "sync"), [("opencl", "native"), ("hip", "bridged")])
def test_an_interrupt_at_any_point_leaves_nothing(consumer: str, sync: str) -> None:
    found = fresh.call(
        interrupts.campaign,
        software.environment(),
        timeout=100,
        consumer=consumer,
        sync=sync,
        runs=10,
        seed=1,
    )
    assert found["left"] == []
    assert found["outcomes"]["interrupted"] > 0


@pytest.mark.parametrize("polite", [False, True])
@pytest.mark.parametrize(
    ("consumer", "sync"), [("numpy", "bridged"), ("opencl", "native"), ("hip", "bridged")]
)
def test_a_forked_child_is_told_that_the_link_is_its_parents(consumer: str, sync: str, polite: bool) -> None:
    found = fresh.call(endings.forked, software.environment(), consumer=consumer, sync=sync, polite=polite)
    *uses, connecting = sorted(found.pop("said"))
    assert all(said.startswith("ClosedError: this link belongs to process") for said in uses), uses
    assert connecting.startswith("Unsupported: not supported: connecting in a forked child")
    assert found.pop("seconds") < 20
    assert found == {"status": 0, "wrong": 0, "left": []}


@pytest.mark.parametrize("consumer", ["numpy", "opencl", "hip"])
def test_a_child_forked_before_anything_is_connected_connects(consumer: str) -> None:
    found = fresh.call(endings.connected_after_the_fork, software.environment(), consumer=consumer)
    assert found == [0, 0]


@pytest.mark.parametrize("how", ["busy", "held", "exception"])
@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("consumer", ["opencl", "hip"])
def test_a_program_may_end_with_work_in_flight(consumer: str, sync: str, how: str) -> None:
    done = fresh.attempt(
        endings.left_running, software.environment(), timeout=30, consumer=consumer, sync=sync, how=how
    )
    assert done.status == (1 if how == "exception" else 0), done.output
    assert ("ZeroDivisionError" in done.output) == (how == "exception")
    assert "Fatal" not in done.output
