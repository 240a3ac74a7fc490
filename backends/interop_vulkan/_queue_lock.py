"""The lock of a queue that other code submits to as well."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

LOCK_TIMEOUT = 10.0
"""Seconds that a submission waits for the caller's lock of the queue."""


class QueueLock:
    """Guards an adopted queue: the caller's lock, then one's own. Taken in this order by every thread."""

    def __init__(self, theirs: Any) -> None:
        """Raises :class:`InvalidArgument` for what is neither lock, nor context manager, nor callable."""
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
            msg = f"lock takes a threading.Lock, a context manager or a callable that returns one, got {theirs!r}"
            raise InvalidArgument(msg)
        self._own = threading.Lock()
        self._open: Any = None

    def __enter__(self) -> None:
        """Take both. Raises :class:`WaitTimeout` when the caller's lock stays taken."""
        manager = None
        if self._manage is not None:
            manager = self._manage()
            manager.__enter__()
        elif self._acquire is not None and not self._acquire(timeout=LOCK_TIMEOUT):
            raise WaitTimeout("the lock of the adopted queue", LOCK_TIMEOUT)
        self._own.acquire()  # held by others for the length of one submission alone
        self._open = manager

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let both go."""
        manager, self._open = self._open, None
        self._own.release()
        if self._release is not None:
            self._release()
        else:
            manager.__exit__(None, None, None)
