"""What is closed is forgotten: nothing in the process grows with make, turn, close, and no step gets slower."""

from __future__ import annotations

import sys

import forgotten
import fresh
import pytest
import software

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

KINDS = [
    ("opencl", "buffers"),
    ("hip", "rings"),
    ("opencl", "images"),
    ("opencl", "meshes"),
    ("hip", "combinations"),
]


@pytest.mark.parametrize(("consumer", "kind"), KINDS)
def test_nothing_grows_with_what_is_closed(consumer: str, kind: str) -> None:
    environment = software.environment("swiftshader")
    grown = fresh.call(
        forgotten.measured, environment, consumer=consumer, kind=kind, cycles=10_000, timeout=110
    )
    assert grown["tables"] == grown["descriptors"] == 0
    assert grown["objects"] < 100  # of the measurement itself, and of what the driver's bindings keep
    assert grown["blocks"] < 600
    assert grown["resident"] < 2 << 20
    assert grown["step"] < 2  # the machine may be busy at one end; a table that grows makes it 10 and more
