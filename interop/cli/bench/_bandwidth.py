"""How fast a kernel goes through shared memory, held against memory of the consumer's own."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from interop.cli.bench._measure import Row, size_text
from interop.protocols import InteropError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop.links import Link
    from interop.protocols import Kernel

SOURCE = """
KERNEL void sweep(GLOBAL_MEM unsigned int *words, unsigned int count)
{
    unsigned int i = GLOBAL_ID(0), step = GLOBAL_SIZE(0);
    for (; i < count; i += step) words[i] += 1u;
}
"""
SIZES = (1 << 26, 1 << 30)
"""64 MiB and 1 GiB."""
SOFTWARE_SIZES = (1 << 22,)
_WORK_ITEMS = 1 << 20
_LAUNCHES, _ROUNDS = 8, 15


def rows(link: Link, notes: list[str]) -> Iterator[Row]:
    """Read and write every word of an import in a kernel, by size, held against memory of the consumer's own."""
    consumer = link.plan.consumer.backend
    if link.plan.handle_type is None:
        notes.append(f"{consumer}, bandwidth: this pair shares no memory")
        return
    module = link.consumer.compile(SOURCE)
    kernel = module.kernel("sweep")
    for size in SOFTWARE_SIZES if link.plan.consumer.software else SIZES:
        with ExitStack() as stack:
            try:
                native = link.consumer.allocate(size)
                stack.callback(native.close)
                shared = link.buffer(size // 4, "uint32")
            except InteropError as error:
                notes.append(f"{consumer}, bandwidth of {size_text(size)}: {error}")
                continue
            stack.callback(shared.close)
            stack.callback(link.synchronize)
            with link.producer_turn(shared) as commands:
                commands.fill(shared, 0)
            with link.consumer_turn(shared) as view:
                link.consumer.stream.synchronize(link.timeout)
                # In turns, so that both see the same machine; the first round is a warm-up.
                speeds = [
                    [_sweep(link, kernel, each, size) for each in (native, view)] for _ in range(_ROUNDS + 1)
                ]
        own, ours = zip(*speeds[1:], strict=True)
        here, there = statistics.median(ours), statistics.median(own)
        yield Row(
            consumer=consumer,
            sync="auto",
            measure="bandwidth",
            parameters={"bytes": size},
            value=here,
            unit="GB/s",
            p99=float(np.percentile(ours, 1)),  # of a speed, the low end is the bad one
            reference=f"own memory, {there:,.1f} GB/s",
            ratio=here / there,
        )
    module.close()


def _sweep(link: Link, kernel: Kernel, memory: Any, size: int) -> float:
    """Return GB/s, each word counted as read and as written."""
    words = size // 4
    start = time.perf_counter()
    for _ in range(_LAUNCHES):
        kernel(memory, np.uint32(words), global_size=min(words, _WORK_ITEMS))
    link.consumer.stream.synchronize(link.timeout)
    return 2e-9 * size * _LAUNCHES / (time.perf_counter() - start)
