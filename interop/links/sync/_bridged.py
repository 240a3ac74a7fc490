"""Bridged: the producer's timeline never leaves it; the host relays between it and the consumer's stream.

Towards the consumer, a watcher thread waits for the timeline and releases a hold on the stream; back, the
stream calls the host, which signals a timeline. The caller of a turn is never blocked.
"""

from __future__ import annotations

import queue
import time
import weakref
from typing import TYPE_CHECKING

from interop.links.sync._holds import Holds, holds_of
from interop.links.sync.relay import RelayThread
from interop.protocols import DriverError, InteropError, SemaphoreKind, WaitTimeout
from interop.toolkit import HOLD

if TYPE_CHECKING:
    from interop.protocols import Producer, ProducerSemaphore, Stream

_SLICE = 0.1  # seconds between looks at the stop flag while the producer works


class _Watcher:
    """The thread that turns the producer's progress into releases of a stream.

    It knows nothing of the direction that it works for, which may be dropped and then ends it.
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
        """Have the thread end, without waiting for it."""
        self.stopping = True
        self.jobs.put(None)  # a second one is never read

    def _watch(self) -> None:
        while (job := self.jobs.get()) is not None:
            stream, point, hold = job
            failed = True
            try:
                failed = not self._reached(point)
            except InteropError as error:
                self.failure = error
            finally:
                self._release(stream, hold, failed=failed)
            del job, stream  # not until the next one comes

    def _release(self, stream: Stream, hold: int, *, failed: bool) -> None:
        try:
            holds_of(stream).release(stream, hold, failed=failed)
        except InteropError as error:  # the thread goes on: its next release lets go of this hold as well
            self.failure = self.failure or error

    def _reached(self, point: int) -> bool:
        deadline = time.monotonic() + self._timeout
        while not self.stopping and self.failure is None:
            if self.progress.wait_host(point, _SLICE):
                return True
            if time.monotonic() > deadline:
                self.failure = WaitTimeout(self._who, self._timeout)
        return False


class BridgedToConsumer:
    """A watcher thread turns the producer's progress into releases of the stream."""

    semaphore = None
    single_use = False
    unclaimed = False

    def __init__(self, producer: Producer, timeout: float) -> None:
        # Started here, not at the first wait: a link has the same threads from its first frame to its last.
        self._watcher = _Watcher(producer, timeout)
        self._finalizer = weakref.finalize(self, self._watcher.stop)
        self._finalizer.atexit = False
        self._stream: Stream | None = None
        self._holds = Holds()

    @property
    def failure(self) -> InteropError | None:
        """See :class:`ToConsumer`."""
        return self._watcher.failure

    def next_value(self) -> int:
        """See :class:`ToConsumer`."""
        return 0

    def can_signal(self) -> bool:
        """There is nothing to signal."""
        return False

    def submitted(self, progress: int, *, signalled: bool) -> int:  # noqa: ARG002 - progress is the point
        """See :class:`ToConsumer`."""
        return progress

    def returned(self) -> None:
        """Nothing hangs on it."""

    def wait(self, stream: Stream, point: int) -> int:
        """See :class:`ToConsumer`."""
        watcher = self._watcher
        if watcher.failure is not None:
            raise watcher.failure
        if watcher.progress.counter() >= point:  # nothing to wait for: spare the stream and the thread
            return point
        if stream is not self._stream:
            self._stream, self._holds = stream, holds_of(stream)
        self._holds.hold(stream, point, watcher.jobs)
        return point

    def rescue(self) -> None:
        """See :class:`ToConsumer`."""
        self._watcher.stopping = True

    def close(self) -> None:
        """See :class:`ToConsumer`."""
        self._finalizer()
        self._watcher.thread.join()


class BridgedToProducer:
    """The consumer's stream calls the host, which advances a timeline that the queue waits on."""

    single_use = False

    def __init__(self, producer: Producer) -> None:
        self.semaphore: ProducerSemaphore = producer.create_semaphore(SemaphoreKind.TIMELINE)
        self._value = 0
        self._rescued = False
        self._failure: InteropError | None = None

    def signal(self, stream: Stream) -> int:
        """See :class:`ToProducer`. Raises what an earlier signal failed with on its own thread."""
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
            self.semaphore.signal_host(value)
        except InteropError as error:  # on a thread of the driver, where nobody would see it
            self._failure = error

    def _relay_failure(self, value: int, failure: InteropError) -> None:
        """Let the producer go on, as its queue must not hang for work that will never be done; the next turn tells."""
        if not (
            isinstance(failure, DriverError) and failure.function == HOLD
        ):  # why, the watcher knows and raises
            self._failure = self._failure or failure
        self._relay(value)

    def rescue(self) -> None:
        """See :class:`ToProducer`."""
        self._rescued = True
        if self.semaphore.counter() < self._value:
            self.semaphore.signal_host(self._value)

    def close(self) -> None:
        """See :class:`ToProducer`."""
        self.semaphore.close()
