"""A pair of turns costs the caller about what the same calls cost by hand; a launch makes a bounded number of calls.

Held against the programs in ``benchmarks/by_hand`` as ratios: absolute times are those of a machine.
"""

from __future__ import annotations

import sys

import fresh
import pytest
import software
import turn_cost

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux"),
]
CONSUMERS = ("opencl", "hip")
LIMIT = 1.15
"""Over the same calls through the bindings' functions."""
ROUNDS = 3
CALLS_OF_A_LAUNCH = 60
"""In Python, of a launch: every argument is checked and bound each time. A prepared launch makes fewer."""


FIRST_EDITION = {"hip": {"pair": 1071.4, "batch": 566.1}, "opencl": {"pair": 1014.1, "batch": 577.1}}
"""Bytecode instructions of the first edition (commit 0e6fdad) on CPython 3.11, counted by the same function."""
SHARES = {"pair": 0.9, "batch": 1.0}
"""What the order engine may take of them."""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the figures are those of CPython 3.11")
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_turns_and_batches_take_no_more_bytecodes_than_in_the_first_edition(consumer: str) -> None:
    counts = fresh.call(turn_cost.bytecodes, software.environment("swiftshader"), consumer=consumer)
    for name, share in SHARES.items():
        assert counts[name] <= FIRST_EDITION[consumer][name] * share, counts


@pytest.mark.slow
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_pair_of_turns_takes_the_cpu_time_that_it_takes_by_hand(consumer: str) -> None:
    ratios = fresh.call(
        turn_cost.cpu_ratios, software.environment("swiftshader"), consumer=consumer, rounds=ROUNDS
    )
    assert min(ratios["functions"]) <= LIMIT, ratios  # a busy machine can only make it worse


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_pair_of_turns_makes_no_more_calls_in_python_than_by_hand(consumer: str) -> None:
    calls = fresh.call(turn_cost.python_calls, software.environment("swiftshader"), consumer=consumer)
    assert calls["interop"] <= calls["functions"] * LIMIT, calls


def test_a_pair_of_turns_calls_the_drivers_as_often_as_by_hand() -> None:
    found = fresh.call(turn_cost.crossings, software.environment("swiftshader"))
    ours, theirs = found["interop"], found["by hand"]
    asked = "vkGetSemaphoreCounterValue"  # how far the queue has come: not in each turn, by neither
    assert ours.pop(asked, 0) <= 4, found
    theirs.pop(asked, 0)
    theirs.pop("vkWaitSemaphores", 0)
    assert ours == theirs


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_launch_is_checked_each_time_and_is_not_taken_for_the_one_before(consumer: str) -> None:
    found = fresh.call(turn_cost.repeated_launches, software.environment("swiftshader"), consumer=consumer)
    assert found["first"] == [15, 15, 15, 15]
    assert found["second"] == [3, 2, 1, 1]
    assert found["closed"] == "ClosedError"
    assert found["calls"] <= CALLS_OF_A_LAUNCH, found
