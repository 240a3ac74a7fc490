"""Tensors of CUDA's memory outlive everything else in every order, over the stand-in for the driver."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import fresh
import pytest
import software
from stand_in import search

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = software.ROOT / "tests/device/tensors.py"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")
def test_a_tensor_outlives_everything_in_every_order(stand_in: Path) -> None:
    # The stand-in is no device of Vulkan's and shares no semaphores with it; it maps the same memory all the same.
    arguments = ["--consumer=cuda", "--library=raw", "--vouch", "--sync=bridged", "--mib=0.0625"]
    environment = {**software.environment(), "LD_LIBRARY_PATH": search(stand_in)}
    done = fresh.run([sys.executable, PROGRAM, *arguments], environment, timeout=280)
    assert done.status == 0, done.output
    found = json.loads(done.output[done.output.index("{") :])
    assert (found["device"], found["orders"], found["wrong"]) == ("stand-in 0", 240, [])
