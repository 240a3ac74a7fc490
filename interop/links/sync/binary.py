"""Native binary semaphores: one pair serves both directions.

Two rules of binary semaphores bind the directions together. A signal must find its semaphore unsignalled when it
*runs*, so the producer may signal again only after its queue has waited for a signal that the consumer's stream gave
after its own last wait. Two queues must not wait for one semaphore at the same time, so the producer never takes an
unused signal back; the consumer always waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.links.sync.prepared import share, stream_call

if TYPE_CHECKING:
    from interop.negotiation import Plan
    from interop.protocols import Consumer, Producer, Stream, Submission


class BinaryPair:
    """Two binary semaphores, one for each direction. Fulfils :class:`ToConsumer` and :class:`ToProducer`."""

    failure = None

    def __init__(self, plan: Plan, producer: Producer, consumer: Consumer, timeout: float) -> None:
        """Create and share both semaphores; nothing stays open on failure."""
        self.done, self.external_done = share(plan.to_producer, producer, consumer)
        try:
            self.ready, self.external_ready = share(plan.to_consumer, producer, consumer)
        except BaseException:
            self.external_done.close()
            self.done.close()
            raise
        self._wait = stream_call(self.external_ready.prepare_wait)
        self._signal = stream_call(self.external_done.prepare_signal)
        self._producer = producer
        self._timeout = timeout
        self._late: dict[bool, Submission] = {}
        self._unwaited = False
        """Whether a signal towards the consumer is out that no stream waits for."""
        self._free = True
        """Whether the producer's queue has waited for the consumer since its last signal."""
        self._returning = False
        """Whether the next submission waits for the consumer."""
        self._submitted = 0
        """Timeline value of the last submission: their number."""
        self._covered = 0
        """Newest timeline value that a signal stands for."""
        self._returned = 0
        """Timeline value of the last submission that waited for the consumer."""
        self._seen = 0
        """Newest timeline value for which the stream has waited."""

    @property
    def binary(self) -> BinaryPair:
        """See :class:`ToConsumer`."""
        return self

    def can_signal(self) -> bool:
        """Return whether the semaphore will be unsignalled when the next submission runs."""
        return self._free and not self._unwaited

    def before_return(self, stream: Stream) -> int:
        """Prepare a signal of the consumer, for which the next submission waits.

        The stream first waits for each signal that is still unused, and for the submission that used up the
        consumer's last signal.

        Returns:
            The newest timeline value that the stream now waits for.
        """
        if self._seen < self._returned:
            self.wait(stream, self._returned)
        if self._unwaited:
            self.wait(stream, self._seen)
        self._free = True
        self._returning = True
        return self._seen

    def submit(self, submission: Submission, wait_value: int, *, signals: bool) -> tuple[int, int]:
        """See :class:`ToConsumer`."""
        progress = submission.submit(wait_value)
        self._submitted = value = self._submitted + 1
        if self._returning:
            self._returning = False
            self._returned = value
        if signals:
            self._covered = value
            self._unwaited = True
            self._free = False
        return progress, value

    def wait(self, stream: Stream, value: int) -> int:
        """See :class:`ToConsumer`."""
        if self._unwaited:
            self._wait(stream)
            self._unwaited = False
        if self._covered < value:
            self._signal_late(stream)
            self._wait(stream)
        self._seen = self._covered
        return self._covered

    def waited(self, value: int) -> None:
        """Note that a command list waits for the signal of the submission ``value``."""
        self._unwaited = False
        self._seen = value

    def _signal_late(self, stream: Stream) -> None:
        """Submit nothing but a signal, for turns that gave none. First make sure that it may be given."""
        waits = not self._free
        if waits:
            self.signal(stream)
        submission = self._late.get(waits)
        if submission is None:
            submission = self._producer.prepare(
                wait=self.done if waits else None, signal=self.ready, timeout=self._timeout
            )
            self._late[waits] = submission
        submission.submit()
        self._covered = self._submitted
        self._free = False

    def signal(self, stream: Stream) -> int:
        """See :class:`ToProducer`."""
        self._signal(stream)
        stream.flush()
        return 0

    def next_value(self) -> int:
        """Binary semaphores have no value."""
        return 0

    def rescue(self) -> None:
        """Do nothing: a wait is enqueued only after the submission or the work that signals it."""

    def close(self) -> None:
        """See :class:`ToConsumer`."""
        while self._late:
            self._late.popitem()[1].close()
        for semaphore in (self.external_ready, self.ready, self.external_done, self.done):
            semaphore.close()
