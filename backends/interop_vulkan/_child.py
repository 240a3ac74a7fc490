"""Objects of a device: closed once, and destroyed when no submitted work uses them."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from interop.toolkit import Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_vulkan._context import Context

_serials = itertools.count()


class Child(Resource):
    """An object of a device. The caller closes it, or the context does.

    Closing hands ``destroy`` to :meth:`Context.retire`. A child that is dropped unclosed causes a ``ResourceWarning``.
    """

    def __init__(self, context: Context, what: str, destroy: Callable[[], None], pin: Any = None) -> None:
        """``pin`` delays destruction until it has been collected."""
        super().__init__(f"{what} on {context.info.name}", context.retire, destroy, pin)
        self.context = context
        self.serial = next(_serials)
        """Number of this object, never used again."""
        self._dependents: weakref.WeakSet[Dependent] = weakref.WeakSet()
        context.children.add(self)

    @property
    def what(self) -> str:
        """Name of the object in messages."""
        return self._what

    def add_dependent(self, dependent: Dependent) -> None:
        """Call ``dependent.forget`` when this object is closed. The reference is weak."""
        self._dependents.add(dependent)

    def close(self) -> None:
        """Destroy the object as soon as no submitted work uses it. A second call does nothing."""
        if self.alive:
            self.alive = False
            for dependent in list(self._dependents):
                dependent.forget(self)
        super().close()


class Dependent(Protocol):
    """An object prepared with children. It must not use a closed one."""

    def forget(self, child: Child) -> None:
        """Take note that ``child`` was closed."""
        ...
