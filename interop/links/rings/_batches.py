"""Blocks of a ring: the memory of one batch, and how far its present hand-over has come.

Where the pair has binary semaphores each block has a pair of its own, so that several batches can be in flight: a
signal is always waited for before the next one of its block is given, because each side waits for the other before
it signals again. Everything else (a timeline, the bridge, blocking) counts, and is shared with the turns of the
link.
"""

from __future__ import annotations

import enum
from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.links.buffers import open_shared
from interop.links.sync import open_to_consumer, open_to_producer
from interop.negotiation import Strategy
from interop.protocols import DTYPES, SemaphoreKind

if TYPE_CHECKING:
    from interop.links.buffers import Buffer
    from interop.links.order import Order
    from interop.links.sync import ToConsumer, ToProducer
    from interop.negotiation import Plan
    from interop.protocols import Consumer, ExternalMemory, HandleType, Producer, Submission


class State(enum.Enum):
    """How far the present hand-over of a block has come."""

    IDLE = "idle"
    """With the producer, or on its way back to it."""
    PRODUCED = "produced"
    """Submitted by the producer, or nobody's; the consumer's stream has not been made to wait for it."""
    TAKEN = "taken"
    """With the consumer."""


class Block:
    """The memory of one batch, and its hand-overs."""

    __slots__ = (
        "_close",
        "_shapes",
        "away",
        "buffer",
        "frames",
        "fresh",
        "late",
        "memory",
        "number",
        "point",
        "progress",
        "serial",
        "state",
        "to_consumer",
        "to_producer",
        "used",
        "value",
    )

    def __init__(
        self,
        number: int,
        buffer: Buffer,
        memory: ExternalMemory,
        to_consumer: ToConsumer,
        to_producer: ToProducer,
        close: ExitStack,
    ) -> None:
        self.number = number
        self.buffer = buffer
        self.memory = memory
        self.to_consumer = to_consumer
        self.to_producer = to_producer
        self.state = State.IDLE
        self.used = False
        """Whether the consumer has had it since the last submission: the next one must wait for it."""
        self.away = False
        """Whether it belongs to another API: the next submission must take it over."""
        self.late = False
        """Whether the producer's signal is given when the consumer takes the block, not with the submission."""
        self.fresh = False
        """Whether the producer has submitted work that the consumer's stream has not waited for."""
        self.frames = 0
        """How many frames it holds that were made and that the other side has not had."""
        self.point = 0
        """The last submission's point of :attr:`to_consumer`."""
        self.progress = 0
        """The point on the producer's progress timeline at which the last submission has ended."""
        self.value = 0
        """What the next submission waits for on :attr:`to_producer`."""
        self.serial = 0
        """The ring's count of blocks given back, when this one was."""
        self._shapes: dict[tuple[bool, bool], Submission] = {}
        self._close = close

    @property
    def owner(self) -> tuple[bool, bool]:
        """What the shape of the next submission depends on."""
        return self.away, self.used

    def prepare(self, producer: Producer) -> Submission:
        """Make a submission for the block's present owner: its semaphores and transfers of ownership."""
        mine = [self.buffer.producer_buffer]
        return producer.prepare(
            acquire=mine if self.away else [],
            release=mine,
            wait=self.to_producer.semaphore if self.used else None,
            signal=None if self.late else self.to_consumer.semaphore,
        )

    def submission(self, producer: Producer) -> Submission:
        """Return the submission for recordings that differ from batch to batch."""
        found = self._shapes.get(self.owner)
        if found is None:
            found = self._shapes[self.owner] = self.prepare(producer)
        return found

    def close(self) -> None:
        """Free everything. Work must have ended. A second call does nothing."""
        while self._shapes:
            self._shapes.popitem()[1].close()
        self._close.close()


def open_block(
    number: int,
    plan: Plan,
    producer: Producer,
    consumer: Consumer,
    handle_type: HandleType,
    order: Order,
    nbytes: int,
) -> Block:
    """Allocate, share and order one block of ``nbytes`` bytes; nothing stays behind when a step fails."""
    with ExitStack() as undo:
        to_producer, to_consumer = order.to_producer, order.to_consumer
        if _single_use(plan.to_producer.strategy, plan.to_producer.kind):
            to_producer = open_to_producer(plan, producer, consumer, order.timeout)
            undo.callback(to_producer.close)
        if _single_use(plan.to_consumer.strategy, plan.to_consumer.kind):
            to_consumer = open_to_consumer(plan, producer, consumer, order.timeout, to_producer)
            undo.callback(to_consumer.close)
        shape, dtype = (nbytes,), DTYPES["uint8"]
        buffer = open_shared(producer, consumer, handle_type, plan.path, shape, dtype, nbytes)
        undo.callback(buffer.close)
        assert buffer.external is not None  # open_shared imports
        return Block(number, buffer, buffer.external, to_consumer, to_producer, undo.pop_all())


def _single_use(strategy: Strategy, kind: SemaphoreKind | None) -> bool:
    return strategy is Strategy.NATIVE and kind is SemaphoreKind.BINARY
