"""Frames through a link, every byte of each compared: run in fresh processes by the contract tests."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import interop
from interop.protocols import SemaphoreKind
from interop.testing import leaks

if TYPE_CHECKING:
    import numpy.typing as npt

    from interop import Buffer, Link
    from interop.protocols import Kernel

COUNT = 16 * 1024
"""Words in the buffer: 64 KiB."""
BATCH = 20
"""Frames that are enqueued before the first of them is looked at."""
SCRAMBLE = """
KERNEL void scramble(GLOBAL_MEM unsigned int *data, unsigned int frame, unsigned int count)
{
    unsigned int i = GLOBAL_ID(0);
    if (i < count) data[i] = data[i] * 1664525u + i + frame;
}
"""


def expected(frame: int) -> npt.NDArray[np.uint32]:
    """Return the words of a frame: what the producer filled in, as the kernel changes it."""
    words = np.full(COUNT, start(frame), np.uint32)
    words *= np.uint32(1664525)
    words += np.arange(COUNT, dtype=np.uint32)
    words += np.uint32(frame)
    return words


def start(frame: int) -> int:
    """Return the word that the producer fills a frame with."""
    return (frame * 2654435761 + 97) % 2**32


class Bench:
    """A link with one shared buffer, and host memory for a batch of results."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.buffer: Buffer = link.buffer((COUNT,), "uint32")
        self.results = [link.producer.create_buffer(4 * COUNT, host_visible=True) for _ in range(BATCH)]
        self.module = link.consumer.compile(SCRAMBLE)
        self.kernel: Kernel = self.module.kernel("scramble")

    def enqueue(self, frame: int) -> None:
        """The producer fills, the consumer computes, the producer copies to host memory."""
        with self.link.producer_turn(self.buffer) as commands:
            commands.fill(self.buffer, start(frame))
        with self.link.consumer_turn(self.buffer) as view:
            self.kernel(view, np.uint32(frame), np.uint32(COUNT), global_size=COUNT)
        with self.link.producer_turn(self.buffer) as commands:
            commands.copy(self.buffer, self.results[frame % BATCH])

    def wrong(self, frame: int) -> bool:
        """Whether a frame that has ended differs from what it should be in any byte."""
        with self.results[frame % BATCH].host_view() as view:
            return bytes(view[: 4 * COUNT]) != expected(frame).tobytes()

    def run(self, frames: range) -> int:
        """Run frames, a batch at a time; return how many came out wrong."""
        wrong = 0
        for first in range(frames.start, frames.stop, BATCH):
            batch = range(first, min(first + BATCH, frames.stop))
            for frame in batch:
                self.enqueue(frame)
            self.link.synchronize()
            wrong += sum(map(self.wrong, batch))
        return wrong

    def rest(self) -> None:
        """Let the consumer take what was handed over last: a sync file stays open until somebody waits for it."""
        with self.link.consumer_turn(self.buffer):
            pass
        self.link.synchronize()

    def close(self) -> None:
        """Free what the link does not own."""
        for result in self.results:
            result.close()
        self.module.close()


def _use(consumer: str, sync: Any) -> None:
    with interop.connect(consumer=consumer, sync=sync) as link:
        bench = Bench(link)
        bench.run(range(BATCH))
        bench.close()


def many(consumer: str, sync: Any, frames: int) -> dict[str, Any]:
    """Run frames; count wrong ones, and name what was left open in the course of them and in the end."""
    for _ in range(2):  # drivers start threads and open files on first use, and keep them
        _use(consumer, sync)
    before = leaks.snapshot()
    with interop.connect(consumer=consumer, sync=sync) as link:
        bench = Bench(link)
        wrong = bench.run(range(BATCH))
        bench.rest()
        early = leaks.snapshot()
        wrong += bench.run(range(BATCH, frames))
        bench.rest()
        growth = leaks.leaked_since(early)
        found = {
            "plan": [link.plan.to_consumer.strategy.value, link.plan.to_producer.strategy.value],
            "path": link.path.value,
            "explanation": link.explain(),
        }
        bench.close()
    del link, bench
    return {**found, "wrong": wrong, "grown": growth, "left": leaks.leaked_since(before)}


def behind_a_held_queue(consumer: str, sync: Any, seconds: float) -> dict[str, Any]:
    """Stop the producer's queue for a time, enqueue a frame behind it, and tell how long that took."""
    with interop.connect(consumer=consumer, sync=sync) as link:
        bench = Bench(link)
        bench.run(range(BATCH))
        producer = link.producer
        gate = producer.create_semaphore(SemaphoreKind.TIMELINE)
        stop = producer.prepare(wait=gate)
        begun = time.monotonic()
        stop.submit(1)
        opener = threading.Timer(seconds, gate.signal_host, [1])
        opener.start()
        bench.enqueue(0)
        enqueued = time.monotonic() - begun
        turn = link.producer_turn(bench.buffer)
        ran = producer.progress.counter() >= turn.progress
        opener.join()
        link.synchronize()
        total = time.monotonic() - begun
        wrong = bench.wrong(0)
        bench.close()
        stop.close()
        gate.close()
    return {"enqueued": enqueued, "total": total, "ran while held": ran, "wrong": wrong}


def in_a_full_queue(consumer: str, sync: Any, frames: int, seconds: float) -> dict[str, Any]:
    """Stop the producer's queue, enqueue frames until a stream takes no more, let it go on; count wrong frames."""
    with interop.connect(consumer=consumer, sync=sync) as link:
        bench = Bench(link)
        bench.run(range(BATCH))
        gate = link.producer.create_semaphore(SemaphoreKind.TIMELINE)
        stop = link.producer.prepare(wait=gate)
        stop.submit(1)
        going_on = threading.Timer(seconds, gate.signal_host, [1])
        going_on.start()
        start = time.monotonic()
        wrong = bench.run(range(BATCH, BATCH + frames))
        taken = time.monotonic() - start
        going_on.join()
        stop.close()
        gate.close()
        bench.close()
    return {"wrong": wrong, "seconds": taken}
