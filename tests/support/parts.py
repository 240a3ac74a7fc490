"""Many parts of one allocation, and how often a driver was asked to import it: run in fresh processes."""

from __future__ import annotations

import os
import re
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from interop_softgpu.native import Controls

import interop
from interop.protocols import DTYPES
from interop.testing import leaks

if TYPE_CHECKING:
    from interop import Buffer, Link
    from interop.protocols import ExternalMemory

WORDS = 300
"""Of each part: 1200 bytes, no multiple of any alignment."""
_MEMFD = re.compile(r"/memfd:(SwiftShader\.Memory|llvmpipe memory fd)")
ADD = """
KERNEL void add(GLOBAL_MEM unsigned int *data, unsigned int number, unsigned int count)
{
    unsigned int i = GLOBAL_ID(0);
    if (i < count) data[i] += number + i;
}
"""


class Count:
    """Imports that a consumer's driver has made and holds, by the driver's own count."""

    def __init__(self, consumer: str) -> None:
        libraries = {
            "opencl": Path(os.environ["OPENCL_LAYERS"]),
            "hip": Path(os.environ.get("ROCM_PATH", "")) / "lib/libamdhip64.so",
        }
        self._controls = Controls(libraries[consumer]) if consumer in libraries else None
        self._first = self._now()

    def _now(self) -> tuple[int, int]:
        if self._controls is not None:
            return self._controls.total("memory"), self._controls.live("memory")
        # NumPy's driver is mmap: the kernel tells what is mapped now.
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        mapped = sum(_MEMFD.search(line) is not None for line in maps)
        return mapped, mapped

    def __call__(self) -> list[int]:
        """Return how many imports were made, and how many are held, since this was made."""
        return [now - before for now, before in zip(self._now(), self._first, strict=True)]


def _warm(consumer: str) -> leaks.Resources:
    """Have the drivers start the threads that they keep, and return what there is then."""
    with interop.connect("vulkan", consumer) as link:
        _both_ways(link, link.buffers(((WORDS,), "uint32")))
    return leaks.snapshot()


def many(consumer: str, count: int, sync: Any = "auto") -> dict[str, Any]:
    """Send different bytes both ways through every part of one allocation; say what the driver counted."""
    before = _warm(consumer)
    with interop.connect("vulkan", consumer, sync=sync) as link:
        counted = Count(consumer)
        parts = link.buffers(*[((WORDS,), "uint32")] * count)
        imported = counted()
        wrong = _both_ways(link, parts)
        for part in parts[: count // 2]:
            part.close()
        rest = parts[count // 2 :]
        held = counted()[1]
        wrong += _both_ways(link, rest)
        for part in rest:
            part.close()
        result = {"imported": imported, "wrong": wrong, "held": [held, counted()[1]]}
    return {**result, "left": leaks.leaked_since(before)}


def _both_ways(link: Link, parts: tuple[Buffer, ...]) -> int:
    """Return how many parts came out wrong: each has words of its own, and neighbours touch none of them."""
    kernel = link.consumer.compile(ADD).kernel("add")
    results = [link.producer.create_buffer(4 * WORDS, host_visible=True) for _ in parts]
    for number, part in enumerate(parts):
        with link.producer_turn(part) as commands:
            commands.fill(part, 1000 * number)
    for number, part in enumerate(parts):  # each by turns of its own, while the others are with either side
        with link.consumer_turn(part) as view:
            kernel(view, np.uint32(number), np.uint32(WORDS), global_size=WORDS)
        if number % 3 == 0:
            with link.producer_turn(part) as commands:
                commands.copy(part, results[number])
    for number, part in enumerate(parts):
        if number % 3:
            with link.producer_turn(part) as commands:
                commands.copy(part, results[number])
    link.synchronize()
    wrong = 0
    for number, result in enumerate(results):
        with result.host_view() as seen:
            words = np.arange(WORDS, dtype=np.uint32) + np.uint32(1001 * number)
            wrong += bytes(seen[: 4 * WORDS]) != words.tobytes()
        result.close()
    return wrong


def by_descriptor(consumer: str, count: int) -> dict[str, Any]:
    """Import parts of one allocation by descriptors, from several threads, and close them in another order."""
    before = _warm(consumer)
    with ExitStack() as stack:
        link = stack.enter_context(interop.connect("vulkan", consumer))
        words = 256
        size = 4 * words
        whole = link.producer.create_buffer(count * size, export=link.plan.handle_type)
        stack.callback(whole.close)
        staging = link.producer.create_buffer(count * size, host_visible=True)
        stack.callback(staging.close)
        content = np.arange(count * words, dtype=np.uint32)
        with staging.host_view() as view:
            view[: content.nbytes] = content.tobytes()
        submission = link.producer.prepare(release=[whole])
        stack.callback(submission.close)
        submission.begin().copy(staging, whole)
        submission.submit()
        link.producer.wait_idle(10)
        counted = Count(consumer)
        memories: dict[int, ExternalMemory] = {}

        def take(first: int) -> None:
            for index in range(first, count, 4):
                handle, descriptor = whole.export_memory()
                with handle:
                    part = replace(descriptor, offset=index * size, size=size)
                    memories[index] = link.consumer.import_memory(handle, part)

        threads = [threading.Thread(target=take, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        imported = counted()
        stream = link.consumer.stream
        for memory in memories.values():
            memory.acquire(stream)
        wrong = 0
        for index, memory in memories.items():
            target = bytearray(size)
            memory.map_buffer(shape=(words,), dtype=DTYPES["uint32"]).read(target)
            wrong += bytes(target) != content[index * words : (index + 1) * words].tobytes()
        for memory in memories.values():
            memory.release(stream)
        stream.synchronize(10)
        held = []
        for index in sorted(memories, key=lambda index: (index * 7) % count):
            held.append(counted()[1])
            memories.pop(index).close()
        result = {"imported": imported, "wrong": wrong, "held": held, "held last": counted()[1]}
    return {**result, "left": leaks.leaked_since(before)}
