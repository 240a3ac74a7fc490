"""The gates of a stream, numbered over all links that share it, and opened in the order of that number.

``Stream.release(value)`` opens every gate *up to* a value. So two links on one stream must share one count, and
neither may open a gate before all earlier gates are due.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queue import SimpleQueue

    from interop.protocols import Stream


class StreamGates:
    """The gates of one stream; :func:`gates_of` returns it. Any thread."""

    __slots__ = ("__weakref__", "_due", "_entering", "_last", "_opened", "_opening")

    def __init__(self) -> None:
        # Two locks: a driver whose queue is full blocks in ``hold`` until an earlier gate is opened.
        self._entering, self._opening = threading.Lock(), threading.Lock()
        self._last = 0
        self._opened = 0
        self._due: dict[int, bool] = {}

    def enqueue(self, stream: Stream, value: int, jobs: SimpleQueue[Any]) -> None:
        """Enqueue a gate on ``stream``, and put ``(stream, value, number)`` into ``jobs``.

        Where Ctrl-C is raised in the middle, the gate may be enqueued, so its job is put there all the same.

        Args:
            stream: The stream that waits.
            value: Timeline value at which the gate may be opened.
            jobs: The queue of the thread that calls :meth:`open` with the number.
        """
        with self._entering:
            number = self._last + 1
            try:
                stream.hold(number)
                self._last = number
                jobs.put((stream, value, number))
            except Exception:  # refused: the gate does not exist
                raise
            except BaseException:
                self._last = number
                jobs.put((stream, value, number))
                raise

    def open(self, stream: Stream, number: int, *, failed: bool) -> None:
        """Open a gate as soon as all earlier gates are due. The stream is in order, so this loses no time."""
        with self._opening:
            if number > self._opened:
                self._due[number] = failed
            while self._opened + 1 in self._due:
                self._opened += 1
                stream.release(self._opened, failed=self._due.pop(self._opened))


_of_streams: weakref.WeakKeyDictionary[Stream, StreamGates] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def gates_of(stream: Stream) -> StreamGates:
    """Return the gates of a stream, the same object for every link."""
    with _lock:
        return _of_streams.setdefault(stream, StreamGates())
