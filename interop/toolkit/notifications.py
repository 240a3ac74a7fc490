"""Notifications that a stream owes to the host: each is made once and in order, whatever becomes of the work before it.

A driver calls back when it reaches a place in its queue. It reports some of the failures before that place, and may
not call at all after others. So the stream keeps a list of the calls that it owes. The driver's callback makes the
calls that are due; closing the stream makes those that are left.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from interop.protocols import ClosedError, InteropError

if TYPE_CHECKING:
    from collections.abc import Callable

    Callback: TypeAlias = Callable[[int], None]
    """Takes the value of a notification."""
    Failed: TypeAlias = Callable[[int, InteropError], None]
    """Takes the value of a notification, and what went wrong before it."""


HOLD = "hold"
"""The function that a :class:`DriverError` names when a hold was released as failed."""


def run_callback(callback: Callback, value: int, failed: Failed | None, failure: InteropError | None) -> None:
    """Call ``failed(value, failure)`` if both are given, else ``callback(value)``.

    An exception goes to ``threading.excepthook``: it must reach neither a driver nor the next notification.
    """
    try:
        if failure is not None and failed is not None:
            failed(value, failure)
        else:
            callback(value)
    except Exception:  # noqa: BLE001 - see above
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), None)))


@dataclass(slots=True)
class _Notification:
    number: int
    callback: Callback
    value: int
    failed: Failed | None
    held: int
    """Value of the last hold before it."""
    failure: InteropError | None = None


class Notifications:
    """The notifications that one stream owes. For any thread. Has no reference to the stream.

    Some drivers call back from several threads and keep no order between the calls. In an in-order queue a place
    that is reached means that all places before it are reached. So the first call makes all that are due.
    """

    def __init__(self, hold_failure: InteropError) -> None:
        """Report work behind a failed hold by ``hold_failure``, whose function is :data:`HOLD`."""
        self.hold_failure = hold_failure
        self.entering = threading.Lock()
        """Held from :meth:`add` until the driver's call has enqueued the notification: both have one order."""
        # Reentrant: a garbage collection inside may end the stream.
        self._calling, self._changing = threading.RLock(), threading.Condition()
        self._due: deque[_Notification] = deque()
        self._last = 0
        self._held = 0
        self._released = 0
        self._first_failed: int | None = None

    def holding(self, value: int) -> None:
        """Note a hold that is about to be enqueued. Notifications added later come after it."""
        with self._changing:
            self._held = max(self._held, value)

    def releasing(self, value: int, *, failed: bool) -> None:
        """Note that the holds up to ``value`` are about to end. Call this before the driver's call."""
        with self._changing:
            if failed and value > self._released and self._first_failed is None:
                self._first_failed = self._released + 1
            self._released = max(self._released, value)

    @property
    def hold_failed(self) -> bool:
        """Whether a hold that was enqueued has been released as failed, and :meth:`reported` was not called since."""
        with self._changing:
            return self._first_failed is not None and self._first_failed <= self._held

    def reported(self) -> None:
        """Note that ``synchronize`` has reported the failed holds. Notifications added later do not report them."""
        with self._changing:
            for each in self._due:
                each.failure = each.failure or self._behind(each)
            self._first_failed = None

    def _behind(self, notification: _Notification) -> InteropError | None:
        first = self._first_failed
        return self.hold_failure if first is not None and first <= notification.held else None

    def add(self, callback: Callback, value: int, failed: Failed | None) -> int:
        """Add a notification and return its number, for :meth:`reached`."""
        with self._changing:
            self._last += 1
            self._due.append(_Notification(self._last, callback, value, failed, self._held))
            return self._last

    def withdraw(self, number: int) -> None:
        """Remove the last notification, because the driver refused to enqueue it."""
        with self._changing:
            if self._due and self._due[-1].number == number:
                self._due.pop()

    def reached(self, number: int, failure: InteropError | None = None) -> None:
        """Make the calls up to ``number``.

        Args:
            number: What :meth:`add` returned for the place that the stream has reached.
            failure: The driver's error of the work before that place.
        """
        with self._calling:
            while True:
                with self._changing:
                    if not self._due or self._due[0].number > number:
                        return
                    due = self._due.popleft()
                    found = failure or due.failure or self._behind(due)
                    self._changing.notify_all()
                run_callback(due.callback, due.value, due.failed, found)

    def settle(self, timeout: float) -> bool:
        """Block until no notification is left; return False after ``timeout`` seconds."""
        with self._changing:
            return self._changing.wait_for(lambda: not self._due, timeout)

    def end(self) -> None:
        """Make the calls that are left. Their stream is closed, and the driver will not reach them any more."""
        self.reached(self._last, ClosedError("the stream was closed before it reached this notification"))
