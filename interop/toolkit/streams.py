"""Streams: what the streams of all APIs do in the same way, and streams whose work is done when it is enqueued."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NoReturn

from interop.protocols import DriverError, InvalidArgument, Unsupported, WaitTimeout
from interop.toolkit.command_list import StandardCommandList
from interop.toolkit.gates import ALL_HOLDS
from interop.toolkit.notifications import HOLD, Notifications
from interop.toolkit.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import InteropError
    from interop.toolkit.gates import Gate


class StreamBase(Resource, ABC):
    """A stream that a gate holds and that calls the host back. Any thread may use it; calls run as they arrive.

    Fulfils :class:`interop.protocols.Stream` but for ``native``.
    """

    __slots__ = ("_gate", "_parked", "notifications")

    def __init__(
        self,
        what: str,
        gate: Gate,
        notifications: Notifications,
        parked: list[object],
        release: Callable[..., None],
        *args: object,
    ) -> None:
        """Take ownership of a stream of the API.

        Args:
            what: Name of the stream in messages.
            gate: Holds the stream.
            notifications: Calls that the stream owes to the host.
            parked: Receives what a copy after its timeout still uses; ``release`` must free it last.
            release: Called once with ``args``; see :class:`interop.toolkit.Resource`.
            *args: Arguments of ``release``.
        """
        super().__init__(what, release, *args)
        self._gate = gate
        self._parked = parked
        self.notifications = notifications

    def prepare_thread(self) -> None:
        """Prepare the calling thread for calls that enqueue."""
        self.check_open()

    def flush(self) -> None:
        """Do nothing: the API submits enqueued work by itself."""
        self.check_open()

    def command_list(self) -> StandardCommandList:
        """Return a new, empty list of prepared calls for this stream."""
        self.check_open()
        return StandardCommandList(self)  # type: ignore[arg-type]  # a derived class adds native

    def synchronize(self, timeout: float) -> None:
        """Block until all work that was enqueued before this call has ended.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            WaitTimeout: The work has not ended in time.
            DriverError: The work failed; or, once, a hold was released as failed.
        """
        self.check_open()
        self.drain(timeout)
        if self.notifications.hold_failed:
            self.notifications.reported()
            raise self.notifications.hold_failure.with_traceback(None)

    @abstractmethod
    def drain(self, timeout: float) -> None:
        """Block until all enqueued work has ended; raise :class:`WaitTimeout` after ``timeout`` seconds."""

    def hold(self, value: int) -> None:
        """Enqueue a wait for :meth:`release`. Returns immediately.

        Args:
            value: Holds count up from 1, in the order in which they are enqueued.
        """
        if not 1 <= value < ALL_HOLDS:
            raise InvalidArgument(f"the value of a hold must be from 1 to 2**63 - 2, got {value}")
        self.prepare_thread()
        self.notifications.holding(value)
        self._gate.hold(value)

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value``; a smaller value than before changes nothing. Any thread.

        Args:
            value: Value of the last hold to end.
            failed: What the holds waited for did not happen. Drivers cannot drop enqueued work, so it runs on data
                that is not ready, and the next :meth:`synchronize` raises.
        """
        self.check_open()
        self.notifications.releasing(value, failed=failed)
        self._gate.release(value, failed=failed)

    def notify(
        self,
        callback: Callable[[int], None],
        value: int,
        *,
        failed: Callable[[int, InteropError], None] | None = None,
    ) -> None:
        """Enqueue ``callback(value)`` on a thread of the driver, after all earlier work.

        Args:
            callback: Must be short, must not raise and must not call the API.
            value: Argument of ``callback``.
            failed: Called in place of ``callback`` if that work failed, behind a hold that was released as failed,
                and by :meth:`close` for notifications that the driver does not reach any more.

        Raises:
            DriverError: Nothing was enqueued and nothing will be called.
        """
        self.prepare_thread()
        owed = self.notifications
        with owed.entering:
            number = owed.add(callback, value, failed)
            try:
                self.enqueue_notification(number)
            except DriverError:
                owed.withdraw(number)
                raise

    @abstractmethod
    def enqueue_notification(self, number: int) -> None:
        """Have the driver call ``notifications.reached(number)`` after all earlier work."""

    def copy(self, enqueue: Callable[[], object], used: Callable[[], object], timeout: float) -> None:
        """Enqueue a copy between device and host and block until it is done.

        Args:
            enqueue: Enqueues the copy.
            used: Returns what the copy uses. Called when the copy does not end in time; the stream keeps the result.
            timeout: Seconds to wait at most.
        """
        deadline = time.monotonic() + timeout
        # Enqueueing a copy of pageable memory may block without bound while the stream is held. So the stream is
        # brought to rest first.
        self.synchronize(timeout)
        try:
            enqueue()
            self.synchronize(max(deadline - time.monotonic(), 0.0))
        except (WaitTimeout, KeyboardInterrupt):
            self.park(used())
            raise

    def park(self, used: object) -> None:
        """Keep what a copy in flight uses, until the stream is released."""
        self._parked.append(used)


def hold_failure(code: int, name: str) -> DriverError:
    """Return the error of work behind a hold that was released as failed, with a status of the API."""
    text = (
        "a hold before it was released as failed, so the work behind the hold ran on data that was not ready"
    )
    return DriverError(HOLD, code, name, text)


def _nothing() -> None:
    """Release nothing."""


_NOTHING_WAITS = "work is done when it is enqueued, so a stream cannot be held"


class EagerStream(Resource):
    """A stream of an API whose work is done when it is enqueued. Fulfils :class:`interop.protocols.Stream`.

    Leave ``stream_hold`` and ``stream_notify`` empty in the device's capabilities: links then use the blocking
    strategy.
    """

    native = None

    def __init__(self, what: str) -> None:
        super().__init__(what, _nothing)

    def flush(self) -> None:
        """Do nothing: no work is waiting."""
        self.check_open()

    def synchronize(self, timeout: float) -> None:  # noqa: ARG002 - all that was enqueued is done
        """Do nothing: all that was enqueued is done."""
        self.check_open()

    def command_list(self) -> StandardCommandList:
        """Return a new, empty list of prepared calls for this stream."""
        self.check_open()
        return StandardCommandList(self)

    def hold(self, value: int) -> NoReturn:
        """Raise :class:`Unsupported`."""
        raise Unsupported(f"hold {value}", _NOTHING_WAITS)

    def release(self, value: int, *, failed: bool = False) -> NoReturn:  # noqa: ARG002 - there is no hold
        """Raise :class:`Unsupported`."""
        raise Unsupported(f"release {value}", _NOTHING_WAITS)

    def notify(self, callback: object, value: int, *, failed: object = None) -> NoReturn:  # noqa: ARG002 - as above
        """Raise :class:`Unsupported`."""
        raise Unsupported(f"notification {value}", _NOTHING_WAITS)
