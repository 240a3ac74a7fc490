"""Vulkan handles as callers give them: cffi objects, integers, ``ctypes`` values."""

from __future__ import annotations

from typing import Any

from interop.protocols import InvalidArgument
from interop_vulkan._driver import address, ffi


def as_handle(kind: str, given: object) -> Any:
    """Return ``given`` as a handle of ``kind``.

    ``given`` is an object of any cffi library, an integer, or an object with the integer as its attribute ``value``.
    Raises :class:`InvalidArgument` for anything else.
    """
    number = getattr(given, "value", given)
    wanted = ffi.typeof(kind)
    if isinstance(given, ffi.CData):
        found = ffi.typeof(given)
        if found.kind == "pointer" and found.cname not in (wanted.cname, "void *"):
            raise InvalidArgument(f"expected a {kind}, got {given!r}")
        number = address(given)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**64:
        raise InvalidArgument(f"expected a {kind} as an object of cffi or its address, got {given!r}")
    return ffi.cast(kind, number)
