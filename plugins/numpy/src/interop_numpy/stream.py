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
"""The longest timeout that ``Condition.wait`` takes, in seconds."""


def _error_of(error: Exception) -> DriverError:
    """Return the error that reports failed work."""
    function = HOLD if isinstance(error, _HoldFailed) else "NumPy stream"
    return DriverError(function, -1, type(error).__name__, str(error))


class _HoldFailed(RuntimeError):
    """A hold was released as failed."""


class _Worker:
    """The work of a stream's thread. Has no reference to the stream, whose end ends it.

    After work that raises, later work is dropped until the error has been reported, as in the queue of a driver.
    Notifications are never dropped, because callers wait for them.
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
        """Call ``work()`` in the thread after all earlier work."""
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
        self, callback: Callable[[int], None], value: int, failed: Callable[[int, InteropError], None] | None
    ) -> None:
        """Run a notification, with the error if earlier work has failed."""
        run_callback(callback, value, failed, None if self.error is None else _error_of(self.error))

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
        """End the thread after the work that it has. Open holds end as failed."""
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
    """A worker thread that runs functions in order.

    After work that raises, later work is dropped until :meth:`synchronize` has reported the error. Closing the stream
    ends the thread; so does dropping it, with a ``ResourceWarning``.
    """

    def __init__(self) -> None:
        worker = _Worker()
        super().__init__("NumPy stream", worker.end)
        self._worker = worker
        # A daemon, so that a hold that nobody releases does not keep the process from ending.
        self.native = threading.Thread(target=worker.run, name="interop-numpy", daemon=True)
        """The worker thread."""
        self.native.start()

    def enqueue(self, work: Callable[[], None]) -> None:
        """Call ``work()`` on the worker after all earlier work, unless that failed."""
        self._worker.put(partial(self._worker.unless_failed, work))

    def flush(self) -> None:
        """Do nothing: the worker starts at once."""

    def command_list(self) -> StandardCommandList:
        """Return a new, empty list of prepared calls for this stream."""
        self.check_open()
        return StandardCommandList(self)

    def synchronize(self, timeout: float) -> None:
        """Block until all work enqueued so far has ended.

        Raises:
            WaitTimeout: The work has not ended within ``timeout`` seconds.
            DriverError: The work failed; raised once.
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
            raise _error_of(error) from error

    def hold(self, value: int) -> None:
        """Enqueue a wait for :meth:`release` with ``value`` or more."""
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
        """Enqueue ``callback(value)`` on the worker after all earlier work, or ``failed`` if that failed."""
        self._worker.put(partial(self._worker.tell, callback, value, failed))

    def close(self) -> None:
        """End the worker. Open holds end as failed. A second call does nothing."""
        super().close()
        if threading.current_thread() is not self.native:
            self.native.join()
