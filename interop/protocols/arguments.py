"""Checks of the arguments that callers pass: integers, choices and byte ranges."""

from __future__ import annotations

import enum
import operator
from typing import TYPE_CHECKING, TypeVar

from interop.protocols.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES = 2**63 - 1
"""Largest size or offset in bytes: NumPy and the drivers count in signed or unsigned 64-bit integers."""

_Choice = TypeVar("_Choice", bound=enum.Enum)


def as_integer(value: object, argument: str) -> int:
    """Return an integer argument as a Python `int`, which never overflows.

    Args:
        value: An `int`, a NumPy integer, or another object with `__index__`.
        argument: Name of the argument, for the error.

    Raises:
        InvalidArgument: The value is a bool or no integer.
    """
    if type(value) is int:
        return value
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]  # the error below is ours
        except TypeError:
            pass
    raise InvalidArgument(f"{argument} must be an integer, got {value!r}")


def as_choice(kind: type[_Choice], value: object, argument: str, *, among: Iterable[_Choice] = ()) -> _Choice:
    """Return the member of an enumeration that an argument names.

    Args:
        kind: The enumeration.
        value: A member of it, or the value of a member.
        argument: Name of the argument, for the error.
        among: The members that are allowed; by default all.

    Raises:
        InvalidArgument: The value names no member, or a member that is not allowed. The text lists the choices.
    """
    if isinstance(value, kind) and not among:
        return value
    allowed = tuple(among) or tuple(kind)
    try:
        member = kind(value)
    except ValueError:
        member = None
    if member is None or member not in allowed:
        choices = ", ".join(repr(each.value) for each in allowed)
        given = value.value if isinstance(value, enum.Enum) else value
        raise InvalidArgument(f"{argument} must be one of {choices}, got {given!r}")
    return member


def check_range(offset: int, size: int, total: int, *, alignment: int = 1) -> None:
    """Check that a byte range is not empty and lies within a buffer or an allocation.

    Args:
        offset: First byte of the range.
        size: Bytes of the range.
        total: Bytes that exist.
        alignment: Bytes of which `offset` must be a multiple.

    Raises:
        InvalidArgument: A number is no integer, the range is empty, misaligned or not within `total` bytes.
    """
    offset, size = as_integer(offset, "offset"), as_integer(size, "size")
    if not 0 <= offset <= MAX_BYTES:
        raise InvalidArgument(f"offset must be from 0 to 2**63 - 1 bytes, got {offset}")
    if not 0 < size <= MAX_BYTES:
        raise InvalidArgument(f"size must be from 1 to 2**63 - 1 bytes, got {size}")
    if offset + size > total:
        msg = f"offset {offset} + size {size} = {offset + size} bytes, past the end of {total} bytes"
        raise InvalidArgument(msg)
    if offset % alignment:
        raise InvalidArgument(f"offset must be a multiple of {alignment} bytes, got {offset}")


def round_up(value: int, alignment: int) -> int:
    """Return the smallest multiple of `alignment` that is not below `value`."""
    return -(-value // alignment) * alignment
