"""Checks around the methods of single objects of any backend.

A watched object gets a class derived from its own, with the same layout and no attributes. ``isinstance`` and the
backend's own functions accept it as before. Other objects of its class keep their speed.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from interop.protocols import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Around = Callable[..., Any]
    """Called as ``around(thing, original, *args, **kwargs)``. The caller of the method gets its result."""

_Thing = TypeVar("_Thing")
_Record = TypeVar("_Record")

_busy = threading.local()
_classes: dict[tuple[type, str], type] = {}


def watch(thing: _Thing, role: str, around: Mapping[str, Around]) -> _Thing:
    """Wrap the methods of ``thing`` that ``around`` names, and return ``thing``. Idempotent.

    ``role`` names the set of methods. Raises :class:`Unsupported` if the class cannot be derived from without a
    change of layout, for instance a class written in C.
    """
    cls: Any = type(thing)
    if cls.__dict__.get("_interop_role") == role:
        return thing
    made = _classes.get((cls, role))
    if made is None:
        body: dict[str, Any] = {"__slots__": (), "__module__": cls.__module__, "_interop_role": role}
        try:
            made = type(cls)(cls.__name__, (cls,), body)
        except TypeError as error:
            raise Unsupported(f"checking the use of {cls.__name__}", str(error)) from error
        for name, function in around.items():
            if callable(getattr(cls, name, None)):
                setattr(made, name, _method(made, name, function))
        _classes[cls, role] = made
    try:
        object.__setattr__(thing, "__class__", made)
    except TypeError as error:
        raise Unsupported(f"checking the use of {cls.__name__}", str(error)) from error
    return thing


def _method(made: type, name: str, function: Around) -> Around:
    def method(self: object, *args: object, **kwargs: object) -> object:
        original = getattr(super(made, self), name)
        inside: set[int] | None = getattr(_busy, "inside", None)
        if inside is None:
            inside = _busy.inside = set()
        key = id(self)
        if key in inside:  # the object calls its own method: an implementation detail, not a use
            return original(*args, **kwargs)
        inside.add(key)
        try:
            return function(self, original, *args, **kwargs)
        finally:
            inside.discard(key)

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
