"""The lock of an adopted queue, to which other code submits too."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

LOCK_TIMEOUT = 10.0
"""Seconds that a submission waits for the caller's lock by default."""


class QueueLock:
    """Guards an adopted queue by two locks. Every thread takes the caller's lock first, then our own."""

    def __init__(self, theirs: Any, timeout: float = LOCK_TIMEOUT) -> None:
        """Raises :class:`InvalidArgument` if ``theirs`` is no lock, no context manager and no callable."""
        self._timeout = timeout
        self._acquire: Callable[..., bool] | None = None
        self._release: Callable[[], None] | None = None
        self._manage: Callable[[], Any] | None = None
        if hasattr(theirs, "acquire") and hasattr(theirs, "release"):
            self._acquire, self._release = theirs.acquire, theirs.release
        elif hasattr(theirs, "__enter__"):
            self._manage = lambda: theirs
        elif callable(theirs):
            self._manage = theirs
        else:
            msg = f"lock must be a threading.Lock, a context manager or a callable that returns one, got {theirs!r}"
            raise InvalidArgument(msg)
        self._own = threading.Lock()
        self._open: Any = None

    def __enter__(self) -> None:
        """Acquire both locks. Raises :class:`WaitTimeout` if the caller's ``threading`` lock stays taken."""
        manager = None
        if self._manage is not None:
            manager = self._manage()
            manager.__enter__()
        elif self._acquire is not None and not self._acquire(timeout=self._timeout):
            raise WaitTimeout("the lock of the adopted queue", self._timeout)
        self._own.acquire()  # other threads hold it for one submission only
        self._open = manager

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release both locks."""
        manager, self._open = self._open, None
        self._own.release()
        if self._release is not None:
            self._release()
        else:
            manager.__exit__(None, None, None)
