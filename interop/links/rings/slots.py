"""The places of frames, and the batches in which they go from one side to the other. Shared by both kinds of ring."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from interop.links.rings._batches import State, open_block
from interop.links.rings.layout import Counts, Layout, Slot, Source, Tally
from interop.protocols import ClosedError, TurnError
from interop.toolkit import PART_ALIGNMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from interop.links.order import Order
    from interop.links.rings._batches import Block
    from interop.links.rings._handover import Handover
    from interop.negotiation import Plan
    from interop.protocols import Commands, Consumer, MappedBuffer, Producer


class Slots:
    """Common to rings: the blocks of memory, cut into slots, and their end.

    The slots of a batch share one allocation, exported and imported once; so what is handed over is a memory
    object as a whole, as OpenCL wants it.
    """

    def __init__(
        self,
        plan: Plan,
        producer: Producer,
        consumer: Consumer,
        order: Order,
        drain: Callable[[float], None],
        layout: Layout,
    ) -> None:
        """Allocate the slots; nothing stays behind on failure. See :meth:`interop.links.Link.ring`."""
        layout.check(plan)
        assert plan.handle_type is not None  # checked just now
        self.shape = layout.shape
        self.dtype = layout.dtype
        self.nbytes = layout.nbytes
        """Bytes of one frame."""
        self.batch = layout.batch
        """Frames that are handed over together."""
        self.source: Source = layout.source
        """Which side makes the frames."""
        alignment = max(PART_ALIGNMENT, consumer.device.capabilities.view_alignment)
        self.stride = -(-layout.nbytes // alignment) * alignment
        """Bytes from one frame of a batch to the next."""
        self._producer = producer
        self._order = order
        self._drain = drain
        self._tally = Tally()
        self._blocks: list[Block] = []
        self._slots: list[tuple[Slot, ...]] = []
        self._closed = False
        with ExitStack() as undo:
            for number in range(layout.slots // layout.batch):
                size = self.batch * self.stride
                block = open_block(number, plan, producer, consumer, plan.handle_type, order, size)
                undo.callback(block.close)
                if self.source == "consumer":  # which begins with memory that is nobody's
                    block.state, block.away, block.used = State.PRODUCED, True, True
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
        """All slots, in the order of their indices."""
        return tuple([slot for block in self._slots for slot in block])

    @property
    def counts(self) -> Counts:
        """What became of the frames so far."""
        return self._tally.counts()

    @property
    def dropped(self) -> int:
        """Frames that were made and never taken."""
        return self._tally.dropped

    @property
    def closed(self) -> bool:
        """Whether the ring or its link was closed."""
        return self._closed or self._order.closed

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
        self._resources.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError("the ring is closed" if self._closed else self._order.why)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Batch:
    """Consecutive frames that are handed over together. Iterating gives pairs of frame number and slot.

    Of a ring's :meth:`~interop.links.FrameRing.batches` it is valid until the loop goes on; what one side made
    and the other did not take is handed through without work then, or when the next loop begins.
    """

    __slots__ = ("_block", "_handover", "_producer", "_source", "_tally", "_valid", "first", "slots")

    def __init__(
        self,
        handover: Handover,
        producer: Producer,
        block: Block,
        first: int,
        slots: Sequence[Slot],
        tally: Tally,
        source: Source,
    ) -> None:
        self._handover = handover
        self._producer = producer
        self._block = block
        self._tally = tally
        self._source = source
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
        that takes longer than the link's timeout, :class:`TurnError` for a batch whose turn is the consumer's.
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
        if self._source == "producer":
            self._made()
        else:
            self._had()

    @contextmanager
    def consumer(self) -> Generator[tuple[MappedBuffer, ...]]:
        """``with`` this, the consumer owns the batch; yields the views of its frames, in order.

        The slots go to the producer at the end, also after an exception inside. Does not block the caller
        except with the blocking strategy. Raises :class:`TurnError` for a batch whose turn is the producer's.
        """
        self._check(State.PRODUCED)
        self._handover.take(self._block)
        if self._source == "producer":
            self._had()
        try:
            yield tuple([slot.view for slot in self.slots])
        finally:
            self._handover.give_back(self._block)
        if self._source == "consumer":
            self._made()

    def _made(self) -> None:
        """Count the frames as produced."""
        self._block.frames = len(self.slots)
        self._tally.produced += len(self.slots)

    def _had(self) -> None:
        """Count the frames as consumed."""
        self._tally.consumed += self._block.frames
        self._block.frames = 0

    def _check(self, state: State) -> None:
        if not self._valid:
            raise TurnError("this batch is over: the loop has gone on to the next one")
        if self._block.state is not state:
            msg = f"this batch is {self._block.state.value}; it must be {state.value} for that"
            raise TurnError(msg)

    def end(self) -> None:
        """Refuse further use."""
        self._valid = False
