"""What NT handles need of Windows: ``kernel32`` and nothing else, opened at the first use.

Numbers of handles are as wide as a pointer and unsigned. All calls are of ``handleapi.h``; errors keep the text that
Windows has for them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from interop.protocols.errors import HandleError

if TYPE_CHECKING:
    from typing import Any

INVALID_HANDLE_VALUE = 2 * sys.maxsize + 1
"""``(HANDLE)-1`` as an unsigned number; what some calls return in place of a handle."""

_SAME_ACCESS = 2  # DUPLICATE_SAME_ACCESS


def is_windows() -> bool:
    """Whether this process runs on Windows; asked at each call."""
    return sys.platform == "win32"


def check_number(value: int, what: str) -> None:
    """Raise :class:`HandleError` for what is no handle: 0, ``INVALID_HANDLE_VALUE``, past a pointer's width."""
    if not 0 < value < INVALID_HANDLE_VALUE:
        msg = (
            f"{what} handle must be a pointer-wide number, neither 0 nor INVALID_HANDLE_VALUE, got {value:#x}"
        )
        raise HandleError(msg)


def check_open(value: int) -> None:
    """Raise :class:`HandleError` for an NT handle that this process has not open (``GetHandleInformation``)."""
    import ctypes

    flags = ctypes.c_uint32()
    _call("GetHandleInformation", (ctypes.c_void_p, ctypes.c_void_p), value, ctypes.addressof(flags))


def duplicate(value: int) -> int:
    """Return a second handle, not inherited, to the object of an NT handle (``DuplicateHandle``)."""
    import ctypes

    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    process = _function("GetCurrentProcess", (), pointer)()
    made = pointer()
    kinds = (pointer, pointer, pointer, pointer, number, ctypes.c_int, number)
    places = (process, value, process, ctypes.addressof(made))
    _call("DuplicateHandle", kinds, *places, 0, 0, _SAME_ACCESS)
    return made.value or 0


def close(value: int) -> None:
    """Close an NT handle (``CloseHandle``)."""
    import ctypes

    _call("CloseHandle", (ctypes.c_void_p,), value)


def _call(name: str, kinds: tuple[Any, ...], *arguments: int) -> None:
    """Call a function that returns a ``BOOL``; :class:`HandleError` with Windows' own text when it is false."""
    import ctypes

    if not _function(name, kinds, ctypes.c_int)(*arguments):
        system: Any = ctypes  # its Windows part
        code = system.get_last_error()
        raise HandleError(f"{name} failed: error {code} ({system.FormatError(code).strip()})")


def _function(name: str, kinds: tuple[Any, ...], result: Any) -> Any:
    import ctypes

    if not is_windows():
        raise HandleError(f"{name} is a call of Windows: its handles exist nowhere else")
    system: Any = ctypes
    # Its own WinDLL, since argument types are kept in it, and others may set theirs for the same function.
    function = system.WinDLL("kernel32", use_last_error=True)[name]
    function.argtypes, function.restype = kinds, result
    return function
