"""Native by ``sync_fd``: each hand-over has its own sync file, exported after the signal and imported to wait.

An export takes the signal back, so the semaphore may be signalled again without a wait of the other side. None of the
rules of a shared binary semaphore holds here. A later signal of the same queue or stream stands for every earlier one,
so only the last sync file is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.links.sync._blocking import HostToProducer
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
        Submission,
    )


class SyncFileToConsumer:
    """Each submission's signal is exported at once; the consumer's stream waits for the last one."""

    binary = None
    external_ready = None
    failure = None

    def __init__(self, producer: Producer, consumer: Consumer) -> None:
        self.ready: ProducerSemaphore = producer.create_semaphore(SemaphoreKind.BINARY, export=ONE_SHOT)
        self._import = consumer.import_semaphore
        self._given: tuple[Handle, SemaphoreDescriptor] | None = None
        self._taken: ExternalSemaphore | None = None
        self._submitted = 0

    def submit(self, submission: Submission, wait_value: int, *, signals: bool) -> tuple[int, int]:
        """See :class:`ToConsumer`. Raises the errors of the export; the next signal is then illegal."""
        progress = submission.submit(wait_value)
        self._submitted += 1
        if signals:
            given = self.ready.export_semaphore()
            self._forget()
            self._given = given
        return progress, self._submitted

    def wait(self, stream: Stream, value: int) -> int:  # noqa: ARG002 - the last signal stands for every value
        """See :class:`ToConsumer`. After an error the same signal can still be waited for."""
        if self._given is not None:
            handle, descriptor = self._given
            self._taken = self._import(handle, descriptor)
            self._given = None
        if self._taken is not None:
            self._taken.wait(stream)
            taken, self._taken = self._taken, None
            taken.close()
        return self._submitted

    def rescue(self) -> None:
        """Do nothing: a wait is enqueued only after the submission that signals it."""

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
        self.ready.close()


class SyncFileToProducer(HostToProducer):
    """The consumer's stream signals; the signal is exported and imported for the producer's next submission."""

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
            self.done = producer.create_importing_semaphore(ONE_SHOT)
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
                self.done.import_semaphore(handle, descriptor)
        except BaseException:
            self._drop()  # it may be signalled without an export, and must not be signalled again then
            raise
        return 0

    def _drop(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def rescue(self) -> None:
        """Do nothing: only the consumer's device can give a signal that was exported."""

    def close(self) -> None:
        """See :class:`ToProducer`."""
        self._drop()
        self.done.close()
