"""A hundred parts of one allocation: one import, as the software drivers count them, and every byte right."""

from __future__ import annotations

import sys

import fresh
import parts
import pytest
import software

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

COUNT = 100
OWN = {"numpy": 1}
"""Where the kernel's mappings are counted, the producer's own is among them."""


@pytest.mark.parametrize("sync", ["auto", "blocking"])
@pytest.mark.parametrize("consumer", ["opencl", "hip", "numpy"])
def test_a_hundred_parts_are_one_import(consumer: str, sync: str) -> None:
    found = fresh.call(
        parts.many, software.environment(), consumer=consumer, count=COUNT, sync=sync, timeout=100
    )
    one = 1 + OWN.get(consumer, 0)
    assert found == {"imported": [one, one], "wrong": 0, "held": [one, 0], "left": []}


@pytest.mark.parametrize("consumer", ["opencl", "hip", "numpy"])
def test_a_hundred_descriptors_are_one_import(consumer: str) -> None:
    found = fresh.call(parts.by_descriptor, software.environment(), consumer=consumer, count=COUNT)
    assert found["imported"] == [1, 1]
    assert (found["wrong"], found["left"]) == (0, [])
    assert (found["held"], found["held last"]) == ([1] * COUNT, 0)
