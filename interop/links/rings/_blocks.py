"""Blocks of a ring: the memory of one batch, its semaphores and its prepared submissions.

A block has its own binary semaphores or sync files where the plan uses them, so several batches can be in flight. A
signal is always waited for before the next one of its block is given, because each side waits for the other before it
signals again. Every other strategy counts, and is shared with the turns of the link.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from interop.links.buffers import BufferHome, Layout, open_buffer
from interop.links.sync import open_batch_directions
from interop.negotiation import Strategy
from interop.protocols import DTYPES
from interop.toolkit import WITH_CONSUMER, OwnershipState

if TYPE_CHECKING:
    from interop.links._batch_order import BatchOrder
    from interop.links.buffers import Buffer
    from interop.links.order import Order
    from interop.links.rings.layout import Source
    from interop.links.sync import ToConsumer, ToProducer
    from interop.protocols import ExternalMemory, Producer, Submission

_FREE_OR_BACK = WITH_CONSUMER | {OwnershipState.FREE}
_PRODUCED = frozenset({OwnershipState.PRODUCED})
_FREE_OR_PRODUCED = frozenset({OwnershipState.FREE, OwnershipState.PRODUCED})


class RingHome(BufferHome, Protocol):
    """What a ring needs of its link."""

    @property
    def order(self) -> Order:
        """The order engine."""
        ...

    @property
    def batches(self) -> BatchOrder:
        """The part of the order engine for batches."""
        ...

    def drain(self, timeout: float) -> None:
        """Block until both sides have done all that was enqueued."""
        ...

    def forget_ring(self, ring: object) -> None:
        """Remove a closed ring from the link."""
        ...


class RingBlock:
    """The memory of one batch. See :class:`interop.links.order.BatchHandOver`."""

    def __init__(
        self,
        home: RingHome,
        number: int,
        source: Source,
        buffer: Buffer,
        directions: tuple[ToConsumer, ToProducer],
        resources: ExitStack,
    ) -> None:
        assert buffer.external is not None  # rings exist only where memory is shared
        self.timeout = home.timeout
        self.number = number
        self.buffer = buffer
        self.memory: ExternalMemory = buffer.external
        self.ownership = buffer.ownership
        self.to_consumer, self.to_producer = directions
        self.binary = self.to_consumer.binary
        self.producer_first = by_producer = source == "producer"
        self.producer_states = _FREE_OR_BACK if by_producer else WITH_CONSUMER
        self.consumer_states = _PRODUCED if by_producer else _FREE_OR_PRODUCED
        self.late = False
        self.blocking = home.plan.to_producer.strategy is Strategy.BLOCKING
        self.eager = not self.blocking
        self.frames = 0
        """Frames that were made and that the other side has not had."""
        self.progress = 0
        """Timeline value of the producer's progress at which the last submission has ended."""
        self.serial = 0
        self._prepared: dict[tuple[bool, bool], Submission] = {}
        self._resources = resources

    @property
    def hand_over(self) -> tuple[bool, bool]:
        """What the next submission needs: whether it acquires the memory, and whether it waits for the consumer."""
        if not self.producer_first:
            return True, True
        return self.ownership.external, self.ownership.state in WITH_CONSUMER

    def prepare(self, producer: Producer, hand_over: tuple[bool, bool]) -> Submission:
        """Prepare a submission with the semaphores and ownership transfers that ``hand_over`` needs."""
        acquires, waits = hand_over
        mine = [self.buffer.producer_buffer]
        return producer.prepare(
            acquire=mine if acquires else [],
            release=mine,
            wait=self.to_producer.done if waits else None,
            signal=None if self.late else self.to_consumer.ready,
            timeout=self.timeout,
        )

    def submission(self, producer: Producer) -> Submission:
        """Return the submission for commands that differ from batch to batch."""
        found = self._prepared.get(self.hand_over)
        if found is None:
            found = self._prepared[self.hand_over] = self.prepare(producer, self.hand_over)
        return found

    def close(self) -> None:
        """Free everything. Work must have ended. A second call does nothing."""
        while self._prepared:
            self._prepared.popitem()[1].close()
        self._resources.close()

    def __repr__(self) -> str:
        return f"batch {self.number} of the ring"


def open_block(home: RingHome, number: int, nbytes: int, source: Source) -> RingBlock:
    """Allocate, share and order one block; nothing stays open when a step fails.

    Args:
        home: The link.
        number: The position of the block in the ring.
        nbytes: Size of the block in bytes.
        source: The side that makes the frames.
    """
    with ExitStack() as undo:
        shared = home.order.to_consumer, home.order.to_producer
        directions = open_batch_directions(
            home.plan, home.producer, home.consumer, home.timeout, shared, undo
        )
        buffer = open_buffer(home, Layout((nbytes,), DTYPES["uint8"], nbytes))
        undo.callback(buffer.release)
        return RingBlock(home, number, source, buffer, directions, undo.pop_all())
