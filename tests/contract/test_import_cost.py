"""An export, import and map adds little to the same calls by hand: counted, as times are those of a machine."""

from __future__ import annotations

import sys

import fresh
import import_cost
import pytest
import software

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")
CONSUMERS = ("opencl", "hip")
BYTECODES, CALLS = 900, 38
"""Of Python, added to what the program by hand takes, as counted on CPython 3.11; later ones have fewer."""


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_an_import_adds_little_to_the_calls_by_hand(consumer: str) -> None:
    spent = fresh.call(import_cost.of_both, software.environment("swiftshader"), consumer=consumer)
    bytecodes, calls = (
        ours - theirs for ours, theirs in zip(spent["interop"], spent["by hand"], strict=True)
    )
    assert bytecodes <= BYTECODES, spent
    assert calls <= CALLS, spent
