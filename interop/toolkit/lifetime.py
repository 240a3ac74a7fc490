"""Objects of a driver that are released exactly once. For backends; users see ``close()``."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar
from weakref import ref

from interop.protocols import ClosedError, InteropError
from interop.toolkit.forks import first_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    _End = tuple["ref[Owned] | None", str, bool, Callable[..., None], tuple[object, ...]]
    """What tells the end of an object, what it is, whether it may be dropped, and what releases it."""

_open: dict[int, _End] = {}
"""What is to be done at the end of each object that is open, by its ``id``.

Whoever takes an entry out does it: ``dict.pop`` is atomic, so that happens once, in whatever thread. It stands here
and not in the object, as in :func:`weakref.finalize`, of which this is the part that is needed: what a release needs
is then no garbage when the object is, and an object that was closed dies without a line of Python, in which a Ctrl-C
would be lost.
"""
_parents: list[dict[int, _End]] = []
"""What a forked child has from its parent: kept, so that nothing of it is released by a destructor."""


def _dropped(key: int, _: object) -> None:
    if sys.is_finalizing():  # the drivers may have gone
        return
    _, what, allowed, release, args = _open.pop(key, _DONE)
    if not allowed:
        warnings.warn(f"unclosed {what}", ResourceWarning, stacklevel=2)
    try:
        release(*args)
    except InteropError as error:
        warnings.warn(f"releasing {what} failed: {error}", ResourceWarning, stacklevel=2)


def _nothing() -> None:
    """Release what has been released, or is the parent's of a forked process."""


_DONE: _End = (None, "", True, _nothing, ())


@first_in_child
def _leave_to_parent() -> None:
    _parents.append(_open.copy())
    _open.clear()


class Owned:
    """Something of a driver that is released exactly once: by ``close()``, or with a warning when dropped."""

    __slots__ = ("__weakref__", "_what", "alive")

    may_be_dropped: ClassVar[bool] = False
    """Whether it needs no ``close()``, as a program of which only a kernel is kept: then there is no warning."""

    def __init__(self, what: str, release: Callable[..., None], *args: object) -> None:
        """Call ``release(*args)`` at the end. The arguments must not lead back to this object."""
        self._what = what
        key = id(self)
        _open[key] = ref(self, partial(_dropped, key)), what, self.may_be_dropped, release, args
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
        _, _, _, release, args = _open.pop(id(self), _DONE)
        release(*args)


def take_back(steps: Iterable[Callable[[], object]]) -> None:
    """Undo what was done before something failed, last first: call each step, even where another one fails.

    For what is made often: an :class:`contextlib.ExitStack` that is there from the start costs each success, too.
    """
    with ExitStack() as every:
        for step in steps:
            every.callback(step)


class Closable(Protocol):
    """What :class:`Children` close: ``close`` may be called twice."""

    def close(self) -> None:
        """Release it. A second call does nothing."""
        ...


_Child = TypeVar("_Child", bound=Closable)


class Children:
    """What an opened device has made. Holds it weakly; closes what is left, last made first."""

    __slots__ = ("_alive", "_numbers")

    def __init__(self) -> None:
        self._alive: dict[int, ref[Closable]] = {}
        self._numbers = count()

    def add(self, child: _Child) -> _Child:
        """Take note of ``child`` and return it."""
        number, alive = next(self._numbers), self._alive
        alive[number] = ref(child, partial(alive.pop, number))  # which is given the reference, as a default
        return child

    def close(self) -> None:
        """Close all that are still open; one failure does not keep the others open."""
        with ExitStack() as every:
            for weak in list(self._alive.values()):  # in the order in which they were added
                child = weak()
                if child is not None:
                    every.callback(child.close)
        self._alive.clear()
