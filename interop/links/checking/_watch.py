"""Checks around the methods of single objects of any backend.

A watched object gets a class derived from its own, with the same layout and no attributes. ``isinstance`` and the
backend's own functions accept it as before. Other objects of its class keep their speed.

The checks of one kind of object are a class whose functions have the names of the methods that they stand around. Each
is called as ``function(thing, original, *args, **kwargs)``. The caller of the method gets its result.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from interop.protocols import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., Any]

_Thing = TypeVar("_Thing")
_Record = TypeVar("_Record")

_inside: ContextVar[frozenset[int]] = ContextVar("inside", default=frozenset())
_classes: dict[tuple[type, type], type] = {}


def watch(thing: _Thing, checks: type) -> _Thing:
    """Wrap the methods of ``thing`` that ``checks`` has functions for, and return ``thing``. Idempotent.

    Raises :class:`Unsupported` if the class cannot be derived from without a change of layout, for instance a class
    written in C.
    """
    cls: Any = type(thing)
    if cls.__dict__.get("_interop_checks") is checks:
        return thing
    try:
        if (cls, checks) not in _classes:
            body = {"__slots__": (), "__module__": cls.__module__, "_interop_checks": checks}
            made = _classes[cls, checks] = type(cls)(cls.__name__, (cls,), body)
            for name, function in vars(checks).items():
                if callable(function) and callable(getattr(cls, name, None)):
                    setattr(made, name, _method(made, name, function))
        object.__setattr__(thing, "__class__", _classes[cls, checks])
    except TypeError as error:
        raise Unsupported(f"checking the use of {cls.__name__}", str(error)) from error
    return thing


def _method(made: type, name: str, function: Call) -> Call:
    def method(self: object, *args: object, **kwargs: object) -> object:
        original = getattr(super(made, self), name)
        inside = _inside.get()
        if id(self) in inside:  # the object calls its own method: an implementation detail, not a use
            return original(*args, **kwargs)
        token = _inside.set(inside | {id(self)})
        try:
            return function(self, original, *args, **kwargs)
        finally:
            _inside.reset(token)

    method.__name__ = name
    return method


class Records(Generic[_Record]):
    """Records of objects, by identity. A record is dropped with its object."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[weakref.ref[object], _Record]] = {}

    def put(self, thing: object, record: _Record) -> _Record:
        """Store ``record`` for ``thing``."""
        key = id(thing)
        found = self._found

        def gone(dead: weakref.ref[object]) -> None:
            if key in found and found[key][0] is dead:
                del found[key]

        found[key] = weakref.ref(thing, gone), record
        return record

    def get(self, thing: object) -> _Record | None:
        """Return the record of ``thing``, or None."""
        entry = self._found.get(id(thing))
        return entry[1] if entry is not None and entry[0]() is thing else None

    def __getitem__(self, thing: object) -> _Record:
        return self._found[id(thing)][1]
