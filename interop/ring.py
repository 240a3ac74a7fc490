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
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.buffers import PART_ALIGNMENT
from interop.errors import ClosedError, InvalidArgument, TurnError, Unsupported
from interop.handover import Handover, State, open_block
from interop.recorded import Recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from interop.backend import BufferPart, Commands, Consumer, Producer
    from interop.dtypes import DType
    from interop.handover import Block
    from interop.memory import MappedBuffer
    from interop.negotiation import Plan
    from interop.turns import Order

DEFAULT_SLOTS = 64
"""Slots of a ring, unless asked for otherwise: two batches of half as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The place of one frame. Commands of the producer take it as a buffer."""

    index: int
    """Position in the ring."""
    view: MappedBuffer
    """The frame as the consumer sees it."""
    producer_buffer: BufferPart
    """The frame as the producer's commands take it."""


class Batch:
    """Consecutive frames that are handed over together. Iterating gives pairs of frame number and slot.

    Valid until the loop over the batches goes on. A batch that the producer did and the consumer did not is
    handed through without work, at the latest when the next loop begins.
    """

    __slots__ = ("_block", "_handover", "_producer", "_valid", "first", "slots")

    def __init__(
        self, handover: Handover, producer: Producer, block: Block, first: int, slots: Sequence[Slot]
    ) -> None:
        self._handover = handover
        self._producer = producer
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

        An exception inside submits nothing. Blocks the caller while too many batches are in flight, and with
        the blocking strategy until the consumer has given the slots back. Raises :class:`WaitTimeout` when
        that takes longer than the link's timeout, :class:`TurnError` for a batch that was produced already.
        """
        self._check(State.IDLE)
        self._handover.make_room()
        submission = self._block.submission(self._producer)
        commands = submission.begin()
        try:
            yield commands
            self._handover.submit(self._block, submission)
        except BaseException:
            submission.abandon()
            raise

    @contextmanager
    def consumer(self) -> Generator[tuple[MappedBuffer, ...]]:
        """``with`` this, the consumer owns the batch; yields the views of its frames, in order.

        The slots go back to the producer at the end, also after an exception inside. Does not block the
        caller except with the blocking strategy. Raises :class:`TurnError` for a batch that was not produced.
        """
        self._check(State.PRODUCED)
        self._handover.take(self._block)
        try:
            yield tuple([slot.view for slot in self.slots])
        finally:
            self._handover.give_back(self._block)

    def _check(self, state: State) -> None:
        if not self._valid:
            raise TurnError("this batch is over: the loop has gone on to the next one")
        if self._block.state is not state:
            msg = f"this batch is {self._block.state.value}; it must be {state.value} for that"
            raise TurnError(msg)

    def end(self) -> None:
        """Refuse further use."""
        self._valid = False


def settle(handover: Handover, block: Block) -> None:
    """Bring a block that was produced and not consumed back to its producer."""
    if block.state is State.PRODUCED and handover.failure is None:
        handover.take(block)
        handover.give_back(block)


class FrameRing:
    """Slots for frames, handed over in batches. Made by :meth:`interop.link.Link.ring`.

    For one thread at a time. The slots of a batch share one allocation, exported and imported once; so what
    is handed over is a memory object as a whole, as OpenCL wants it.
    """

    def __init__(
        self,
        plan: Plan,
        producer: Producer,
        consumer: Consumer,
        order: Order,
        drain: Callable[[float], None],
        *,
        shape: tuple[int, ...],
        dtype: DType,
        nbytes: int,
        slots: int,
        batch: int,
    ) -> None:
        """Allocate the slots; nothing stays behind on failure. See :meth:`interop.link.Link.ring`."""
        if batch < 1 or slots < batch or slots % batch:
            msg = f"slots must be a multiple of the batch, both positive, got {slots} slots in batches of {batch}"
            raise InvalidArgument(msg)
        if plan.handle_type is None:
            reason = "frames go through host memory on this pair, one at a time; use link.buffer"
            raise Unsupported("a frame ring", reason)
        self.shape = shape
        self.dtype = dtype
        self.nbytes = nbytes
        """Bytes of one frame."""
        self.batch = batch
        """Frames that are handed over together."""
        alignment = max(PART_ALIGNMENT, consumer.device.capabilities.view_alignment)
        self.stride = -(-nbytes // alignment) * alignment
        """Bytes from one frame of a batch to the next."""
        self._producer = producer
        self._drain = drain
        self._order = order
        count = slots // batch
        # Twice the blocks: while the devices work on all of them, the next round is enqueued already.
        self._handover = Handover(order, plan, producer, room=max(4, 2 * count))
        self._blocks: list[Block] = []
        self._slots: list[tuple[Slot, ...]] = []
        self._recorded: list[Recorded] = []
        self._next = 0
        self._running = False
        self._closed = False
        with ExitStack() as undo:
            for number in range(count):
                size = batch * self.stride
                block = open_block(number, plan, producer, consumer, plan.handle_type, order, size)
                undo.callback(block.close)
                self._blocks.append(block)
                self._slots.append(tuple(self._cut(block, undo)))
            self._resources = undo.pop_all()

    def _cut(self, block: Block, undo: ExitStack) -> Iterator[Slot]:
        for position in range(self.batch):
            offset = position * self.stride
            view = block.buffer.consumer_view.view(self.shape, self.dtype, offset=offset)
            undo.callback(view.close)
            part = block.buffer.producer_buffer.part(offset, self.nbytes)
            index = block.number * self.batch + position
            yield Slot(index=index, view=view, producer_buffer=part)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, in the order in which frames go through them."""
        return tuple([slot for block in self._slots for slot in block])

    @property
    def blocks(self) -> Sequence[tuple[Block, tuple[Slot, ...]]]:
        """What is handed over as one, with its slots. For :mod:`interop.recorded`."""
        return list(zip(self._blocks, self._slots, strict=True))

    @property
    def closed(self) -> bool:
        """Whether the ring or its link was closed."""
        return self._closed or self._order.closed

    def batches(self, count: int) -> Generator[Batch]:
        """Go through ``count`` frames, batch by batch; the last batch may be shorter.

        A loop that is left early ends cleanly: the next one goes on with the next block of slots. Raises
        :class:`InvalidArgument` for a negative count and :class:`TurnError` while another loop runs.
        """
        for block, first, slots in self.rounds(count):
            batch = Batch(self._handover, self._producer, block, first, slots)
            try:
                yield batch
            finally:
                batch.end()
            settle(self._handover, block)

    def rounds(self, count: int) -> Generator[tuple[Block, int, Sequence[Slot]]]:
        """Choose the blocks for ``count`` frames. For :meth:`batches` and :mod:`interop.recorded`."""
        if count < 0:
            msg = f"the number of frames must not be negative, got {count}"
            raise InvalidArgument(msg)
        self._check_open()
        if self._running:
            raise TurnError("another loop over this ring is running; end it first")
        self._running = True
        try:
            for block in self._blocks:  # of a loop that was left early
                settle(self._handover, block)
            for first in range(0, count, self.batch):
                number = self._next
                slots = self._slots[number]
                left = count - first
                self._next = (number + 1) % len(self._blocks)
                yield self._blocks[number], first, slots if left >= self.batch else slots[:left]
        finally:
            self._running = False

    def record(
        self,
        *,
        produce: Callable[[Commands, Slot], object],
        consume: Callable[[Slot], Callable[[], object]],
    ) -> Recorded:
        """Prepare the work on every slot, to be run for any number of frames with :meth:`Recorded.run`.

        ``produce(commands, slot)`` records the producer's work; it is called once for each slot and each
        command buffer that the slot is in, mostly once. ``consume(slot)`` is called once for each slot and
        returns what enqueues the consumer's work, such as a launch of ``kernel.prepare``. The result belongs
        to the caller and closes with the ring at the latest.
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

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until both sides have done all that was enqueued. Raises :class:`WaitTimeout`."""
        self._check_open()
        self._drain(self._order.timeout if timeout is None else timeout)

    def close(self) -> None:
        """Wait for the work in flight and free everything. A second call does nothing.

        Raises :class:`WaitTimeout` when the work does not end in time; the ring is then left to its link.
        """
        if not self.closed:
            self._drain(self._order.timeout)
        self.release()

    def release(self) -> None:
        """Free everything; work must have ended. For the link."""
        self._closed = True
        with ExitStack() as every:
            every.push(self._resources.pop_all())
            while self._recorded:
                every.callback(self._recorded.pop().close)

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError("the ring is closed" if self._closed else self._order.why)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self._blocks)} batches of {self.batch}"
        return f"<FrameRing {self.shape} {self.dtype}, {state}>"
