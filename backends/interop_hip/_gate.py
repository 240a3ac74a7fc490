"""What a HIP stream is held by, and how it calls the host: pinned words and host functions."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from interop_hip._driver import HOST_FUNCTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_hip._driver import Driver

WAIT_VALUE = "hipStreamWaitValue32"
HOST_FUNC = "hipLaunchHostFunc"

_GREATER_OR_EQUAL = 0
_ALL_BITS = 0xFFFFFFFF
_WORD = 4

SPAN = 1 << 30
"""Holds per lap of the two gate words; far below 2**31, where CUDA's cyclic comparison would turn over."""


class Callbacks:
    """Calls from the stream to the host: one C callback, and a queue of what it is to do."""

    def __init__(self, driver: Driver, stream: int) -> None:
        self._driver = driver
        self._stream = stream
        self._pending: deque[tuple[Callable[[int], None], int]] = deque()
        self._lock = threading.Lock()
        pending = self._pending

        def run(_user: int | None) -> None:
            # The stream runs host functions in order, so the first one waiting is the one meant. ctypes makes
            # the runtime's thread known to Python, and reports an exception instead of letting it through.
            callback, value = pending.popleft()
            callback(value)

        self._function = HOST_FUNCTION(run)

    def enqueue(self, callback: Callable[[int], None], value: int) -> None:
        """Call ``callback(value)`` after all earlier work of the stream."""
        launch = self._driver.raw(HOST_FUNC)
        with self._lock:  # queue and stream must agree on the order
            self._pending.append((callback, value))
            code = launch(self._stream, self._function, None)
            if code:
                self._pending.pop()
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


def gate_point(value: int) -> tuple[int, int]:
    """Return which of the two words hold ``value`` waits on, and for which number (1 to ``SPAN``).

    The words take turns, ``SPAN`` values each, so that 32 bits serve for ever.
    """
    lap, low = divmod(value - 1, SPAN)
    return lap % 2, low + 1


def gate_words(value: int) -> tuple[int, int]:
    """Return what the two words must hold once ``value`` has been released.

    The word whose lap is over lets all of its holds pass, and is set back half a lap later: long after the
    last of them, and long before the first of the lap after next.
    """
    index, number = gate_point(value)
    other = SPAN if number <= SPAN // 2 and value > SPAN else 0
    return (number, other) if index == 0 else (other, number)


class WordGate:
    """Holds by ``hipStreamWaitValue32`` on two words of pinned host memory."""

    def __init__(self, driver: Driver, device: int, stream: int) -> None:
        self._driver = driver
        self._device = device
        self._stream = stream
        self._wait = driver.raw(WAIT_VALUE)
        self._base = driver.create("hipHostMalloc", 2 * _WORD, 0)
        self._words = (ctypes.c_uint32 * 2).from_address(self._base)
        self._words[0] = self._words[1] = 0
        self._released = 0
        self._lock = threading.Lock()

    def hold(self, value: int) -> None:
        """Enqueue a wait until ``value`` has been released."""
        index, number = gate_point(value)
        code = self._wait(self._stream, self._base + index * _WORD, number, _GREATER_OR_EQUAL, _ALL_BITS)
        self._driver.check(WAIT_VALUE, code)

    def release(self, value: int) -> None:
        """Store the words; aligned 32-bit stores, which the device sees one by one and whole."""
        with self._lock:
            if value > self._released:
                self._released = value
                self._words[0], self._words[1] = gate_words(value)

    def open(self) -> None:
        """End every wait, for good."""
        with self._lock:
            self._words[0] = self._words[1] = SPAN

    def close(self) -> None:
        """Free the words. The stream must not wait on them any more."""
        self._driver.settle(self._device, "a stream's gate")  # hipHostFree waits for every stream
        self._driver.call("hipHostFree", self._base)


class CallbackGate:
    """Holds by a host function that blocks until released; for devices without wait-value."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._released = 0
        self._open = False
        self._changed = threading.Condition()

    def hold(self, value: int) -> None:
        """Enqueue a host function that blocks until ``value`` has been released."""
        self._callbacks.enqueue(self._block, value)

    def _block(self, value: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._released >= value)

    def release(self, value: int) -> None:
        """End the waits up to ``value``."""
        with self._changed:
            self._released = max(self._released, value)
            self._changed.notify_all()

    def open(self) -> None:
        """End every wait, for good."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing to free."""
