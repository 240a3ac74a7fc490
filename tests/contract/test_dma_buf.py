"""Dma-bufs taken in by hand, every byte both ways, on software drivers told to take them.

Nothing here makes a dma-buf that is one: that takes a device node (/dev/udmabuf, /dev/dri) which test machines lack. So
files of memory stand for them, from the kernel's side on; what reaches the driver is what would.
"""

from __future__ import annotations

import sys

import dma_bufs
import fresh
import pytest
import software

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")


@pytest.mark.parametrize("switch", ["1", "only"])
@pytest.mark.parametrize("consumer", ["opencl", "hip"])
def test_bytes_both_ways(consumer: str, switch: str) -> None:
    changes = {"SOFTGPU_DMA_BUF": switch}
    if consumer == "hip":
        changes["SOFTGPU_HIP_MODE"] = "amd"  # whose runtime takes them
    found = fresh.call(dma_bufs.by_hand, software.environment("swiftshader", **changes), consumer=consumer)
    opaque = [] if (consumer, switch) == ("opencl", "only") else ["opaque_fd"]
    assert found.pop("offers") == ["dma_buf", "host_allocation", *opaque]
    assert found.pop("left") == []
    assert found == dict.fromkeys(("consumed", "theirs here", "ours there", "the rest untouched"), True)


@pytest.mark.parametrize("consumer", ["opencl", "hip"])
def test_what_is_no_memory_is_refused_and_stays_ours(consumer: str) -> None:
    changes = {"SOFTGPU_DMA_BUF": "only", "SOFTGPU_HIP_MODE": "amd"}
    said = fresh.call(dma_bufs.refused, software.environment("swiftshader", **changes), consumer=consumer)
    assert "HandleError" in said["too small"]
    assert "holds 8192 bytes" in said["too small"]
    words = "CL_INVALID_PROPERTY" if consumer == "opencl" else "hipErrorOutOfMemory"
    assert words in said["no memory"]
    assert said["no memory, ours"]
    assert said["too small, ours"]
    if consumer == "opencl":
        assert "opaque_fd memory cannot be imported here" in said["opaque"]
        assert said["opaque, ours"]


@pytest.mark.parametrize("consumer", ["opencl", "hip"])
def test_drivers_that_take_none_say_so(consumer: str) -> None:
    said = fresh.call(dma_bufs.refused, software.environment("swiftshader"), consumer=consumer)
    assert "dma_buf memory cannot be imported here" in said["no memory"]
