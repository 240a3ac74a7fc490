"""What every object on a device has in common: it is closed once, and late enough."""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from interop.protocols import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_vulkan._context import Context


class Child:
    """Something that hangs on a context: closed once, by hand, by the context, or late by the collector."""

    def __init__(self, context: Context, what: str, destroy: Callable[[], None]) -> None:
        self.context = context
        self.what = what
        self._destroy = weakref.finalize(self, _drop_child, context, what, destroy)
        self._destroy.atexit = False
        self._dependents: weakref.WeakSet[Dependent] = weakref.WeakSet()
        self.alive = True
        """Whether it was not closed; an attribute, because each turn looks at several."""
        self.serial = context.adopt(self)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return not self.alive

    def check_open(self) -> None:
        """Raise :class:`ClosedError` after close."""
        if not self.alive:
            msg = f"the {self.what} is closed"
            raise ClosedError(msg)

    def add_dependent(self, dependent: Dependent) -> None:
        """Have ``dependent`` told when this is closed."""
        self._dependents.add(dependent)

    def close(self) -> None:
        """Free it as soon as no submitted work can use it. A second call does nothing."""
        self._close(None)

    def _close(self, pin: Any) -> None:
        self.alive = False
        detached = self._destroy.detach()
        if detached is None:
            return
        for dependent in list(self._dependents):
            dependent.forget(self)
        self.context.retire(detached[2][2], pin)


class Dependent(Protocol):
    """Something prepared with children that must not be used once one of them is closed."""

    def forget(self, child: Child) -> None:
        """Take note that ``child`` has been closed."""
        ...


def _drop_child(context: Context, what: str, destroy: Callable[[], None]) -> None:
    if context.orphaned:
        return
    warnings.warn(f"unclosed {what} on {context.info.name}", ResourceWarning, stacklevel=2)
    context.retire(destroy)
