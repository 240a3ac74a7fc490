"""Calls that a stream owes the host: each is made once, in order, whatever becomes of the work before it. For backends.

A driver calls back when it reaches a place in its queue, tells more or less of what went wrong before it, and may
not call at all once something has. Whoever waits for a notification waits for ever then, so a stream keeps a list of
what it owes: the driver's callback takes the calls that are due off it, and closing the stream makes those that are
left.
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
"""The function that a :class:`DriverError` names which tells that a hold before it was released as failed."""


def tell(callback: Callback, value: int, failed: Failed | None, failure: InteropError | None) -> None:
    """Make one call: ``failed`` where there is one and something has failed, else ``callback``.

    An exception in it goes to ``threading.excepthook``: it must reach neither a driver nor the calls after it.
    """
    try:
        if failure is not None and failed is not None:
            failed(value, failure)
        else:
            callback(value)
    except Exception:  # noqa: BLE001 - see above
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), None)))


@dataclass(slots=True)
class _Call:
    number: int
    callback: Callback
    value: int
    failed: Failed | None
    held: int
    """The last hold before it."""
    failure: InteropError | None = None


class Notifications:
    """What one stream owes. Any thread. Knows nothing of the stream, whose end makes the calls that are left.

    Drivers that call back from several threads keep no order between them. But in an in-order queue a place that is
    reached says so of all before it, so whichever call comes first makes those that are due.
    """

    def __init__(self, hold_failure: InteropError) -> None:
        """``hold_failure`` is told of work behind a failed hold; it names :data:`HOLD`."""
        self.entering = threading.Lock()
        """To be held from :meth:`add` to the driver's call that enqueues it, so that both have one order."""
        # Reentrant: a garbage collection inside may end the stream.
        self._calling, self._changing = threading.RLock(), threading.Condition()
        self._due: deque[_Call] = deque()
        self._last = 0
        self._hold_failure = hold_failure
        self._held = 0
        self._released = 0
        self._first_failed: int | None = None

    def holding(self, value: int) -> None:
        """Note that a hold is about to be enqueued: what is added from now on comes after it."""
        with self._changing:
            self._held = max(self._held, value)

    def releasing(self, value: int, *, failed: bool) -> None:
        """Note that holds are about to end; to be called before the driver is told."""
        with self._changing:
            if failed and value > self._released and self._first_failed is None:
                self._first_failed = self._released + 1
            self._released = max(self._released, value)

    def reported(self) -> None:
        """Note that ``synchronize`` has told of the holds that failed: what is added from now on is not about them."""
        with self._changing:
            for call in self._due:
                call.failure = call.failure or self._behind(call)
            self._first_failed = None

    def _behind(self, call: _Call) -> InteropError | None:
        first = self._first_failed
        return self._hold_failure if first is not None and first <= call.held else None

    def add(self, callback: Callback, value: int, failed: Failed | None) -> int:
        """Owe a call from now on; returns its number, for :meth:`reached`."""
        with self._changing:
            self._last += 1
            self._due.append(_Call(self._last, callback, value, failed, self._held))
            return self._last

    def take_back(self, number: int) -> None:
        """Owe the last :meth:`add` no more: the driver refused it, and the caller is told."""
        with self._changing:
            if self._due and self._due[-1].number == number:
                self._due.pop()

    def reached(self, number: int, failure: InteropError | None = None) -> None:
        """Make the calls up to ``number``; ``failure`` is what the driver says of the work before it."""
        with self._calling:
            while True:
                with self._changing:
                    if not self._due or self._due[0].number > number:
                        return
                    call = self._due.popleft()
                    found = failure or call.failure or self._behind(call)
                    self._changing.notify_all()
                tell(call.callback, call.value, call.failed, found)

    def settle(self, timeout: float) -> bool:
        """Wait until nothing is owed; False when that takes longer than ``timeout`` seconds."""
        with self._changing:
            return self._changing.wait_for(lambda: not self._due, timeout)

    def end(self) -> None:
        """Make the calls that are left: their stream was closed, and the driver will not come to them any more."""
        self.reached(self._last, ClosedError("the stream was closed before it came to this notification"))
