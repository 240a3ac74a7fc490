"""What ``interop compare`` and ``interop bench`` both time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from interop.protocols import WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.links import Link

WARM_UP = 16
"""Repetitions before the clock counts."""
_ROUNDS = 32
wall = time.perf_counter_ns
"""Nanoseconds of the wall clock."""


def reach(link: Link, progress: int) -> None:
    """Wait until the producer of a link has done a submission."""
    if not link.producer.progress.wait_host(progress, link.timeout):
        who = f"{link.plan.producer.backend} to finish a frame that {link.plan.consumer.backend} handed over"
        raise WaitTimeout(who, link.timeout)


def importer(link: Link, size: int) -> tuple[Callable[[], Any], Callable[[Any], None], Callable[[], None]]:
    """Do with the framework what a program's ``importer`` does by hand."""
    buffer = link.producer.create_buffer(size, export=link.plan.handle_type)

    def take() -> Any:
        handle, descriptor = buffer.export_memory()
        with handle:
            memory = link.consumer.import_memory(handle, descriptor)
        return memory, memory.map_buffer()

    def drop(taken: Any) -> None:
        memory, view = taken
        view.close()
        memory.close()

    return take, drop, buffer.close


def times(take: Callable[[], Any], drop: Callable[[Any], None], close: Callable[[], None]) -> list[float]:
    """Return µs of each time after the warm-up. One size and one side at a time: two of 1 GiB may not fit."""
    found: list[float] = []
    try:
        for number in range(-WARM_UP, _ROUNDS):
            start = wall()
            taken = take()
            spent = wall() - start
            drop(taken)
            if number >= 0:
                found.append(spent / 1e3)
    finally:
        close()
    return found
