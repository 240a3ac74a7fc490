"""Semaphores that both drivers share, and the prepared calls that a stream enqueues for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import PreparedCall, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.negotiation import SyncPlan
    from interop.protocols import Consumer, ExternalSemaphore, Producer, ProducerSemaphore, Stream

_NOTHING = PreparedCall(lambda: 0, lambda status: None)  # noqa: ARG005 - the status is always 0


class StreamCall:
    """One prepared operation of a semaphore or memory: a command list of one call."""

    __slots__ = ("_begin", "_call", "_fail", "_prepare", "_stream", "_value")

    def __init__(self, prepare: Callable[[Stream], PreparedCall | None]) -> None:
        """``prepare`` returns the operation on a stream, or None where the API needs none."""
        self._prepare = prepare
        self._stream: Stream | None = None

    def enqueue(self, stream: Stream, value: int = 0) -> None:
        """Enqueue the call on ``stream``. Does not flush the stream.

        Raises:
            DriverError: The driver refused the call.
        """
        if stream is not self._stream:
            self._bind(stream)
        if self._begin is not None:
            self._begin()
        if self._value is not None:
            self._value(value)
        status = self._call()
        if status:
            self._fail(status)

    def _bind(self, stream: Stream) -> None:
        self._call, self._fail, self._begin, self._value = self._prepare(stream) or _NOTHING
        self._stream = stream


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
