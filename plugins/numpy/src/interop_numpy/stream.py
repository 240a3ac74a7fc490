"""An in-order stream of work: one worker thread that takes calls from a queue."""

from __future__ import annotations

import queue
import threading
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import ClosedError, DriverError, WaitTimeout
from interop.toolkit import HOLD, Resource, StandardCommandList, run_callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import InteropError

_LONGEST = threading.TIMEOUT_MAX
"""What ``Condition.wait`` takes at most, in seconds."""


def _told(error: Exception) -> DriverError:
    """Return what is raised for work that has failed."""
    function = HOLD if isinstance(error, _HoldFailed) else "NumPy stream"
    return DriverError(function, -1, type(error).__name__, str(error))


class _HoldFailed(RuntimeError):
    """What a hold waited for will not come."""


class _Worker:
    """What the thread of a stream works on. Knows nothing of the stream, which may be dropped and then ends it.

    Work that raises ends what the stream does: later work is dropped until the error has been reported, as it
    would be in the queue of a real driver. Notifications are never dropped, because somebody waits for them.
    """

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Guards the fields below. Reentrant: a garbage collection inside may drop the stream and so end this.
        self.changed = threading.Condition()
        self.released = 0
        self.failed: list[range] = []  # of hold values
        self.enqueued = 0
        self.done = 0
        self.error: Exception | None = None
        self.ended = False

    def put(self, work: Callable[[], None]) -> None:
        """Have the thread call this after all earlier work."""
        with self.changed:
            if self.ended:
                raise ClosedError("this NumPy stream was closed")
            self.enqueued += 1
            self.queue.put(work)  # inside the lock: the count must agree with the queue's order

    def unless_failed(self, work: Callable[[], None]) -> None:
        """Do a piece of work, unless an earlier one has failed."""
        if self.error is None:
            work()

    def tell(
        self,
        callback: Callable[[int], None],
        value: int,
        failed: Callable[[int, InteropError], None] | None,
    ) -> None:
        """Call the host, with the error where an earlier piece of work has failed."""
        run_callback(callback, value, failed, None if self.error is None else _told(self.error))

    def wait(self, value: int) -> None:
        """Wait until :meth:`release` was called with ``value`` or more."""
        with self.changed:
            self.changed.wait_for(lambda: self.released >= value)
            if self.error is None and any(value in values for values in self.failed):
                self.error = _HoldFailed(f"what hold {value} waited for has failed")

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every :meth:`wait` up to ``value``."""
        with self.changed:
            # Not the holds that were released before as good and that the worker has yet to reach.
            if failed:
                self.failed.append(range(self.released + 1, value + 1))
            self.released = max(self.released, value)
            self.changed.notify_all()

    def end(self) -> None:
        """Have the thread end after the work that it has. Holds that nobody released end as failed."""
        with self.changed:
            self.ended = True
        self.release(2**64, failed=True)
        self.queue.put(None)

    def run(self) -> None:
        """Be the thread."""
        while (work := self.queue.get()) is not None:
            error: Exception | None = None
            try:
                work()
            except Exception as raised:  # noqa: BLE001 - reported by synchronize()
                error = raised
            # Let go of what the work held before saying that it is done.
            del work
            with self.changed:
                self.error = self.error or error
                self.done += 1
                self.changed.notify_all()
            del error


class HostStream(Resource):
    """A worker thread that does what it is given, one thing after the other.

    Work that raises ends what the stream does: later work is dropped until :meth:`synchronize` has reported
    the error. Closing ends the thread; so does dropping, with a ``ResourceWarning``.
    """

    def __init__(self, name: str = "interop-numpy") -> None:
        worker = _Worker()
        super().__init__("NumPy stream", worker.end)
        self._worker = worker
        # A daemon, so that a hold that nobody releases does not keep the process from ending.
        self._thread = threading.Thread(target=worker.run, name=name, daemon=True)
        self._thread.start()

    @property
    def native(self) -> threading.Thread:
        """The worker thread."""
        return self._thread

    def enqueue(self, work: Callable[[], None]) -> None:
        """Have ``work()`` called on the worker after all earlier work, unless that failed."""
        self._worker.put(partial(self._worker.unless_failed, work))

    def flush(self) -> None:
        """Do nothing: the worker starts at once."""

    def command_list(self) -> StandardCommandList:
        """Return a new, empty list of prepared calls for this stream."""
        self.check_open()
        return StandardCommandList(self)

    def synchronize(self, timeout: float) -> None:
        """Block until everything enqueued so far is done.

        Raises :class:`WaitTimeout` after ``timeout`` seconds, and :class:`DriverError` once for failed work.
        """
        self.check_open()
        worker = self._worker
        with worker.changed:
            target = worker.enqueued
            limit = min(timeout, _LONGEST)
            if not worker.changed.wait_for(lambda: worker.done >= target, limit):
                raise WaitTimeout(f"{target - worker.done} pieces of work on a NumPy stream", timeout)
            error, worker.error = worker.error, None
        if error is not None:
            raise _told(error) from error

    def hold(self, value: int) -> None:
        """Have the worker wait until :meth:`release` was called with ``value`` or more."""
        self._worker.put(partial(self._worker.wait, value))

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value``; if ``failed``, the work behind them is dropped. Any thread."""
        self._worker.release(value, failed=failed)

    def notify(
        self,
        callback: Callable[[int], None],
        value: int,
        *,
        failed: Callable[[int, InteropError], None] | None = None,
    ) -> None:
        """Have ``callback(value)`` called on the worker after all earlier work, or ``failed`` if that failed."""
        self._worker.put(partial(self._worker.tell, callback, value, failed))

    def close(self) -> None:
        """End the worker. Holds that nobody released end as failed. A second call does nothing."""
        super().close()
        if threading.current_thread() is not self._thread:
            self._thread.join()
