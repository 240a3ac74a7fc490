"""Host memory that both sides use in place: run in fresh processes by the contract tests."""

from __future__ import annotations

import gc
import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frames
import numpy as np

import interop
from interop import HandleType
from interop.protocols import DTYPES
from interop.testing import leaks
from interop.toolkit import HostPages

if TYPE_CHECKING:
    from interop.protocols import ProducerBuffer

HOST = HandleType.HOST_ALLOCATION.value


def many(consumer: str, sync: Any, frames_wanted: int, handle_type: str | None = HOST) -> dict[str, Any]:
    """Run frames in place; count wrong ones, and name what was left open."""
    for _ in range(2):
        _run(consumer, sync, frames.BATCH, handle_type)
    before = leaks.snapshot()
    found = _run(consumer, sync, frames_wanted, handle_type)
    return {**found, "left": leaks.leaked_since(before)}


def _run(consumer: str, sync: Any, count: int, handle_type: str | None) -> dict[str, Any]:
    with interop.connect(consumer=consumer, sync=sync, handle_type=handle_type) as link:
        bench = frames.Bench(link)
        wrong = bench.run(range(count))
        bench.close()
        return {
            "wrong": wrong,
            "path": f"{link.path.value} {link.plan.handle_type}",
            "plan": [link.plan.to_consumer.strategy.value, link.plan.to_producer.strategy.value],
            "explanation": link.explain(),
        }


def pages_of_the_callers(consumer: str) -> dict[str, Any]:
    """Have an array of the caller's written by the producer and then by the consumer, and look at it itself."""
    size = 4 * mmap.PAGESIZE
    mapping = mmap.mmap(-1, size)
    array = np.frombuffer(mapping, np.uint32)
    found: dict[str, Any] = {}
    with interop.connect(consumer=consumer, handle_type=HOST) as link:
        producer: Any = link.producer
        buffer: ProducerBuffer = producer.import_pages(HostPages.adopt(array))
        handle, descriptor = buffer.export_memory()
        with handle:
            memory = link.consumer.import_memory(handle, descriptor)
        give = producer.prepare(release=[buffer])
        give.begin().fill(buffer, 0x01020304)
        give.submit()
        producer.wait_idle(10)
        found["array sees the producer"] = bool((array == 0x01020304).all())
        stream = link.consumer.stream
        view = memory.map_buffer(shape=(size // 4,), dtype=DTYPES["uint32"])
        memory.acquire(stream)
        words = np.empty(size // 4, np.uint32)
        view.read(words)
        found["consumer sees the producer"] = bool((words == 0x01020304).all())
        view.write(np.arange(size // 4, dtype=np.uint32))
        memory.release(stream)
        stream.synchronize(10)
        found["array sees the consumer"] = bool((array == np.arange(size // 4)).all())
        staging = producer.create_buffer(size, host_visible=True)
        take = producer.prepare(acquire=[buffer])
        take.begin().copy(buffer, staging)
        take.submit()
        producer.wait_idle(10)
        with staging.host_view() as seen:
            found["producer sees the consumer"] = bytes(seen[:size]) == array.tobytes()
        for each in (view, memory, take, give, buffer, staging):
            each.close()
    del buffer, memory, view, take, give, staging, link, producer
    gc.collect()
    del array
    mapping.close()  # refused while anything still refers to the bytes
    return found


def pages_go_with_the_last_user(consumer: str) -> dict[str, Any]:
    """Close the producer's buffer before the consumer's import, use the import, and look for the pages."""
    with interop.connect(consumer=consumer, handle_type=HOST) as link:
        buffer = link.producer.create_buffer(65536, export=HandleType.HOST_ALLOCATION)
        handle, descriptor = buffer.export_memory()
        address = handle.value
        buffer.close()
        del buffer
        link.producer.wait_idle(10)
        gc.collect()
        found = {"kept by the handle": _mapped(address)}
        memory = link.consumer.import_memory(handle, descriptor)
        del handle
        gc.collect()
        found["kept by the import"] = _mapped(address)
        memory.acquire(link.consumer.stream)
        view = memory.map_buffer(size=65536)
        view.write(bytes(range(256)) * 256)
        content = bytearray(65536)
        view.read(content)
        found["good"] = bytes(content) == bytes(range(256)) * 256
        memory.release(link.consumer.stream)
        memory.close()
        del memory, view
        gc.collect()
        found["gone after the last"] = not _mapped(address)
    return found


def _mapped(address: int) -> bool:
    """Ask the kernel for a mapping of shared anonymous memory that begins there."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return re.search(rf"^0*{address:x}-\S+ rw-s .*zero", maps, re.MULTILINE) is not None
