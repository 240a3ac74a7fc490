"""Ordering two streams of two APIs: one interface, three strategies.

Each direction of a link has one object. Towards the consumer the producer's submission signals and the
consumer's stream waits; towards the producer the stream signals and the submission waits. *Points* number
the hand-overs of a direction; they only grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from interop.negotiation import Direction, Plan, Strategy

if TYPE_CHECKING:
    from interop.backend import Consumer, Producer, ProducerSemaphore
    from interop.semaphore import Stream


class ToConsumer(Protocol):
    """Makes the consumer's stream wait for the producer's queue."""

    @property
    def semaphore(self) -> ProducerSemaphore | None:
        """What every submission of a producer turn must signal; ``None`` when its progress is enough."""
        ...

    @property
    def single_use(self) -> bool:
        """Whether a signal must be taken back before the next one (binary)."""
        ...

    def next_value(self) -> int:
        """The value with which the next submission signals :attr:`semaphore`."""
        ...

    def signalled(self, progress: int) -> int:
        """Record that a submission went out which reaches ``progress`` on the producer; return its point."""
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
    from interop.sync import blocking, bridged, native  # noqa: PLC0415 - only what the plan needs is set up

    to_consumer: ToConsumer
    if plan.to_consumer.strategy is Strategy.NATIVE:
        to_consumer = native.NativeToConsumer(plan.to_consumer, producer, consumer)
    elif plan.to_consumer.strategy is Strategy.BRIDGED:
        to_consumer = bridged.BridgedToConsumer(producer, timeout)
    else:
        to_consumer = blocking.BlockingToConsumer(producer, timeout)
    try:
        if plan.to_producer.strategy is Strategy.NATIVE:
            return to_consumer, native.NativeToProducer(plan.to_producer, producer, consumer)
        if plan.to_producer.strategy is Strategy.BRIDGED:
            return to_consumer, bridged.BridgedToProducer(producer)
        return to_consumer, blocking.BlockingToProducer(timeout)
    except BaseException:
        to_consumer.close()
        raise


__all__ = ["Direction", "Strategy", "ToConsumer", "ToProducer", "open_directions"]
