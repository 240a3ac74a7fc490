"""Native: a semaphore that the producer exports and both drivers wait on and signal, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import SemaphoreKind, bare_signal, bare_wait

if TYPE_CHECKING:
    from interop.links.sync._directions import ToProducer
    from interop.negotiation import SyncPlan
    from interop.protocols import (
        BareCall,
        Consumer,
        ExternalSemaphore,
        Producer,
        ProducerSemaphore,
        Stream,
        Submission,
    )


def _share(
    plan: SyncPlan, producer: Producer, consumer: Consumer
) -> tuple[ProducerSemaphore, ExternalSemaphore]:
    """Make a semaphore on the producer and import it into the consumer; nothing stays behind on failure."""
    semaphore = producer.create_semaphore(plan.kind or SemaphoreKind.BINARY, export=plan.handle_type)
    try:
        handle, descriptor = semaphore.export_semaphore()
        with handle:
            return semaphore, consumer.import_semaphore(handle, descriptor)
    except BaseException:
        semaphore.close()
        raise


class TimelineToConsumer:
    """The producer signals a timeline, the consumer's stream waits for its value."""

    single_use = False
    unclaimed = False
    failure = None

    def __init__(self, plan: SyncPlan, producer: Producer, consumer: Consumer) -> None:
        self._external: ExternalSemaphore
        self.semaphore: ProducerSemaphore
        self.semaphore, self._external = _share(plan, producer, consumer)
        self._value = 0

    def can_signal(self) -> bool:
        """Always: each signal has a value of its own."""
        return True

    def next_value(self) -> int:
        """See :class:`ToConsumer`."""
        return self._value + 1

    def submitted(self, progress: int, *, signalled: bool) -> int:  # noqa: ARG002 - the semaphore counts itself
        """See :class:`ToConsumer`."""
        self._value += 1
        return self._value

    def returned(self) -> None:
        """Nothing hangs on it."""

    def wait(self, stream: Stream, point: int) -> int:
        """See :class:`ToConsumer`."""
        self._external.wait(stream, point)
        return point

    def bare(self, stream: Stream) -> BareCall | None:
        """Return the wait alone, which must be told the value."""
        return bare_wait(self._external, stream)

    def rescue(self) -> None:
        """Signal from the host what the consumer may still wait for."""
        if self.semaphore.counter() < self._value:
            self.semaphore.signal_host(self._value)

    def close(self) -> None:
        """See :class:`ToConsumer`."""
        self._external.close()
        self.semaphore.close()


class BinaryToConsumer:
    """The producer signals a binary semaphore, the consumer's stream waits for it.

    Two rules of binary semaphores shape this. A signal must find the semaphore unsignalled when it *runs*:
    the producer may signal again only after its queue has waited for something that the consumer's stream
    did after its last wait. And two queues must not wait for one semaphore at the same time: so an unused
    signal is never taken back by the producer, but always waited for by the consumer.
    """

    single_use = True
    failure = None

    def __init__(
        self, plan: SyncPlan, producer: Producer, consumer: Consumer, to_producer: ToProducer
    ) -> None:
        self._external: ExternalSemaphore
        self.semaphore: ProducerSemaphore
        self.semaphore, self._external = _share(plan, producer, consumer)
        self._to_producer = to_producer
        self._late: dict[bool, Submission] = {}
        self._producer = producer
        self.unclaimed = False
        self._free = True
        self._points = 0
        self._covered = 0

    def can_signal(self) -> bool:
        """Whether the semaphore will be unsignalled when the next submission runs."""
        return self._free and not self.unclaimed

    def next_value(self) -> int:
        """Binary semaphores have no value."""
        return 0

    def submitted(self, progress: int, *, signalled: bool) -> int:  # noqa: ARG002 - submissions are counted here
        """See :class:`ToConsumer`."""
        self._points += 1
        if signalled:
            self._covered = self._points
            self.unclaimed = True
            self._free = False
        return self._points

    def returned(self) -> None:
        """Every wait enqueued so far has run before the next submission runs."""
        self._free = True

    def wait(self, stream: Stream, point: int) -> int:
        """See :class:`ToConsumer`."""
        if self.unclaimed:
            self._external.wait(stream)
            self.unclaimed = False
        if self._covered < point:
            self._signal_late(stream)
            self._external.wait(stream)
        return self._covered

    def bare(self, stream: Stream) -> BareCall | None:
        """Return the wait for what a submission has signalled, where each one is waited for and none is late."""
        return bare_wait(self._external, stream)

    def _signal_late(self, stream: Stream) -> None:
        """Submit nothing but a signal, for turns that gave none; first make sure that it may be given."""
        value, waits = 0, not self._free
        if waits:
            value = self._to_producer.signal(stream)
        submission = self._late.get(waits)
        if submission is None:
            wait = self._to_producer.semaphore if waits else None
            submission = self._late[waits] = self._producer.prepare(wait=wait, signal=self.semaphore)
        submission.submit(value)
        self._covered = self._points
        self._free = False

    def rescue(self) -> None:
        """Nothing to do: a wait is only ever enqueued after the submission that signals it."""

    def close(self) -> None:
        """See :class:`ToConsumer`."""
        while self._late:
            self._late.popitem()[1].close()
        self._external.close()
        self.semaphore.close()


class NativeToProducer:
    """The consumer's stream signals, the producer's queue waits."""

    def __init__(self, plan: SyncPlan, producer: Producer, consumer: Consumer) -> None:
        self.single_use = plan.kind is SemaphoreKind.BINARY
        self._external: ExternalSemaphore
        self.semaphore: ProducerSemaphore
        self.semaphore, self._external = _share(plan, producer, consumer)
        self._value = 0

    def signal(self, stream: Stream) -> int:
        """See :class:`ToProducer`."""
        value = self._value + 1
        self._external.signal(stream, None if self.single_use else value)
        self._value = value
        return value

    def bare(self, stream: Stream) -> BareCall | None:
        """Return the signal alone; a timeline's must be told :meth:`next_value`, and :meth:`signalled` of it."""
        return bare_signal(self._external, stream)

    def next_value(self) -> int:
        """The value of the next signal."""
        return self._value + 1

    def signalled(self, value: int) -> int:
        """Record a signal that was enqueued; return its value."""
        self._value = value
        return value

    def rescue(self) -> None:
        """Signal from the host what the queue still waits for; a binary semaphore only its consumer can signal."""
        if not self.single_use and self.semaphore.counter() < self._value:
            self.semaphore.signal_host(self._value)

    def close(self) -> None:
        """See :class:`ToProducer`."""
        self._external.close()
        self.semaphore.close()
