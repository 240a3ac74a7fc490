"""Bridged: the producer's timeline stays in its API; the host relays between it and the consumer's stream.

Towards the consumer, a watcher thread waits for the timeline and opens a gate of the stream. Back, the stream calls the
host, which signals a timeline. The caller of a turn is never blocked.
"""

from __future__ import annotations

import queue
import time
import weakref
from typing import TYPE_CHECKING

from interop.links.sync._blocking import HostToConsumer, HostToProducer
from interop.links.sync._gates import StreamGates, gates_of
from interop.links.sync.relay import RelayThread
from interop.protocols import DriverError, InteropError, SemaphoreKind, WaitTimeout
from interop.toolkit import HOLD

if TYPE_CHECKING:
    from interop.protocols import Producer, ProducerSemaphore, Stream

_SLICE = 0.1  # seconds between looks at the stop flag while the producer works


class _Watcher:
    """The thread that waits for the producer's progress and opens gates.

    It holds no reference to its direction, so a direction that is dropped can end it.
    """

    def __init__(self, producer: Producer, timeout: float) -> None:
        self.progress = producer.progress
        self.failure: InteropError | None = None
        self.jobs: queue.SimpleQueue[tuple[Stream, int, int] | None] = queue.SimpleQueue()
        self.stopping = False
        self._who = f"{producer.device.backend} to finish a submission"
        self._timeout = timeout
        self.thread = RelayThread(target=self._watch, name="interop-bridge", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Make the thread end. Returns immediately."""
        self.stopping = True
        self.jobs.put(None)  # a second one is never read

    def _watch(self) -> None:
        while (job := self.jobs.get()) is not None:
            stream, value, gate = job
            failed = True
            try:
                failed = not self._reached(value)
            except InteropError as error:
                self.failure = error
            finally:
                self._open(stream, gate, failed=failed)
            del job, stream  # the thread keeps no stream alive while it waits for the next job

    def _open(self, stream: Stream, gate: int, *, failed: bool) -> None:
        try:
            gates_of(stream).open(stream, gate, failed=failed)
        except InteropError as error:  # the thread goes on: the next gate that it opens opens this one too
            self.failure = self.failure or error

    def _reached(self, value: int) -> bool:
        deadline = time.monotonic() + self._timeout
        while not self.stopping and self.failure is None:
            if self.progress.wait_host(value, _SLICE):
                return True
            if time.monotonic() > deadline:
                self.failure = WaitTimeout(self._who, self._timeout)
        return False


class BridgedToConsumer(HostToConsumer):
    """A watcher thread opens a gate of the stream when the producer has finished."""

    def __init__(self, producer: Producer, timeout: float) -> None:
        # Started here, not at the first wait: a link has the same threads from its first frame to its last.
        self._watcher = _Watcher(producer, timeout)
        self._finalizer = weakref.finalize(self, self._watcher.stop)
        self._finalizer.atexit = False
        self._timeout = timeout
        self._stream: Stream | None = None
        self._gates = StreamGates()

    @property
    def failure(self) -> InteropError | None:
        """See :class:`ToConsumer`."""
        return self._watcher.failure

    def wait(self, stream: Stream, value: int) -> int:
        """See :class:`ToConsumer`."""
        watcher = self._watcher
        if watcher.failure is not None:
            raise watcher.failure
        if watcher.progress.counter() >= value:  # finished already: the stream needs no gate
            return value
        if stream is not self._stream:
            self._stream, self._gates = stream, gates_of(stream)
        self._gates.enqueue(stream, value, watcher.jobs)
        return value

    def rescue(self) -> None:
        """See :class:`ToConsumer`."""
        self._watcher.stopping = True

    def close(self) -> None:
        """See :class:`ToConsumer`."""
        self._finalizer()
        self._watcher.thread.join(self._timeout)


class BridgedToProducer(HostToProducer):
    """The consumer's stream calls the host, which signals a timeline for which the queue waits."""

    def __init__(self, producer: Producer) -> None:
        self.done: ProducerSemaphore = producer.create_semaphore(SemaphoreKind.TIMELINE)
        self._value = 0
        self._rescued = False
        self._failure: InteropError | None = None

    def signal(self, stream: Stream) -> int:
        """See :class:`ToProducer`. Raises the error that an earlier signal met on its own thread."""
        if self._failure is not None:
            raise self._failure
        value = self._value + 1
        stream.notify(self._relay, value, failed=self._relay_failure)
        self._value = value
        return value

    def _relay(self, value: int) -> None:
        if self._rescued:  # a late callback must not signal a value that rescue() has passed
            return
        try:
            self.done.signal_host(value)
        except InteropError as error:  # on a thread of the driver, where nobody would see it
            self._failure = error

    def _relay_failure(self, value: int, failure: InteropError) -> None:
        """Signal all the same: the queue must not hang for work that is never done. The next turn raises the error."""
        # The watcher knows why a gate failed, and raises it.
        if not (isinstance(failure, DriverError) and failure.function == HOLD):
            self._failure = self._failure or failure
        self._relay(value)

    def rescue(self) -> None:
        """See :class:`ToProducer`."""
        self._rescued = True
        if self.done.counter() < self._value:
            self.done.signal_host(self._value)

    def close(self) -> None:
        """See :class:`ToProducer`."""
        self.done.close()
