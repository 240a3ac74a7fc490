"""Native: a semaphore that the producer exports and both drivers wait on and signal, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.errors import TurnError
from interop.semaphore import SemaphoreKind

if TYPE_CHECKING:
    from interop.backend import Consumer, Producer, ProducerSemaphore
    from interop.negotiation import SyncPlan
    from interop.semaphore import ExternalSemaphore, Stream


def _share(plan: SyncPlan, producer: Producer, consumer: Consumer) -> tuple[ProducerSemaphore, ExternalSemaphore]:
    """Make a semaphore on the producer and import it into the consumer; nothing stays behind on failure."""
    semaphore = producer.create_semaphore(plan.kind or SemaphoreKind.BINARY, export=plan.handle_type)
    try:
        handle, descriptor = semaphore.export_semaphore()
        with handle:
            return semaphore, consumer.import_semaphore(handle, descriptor)
    except BaseException:
        semaphore.close()
        raise


class NativeToConsumer:
    """The producer signals, the consumer's stream waits."""

    def __init__(self, plan: SyncPlan, producer: Producer, consumer: Consumer) -> None:
        self.single_use = plan.kind is SemaphoreKind.BINARY
        self._producer = producer
        self._consumer = consumer
        self._external: ExternalSemaphore
        self.semaphore: ProducerSemaphore
        self.semaphore, self._external = _share(plan, producer, consumer)
        self._value = 0
        self._waited = 0

    def next_value(self) -> int:
        """See :class:`interop.sync.ToConsumer`."""
        return self._value + 1

    def signalled(self, progress: int) -> int:  # noqa: ARG002 - the exported semaphore counts for itself
        """See :class:`interop.sync.ToConsumer`."""
        self._value += 1
        return self._value

    def wait(self, stream: Stream, point: int) -> int:
        """See :class:`interop.sync.ToConsumer`."""
        if self.single_use:
            if self._waited == self._value:
                msg = "the binary semaphore towards the consumer has no signal that could be waited for"
                raise TurnError(msg)
            self._external.wait(stream)
            self._waited = self._value
            return self._value
        self._external.wait(stream, point)
        self._waited = point
        return point

    def rescue(self) -> None:
        """Signal from the producer what the consumer may still wait for."""
        if self.single_use:
            return  # a wait is only ever enqueued after the submission that signals it
        if self.semaphore.counter() < self._value:
            self.semaphore.signal_host(self._value)

    def close(self) -> None:
        """See :class:`interop.sync.ToConsumer`."""
        self._external.close()
        self.semaphore.close()


class NativeToProducer:
    """The consumer's stream signals, the producer's queue waits."""

    def __init__(self, plan: SyncPlan, producer: Producer, consumer: Consumer) -> None:
        self._binary = plan.kind is SemaphoreKind.BINARY
        self._external: ExternalSemaphore
        self.semaphore: ProducerSemaphore
        self.semaphore, self._external = _share(plan, producer, consumer)
        self._value = 0

    def signal(self, stream: Stream) -> int:
        """See :class:`interop.sync.ToProducer`."""
        value = self._value + 1
        self._external.signal(stream, None if self._binary else value)
        self._value = value
        return value

    def rescue(self) -> None:
        """Signal from the host what the queue still waits for; a binary semaphore only its consumer can signal."""
        if not self._binary and self.semaphore.counter() < self._value:
            self.semaphore.signal_host(self._value)

    def close(self) -> None:
        """See :class:`interop.sync.ToProducer`."""
        self._external.close()
        self.semaphore.close()
