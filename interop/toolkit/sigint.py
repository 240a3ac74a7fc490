"""SIGINT deferred while a driver object is created or released."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Self


class Deferred:
    """``with Deferred():`` Python handles a SIGINT at the end of the block instead of inside it.

    For short blocks without a wait for a device. Does nothing in other threads than the main one, because Python
    raises no ``KeyboardInterrupt`` there, nor where SIGINT has no handler in Python. Blocks may be nested; the
    outermost one handles the signal.
    """

    __slots__ = ("_handler", "_seen")

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], Any] | None = None
        self._seen: tuple[int, FrameType | None] | None = None

    @property
    def pending(self) -> bool:
        """Whether a SIGINT has come in this block."""
        return self._seen is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = number, frame

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        handler, self._handler = self._handler, None
        if handler is None:
            return
        signal.signal(signal.SIGINT, handler)
        if self._seen is not None:
            handler(*self._seen)
