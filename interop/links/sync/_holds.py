"""The holds of a stream, numbered over all links that share it, and released in the order of that number.

A stream ends every hold *up to* a value. Two links on one stream must therefore neither count by themselves
nor release what comes before a hold of the other.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queue import SimpleQueue

    from interop.protocols import Stream


class Holds:
    """The holds of one stream; :func:`holds_of` returns it. Any thread."""

    __slots__ = ("__weakref__", "_done", "_entering", "_last", "_released", "_releasing")

    def __init__(self) -> None:
        # Two locks: a driver whose queue is full keeps a hold waiting until an earlier one is released.
        self._entering, self._releasing = threading.Lock(), threading.Lock()
        self._last = 0
        self._released = 0
        self._done: dict[int, bool] = {}

    def hold(self, stream: Stream, point: int, jobs: SimpleQueue[Any]) -> None:
        """Enqueue a hold on ``stream``, and put it into ``jobs`` with its number, which :meth:`release` takes.

        Where Ctrl-C is raised in the middle, the hold may have been enqueued, so it is put there all the same.
        """
        with self._entering:
            number = self._last + 1
            try:
                stream.hold(number)
                self._last = number
                jobs.put((stream, point, number))
            except Exception:  # refused: there is no such hold
                raise
            except BaseException:
                self._last = number
                jobs.put((stream, point, number))
                raise

    def release(self, stream: Stream, number: int, *, failed: bool) -> None:
        """End a hold, as soon as all earlier ones have ended: the stream is in order, so nothing is lost."""
        with self._releasing:
            if number > self._released:
                self._done[number] = failed
            while self._released + 1 in self._done:
                self._released += 1
                stream.release(self._released, failed=self._done.pop(self._released))


_of_streams: weakref.WeakKeyDictionary[Stream, Holds] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def holds_of(stream: Stream) -> Holds:
    """Return the holds of a stream, the same to everybody."""
    with _lock:
        return _of_streams.setdefault(stream, Holds())
