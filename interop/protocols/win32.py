"""Calls of `kernel32` for NT handles. The library is opened at the first call.

A handle is an unsigned number as wide as a pointer. Errors keep the text of Windows (`FormatMessage`). The functions
are those of `handleapi.h`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from interop.protocols.errors import HandleError

if TYPE_CHECKING:
    from typing import Any

INVALID_HANDLE_VALUE = 2 * sys.maxsize + 1
"""`(HANDLE)-1` as an unsigned number. Some calls return it in place of a handle."""

_SAME_ACCESS = 2  # DUPLICATE_SAME_ACCESS


def is_windows() -> bool:
    """Whether this process runs on Windows. Each call asks `sys.platform` anew."""
    return sys.platform == "win32"


def check_number(value: int, what: str) -> None:
    """Raise `HandleError` for a number that is no handle: 0, `INVALID_HANDLE_VALUE` or wider than a pointer."""
    if not 0 < value < INVALID_HANDLE_VALUE:
        msg = (
            f"{what} handle must be a pointer-wide number, neither 0 nor INVALID_HANDLE_VALUE, got {value:#x}"
        )
        raise HandleError(msg)


def check_open(value: int) -> None:
    """Raise `HandleError` unless this process has the NT handle open (`GetHandleInformation`)."""
    import ctypes

    flags = ctypes.c_uint32()
    _call("GetHandleInformation", (ctypes.c_void_p, ctypes.c_void_p), value, ctypes.addressof(flags))


def duplicate(value: int) -> int:
    """Return a second NT handle to the same object, which child processes do not inherit (`DuplicateHandle`)."""
    import ctypes

    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    process = _function("GetCurrentProcess", (), pointer)()
    made = pointer()
    kinds = (pointer, pointer, pointer, pointer, number, ctypes.c_int, number)
    places = (process, value, process, ctypes.addressof(made))
    _call("DuplicateHandle", kinds, *places, 0, 0, _SAME_ACCESS)
    return made.value or 0


def close(value: int) -> None:
    """Close an NT handle (`CloseHandle`)."""
    import ctypes

    _call("CloseHandle", (ctypes.c_void_p,), value)


def _call(name: str, kinds: tuple[Any, ...], *arguments: int) -> None:
    """Call a function that returns a `BOOL`. Raise `HandleError` with the text of Windows if it returns false."""
    import ctypes

    if not _function(name, kinds, ctypes.c_int)(*arguments):
        system: Any = ctypes  # type stubs declare the Windows functions of ctypes on Windows only
        code = system.get_last_error()
        raise HandleError(f"{name} failed: error {code} ({system.FormatError(code).strip()})")


def _function(name: str, kinds: tuple[Any, ...], result: Any) -> Any:
    """Return a function of `kernel32` with its argument and result types set."""
    import ctypes

    if not is_windows():
        raise HandleError(f"{name} is a function of Windows, and this process does not run on Windows")
    system: Any = ctypes
    # A WinDLL keeps the argument types of its functions. A shared one would see the types that other modules set.
    function = system.WinDLL("kernel32", use_last_error=True)[name]
    function.argtypes, function.restype = kinds, result
    return function
