"""Driver objects that are released exactly once, and the parent that closes what is left of them."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, ClassVar, NoReturn, Protocol, TypeVar
from weakref import finalize, ref

from interop.protocols import ClosedError, InteropError
from interop.toolkit.forks import first_in_child
from interop.toolkit.sigint import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

_open: dict[int, tuple[ref[Resource], str, bool, Callable[..., None], tuple[object, ...]]] = {}
"""The end of each open resource, by its ``id``: the weak reference to it, its name, whether it may be dropped, and its
release with arguments. The thread that pops an entry releases the resource, so once.

:func:`weakref.finalize` does the same in three times as many instructions, and an import makes two of them.
"""
_of_parent: list[object] = []
"""The entries of the parent, in a forked child: kept, so that no destructor calls a driver."""


@first_in_child
def _leave_to_parent() -> None:
    _of_parent.append(_open.copy())
    _open.clear()


def _release_dropped(key: int, _: object) -> None:
    if sys.is_finalizing() or key not in _open:
        return
    _, what, silent, release, args = _open.pop(key)
    if not silent:
        warnings.warn(f"unclosed {what}", ResourceWarning, stacklevel=2)
    try:
        release(*args)
    except InteropError as error:
        warnings.warn(f"releasing {what} failed: {error}", ResourceWarning, stacklevel=2)


class Resource:
    """A driver object that is released exactly once: by :meth:`close`, or with a warning when it is dropped.

    The release runs in any thread. A forked child never runs it, because the object belongs to the parent's
    driver. Nothing is released when the interpreter ends: the drivers may be unloaded by then.
    """

    __slots__ = ("__weakref__", "_what", "alive")

    may_be_dropped: ClassVar[bool] = False
    """Whether dropping the object without :meth:`close` is no mistake and causes no warning."""

    def __init__(self, what: str, release: Callable[..., None], *args: object) -> None:
        """Take ownership of a driver object.

        Args:
            what: Name of the object in messages.
            release: Called once as ``release(*args)``. Neither it nor its arguments may refer to this object.
            *args: Arguments of ``release``.
        """
        self._what = what
        key = id(self)
        _open[key] = ref(self, partial(_release_dropped, key)), what, self.may_be_dropped, release, args
        self.alive = True
        """False after :meth:`close`. An attribute instead of a property: each turn reads several of them."""

    @property
    def closed(self) -> bool:
        """Whether the object has been released."""
        return not self.alive

    def check_open(self) -> None:
        """Raise :class:`ClosedError` if the object has been released."""
        if not self.alive:
            self.raise_closed()

    def raise_closed(self) -> NoReturn:
        """Raise :class:`ClosedError`."""
        raise ClosedError(f"{self._what} was used after close()")

    def close(self) -> None:
        """Release the object. A second call does nothing, nor does a call in a forked child."""
        self.alive = False
        # Without an entry the object dies without a line of Python, in which a SIGINT would be lost.
        ended = _open.pop(id(self), None)
        if ended is not None:
            _, _, _, release, args = ended
            release(*args)

    def __enter__(self) -> Self:
        self.check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pin:
    """Keeps memory valid for an array library, until the library drops the pin."""

    __slots__ = ("__weakref__",)

    def __init__(self, drop: Callable[[], object]) -> None:
        """``drop()`` runs once, when the pin dies before the interpreter ends. It must raise nothing."""
        finalize(self, drop).atexit = False


_Made = TypeVar("_Made")
_Owner = TypeVar("_Owner")


def adopt(make: Callable[[], _Made], own: Callable[[_Made], _Owner]) -> _Owner:
    """Make a driver object and give it its owner, with SIGINT deferred until both are done.

    Args:
        make: Calls the driver. Must return soon: Ctrl-C has no effect meanwhile.
        own: Returns the owner, for instance a :class:`Resource`.
    """
    with Deferred():
        return own(make())


def undo_all(steps: Iterable[Callable[[], object]]) -> None:
    """Undo the steps of an operation that failed, last first. An exception in one step does not stop the others.

    For operations that run often: a :class:`contextlib.ExitStack` around them costs every success too.
    """
    with ExitStack() as every:
        for step in steps:
            every.callback(step)


class Closable(Protocol):
    """An object that :class:`Children` can close."""

    def close(self) -> None:
        """Release the object. A second call does nothing."""


_Child = TypeVar("_Child", bound=Closable)


class Children:
    """Weak references to the objects that a parent made. :meth:`close` closes those that are left, last made first."""

    __slots__ = ("_alive", "_numbers")

    def __init__(self) -> None:
        self._alive: dict[int, ref[Closable]] = {}
        self._numbers = count()

    def add(self, child: _Child) -> _Child:
        """Remember ``child`` and return it."""
        number, alive = next(self._numbers), self._alive
        alive[number] = ref(child, partial(alive.pop, number))  # pop gets the reference as its default
        return child

    def close(self) -> None:
        """Close all children that are still open. An error of one child does not stop the others."""
        with ExitStack() as every:
            for weak in list(self._alive.values()):  # in the order of add()
                child = weak()
                if child is not None:
                    every.callback(child.close)
        self._alive.clear()
