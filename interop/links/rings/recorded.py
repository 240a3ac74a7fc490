"""Frames recorded once and run again and again: the fast path of a ring.

Per batch there is one submission of the producer that was recorded before, one wait, the prepared launches,
and one signal. Where both sides' calls are the same each time, as with binary semaphores, they are all that Python
makes of a batch after the first of its block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.links.rings._steps import row
from interop.protocols import ClosedError
from interop.protocols import launches as bare_launches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.links.rings._batches import Block
    from interop.links.rings._handover import Handover
    from interop.links.rings._steps import Steps
    from interop.links.rings.frame_ring import FrameRing
    from interop.links.rings.layout import Slot
    from interop.protocols import BareLaunch, Commands, Producer, Submission


_UNFLUSHED = 8
"""Batches at most that the consumer's stream keeps before they are flushed; no more than a quarter of a ring's."""


class _Work:
    """What a block's whole batches are, after the first: known as soon as that one was enqueued."""

    __slots__ = ("bare", "launches", "row", "steps", "submission")

    def __init__(self, launches: Sequence[Callable[[], object]]) -> None:
        self.launches = launches
        self.bare: Sequence[BareLaunch] = bare_launches(launches) or ()
        """The same, where all of them can be had as bare calls."""
        self.row = launches
        """What enqueues them, in fewer calls where that can be."""
        self.submission: Submission | None = None
        self.steps: Steps | None = None


class Recorded:
    """The prepared work on every slot of a ring. Made by :meth:`interop.links.FrameRing.record`."""

    __slots__ = (
        "_closed",
        "_handover",
        "_produce",
        "_producer",
        "_ring",
        "_submissions",
        "_works",
    )

    def __init__(
        self,
        ring: FrameRing,
        handover: Handover,
        producer: Producer,
        produce: Callable[[Commands, Slot], object],
        consume: Callable[[Slot], Callable[[], object]],
    ) -> None:
        """Record what a whole round of full batches needs. See :meth:`interop.links.FrameRing.record`."""
        self._ring = ring
        self._handover = handover
        self._producer = producer
        self._produce = produce
        self._submissions: dict[tuple[int, tuple[bool, bool], int], Submission] = {}
        self._works: list[_Work] = []
        """By the block's number."""
        self._closed = False
        try:
            self._works += [_Work([consume(slot) for slot in slots]) for _, slots in ring.blocks]
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
        ring, handover, works = self._ring, self._handover, self._works
        make_room, run, repeat = handover.make_room, handover.run, handover.repeat
        whole, first = ring.batch, ring.source == "producer"
        patience = min(max(1, len(works) // 4), _UNFLUSHED)
        looked_at: set[int] = set()
        try:
            for block, _, slots in ring.rounds(count):
                number, frames = block.number, len(slots)
                work = works[number]
                make_room()
                if first and frames == whole and block.used and work.submission is not None:
                    if number not in looked_at:
                        looked_at.add(number)
                        self._look_at(block, work)
                    if work.steps is not None:
                        repeat(block, work.submission, work.steps, patience)
                    else:
                        run(block, work.submission, work.row)
                elif first:
                    run(block, self._recorded(block, slots), work.launches[:frames])
                else:
                    handover.take(block)
                    try:
                        for launch in work.launches[:frames]:
                            launch()
                    finally:
                        handover.give_back(block)
                    handover.submit(block, self._recorded(block, slots))
                ring.passed(frames)
        finally:
            handover.flush()

    def _look_at(self, block: Block, work: _Work) -> None:
        """See once in each run whether what the bare calls of a block use is still there, and what they are."""
        for launch in work.bare:
            launch.check_open()
        if work.bare and work.row is work.launches:
            work.row = [row([each.bare() for each in work.bare])]
            work.steps = self._handover.steps(block, work.bare)
        if work.steps is not None and not work.steps.valid:
            work.steps = None

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
                self._works[block.number].submission = found
        return found

    def close(self) -> None:
        """Free it, as soon as the devices have done what was run. A second call does nothing."""
        self._closed = True
        self._works = []
        while self._submissions:
            self._submissions.popitem()[1].close()
