"""Objects of a driver that are released exactly once. For backends; users see ``close()``."""

from __future__ import annotations

import warnings
import weakref
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, ClassVar, TypeVar

from interop import forks
from interop.errors import ClosedError, InteropError

if TYPE_CHECKING:
    from collections.abc import Callable


def _dropped(born: int, what: str, release: Callable[..., None], *args: object) -> None:
    if born == forks.generation():
        warnings.warn(f"unclosed {what}", ResourceWarning, stacklevel=2)
        _given_up(born, what, release, *args)


def _given_up(born: int, what: str, release: Callable[..., None], *args: object) -> None:
    if born != forks.generation():  # a forked child's copy: the parent's own is the one to release
        return
    try:
        release(*args)
    except InteropError as error:
        warnings.warn(f"releasing {what} failed: {error}", ResourceWarning, stacklevel=2)


class Owned:
    """Something of a driver that is released exactly once: by ``close()``, or with a warning when dropped."""

    __slots__ = ("__weakref__", "_finalizer", "_what", "alive")

    may_be_dropped: ClassVar[bool] = False
    """Whether it needs no ``close()``, as a program of which only a kernel is kept: then there is no warning."""

    def __init__(self, what: str, release: Callable[..., None], *args: object) -> None:
        """Call ``release(*args)`` at the end. The arguments must not lead back to this object."""
        self._what = what
        end = _given_up if self.may_be_dropped else _dropped
        self._finalizer = weakref.finalize(self, end, forks.generation(), what, release, *args)
        self._finalizer.atexit = False
        self.alive = True
        """Whether it has not been released; an attribute, because each turn looks at several."""

    @property
    def closed(self) -> bool:
        """Whether it has been released."""
        return not self.alive

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once it has been released."""
        if not self.alive:
            msg = f"{self._what} was used after close()"
            raise ClosedError(msg)

    def close(self) -> None:
        """Release it. A second call does nothing, nor does one in a forked child: the parent has it."""
        self.alive = False
        found = self._finalizer.detach()
        if found is not None:
            _, _, (born, _, release, *args), _ = found
            if born == forks.generation():
                release(*args)


_Child = TypeVar("_Child", bound=Owned)


class Children:
    """What an opened device has made. Holds it weakly; closes what is left, last made first."""

    __slots__ = ("_alive", "_numbers")

    def __init__(self) -> None:
        self._alive: weakref.WeakValueDictionary[int, Owned] = weakref.WeakValueDictionary()
        self._numbers = count()

    def add(self, child: _Child) -> _Child:
        """Take note of ``child`` and return it."""
        self._alive[next(self._numbers)] = child
        return child

    def close(self) -> None:
        """Close all that are still open; one failure does not keep the others open."""
        with ExitStack() as every:
            for number in sorted(self._alive.keys()):
                child = self._alive.get(number)
                if child is not None:
                    every.callback(child.close)
        self._alive.clear()
