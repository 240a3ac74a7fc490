"""Dma-bufs of another driver, stood in for by memory files, imported by hand: for fresh processes."""

from __future__ import annotations

import mmap
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from interop import Handle, HandleError, HandleType, InteropError, registry
from interop.protocols import DTYPES, MemoryDescriptor
from interop.testing import leaks

if TYPE_CHECKING:
    from interop.protocols import Consumer

SIZE = 16384
OFFSET, COUNT = 4096, 300
DMA_BUF = HandleType.DMA_BUF
ADD = """
KERNEL void add(GLOBAL_MEM uint *data, uint amount, uint count)
{
    size_t i = GLOBAL_ID(0);
    if (i < count) data[i] += amount + (uint)i;
}
"""


def made(size: int = SIZE) -> Handle:
    """Return a file of memory as a dma-buf."""
    fd = os.memfd_create("another driver's")
    os.truncate(fd, size)
    return Handle.adopt(fd, DMA_BUF)


def _open(consumer: str) -> Consumer:
    backend = registry.default().load_consumer(consumer)
    return backend.open_consumer(backend.devices()[0])


def by_hand(consumer: str) -> dict[str, Any]:
    """Send bytes both ways through a part of a dma-buf, by copies and by a kernel; twice, to see what stays."""
    with closing(_open(consumer)) as opened:
        offers = sorted(opened.device.capabilities.memory_import)
        _both_ways(opened)
    before = leaks.snapshot()
    with closing(_open(consumer)) as opened:
        found = _both_ways(opened)
    return {**found, "offers": offers, "left": leaks.leaked_since(before)}


def _both_ways(consumer: Consumer) -> dict[str, bool]:
    handle = made()
    found: dict[str, bool] = {}
    end = OFFSET + 4 * COUNT
    with mmap.mmap(handle.value, SIZE) as theirs:
        theirs[OFFSET:end] = np.arange(COUNT, dtype=np.uint32).tobytes()
        descriptor = MemoryDescriptor(
            allocation_size=SIZE, size=4 * COUNT, offset=OFFSET, handle_type=DMA_BUF
        )
        memory = consumer.import_memory(handle, descriptor)
        found["consumed"] = handle.closed
        stream = consumer.stream
        memory.acquire(stream)
        view = memory.map_buffer(shape=(COUNT,), dtype=DTYPES["uint32"])
        read = np.zeros(COUNT, np.uint32)
        view.read(read)
        found["theirs here"] = bool((read == np.arange(COUNT)).all())
        consumer.compile(ADD).kernel("add")(view, np.uint32(7), np.uint32(COUNT), global_size=COUNT)
        stream.synchronize(10)
        memory.release(stream)
        stream.synchronize(10)
        seen = np.frombuffer(theirs[OFFSET:end], np.uint32)
        found["ours there"] = bool((seen == 2 * np.arange(COUNT) + 7).all())
        found["the rest untouched"] = not any(theirs[:OFFSET]) and not any(theirs[end:])
        view.close()
        memory.close()
    return found


def refused(consumer: str) -> dict[str, Any]:
    """Import what cannot be: a file that is no memory, one that is too small, one under another name."""
    said: dict[str, Any] = {}
    with closing(_open(consumer)) as opened:
        whole = MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=DMA_BUF)
        for what, handle in (
            ("no memory", Handle.adopt(os.open("/dev/null", os.O_RDWR), DMA_BUF)),
            ("too small", made(SIZE // 2)),
            ("opaque", Handle.adopt(made().detach(), HandleType.OPAQUE_FD)),
        ):
            descriptor = whole
            if handle.type is not DMA_BUF:
                descriptor = MemoryDescriptor(
                    allocation_size=SIZE, size=SIZE, handle_type=HandleType.OPAQUE_FD
                )
            with handle:
                try:
                    opened.import_memory(handle, descriptor).close()
                except HandleError as error:
                    said[what] = f"HandleError: {error}"
                except InteropError as error:
                    said[what] = f"{type(error).__name__}: {error}"
                else:
                    said[what] = "imported"
                said[f"{what}, ours"] = not handle.closed
    return said
