"""Frames recorded once and run again and again: the fast path of a ring.

Per batch there is one submission of the producer that was recorded before, one wait, the prepared launches,
and one signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.backend import Commands, Producer, Submission
    from interop.handover import Block, Handover
    from interop.ring import FrameRing
    from interop.slots import Slot


class Recorded:
    """The prepared work on every slot of a ring. Made by :meth:`interop.ring.FrameRing.record`."""

    __slots__ = (
        "_closed",
        "_handover",
        "_launches",
        "_produce",
        "_producer",
        "_ring",
        "_steady",
        "_submissions",
    )

    def __init__(
        self,
        ring: FrameRing,
        handover: Handover,
        producer: Producer,
        produce: Callable[[Commands, Slot], object],
        consume: Callable[[Slot], Callable[[], object]],
    ) -> None:
        """Record what a whole round of full batches needs. See :meth:`interop.ring.FrameRing.record`."""
        self._ring = ring
        self._handover = handover
        self._producer = producer
        self._produce = produce
        self._submissions: dict[tuple[int, tuple[bool, bool], int], Submission] = {}
        self._steady: list[Submission | None] = [None] * len(ring.blocks)
        """What every full batch after the first of its block is, by the block's number."""
        self._closed = False
        try:
            self._launches = [[consume(slot) for slot in slots] for _, slots in ring.blocks]
            for block, slots in ring.blocks:
                self._recorded(block, slots)
        except BaseException:
            self.close()
            raise

    def run(self, count: int) -> None:
        """Enqueue ``count`` frames on both sides; the last batch may be shorter. Does not wait for them.

        Blocks the caller while too many batches are in flight, for the link's timeout at most. Raises
        :class:`WaitTimeout` when that passes, :class:`ClosedError` after a close, and what a launch raises;
        the batch of that launch is handed back, and a later run goes on behind it.
        """
        if self._closed:
            raise ClosedError("what was recorded for this ring is closed")
        ring, handover = self._ring, self._handover
        make_room, run, known, launches = handover.make_room, handover.run, self._steady, self._launches
        whole, first = ring.batch, ring.source == "producer"
        for block, _, slots in ring.rounds(count):
            number, frames = block.number, len(slots)
            calls = launches[number] if frames == whole else launches[number][:frames]
            make_room()
            if first:
                submission = known[number] if frames == whole and block.used else None
                run(block, submission or self._recorded(block, slots), calls)
            else:
                handover.take(block)
                try:
                    for launch in calls:
                        launch()
                finally:
                    handover.give_back(block)
                handover.submit(block, self._recorded(block, slots))
            ring.passed(frames)

    def _recorded(self, block: Block, slots: Sequence[Slot]) -> Submission:
        """Return the submission for some frames of a block and its present owner, recording it if need be."""
        key = block.number, block.owner, len(slots)
        found = self._submissions.get(key)
        if found is None:
            found = block.prepare(self._producer)
            try:
                commands = found.begin(repeat=True)
                for slot in slots:
                    self._produce(commands, slot)
            except BaseException:
                found.abandon()
                found.close()
                raise
            self._submissions[key] = found
            if block.used and len(slots) == self._ring.batch:
                self._steady[block.number] = found
        return found

    def close(self) -> None:
        """Free it, as soon as the devices have done what was run. A second call does nothing."""
        self._closed = True
        self._launches = []
        self._steady = []
        while self._submissions:
            self._submissions.popitem()[1].close()
