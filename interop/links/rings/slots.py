"""The slots of a ring, and the batches in which their frames go from one side to the other."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from interop.links.rings._blocks import RingHome, open_block
from interop.links.rings._handover import Handover
from interop.links.rings.layout import Counts, RingLayout, Slot, Source
from interop.protocols import ClosedError, TurnError
from interop.toolkit import PART_ALIGNMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from typing import Self

    from interop.links.rings._blocks import RingBlock
    from interop.protocols import Commands, MappedBuffer, Producer


@dataclass(slots=True)
class Tally:
    """The running counts of a ring."""

    produced: int = 0
    consumed: int = 0
    dropped: int = 0

    def counts(self) -> Counts:
        """Return the counts as they are now."""
        produced, consumed, dropped = self.produced, self.consumed, self.dropped
        return Counts(produced, consumed, dropped, produced - consumed - dropped)

    def made(self, block: RingBlock, frames: int) -> None:
        """Count the frames that a block now holds."""
        block.frames = frames
        self.produced += frames

    def had(self, block: RingBlock) -> None:
        """Count the frames of a block as taken."""
        self.consumed += block.frames
        block.frames = 0

    def lost(self, block: RingBlock) -> None:
        """Count the frames of a block as dropped."""
        self.dropped += block.frames
        block.frames = 0


class RingBase:
    """Base of both kinds of ring: blocks of memory that are cut into slots.

    The slots of a batch share one allocation, which is exported and imported once. So a memory object is handed over
    as a whole, as OpenCL requires.
    """

    def __init__(self, home: RingHome, layout: RingLayout, room: int) -> None:
        """Allocate the slots; nothing stays open on failure. ``room`` is the number of submissions in flight."""
        layout.check(home.plan)
        self.shape, self.dtype, self.nbytes = layout.frame
        self.batch = layout.batch
        """Frames that are handed over together."""
        self.source: Source = layout.source
        """The side that makes the frames."""
        alignment = max(PART_ALIGNMENT, home.consumer.device.capabilities.view_alignment)
        self.stride = -(-self.nbytes // alignment) * alignment
        """Bytes from one frame of a batch to the next."""
        self.room = room
        """Batches that may be in flight; the caller waits before it enqueues one more."""
        self._home = home
        self._producer = home.producer
        self._order = home.order
        self._handover = Handover(home, room)
        self._tally = Tally()
        self._blocks: list[RingBlock] = []
        self._slots: list[tuple[Slot, ...]] = []
        self._closed = False
        with ExitStack() as undo:
            for number in range(layout.slots // layout.batch):
                block = open_block(home, number, self.batch * self.stride, self.source)
                undo.callback(block.close)
                self._blocks.append(block)
                self._slots.append(tuple(self._cut(block, undo)))
            self._resources = undo.pop_all()

    def _cut(self, block: RingBlock, undo: ExitStack) -> Iterator[Slot]:
        for position in range(self.batch):
            offset = position * self.stride
            view = block.buffer.consumer_view.view(self.shape, self.dtype, offset=offset)
            undo.callback(view.close)
            part = block.buffer.producer_buffer.part(offset, self.nbytes)
            index = block.number * self.batch + position
            yield Slot(index=index, view=view, producer_buffer=part)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, in the order of their indices."""
        return tuple([slot for block in self._slots for slot in block])

    @property
    def counts(self) -> Counts:
        """Numbers of the frames so far."""
        return self._tally.counts()

    @property
    def dropped(self) -> int:
        """Number of frames that were made and never taken."""
        return self._tally.dropped

    @property
    def closed(self) -> bool:
        """Whether the ring or its link was closed."""
        return self._closed or self._order.closed

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until both sides have done all that was enqueued. Raises :class:`WaitTimeout`."""
        self._check_open()
        self._home.drain(self._home.timeout if timeout is None else timeout)

    def close(self) -> None:
        """Wait for the work in flight, then free everything. A second call does nothing.

        Raises:
            TurnError: A producer turn of the link is open in this thread.
            WaitTimeout: The work did not end within the link's timeout. The ring is then closed with its link.
        """
        if not self.closed:
            with self._order.exclusive(f"closing {self!r}"):
                self._home.drain(self._home.timeout)
                self._closed = True
        self.release()
        self._home.forget_ring(self)

    def release(self) -> None:
        """Free everything. The work that uses it must have ended. For the link."""
        self._closed = True
        self._resources.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError("the ring is closed" if self._closed else self._order.why)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BatchHooks(NamedTuple):
    """What a batch needs of its ring."""

    handover: Handover
    producer: Producer
    made: Callable[[RingBlock, int], object]
    """Called with the number of frames when their maker has handed them over."""
    had: Callable[[RingBlock], object]
    """Called when the other side has the frames."""


class Batch:
    """Consecutive frames that are handed over together. Iterating gives pairs of frame number and slot.

    A batch of :meth:`~interop.links.FrameRing.batches` is valid for one iteration. If one side skips it, it is passed
    on unchanged.
    """

    __slots__ = ("_block", "_hooks", "_valid", "first", "slots")

    def __init__(self, hooks: BatchHooks, block: RingBlock, first: int, slots: Sequence[Slot]) -> None:
        self._hooks = hooks
        self._block = block
        self._valid = True
        self.first = first
        """Number of its first frame in this run."""
        self.slots = slots
        """The slots of its frames."""

    def __len__(self) -> int:
        return len(self.slots)

    def __iter__(self) -> Iterator[tuple[int, Slot]]:
        return iter(enumerate(self.slots, self.first))

    @contextmanager
    def producer(self) -> Generator[Commands]:
        """``with`` this, record the producer's work on the batch; submitted at the end (``vkQueueSubmit``).

        An exception inside submits nothing. Blocks the caller while too many batches are in flight, and with the
        blocking strategy until the consumer has given the slots back.

        Raises:
            WaitTimeout: The wait took longer than the link's timeout.
            TurnError: The batch is the consumer's, a producer turn of the link is open in this thread, or an earlier
                hand-over of the link failed.
        """
        self._check()
        block, hooks = self._block, self._hooks
        hooks.handover.batches.check(block, "producer", block.producer_states)
        hooks.handover.make_room()
        submission = block.submission(hooks.producer)
        commands = submission.begin()
        try:
            yield commands
            hooks.handover.submit(block, submission)
        except BaseException:
            submission.abandon()
            raise
        if block.producer_first:
            hooks.made(block, len(self.slots))
        else:
            hooks.had(block)

    @contextmanager
    def consumer(self) -> Generator[tuple[MappedBuffer, ...]]:
        """``with`` this, the consumer owns the batch; yields the views of its frames, in order.

        The batch goes back to the producer at the end, after an exception too. Does not block the caller except with
        the blocking strategy.

        Raises:
            TurnError: The batch is the producer's, a producer turn of the link is open in this thread, or an earlier
                hand-over of the link failed.
        """
        self._check()
        block, hooks = self._block, self._hooks
        hooks.handover.batches.take(block)
        if block.producer_first:
            hooks.had(block)
        try:
            yield tuple([slot.view for slot in self.slots])
        finally:
            hooks.handover.batches.give_back(block)
        if not block.producer_first:
            hooks.made(block, len(self.slots))

    def _check(self) -> None:
        if not self._valid:
            raise TurnError("this batch is over: the loop has gone on to the next one")

    def end(self) -> RingBlock:
        """Refuse further use; return the memory of the batch. For the ring."""
        self._valid = False
        return self._block
