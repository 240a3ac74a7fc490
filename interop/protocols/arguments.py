"""Conversion of arguments: enumerations by value (``"opaque_fd"`` for ``HandleType.OPAQUE_FD``), any integers."""

from __future__ import annotations

import enum
from operator import index
from typing import Literal, TypeAlias, TypeVar

from interop.protocols.errors import InvalidArgument
from interop.protocols.formats import Tiling
from interop.protocols.handles import HandleType
from interop.protocols.semaphores import SemaphoreKind

HandleTypeLike: TypeAlias = (
    HandleType
    | Literal["opaque_fd", "dma_buf", "sync_fd", "opaque_win32", "opaque_win32_kmt", "host_allocation"]
)
"""A handle type or its value."""
SemaphoreKindLike: TypeAlias = SemaphoreKind | Literal["binary", "timeline"]
"""A semaphore kind or its value."""
TilingLike: TypeAlias = Tiling | Literal["optimal", "linear"]
"""A tiling or its value."""

_Choice = TypeVar("_Choice", bound=enum.StrEnum)


def as_choice(choices: type[_Choice], given: object, argument: str) -> _Choice:
    """Return the member of an enumeration that ``given`` is, or whose value it is.

    Args:
        choices: The enumeration.
        given: A member, or its value as a ``str``.
        argument: Name of the caller's argument, for the error.

    Raises:
        InvalidArgument: ``given`` is no member and no value of one; the message lists the values.
    """
    if isinstance(given, choices):
        return given
    for each in choices:
        if each == given:
            return each
    names = ", ".join(repr(each.value) for each in choices)
    raise InvalidArgument(f"{argument} must be one of {names}, got {given!r}")


def as_integer(given: object, argument: str) -> int:
    """Return ``given`` as an ``int``: an ``int``, a NumPy integer, or anything else with ``__index__``.

    Args:
        given: The integer.
        argument: Name of the caller's argument, for the error.

    Raises:
        InvalidArgument: ``given`` is no integer.
    """
    try:
        return index(given)  # type: ignore[arg-type]  # the TypeError is what is asked for
    except TypeError:
        raise InvalidArgument(f"{argument} must be an integer, got {given!r}") from None
