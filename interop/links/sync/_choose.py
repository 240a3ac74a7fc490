"""From a plan to the objects of its two directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.negotiation import Plan, Strategy
from interop.protocols import ONE_SHOT, SemaphoreKind

if TYPE_CHECKING:
    from interop.links.sync._directions import ToConsumer, ToProducer
    from interop.protocols import Consumer, Producer


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
        from interop.links.sync._sync_files import OneShotToProducer

        return OneShotToProducer(producer, consumer)
    if plan.to_producer.strategy is Strategy.NATIVE:
        from interop.links.sync._native import NativeToProducer

        return NativeToProducer(plan.to_producer, producer, consumer)
    if plan.to_producer.strategy is Strategy.BRIDGED:
        from interop.links.sync._bridged import BridgedToProducer

        return BridgedToProducer(producer)
    from interop.links.sync._blocking import BlockingToProducer

    return BlockingToProducer(timeout)


def open_to_consumer(
    plan: Plan, producer: Producer, consumer: Consumer, timeout: float, to_producer: ToProducer
) -> ToConsumer:
    """Make the direction in which the stream waits for the queue; ``to_producer`` is its opposite.

    Loads no other strategy than the plan's.
    """
    if plan.to_consumer.handle_type is ONE_SHOT:
        from interop.links.sync._sync_files import OneShotToConsumer

        return OneShotToConsumer(producer, consumer)
    if plan.to_consumer.strategy is Strategy.BRIDGED:
        from interop.links.sync._bridged import BridgedToConsumer

        return BridgedToConsumer(producer, timeout)
    if plan.to_consumer.strategy is Strategy.BLOCKING:
        from interop.links.sync._blocking import BlockingToConsumer

        return BlockingToConsumer(producer, timeout)
    from interop.links.sync._native import BinaryToConsumer, TimelineToConsumer

    if plan.to_consumer.kind is SemaphoreKind.TIMELINE:
        return TimelineToConsumer(plan.to_consumer, producer, consumer)
    return BinaryToConsumer(plan.to_consumer, producer, consumer, to_producer)
