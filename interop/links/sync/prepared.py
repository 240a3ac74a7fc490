"""Semaphores that both drivers share, and the prepared calls that a stream enqueues for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import PreparedCall, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.negotiation import SyncPlan
    from interop.protocols import Consumer, ExternalSemaphore, Producer, ProducerSemaphore, Stream

_NOTHING = PreparedCall(lambda: 0, lambda status: None)  # noqa: ARG005 - the status is always 0


def stream_call(prepare: Callable[[Stream], PreparedCall | None]) -> Callable[..., None]:
    """Return a function that enqueues one operation of a semaphore or memory: a command list of one call.

    The function takes the stream, and the timeline value where the operation has one. It prepares the call anew when
    it gets another stream. It does not flush the stream, and raises the driver's error.

    Args:
        prepare: Returns the operation on a stream, or None where the API needs none.
    """
    bound: Stream | None = None
    call, fail, begin, set_value = _NOTHING

    def enqueue(stream: Stream, value: int = 0) -> None:
        nonlocal bound, call, fail, begin, set_value
        if stream is not bound:
            call, fail, begin, set_value = prepare(stream) or _NOTHING
            bound = stream
        if begin is not None:
            begin()
        if set_value is not None:
            set_value(value)
        status = call()
        if status:
            fail(status)

    return enqueue


def share(
    plan: SyncPlan, producer: Producer, consumer: Consumer
) -> tuple[ProducerSemaphore, ExternalSemaphore]:
    """Create a semaphore on the producer and import it into the consumer; nothing stays open on failure."""
    semaphore = producer.create_semaphore(plan.kind or SemaphoreKind.BINARY, export=plan.handle_type)
    try:
        handle, descriptor = semaphore.export_semaphore()
        with handle:
            return semaphore, consumer.import_semaphore(handle, descriptor)
    except BaseException:
        semaphore.close()
        raise
