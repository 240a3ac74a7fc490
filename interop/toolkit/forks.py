"""Forked processes: objects that were opened before a fork belong to the parent.

A child of ``os.fork`` has the memory of its parent's drivers and none of their threads; calls into them hang or
crash. So the child closes every link of the parent without calling a driver, releases nothing of the parent, and
refuses to connect if the parent had drivers open. ``os.register_at_fork`` does this; a turn checks nothing.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Protocol

from interop.protocols import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable


class Orphan(Protocol):
    """An object that a fork leaves without its drivers' threads."""

    def orphan(self, why: str) -> None:
        """Close the object in the child without calling a driver; ``why`` is the text of later errors."""


_generation = 0
_opened: int | None = None
_parent = 0
_links: weakref.WeakSet[Orphan] = weakref.WeakSet()
_first: list[Callable[[], None]] = []
_kept: list[object] = []
"""In a child, the links of the parent: kept, so that no finaliser calls a driver."""


def fork_generation() -> int:
    """Return the number of forks between the first process and this one."""
    return _generation


def check_connect() -> None:
    """Note that this process opens drivers. Raise :class:`Unsupported` if a parent did so before the fork."""
    global _opened  # noqa: PLW0603 - one per process, as the drivers are
    if _opened is not None and _opened != _generation:
        raise Unsupported(
            "connecting in a forked child",
            f"process {_parent} had opened its drivers before the fork, and their threads are not here; fork "
            "before connecting, or start children with multiprocessing's 'spawn' or 'forkserver'",
        )
    _opened = _generation


def first_in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Call ``function`` in every child that is forked from now on, before its links are closed."""
    _first.append(function)
    return function


def close_in_children(link: Orphan) -> None:
    """Close ``link`` in every child that is forked from now on."""
    _links.add(link)


def _in_child() -> None:
    global _generation, _parent  # noqa: PLW0603 - as above
    _generation += 1
    _parent = os.getppid()
    for function in _first:
        function()
    for link in list(_links):
        _kept.append(link)
        link.orphan(
            f"this link belongs to process {_parent}, from which this one was forked: use it there, or fork before "
            "connecting, or start children with multiprocessing's 'spawn' or 'forkserver'"
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
