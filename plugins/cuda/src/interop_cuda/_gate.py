"""What a CUDA stream is held by, and how it calls the host: a pinned word and host functions."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from interop_cuda._abi import HOST_FUNCTION, HOST_PORTABLE_AND_MAPPED, WAIT_GREATER_OR_EQUAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_cuda._context import Context
    from interop_cuda._driver import Driver

WAIT_VALUE = "cuStreamWaitValue64"
HOST_FUNC = "cuLaunchHostFunc"

WAIT_SYMBOL = "cuStreamWaitValue64_v2"
_WORD = 8
_PAST_ALL = 2**63 - 1  # the comparison is signed and cyclic; holds stay below


class Callbacks:
    """Calls from the stream to the host: one C callback, and a queue of what it is to do."""

    def __init__(self, driver: Driver, stream: int) -> None:
        self._driver = driver
        self._launch = driver.raw(HOST_FUNC)
        self._stream = stream
        self._pending: deque[tuple[Callable[[int], None], int]] = deque()
        self._lock = threading.Lock()
        pending = self._pending

        def run(_user: int | None) -> None:
            # The stream runs host functions in order, so the first one waiting is the one meant. ctypes makes
            # the driver's thread known to Python, and reports an exception instead of letting it through.
            callback, value = pending.popleft()
            callback(value)

        self._function = HOST_FUNCTION(run)

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting to be called."""
        return not self._pending

    def enqueue(self, callback: Callable[[int], None], value: int) -> None:
        """Call ``callback(value)`` after all earlier work of the stream."""
        with self._lock:  # queue and stream must agree on the order
            self._pending.append((callback, value))
            code = self._launch(self._stream, self._function, None)
            if code:
                self._pending.pop()
        if code:
            self._driver.check(HOST_FUNC, code)


class Gate(Protocol):
    """What holds a stream until the host says go."""

    def hold(self, value: int) -> None:
        """Enqueue a wait until ``value`` has been released."""
        ...

    def release(self, value: int) -> None:
        """End the waits up to ``value``."""
        ...

    def open(self) -> None:
        """End every wait, for good."""
        ...

    def close(self) -> None:
        """Free what it is made of."""
        ...


class WordGate:
    """Holds by ``cuStreamWaitValue64`` on a word of pinned host memory. The context must be current."""

    def __init__(self, context: Context, stream: int) -> None:
        self._driver = context.driver
        self._stream = stream
        self._wait = self._driver.raw(WAIT_SYMBOL)
        self._base = self._driver.make("cuMemHostAlloc", _WORD, HOST_PORTABLE_AND_MAPPED)
        try:
            self._address = self._driver.make("cuMemHostGetDevicePointer_v2", self._base, 0)
        except BaseException:
            self.close()
            raise
        self._word = ctypes.c_uint64.from_address(self._base)
        self._word.value = 0
        self._released = 0
        self._lock = threading.Lock()

    def hold(self, value: int) -> None:
        """Enqueue a wait until ``value`` has been released."""
        code = self._wait(self._stream, self._address, value, WAIT_GREATER_OR_EQUAL)
        if code:
            self._driver.check(WAIT_VALUE, code)

    def release(self, value: int) -> None:
        """Store the word: one aligned 64-bit store, which the device sees whole."""
        with self._lock:
            if value > self._released:
                self._released = value
                self._word.value = value

    def open(self) -> None:
        """End every wait, for good."""
        with self._lock:
            self._released = self._word.value = _PAST_ALL

    def close(self) -> None:
        """Free the word. The stream must not wait on it any more."""
        self._driver.call("cuMemFreeHost", self._base)


class CallbackGate:
    """Holds by a host function that blocks until released; for devices without wait-value."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._released = 0
        self._changed = threading.Condition()

    def hold(self, value: int) -> None:
        """Enqueue a host function that blocks until ``value`` has been released."""
        self._callbacks.enqueue(self._block, value)

    def _block(self, value: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._released >= value)

    def release(self, value: int) -> None:
        """End the waits up to ``value``."""
        with self._changed:
            self._released = max(self._released, value)
            self._changed.notify_all()

    def open(self) -> None:
        """End every wait, for good."""
        self.release(_PAST_ALL)

    def close(self) -> None:
        """Nothing to free."""
