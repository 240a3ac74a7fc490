"""Frame rings: producer and consumer run ahead of each other and hand frames over in batches.

Each hand-over costs the devices time in which neither works, whatever the size of the frame. A ring has
several slots, and one hand-over serves a whole batch of them::

    ring = link.ring((256, 256), "float32", slots=64, batch=32)
    for batch in ring.batches(600):
        with batch.producer() as commands:
            for frame, slot in batch:
                commands.fill(slot, frame)
        with batch.consumer():
            for frame, slot in batch:
                kernel(slot.view, np.uint32(frame), global_size=(256, 256))

Where every frame is the same work, :meth:`FrameRing.record` prepares it once and only submits it after that.
No frame is lost; :mod:`interop.links.rings.latest_ring` has the ring for those who would rather have the newest.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.links.rings._batches import State
from interop.links.rings._handover import Handover
from interop.links.rings.layout import Layout, Slot
from interop.links.rings.recorded import Recorded
from interop.links.rings.slots import Batch, Slots
from interop.protocols import InvalidArgument, TurnError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from interop.links.order import Order
    from interop.links.rings._batches import Block
    from interop.links.rings.layout import Tuning
    from interop.negotiation import Plan
    from interop.protocols import Commands, Consumer, Producer

DEFAULT_SLOTS = 64
"""Slots of a ring, unless asked for otherwise: two batches of half as many."""


class FrameRing(Slots):
    """Slots for frames, handed over in batches. Made by :meth:`interop.links.Link.ring`. For one thread at a time."""

    def __init__(
        self,
        plan: Plan,
        producer: Producer,
        consumer: Consumer,
        order: Order,
        drain: Callable[[float], None],
        layout: Layout,
    ) -> None:
        """See :class:`interop.links.rings.slots.Slots`."""
        super().__init__(plan, producer, consumer, order, drain, layout)
        # Twice the blocks: while the devices work on all of them, the next round is enqueued already.
        self.room = max(4, 2 * len(self._blocks))
        """Batches that may be in flight; the caller waits before it enqueues one more."""
        self._handover = Handover(order, plan, producer, room=self.room)
        self._recorded: list[Recorded] = []
        self._next = 0
        self._last: Block | None = None
        """The block of the last batch: the only one that may not have come home."""
        self._running = False
        self.tuning: Tuning | None = None
        """What was measured to choose slots and batch, where that was asked for."""

    @staticmethod
    def sizes(slots: int | None, batch: int | None) -> tuple[int, int]:
        """Return slots and batch, those left open by default."""
        if slots is None:
            slots = DEFAULT_SLOTS if batch is None else 2 * batch
        return slots, max(1, slots // 2) if batch is None else batch

    @property
    def blocks(self) -> Sequence[tuple[Block, tuple[Slot, ...]]]:
        """What is handed over as one, with its slots. For :mod:`interop.links.rings.recorded`."""
        return list(zip(self._blocks, self._slots, strict=True))

    def batches(self, count: int) -> Generator[Batch]:
        """Go through ``count`` frames, batch by batch; the last batch may be shorter.

        The side that makes the frames has its turn first. A loop that is left early ends cleanly: the next one
        goes on with the next block of slots. Frames that one side made and the other did not take are handed
        through, and counted in :attr:`dropped`. Raises :class:`InvalidArgument` for a negative count and
        :class:`TurnError` while another loop runs.
        """
        for block, first, slots in self.rounds(count):
            batch = Batch(self._handover, self._producer, block, first, slots, self._tally, self.source)
            try:
                yield batch
            finally:
                batch.end()
            self._settle(block)

    def rounds(self, count: int) -> Generator[tuple[Block, int, Sequence[Slot]]]:
        """Choose the blocks for ``count`` frames. For :meth:`batches` and :mod:`interop.links.rings.recorded`."""
        if count < 0:
            msg = f"the number of frames must not be negative, got {count}"
            raise InvalidArgument(msg)
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

    def _settle(self, block: Block) -> None:
        """Bring a block that one side made and the other did not take back to the one that makes frames."""
        handover = self._handover
        if handover.failure is None:
            if self.source == "producer" and block.state is State.PRODUCED:
                handover.take(block)
                handover.give_back(block)
            elif self.source == "consumer" and block.state is State.IDLE:
                handover.make_room()
                handover.submit(block, block.submission(self._producer))
        self._tally.dropped += block.frames
        block.frames = 0

    def passed(self, frames: int) -> None:
        """Count frames that were made and taken. For :mod:`interop.links.rings.recorded`."""
        self._tally.produced += frames
        self._tally.consumed += frames

    def record(
        self,
        *,
        produce: Callable[[Commands, Slot], object],
        consume: Callable[[Slot], Callable[[], object]],
    ) -> Recorded:
        """Prepare the work on every slot, to be run for any number of frames with :meth:`Recorded.run`.

        ``produce(commands, slot)`` records the producer's work; it is called once for each slot and each
        command buffer that the slot is in, mostly once. ``consume(slot)`` is called once for each slot and
        returns what enqueues the consumer's work, such as a launch of ``kernel.prepare``. Whichever side makes
        the frames comes first. The result belongs to the caller and closes with the ring at the latest.
        """
        self._check_open()
        made = Recorded(self, self._handover, self._producer, produce, consume)
        self._recorded.append(made)
        return made

    def run(
        self,
        count: int,
        *,
        produce: Callable[[Commands, Slot], object],
        consume: Callable[[Slot], Callable[[], object]],
    ) -> None:
        """Record as :meth:`record` does, run ``count`` frames, and free the recording."""
        recorded = self.record(produce=produce, consume=consume)
        try:
            recorded.run(count)
        finally:
            self._recorded.remove(recorded)
            recorded.close()

    def release(self) -> None:
        """Free everything; work must have ended. For the link."""
        with ExitStack() as every:
            every.callback(super().release)
            while self._recorded:
                every.callback(self._recorded.pop().close)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self._blocks)} batches of {self.batch}"
        tuned = "" if self.tuning is None else f", {self.tuning}"
        return f"<FrameRing {self.shape} {self.dtype}, {state}{tuned}>"


__all__ = ["DEFAULT_SLOTS", "Batch", "FrameRing", "Layout", "Slot"]
