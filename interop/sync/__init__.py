"""Ordering two streams of two APIs: one interface, three strategies.

Each direction of a link has one object. Towards the consumer the producer's submission signals and the
consumer's stream waits; towards the producer the stream signals and the submission waits. *Points* number
the hand-overs of a direction; they only grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from interop.negotiation import Direction, Plan, Strategy
from interop.one_shot import ONE_SHOT
from interop.semaphore import SemaphoreKind

if TYPE_CHECKING:
    from interop.backend import Consumer, Producer, ProducerSemaphore
    from interop.errors import InteropError
    from interop.semaphore import Stream


class ToConsumer(Protocol):
    """Makes the consumer's stream wait for the producer's queue."""

    @property
    def semaphore(self) -> ProducerSemaphore | None:
        """What submissions of producer turns signal; ``None`` when the producer's progress is enough."""
        ...

    @property
    def single_use(self) -> bool:
        """Whether a signal must have been waited for before the next one can be given (binary)."""
        ...

    @property
    def unclaimed(self) -> bool:
        """Whether a single-use signal is out that nobody was made to wait for."""
        ...

    @property
    def failure(self) -> InteropError | None:
        """Why a hand-over did not come, where a thread of the direction found that out; :meth:`wait` raises it."""
        ...

    def can_signal(self) -> bool:
        """Whether the next submission may signal :attr:`semaphore`."""
        ...

    def next_value(self) -> int:
        """The value with which the next submission signals :attr:`semaphore`."""
        ...

    def submitted(self, progress: int, *, signalled: bool) -> int:
        """Record a submission that reaches ``progress`` on the producer; return its point."""
        ...

    def returned(self) -> None:
        """Record that the next submission waits for what the consumer's stream holds so far."""
        ...

    def wait(self, stream: Stream, point: int) -> int:
        """Make ``stream`` wait for ``point``; return the newest point that it has now waited for.

        Raises :class:`interop.errors.WaitTimeout` where the strategy waits on the host, or when an earlier
        wait of this link ended that way.
        """
        ...

    def rescue(self) -> None:
        """Let go of every stream still waiting, after a failure, so that things can be closed."""
        ...

    def close(self) -> None:
        """Release what the direction owns. A second call does nothing."""
        ...


class ToProducer(Protocol):
    """Makes the producer's queue wait for the consumer's stream."""

    @property
    def semaphore(self) -> ProducerSemaphore | None:
        """What a submission that takes memory over must wait on; ``None`` when the host has waited already."""
        ...

    @property
    def single_use(self) -> bool:
        """Whether a signal must have been waited for before the next one can be given (binary)."""
        ...

    def signal(self, stream: Stream) -> int:
        """Make ``stream`` signal after its work so far; return the value for the submission to wait for."""
        ...

    def rescue(self) -> None:
        """Let go of the queue if it still waits, after a failure, so that things can be closed."""
        ...

    def close(self) -> None:
        """Release what the direction owns. A second call does nothing."""
        ...


def open_directions(
    plan: Plan, producer: Producer, consumer: Consumer, timeout: float
) -> tuple[ToConsumer, ToProducer]:
    """Make the two directions of a plan. What was made is released again when the second one fails."""
    to_producer = open_to_producer(plan, producer, consumer, timeout)
    try:
        return open_to_consumer(plan, producer, consumer, timeout, to_producer), to_producer
    except BaseException:
        to_producer.close()
        raise


def open_to_producer(plan: Plan, producer: Producer, consumer: Consumer, timeout: float) -> ToProducer:
    """Make the direction in which the queue waits for the stream. Loads no other strategy than the plan's."""
    if plan.to_producer.handle_type is ONE_SHOT:
        from interop.sync.one_shot import OneShotToProducer

        return OneShotToProducer(producer, consumer)
    if plan.to_producer.strategy is Strategy.NATIVE:
        from interop.sync.native import NativeToProducer

        return NativeToProducer(plan.to_producer, producer, consumer)
    if plan.to_producer.strategy is Strategy.BRIDGED:
        from interop.sync.bridged import BridgedToProducer

        return BridgedToProducer(producer)
    from interop.sync.blocking import BlockingToProducer

    return BlockingToProducer(timeout)


def open_to_consumer(
    plan: Plan, producer: Producer, consumer: Consumer, timeout: float, to_producer: ToProducer
) -> ToConsumer:
    """Make the direction in which the stream waits for the queue; ``to_producer`` is its opposite.

    Loads no other strategy than the plan's.
    """
    if plan.to_consumer.handle_type is ONE_SHOT:
        from interop.sync.one_shot import OneShotToConsumer

        return OneShotToConsumer(producer, consumer)
    if plan.to_consumer.strategy is Strategy.BRIDGED:
        from interop.sync.bridged import BridgedToConsumer

        return BridgedToConsumer(producer, timeout)
    if plan.to_consumer.strategy is Strategy.BLOCKING:
        from interop.sync.blocking import BlockingToConsumer

        return BlockingToConsumer(producer, timeout)
    from interop.sync.native import BinaryToConsumer, TimelineToConsumer

    if plan.to_consumer.kind is SemaphoreKind.TIMELINE:
        return TimelineToConsumer(plan.to_consumer, producer, consumer)
    return BinaryToConsumer(plan.to_consumer, producer, consumer, to_producer)


__all__ = [
    "Direction",
    "Strategy",
    "ToConsumer",
    "ToProducer",
    "open_directions",
    "open_to_consumer",
    "open_to_producer",
]
