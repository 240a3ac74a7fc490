"""Native by ``sync_fd``: each hand-over has a descriptor of its own, exported after the signal and imported to wait.

An export takes the signal back, so a semaphore that is signalled again needs no wait of the other side in between:
none of the rules that bind a shared binary semaphore holds here. What is handed over late is covered by a later
signal of the same queue or stream, so only the last descriptor is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import ONE_SHOT, ExportingConsumer, ImportingProducer, SemaphoreKind, Unsupported

if TYPE_CHECKING:
    from interop.protocols import (
        Consumer,
        ConsumerSemaphore,
        ExternalSemaphore,
        Handle,
        Producer,
        ProducerSemaphore,
        SemaphoreDescriptor,
        Stream,
    )


class OneShotToConsumer:
    """Each submission's signal is exported at once; the consumer's stream waits for the last one."""

    single_use = False
    unclaimed = False
    failure = None

    def __init__(self, producer: Producer, consumer: Consumer) -> None:
        self.semaphore: ProducerSemaphore = producer.create_semaphore(SemaphoreKind.BINARY, export=ONE_SHOT)
        self._import = consumer.import_semaphore
        self._given: tuple[Handle, SemaphoreDescriptor] | None = None
        self._taken: ExternalSemaphore | None = None
        self._points = 0

    def can_signal(self) -> bool:
        """Always: the export of the signal before has taken it back."""
        return True

    def next_value(self) -> int:
        """Binary semaphores have no value."""
        return 0

    def submitted(self, progress: int, *, signalled: bool) -> int:  # noqa: ARG002 - submissions are counted here
        """See :class:`ToConsumer`. Raises what the export raises; the next signal is then illegal."""
        self._points += 1
        if signalled:
            given = self.semaphore.export_semaphore()
            self._forget()
            self._given = given
        return self._points

    def returned(self) -> None:
        """Nothing hangs on it."""

    def wait(self, stream: Stream, point: int) -> int:  # noqa: ARG002 - the last signal covers every point
        """See :class:`ToConsumer`. After an error the same signal is there to be waited for still."""
        if self._given is not None:
            handle, descriptor = self._given
            self._taken = self._import(handle, descriptor)
            self._given = None
        if self._taken is not None:
            self._taken.wait(stream)
            taken, self._taken = self._taken, None
            taken.close()
        return self._points

    def rescue(self) -> None:
        """Nothing to do: a wait is only ever enqueued after the submission that signals it."""

    def _forget(self) -> None:
        given, self._given = self._given, None
        taken, self._taken = self._taken, None
        if given is not None:
            given[0].close()
        if taken is not None:
            taken.close()

    def close(self) -> None:
        """See :class:`ToConsumer`."""
        self._forget()
        self.semaphore.close()


class OneShotToProducer:
    """The consumer's stream signals; the signal is exported and imported for the producer's next submission."""

    single_use = False

    def __init__(self, producer: Producer, consumer: Consumer) -> None:
        if not isinstance(consumer, ExportingConsumer):
            raise Unsupported(
                f"exporting {ONE_SHOT}", f"the {consumer.device.backend} consumer has no create_semaphore"
            )
        if not isinstance(producer, ImportingProducer):
            reason = f"the {producer.device.backend} producer has no create_importing_semaphore"
            raise Unsupported(f"importing {ONE_SHOT}", reason)
        self._make = consumer.create_semaphore
        self._source: ConsumerSemaphore | None = self._create()
        try:
            self.semaphore = producer.create_importing_semaphore(ONE_SHOT)
        except BaseException:
            self._drop()
            raise

    def _create(self) -> ConsumerSemaphore:
        return self._make(SemaphoreKind.BINARY, export=ONE_SHOT)

    def signal(self, stream: Stream) -> int:
        """See :class:`ToProducer`."""
        if self._source is None:
            self._source = self._create()
        try:
            self._source.signal(stream)
            handle, descriptor = self._source.export_semaphore()
            with handle:
                self.semaphore.import_semaphore(handle, descriptor)
        except BaseException:
            self._drop()  # it may be signalled and not handed out, and then must not be signalled again
            raise
        return 0

    def _drop(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def rescue(self) -> None:
        """Nothing to do: a signal that was handed out can come from the consumer's device alone."""

    def close(self) -> None:
        """See :class:`ToProducer`."""
        self._drop()
        self.semaphore.close()
