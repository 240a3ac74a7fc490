"""The lock of an adopted queue, to which other code submits too."""

from __future__ import annotations

import threading
from typing import Any

from interop.protocols import InvalidArgument, WaitTimeout

LOCK_TIMEOUT = 10.0
"""Seconds that a submission waits for the caller's lock by default."""


class QueueLock:
    """Guards an adopted queue by two locks. Every thread takes the caller's lock first, then our own."""

    def __init__(self, theirs: Any, timeout: float = LOCK_TIMEOUT) -> None:
        """Raises :class:`InvalidArgument` if ``theirs`` is no lock, no context manager and no callable."""
        self._timed = hasattr(theirs, "acquire") and hasattr(theirs, "release")
        self._managed = hasattr(theirs, "__enter__")
        if not (self._timed or self._managed or callable(theirs)):
            msg = f"lock must be a threading.Lock, a context manager or a callable that returns one, got {theirs!r}"
            raise InvalidArgument(msg)
        self._theirs: Any = theirs
        self._timeout = timeout
        self._own = threading.Lock()
        self._open: Any = None

    def __enter__(self) -> None:
        """Acquire both locks. Raises :class:`WaitTimeout` if the caller's ``threading`` lock stays taken."""
        manager = None
        if not self._timed:
            manager = self._theirs if self._managed else self._theirs()
            manager.__enter__()
        elif not self._theirs.acquire(timeout=self._timeout):
            raise WaitTimeout("the lock of the adopted queue", self._timeout)
        self._own.acquire()  # other threads hold it for one submission only
        self._open = manager

    def __exit__(self, *_: object) -> None:
        """Release both locks."""
        manager, self._open = self._open, None
        self._own.release()
        if manager is None:
            self._theirs.release()
        else:
            manager.__exit__(None, None, None)
