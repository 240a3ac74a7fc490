"""``interop compare`` cannot call a wrong result right."""

from __future__ import annotations

import sys

import fresh
import pytest
import slightly_wrong
import software

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")


@pytest.mark.parametrize("consumer", ["opencl", "hip", "numpy"])
def test_a_kernel_that_is_slightly_wrong(consumer: str) -> None:
    wrong = "cos(10.0f * v + t) * 1.0001f"
    found = fresh.call(slightly_wrong.compare, software.environment(), consumer=consumer, wrong=wrong)
    assert found["changed"]
    assert (found["correct"], found["verified"], found["reason"]) == (False, 0, "")
    assert 5e-5 < found["error"] < 2e-4


def test_a_frame_with_no_numbers_in_it() -> None:
    found = fresh.call(
        slightly_wrong.compare, software.environment(), consumer="hip", wrong="(0.0f / (t - t))"
    )
    assert (found["correct"], found["verified"], found["error"]) == (False, 0, float("inf"))
