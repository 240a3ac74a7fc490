"""How fast a kernel goes through shared memory, held against memory of the consumer's own."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from interop.bench.measure import Row
from interop.errors import InteropError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop.kernels import Kernel
    from interop.link import Link

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
_LAUNCHES, _ROUNDS = 8, 5


def rows(link: Link, sync: str) -> Iterator[Row]:
    """Read and write every word of an import in a kernel, by size; sizes that do not fit are left out."""
    if link.plan.handle_type is None:
        return
    module = link.consumer.compile(SOURCE)
    kernel = module.kernel("sweep")
    for size in SOFTWARE_SIZES if link.plan.consumer.software else SIZES:
        try:
            native = link.consumer.allocate(size)
        except InteropError:
            continue
        try:
            shared = link.buffer(size // 4, "uint32")
        except InteropError:
            native.close()
            continue
        with link.producer_turn(shared) as commands:
            commands.fill(shared, 0)
        with link.consumer_turn(shared) as view:
            link.consumer.stream.synchronize(link.timeout)
            figures = {"shared": list[float](), "native": list[float]()}
            for _ in range(_ROUNDS + 1):  # in turns, so that both see the same machine
                figures["native"].append(_sweep(link, kernel, native, size))
                figures["shared"].append(_sweep(link, kernel, view, size))
        link.synchronize()
        native.close()
        shared.close()
        here, there = (statistics.median(figures[name][1:]) for name in ("shared", "native"))
        yield Row(
            consumer=link.plan.consumer.backend,
            sync=sync,
            measure="bandwidth",
            parameters={"bytes": size},
            value=here,
            unit="GB/s",
            reference=f"own memory, {there:,.1f}",
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
