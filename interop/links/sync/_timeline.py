"""Native timelines: the device waits for and signals values of a semaphore that both drivers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.links.sync.prepared import share, stream_call

if TYPE_CHECKING:
    from interop.negotiation import SyncPlan
    from interop.protocols import Consumer, Producer, Stream, Submission


class TimelineToConsumer:
    """The producer signals a timeline; the consumer's stream waits for the value."""

    binary = None
    failure = None

    def __init__(self, plan: SyncPlan, producer: Producer, consumer: Consumer) -> None:
        self.ready, self.external_ready = share(plan, producer, consumer)
        self._wait = stream_call(self.external_ready.prepare_wait)
        self._value = 0

    def submit(self, submission: Submission, wait_value: int, *, signals: bool) -> tuple[int, int]:  # noqa: ARG002 - always
        """See :class:`ToConsumer`."""
        value = self._value + 1
        progress = submission.submit(wait_value, value)
        self._value = value
        return progress, value

    def wait(self, stream: Stream, value: int) -> int:
        """See :class:`ToConsumer`."""
        self._wait(stream, value)
        return value

    def rescue(self) -> None:
        """Signal from the host the value for which the consumer may still wait."""
        if self.ready.counter() < self._value:
            self.ready.signal_host(self._value)

    def close(self) -> None:
        """See :class:`ToConsumer`."""
        self.external_ready.close()
        self.ready.close()


class TimelineToProducer:
    """The consumer's stream signals a timeline; the producer's queue waits for the value."""

    def __init__(self, plan: SyncPlan, producer: Producer, consumer: Consumer) -> None:
        self.done, self.external_done = share(plan, producer, consumer)
        self._signal = stream_call(self.external_done.prepare_signal)
        self._value = 0

    def signal(self, stream: Stream) -> int:
        """See :class:`ToProducer`."""
        value = self._value + 1
        self._signal(stream, value)
        self._value = value
        stream.flush()
        return value

    def next_value(self) -> int:
        """See :class:`ToProducer`."""
        self._value = value = self._value + 1
        return value

    def rescue(self) -> None:
        """Signal from the host the value for which the queue still waits."""
        if self.done.counter() < self._value:
            self.done.signal_host(self._value)

    def close(self) -> None:
        """See :class:`ToProducer`."""
        self.external_done.close()
        self.done.close()
