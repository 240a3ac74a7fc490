"""Frames through a ring, every byte of each checked both ways: run in fresh processes by the contract tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import frames as single
import numpy as np

import interop
from interop.testing import leaks

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop import FrameRing, Link
    from interop.links import Slot
    from interop.protocols import Commands

COUNT = single.COUNT - 37  # slots that do not end where the next one may begin
SLOTS, BATCH = 12, 4
LANES = 64
"""Checksums that a frame is condensed into."""
DIGEST = """
KERNEL void digest(
    CONSTANT_MEM unsigned int *data, GLOBAL_MEM unsigned int *sums, unsigned int row, unsigned int count)
{
    unsigned int lane = GLOBAL_ID(0);
    if (lane >= 64) return;
    unsigned int sum = 0;
    for (unsigned int i = lane; i < count; i += 64) sum += data[i] * (2 * i + 1);
    sums[row * 64 + lane] = sum;
}
"""


def digest(words: Any) -> Any:
    """Condense a frame as the kernel does."""
    weighted = words * (2 * np.arange(COUNT, dtype=np.uint32) + np.uint32(1))
    padded = np.zeros(-(-COUNT // LANES) * LANES, np.uint32)
    padded[:COUNT] = weighted
    return padded.reshape(-1, LANES).sum(axis=0, dtype=np.uint32)


class Bench:
    """A ring whose producer fills frames and reads the consumer's results of the frames before.

    The consumer condenses what it finds into checksums and then scrambles the frame in place.
    """

    def __init__(self, link: Link, frames: int) -> None:
        self.link = link
        self.ring: FrameRing = link.ring((COUNT,), "uint32", slots=SLOTS, batch=BATCH)
        self.modules = [link.consumer.compile(source) for source in (DIGEST, single.SCRAMBLE)]
        self.digest = self.modules[0].kernel("digest")
        self.scramble = self.modules[1].kernel("scramble")
        self.sums = link.consumer.allocate(4 * LANES * frames)
        self.results = [link.producer.create_buffer(4 * COUNT, host_visible=True) for _ in range(SLOTS)]
        self.held: dict[int, int] = {}
        """Frame whose scrambled words are in each slot, by the slot's index."""
        self.wrong = 0

    def run(self, first: int, count: int) -> None:
        """Run frames, checking the results of the batch that was in the slots before."""
        for batch in self.ring.batches(count):
            with batch.producer() as commands:
                for frame, slot in batch:
                    commands.copy(slot, self.results[slot.index])
                    commands.fill(slot, single.start(first + frame))
            with batch.consumer():
                for frame, slot in batch:
                    number = first + frame
                    view = slot.view
                    self.digest(view, self.sums, np.uint32(number), np.uint32(COUNT), global_size=LANES)
                    self.scramble(view, np.uint32(number), np.uint32(COUNT), global_size=COUNT)
            done = [slot.index for slot in batch.slots if slot.index in self.held]
            if done:
                # The copies are submitted; a look at them must wait for that submission alone.
                self.link.producer.wait_idle(self.link.timeout)
                self.wrong += sum(self.differs(index, self.held[index]) for index in done)
            self.held |= {slot.index: first + frame for frame, slot in batch}

    def differs(self, index: int, frame: int) -> bool:
        """Whether the producer got other bytes back than the consumer's kernel makes of a frame."""
        with self.results[index].host_view() as view:
            return bytes(view[: 4 * COUNT]) != single.expected(frame)[:COUNT].tobytes()

    def wrong_sums(self, frames: int) -> int:
        """Count the frames that the consumer saw otherwise than the producer filled them."""
        self.ring.synchronize()
        sums = np.zeros((frames, LANES), np.uint32)
        self.sums.read(sums.reshape(-1).view(np.uint8), timeout=self.link.timeout)
        full = np.full(COUNT, 1, np.uint32)
        ones = digest(full)
        starts = np.array([single.start(frame) for frame in range(frames)], np.uint32)
        return int((sums != starts[:, None] * ones[None, :]).any(axis=1).sum())

    def close(self) -> None:
        """Free what the link does not own."""
        self.ring.close()
        for result in self.results:
            result.close()
        self.sums.close()
        for module in self.modules:
            module.close()


def _use(consumer: str, sync: Any) -> None:
    with interop.connect(consumer=consumer, sync=sync) as link:
        bench = Bench(link, 2 * SLOTS)
        bench.run(0, 2 * SLOTS)
        bench.close()


def many(consumer: str, sync: Any, frames: int) -> dict[str, Any]:
    """Run frames in loops of odd lengths; count wrong ones, and name what was left open."""
    for _ in range(2):  # drivers start threads and open files on first use, and keep them
        _use(consumer, sync)
    before = leaks.snapshot()
    with interop.connect(consumer=consumer, sync=sync) as link:
        bench = Bench(link, frames)
        warm = 2 * SLOTS  # drivers start threads as the load asks for them
        bench.run(0, warm)
        early = leaks.snapshot()
        bench.run(warm, 18)
        bench.run(warm + 18, frames - warm - 18)
        wrong = bench.wrong_sums(frames)
        growth = leaks.leaked_since(early)
        found = {
            "plan": [link.plan.to_consumer.strategy.value, link.plan.to_producer.strategy.value],
            "wrong sums": wrong,
            "wrong results": bench.wrong,
            "checked": len(bench.held),
        }
        bench.close()
    del link, bench
    return {**found, "grown": growth, "left": leaks.leaked_since(before)}


def recorded(consumer: str, sync: Any, frames: int) -> dict[str, Any]:
    """Run frames recorded once: each slot counts how often it came by and checks what it finds."""
    source = """
KERNEL void check(
    GLOBAL_MEM unsigned int *data, GLOBAL_MEM unsigned int *tally, unsigned int slot, unsigned int word,
    unsigned int count)
{
    unsigned int i = GLOBAL_ID(0);
    if (i >= count) return;
    if (i == 0) tally[2 * slot] += 1;
    if (data[i] != word) tally[2 * slot + 1] += 1;
    data[i] += 1;
}
"""
    for _ in range(2):
        _use(consumer, sync)
    with interop.connect(consumer=consumer, sync=sync) as link:
        ring = link.ring((COUNT,), "uint32", slots=SLOTS, batch=BATCH)
        module = link.consumer.compile(source)
        check = module.kernel("check")
        tally = link.consumer.allocate(8 * SLOTS)
        tally.write(bytes(8 * SLOTS))

        def produce(commands: Commands, slot: Slot) -> None:
            commands.fill(slot, single.start(slot.index))

        def consume(slot: Slot) -> Callable[[], object]:
            word = np.uint32(single.start(slot.index))
            arguments = (slot.view, tally, np.uint32(slot.index), word, np.uint32(COUNT))
            return check.prepare(*arguments, global_size=COUNT)

        made = ring.record(produce=produce, consume=consume)
        warm = frames // 5  # as above
        made.run(warm)
        early = leaks.snapshot()
        made.run(SLOTS + 2)  # ends in the middle of a batch; the next run begins with the next one
        made.run(frames - warm - SLOTS - 2)
        ring.synchronize()
        growth = leaks.leaked_since(early)
        counts = np.zeros(2 * SLOTS, np.uint32)
        tally.read(counts.view(np.uint8), timeout=link.timeout)
        made.close()
        ring.close()
        tally.close()
        module.close()
    return {"frames": int(counts[::2].sum()), "wrong": int(counts[1::2].sum()), "grown": growth}
