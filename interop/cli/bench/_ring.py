"""The time of a frame through a ring: what ``interop bench`` and ``benchmarks/ring.py`` measure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from interop.cli.bench._measure import Row
from interop.protocols import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop.links import Link, Slot
    from interop.protocols import Commands

WORDS = 16 * 1024
"""Words of a frame: 64 KiB."""
INCREMENT = """
KERNEL void increment(GLOBAL_MEM unsigned int *words, unsigned int count)
{
    unsigned int i = GLOBAL_ID(0);
    if (i < count) words[i] += 1;
}
"""
_FILL = 7


_SHAPES = ((1, 1), (8, 1), (8, 4), (64, 1), (64, 32))
"""Slots, and frames of a batch: one, and the most that leave two batches in flight."""


def _microseconds(joined: Callable[[], Link], slots: int, batch: int, frames: int) -> float:
    """Run ``frames`` frames of 64 KiB (a fill, a kernel that increments each word), and return the time of one.

    Raises :class:`InvalidArgument` when a slot holds other words than it must, and what ``joined`` raises.
    """
    with joined() as link:
        ring = link.ring((WORDS,), "uint32", slots=slots, batch=batch)
        module = link.consumer.compile(INCREMENT)
        kernel = module.kernel("increment")

        def produce(commands: Commands, slot: Slot) -> None:
            commands.fill(slot, _FILL + slot.index)

        def consume(slot: Slot) -> Callable[[], object]:
            return kernel.prepare(slot.view, np.uint32(WORDS), global_size=WORDS)

        recorded = ring.record(produce=produce, consume=consume)
        recorded.run(4 * slots)
        ring.synchronize()
        start = time.perf_counter()
        recorded.run(frames)
        ring.synchronize()
        seconds = time.perf_counter() - start
        for check in ring.batches(slots):  # handed over once more as they are, to be looked at
            with check.producer():
                pass
            with check.consumer():
                for _, slot in check:
                    found = np.empty(WORDS, np.uint32)
                    slot.view.read(found.view(np.uint8), timeout=link.timeout)
                    if (found != _FILL + slot.index + 1).any():
                        raise InvalidArgument(f"slot {slot.index} holds other words than it must")
        recorded.close()
        ring.close()
        module.close()
    return seconds * 1e6 / frames


def rows(joined: Callable[[], Link], consumer: str, sync: str, frames: int) -> Iterator[Row]:
    """Time frames through rings of several sizes, held against the ring of one slot."""
    single: float | None = None
    for slots, batch in _SHAPES:
        count = max(batch, frames // batch * batch)
        spent = _microseconds(joined, slots, batch, count)
        yield Row(
            consumer=consumer,
            sync=sync,
            measure="ring",
            parameters={"slots": slots, "batch": batch},
            value=spent,
            unit="µs",
            reference="" if single is None else "one slot",
            ratio=None if single is None else spent / single,
        )
        single = spent if single is None else single
