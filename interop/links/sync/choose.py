"""From a plan to the objects of its two directions. Loads no other strategy than the plan's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.negotiation import Plan, Strategy
from interop.protocols import ONE_SHOT, SemaphoreKind

if TYPE_CHECKING:
    from contextlib import ExitStack

    from interop.links.sync.directions import ToConsumer, ToProducer
    from interop.protocols import Consumer, Producer


def uses_binary_pair(plan: Plan) -> bool:
    """Return whether the plan orders both directions by a pair of binary semaphores."""
    return all(
        each.strategy is Strategy.NATIVE
        and each.kind is SemaphoreKind.BINARY
        and each.handle_type is not ONE_SHOT
        for each in (plan.to_consumer, plan.to_producer)
    )


def open_directions(
    plan: Plan, producer: Producer, consumer: Consumer, timeout: float
) -> tuple[ToConsumer, ToProducer]:
    """Create both directions of a plan, which may be one object; nothing stays open on failure."""
    if uses_binary_pair(plan):
        from interop.links.sync.binary import BinaryPair

        pair = BinaryPair(plan, producer, consumer, timeout)
        return pair, pair
    to_producer = _open_to_producer(plan, producer, consumer, timeout)
    try:
        return _open_to_consumer(plan, producer, consumer, timeout), to_producer
    except BaseException:
        to_producer.close()
        raise


def open_batch_directions(
    plan: Plan,
    producer: Producer,
    consumer: Consumer,
    timeout: float,
    shared: tuple[ToConsumer, ToProducer],
    undo: ExitStack,
) -> tuple[ToConsumer, ToProducer]:
    """Return the directions of one batch of a ring.

    Binary semaphores and sync files carry one signal, so each batch needs its own. Every other strategy counts, and is
    shared by all batches.

    Args:
        plan: The plan of the link.
        producer: The producer.
        consumer: The consumer.
        timeout: Seconds after which a wait gives up.
        shared: The directions of the link.
        undo: Closes the directions that were created here.
    """
    if uses_binary_pair(plan):
        both = open_directions(plan, producer, consumer, timeout)
        undo.callback(both[0].close)
        return both
    to_consumer, to_producer = shared
    if plan.to_producer.handle_type is ONE_SHOT:
        to_producer = sync_file_to_producer(producer, consumer)
        undo.callback(to_producer.close)
    if plan.to_consumer.handle_type is ONE_SHOT:
        to_consumer = sync_file_to_consumer(producer, consumer)
        undo.callback(to_consumer.close)
    return to_consumer, to_producer


def sync_file_to_producer(producer: Producer, consumer: Consumer) -> ToProducer:
    """Create the direction in which sync files of the consumer reach the producer's queue."""
    from interop.links.sync._sync_files import SyncFileToProducer

    return SyncFileToProducer(producer, consumer)


def sync_file_to_consumer(producer: Producer, consumer: Consumer) -> ToConsumer:
    """Create the direction in which sync files of the producer reach the consumer's stream."""
    from interop.links.sync._sync_files import SyncFileToConsumer

    return SyncFileToConsumer(producer, consumer)


def _open_to_producer(plan: Plan, producer: Producer, consumer: Consumer, timeout: float) -> ToProducer:
    if plan.to_producer.handle_type is ONE_SHOT:
        return sync_file_to_producer(producer, consumer)
    if plan.to_producer.strategy is Strategy.NATIVE:
        from interop.links.sync._timeline import TimelineToProducer

        return TimelineToProducer(plan.to_producer, producer, consumer)
    if plan.to_producer.strategy is Strategy.BRIDGED:
        from interop.links.sync._bridged import BridgedToProducer

        return BridgedToProducer(producer)
    from interop.links.sync._blocking import BlockingToProducer

    return BlockingToProducer(timeout)


def _open_to_consumer(plan: Plan, producer: Producer, consumer: Consumer, timeout: float) -> ToConsumer:
    if plan.to_consumer.handle_type is ONE_SHOT:
        return sync_file_to_consumer(producer, consumer)
    if plan.to_consumer.strategy is Strategy.NATIVE:
        from interop.links.sync._timeline import TimelineToConsumer

        return TimelineToConsumer(plan.to_consumer, producer, consumer)
    if plan.to_consumer.strategy is Strategy.BRIDGED:
        from interop.links.sync._bridged import BridgedToConsumer

        return BridgedToConsumer(producer, timeout)
    from interop.links.sync._blocking import BlockingToConsumer

    return BlockingToConsumer(producer, timeout)
