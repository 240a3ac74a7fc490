"""Frame rings: producer and consumer run ahead of each other and hand frames over in batches.

Each hand-over costs time in which neither device works, whatever the size of the frame. A ring has several slots, and
one hand-over serves a whole batch of them::

    ring = link.ring((256, 256), "float32", slots=64, batch=32)
    for batch in ring.batches(600):
        with batch.producer() as commands:
            for frame, slot in batch:
                commands.fill(slot, frame)
        with batch.consumer():
            for frame, slot in batch:
                kernel(slot.view, np.uint32(frame), global_size=(256, 256))

:meth:`FrameRing.record` prepares work that every frame repeats, and only submits it after that. No frame is lost. The
ring of :mod:`interop.links.rings.latest_ring` drops frames instead, so that the newest one is always at hand.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.links.rings.recorded import Recorded
from interop.links.rings.slots import Batch, BatchHooks, RingBase
from interop.protocols import InvalidArgument, TurnError
from interop.toolkit import WITH_CONSUMER, OwnershipState

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from interop.links.rings._blocks import RingBlock, RingHome
    from interop.links.rings.layout import Consume, Produce, RingLayout, Slot

DEFAULT_SLOTS = 64
"""Slots of a ring by default: two batches of half as many."""


class FrameRing(RingBase):
    """Slots for frames, handed over in batches. Made by :meth:`interop.links.Link.ring`. For one thread at a time."""

    def __init__(self, home: RingHome, layout: RingLayout) -> None:
        """Allocate the slots; nothing stays open on failure. See :meth:`interop.links.Link.ring`."""
        # Twice the blocks: while the devices work on all of them, the next round is enqueued already.
        super().__init__(home, layout, max(4, 2 * (layout.slots // max(1, layout.batch))))
        self._recorded: list[Recorded] = []
        self._next = 0
        self._last: RingBlock | None = None
        """The block of the last batch: the only one that one side may have skipped."""
        self._running = False

    @staticmethod
    def sizes(slots: int | None, batch: int | None) -> tuple[int, int]:
        """Return slots and batch, with the defaults of those that are None."""
        if slots is None:
            slots = DEFAULT_SLOTS if batch is None else 2 * batch
        return slots, max(1, slots // 2) if batch is None else batch

    def batches(self, count: int) -> Generator[Batch]:
        """Go through ``count`` frames, batch by batch; the last batch may be shorter.

        The side that makes the frames has its turn first. A loop that is left early ends cleanly: the next loop goes
        on with the next block of slots. If one side skips a batch that the other side made, the batch is passed on
        unchanged and its frames are counted in :attr:`dropped`.

        Args:
            count: Number of frames, not negative.

        Raises:
            InvalidArgument: ``count`` is negative.
            TurnError: Another loop over the ring is running.
            ClosedError: The ring or its link is closed.
        """
        hooks = BatchHooks(self._handover, self._producer, self._tally.made, self._tally.had)
        for block, first, slots in self._rounds(count):
            batch = Batch(hooks, block, first, slots)
            try:
                yield batch
            finally:
                batch.end()
            self._settle(block)

    def _rounds(self, count: int) -> Generator[tuple[RingBlock, int, Sequence[Slot]]]:
        """Choose the blocks for ``count`` frames."""
        if count < 0:
            raise InvalidArgument(f"the number of frames must not be negative, got {count}")
        self._check_open()
        if self._running:
            raise TurnError("another loop over this ring is running; end it first")
        self._running = True
        try:
            if self._last is not None:  # of a loop that was left early
                self._settle(self._last)
            for first in range(0, count, self.batch):
                number = self._next
                slots = self._slots[number]
                left = count - first
                self._next = (number + 1) % len(self._blocks)
                self._last = block = self._blocks[number]
                yield block, first, slots if left >= self.batch else slots[:left]
        finally:
            self._running = False

    def _settle(self, block: RingBlock) -> None:
        """Return a block that one side made and the other skipped to the side that makes frames."""
        state = block.ownership.state
        if self._order.failure is None:
            if self.source == "producer" and state is OwnershipState.PRODUCED:
                self._handover.batches.take(block)
                self._handover.batches.give_back(block)
            elif self.source == "consumer" and state in WITH_CONSUMER:
                self._handover.make_room()
                self._handover.submit(block, block.submission(self._producer))
        self._tally.lost(block)

    def _passed(self, frames: int) -> None:
        """Count frames of a recorded batch, which were made and taken."""
        self._tally.produced += frames
        self._tally.consumed += frames

    def record(self, *, produce: Produce, consume: Consume) -> Recorded:
        """Prepare the work on every slot, to be run for any number of frames with :meth:`Recorded.run`.

        The side that makes the frames comes first. The caller owns the result; it closes with the ring at the latest.

        Args:
            produce: ``produce(commands, slot)`` records the producer's work. It is called once for each slot and each
                command buffer that the slot is in, mostly once.
            consume: ``consume(slot)`` is called once for each slot. It returns a call without arguments that enqueues
                the consumer's work, such as a launch of ``kernel.prepare``.

        Raises:
            ClosedError: The ring or its link is closed.
        """
        self._check_open()
        blocks = list(zip(self._blocks, self._slots, strict=True))
        ring = self._rounds, self._passed
        made = Recorded(self._handover, self._producer, blocks, ring, produce, consume)
        self._recorded.append(made)
        return made

    def run(self, count: int, *, produce: Produce, consume: Consume) -> None:
        """Record as :meth:`record` does, run ``count`` frames, and free the recording."""
        recorded = self.record(produce=produce, consume=consume)
        try:
            recorded.run(count)
        finally:
            self._recorded.remove(recorded)
            recorded.close()

    def release(self) -> None:
        """Free everything. The work that uses it must have ended. For the link."""
        with ExitStack() as every:
            every.callback(super().release)
            while self._recorded:
                every.callback(self._recorded.pop().close)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self._blocks)} batches of {self.batch}"
        return f"<FrameRing {self.shape} {self.dtype}, {state}>"
