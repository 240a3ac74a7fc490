"""An in-order stream of work: one worker thread that takes calls from a queue."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from interop.errors import ClosedError, DriverError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = threading.TIMEOUT_MAX
"""What ``Condition.wait`` takes at most, in seconds."""


class HostStream:
    """A worker thread that does what it is given, one thing after the other.

    Work that raises ends what the stream does: later work is dropped until :meth:`synchronize` has reported
    the error, as it would be in the queue of a real driver. Notifications are never dropped, because somebody
    waits for them.
    """

    def __init__(self, name: str = "interop-numpy") -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()  # guards the fields below
        self._released = 0
        self._failed: list[range] = []  # of hold values
        self._enqueued = 0
        self._done = 0
        self._error: Exception | None = None
        self._closed = False
        # A daemon, so that a hold that nobody releases does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def native(self) -> threading.Thread:
        """The worker thread."""
        return self._thread

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def enqueue(self, work: Callable[[], None]) -> None:
        """Have ``work()`` called on the worker after all earlier work, unless that failed."""
        self._put(lambda: None if self._error is not None else work())

    def flush(self) -> None:
        """Do nothing: the worker starts at once."""

    def synchronize(self, timeout: float) -> None:
        """Block until everything enqueued so far is done.

        Raises :class:`WaitTimeout` after ``timeout`` seconds, and :class:`DriverError` once for failed work.
        """
        with self._changed:
            self._check_open()
            target = self._enqueued
            limit = min(timeout, _LONGEST)
            if not self._changed.wait_for(lambda: self._done >= target, limit):
                raise WaitTimeout(f"{target - self._done} pieces of work on a NumPy stream", timeout)
            error, self._error = self._error, None
        if error is not None:
            raise DriverError("NumPy stream", -1, type(error).__name__, str(error)) from error

    def hold(self, value: int) -> None:
        """Have the worker wait until :meth:`release` was called with ``value`` or more."""

        def wait() -> None:
            with self._changed:
                self._changed.wait_for(lambda: self._released >= value)
                if self._error is None and any(value in values for values in self._failed):
                    self._error = RuntimeError(f"what hold {value} waited for has failed")

        self._put(wait)

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value``; if ``failed``, the work behind them is dropped. Any thread."""
        with self._changed:
            if (
                failed
            ):  # not those that were released before in good order and that the worker has yet to reach
                self._failed.append(range(self._released + 1, value + 1))
            self._released = max(self._released, value)
            self._changed.notify_all()

    def notify(self, callback: Callable[[int], None], value: int) -> None:
        """Have ``callback(value)`` called on the worker after all earlier work, even if that failed."""
        self._put(lambda: callback(value))

    def close(self) -> None:
        """End the worker. Holds that nobody released end as failed. A second call does nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
        self.release(2**64, failed=True)
        self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _put(self, work: Callable[[], None]) -> None:
        with self._changed:
            self._check_open()
            self._enqueued += 1
            self._queue.put(work)  # inside the lock: the count must agree with the queue's order

    def _check_open(self) -> None:
        if self._closed:
            msg = "this NumPy stream was closed"
            raise ClosedError(msg)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            error: Exception | None = None
            try:
                work()
            except Exception as raised:  # noqa: BLE001 - reported by synchronize()
                error = raised
            # Let go of what the work held before saying that it is done.
            del work
            with self._changed:
                self._error = self._error or error
                self._done += 1
                self._changed.notify_all()
            del error
