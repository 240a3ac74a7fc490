"""Gates: what holds a stream until the host opens them; and host functions, by which a stream calls the host."""

from __future__ import annotations

import ctypes
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
"""``CUhostFn``, ``hipHostFn_t``."""
ALL_HOLDS = 2**63 - 1
"""Above the value of every hold. Drivers compare 64-bit words cyclically with a sign."""


class Gate(Protocol):
    """Holds a stream until the host opens the gate."""

    def hold(self, value: int) -> None:
        """Enqueue a wait for the release of ``value``."""

    def release(self, value: int, *, failed: bool = False) -> None:
        """End the waits up to ``value``. A smaller value than before changes nothing."""

    def close(self) -> None:
        """Free the gate. No stream may wait on it any more."""


class WordGate(ABC):
    """A gate of words in pinned host memory, for which the stream waits by a memory operation."""

    def __init__(self) -> None:
        self._released = 0
        self._lock = threading.Lock()

    @abstractmethod
    def hold(self, value: int) -> None:
        """Enqueue a wait for the release of ``value``."""

    def release(self, value: int, *, failed: bool = False) -> None:  # noqa: ARG002 - a driver drops no work
        """End the waits up to ``value``."""
        with self._lock:
            if value > self._released:
                self._released = value
                self.store(value)

    @abstractmethod
    def store(self, value: int) -> None:
        """Store what lets all holds up to ``value`` pass; :data:`ALL_HOLDS` for good."""

    @abstractmethod
    def close(self) -> None:
        """Free the words."""


class CallbackGate:
    """A gate of host functions that block, for devices that cannot wait for a word.

    Args of the constructor:
        enqueue: Has the stream call a function with a value, on a thread of the driver.
    """

    def __init__(self, enqueue: Callable[[Callable[[int], None], int], object]) -> None:
        self._enqueue = enqueue
        self._released = 0
        self._changed = threading.Condition()

    def hold(self, value: int) -> None:
        """Enqueue a host function that blocks until ``value`` is released."""
        self._enqueue(self._block, value)

    def _block(self, value: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._released >= value)

    def release(self, value: int, *, failed: bool = False) -> None:  # noqa: ARG002 - a driver drops no work
        """End the waits up to ``value``."""
        with self._changed:
            self._released = max(self._released, value)
            self._changed.notify_all()

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


class HostFunctions:
    """Calls from a stream to the host: one C function for all of them, and a queue of their Python functions."""

    def __init__(self, launch: Callable[..., int], check: Callable[[int], object], stream: int) -> None:
        """Call by ``launch(stream, function, data)``; ``check(status)`` raises the error of a status."""
        self._launch = launch
        self._check = check
        self._stream = stream
        self._pending: deque[tuple[Callable[[int], None], int]] = deque()
        self._lock = threading.Lock()
        pending = self._pending

        def run(_data: int | None) -> None:
            # A stream runs its host functions in order, so the first entry is the one meant. ctypes registers the
            # driver's thread with Python, and reports an exception instead of passing it to the driver.
            function, value = pending.popleft()
            function(value)

        self._function = HOST_FUNCTION(run)

    @property
    def idle(self) -> bool:
        """Whether the driver has made all calls."""
        return not self._pending

    def enqueue(self, function: Callable[[int], None], value: int) -> None:
        """Have ``function(value)`` called after all earlier work of the stream."""
        with self._lock:  # the queue and the stream must have the same order
            self._pending.append((function, value))
            code = self._launch(self._stream, self._function, None)
            if code:
                self._pending.pop()
        if code:
            self._check(code)
