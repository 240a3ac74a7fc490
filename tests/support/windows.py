"""Windows below its interface: a ``kernel32`` of C functions over a table of handles, for tests on other systems.

The code under test runs as it is, up to and with the conversions of ctypes; what arrives here are the machine words
that ``kernel32.dll`` would get.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

HANDLE, DWORD, BOOL = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int
INVALID = 2**64 - 1
ERROR_INVALID_HANDLE = 6
# As handleapi.h and processthreadsapi.h declare them: result, then parameters.
_DECLARED: dict[str, tuple[Any, ...]] = {
    "CloseHandle": (BOOL, HANDLE),
    "DuplicateHandle": (BOOL, HANDLE, HANDLE, HANDLE, ctypes.POINTER(HANDLE), DWORD, BOOL, DWORD),
    "GetCurrentProcess": (HANDLE,),
    "GetHandleInformation": (BOOL, HANDLE, ctypes.POINTER(DWORD)),
}


class Kernel32:
    """The handles of a process, and what was done to them. Closing one that is not open fails, as in Windows."""

    def __init__(self) -> None:
        self.open: dict[int, str] = {}
        """Handles of this process, with the object behind each."""
        self.closed: list[int] = []
        self.inherited: list[bool] = []
        self._next = 0x7FFF_0000_0000_0110  # too wide for an int: a truncated handle is then another one
        self._error = 0

    def make(self, what: str) -> int:
        """Return a new handle to an object, as a driver would."""
        self._next += 4
        self.open[self._next] = what
        return self._next

    def library(self, name: str, *, use_last_error: bool) -> Kernel32:
        """Be ``ctypes.WinDLL``."""
        assert (name, use_last_error) == ("kernel32", True)
        return self

    def __getitem__(self, name: str) -> Any:
        kinds = _DECLARED[name]
        call: Callable[..., int] = getattr(self, name)
        return ctypes.CFUNCTYPE(*kinds)(call)

    def last_error(self) -> int:
        """Be ``ctypes.get_last_error``."""
        return self._error

    def _fail(self) -> int:
        self._error = ERROR_INVALID_HANDLE
        return 0

    def GetCurrentProcess(self) -> int:  # noqa: N802 - its name
        return INVALID  # the pseudo handle

    def GetHandleInformation(self, handle: int, flags: Any) -> int:  # noqa: N802
        if handle not in self.open:
            return self._fail()
        flags[0] = 0
        return 1

    def DuplicateHandle(  # noqa: N802
        self, source: int, handle: int, target: int, out: Any, access: int, inherit: int, options: int
    ) -> int:
        assert (source, target, access, options) == (INVALID, INVALID, 0, 2)
        if handle not in self.open:
            return self._fail()
        out[0] = self.make(self.open[handle])
        self.inherited.append(bool(inherit))
        return 1

    def CloseHandle(self, handle: int) -> int:  # noqa: N802
        if self.open.pop(handle, None) is None:
            return self._fail()
        self.closed.append(handle)
        return 1


def pretend(monkeypatch: pytest.MonkeyPatch) -> Kernel32:
    """Make this process a Windows one, as far as handles go, until the test ends."""
    kernel = Kernel32()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", kernel.library, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", kernel.last_error, raising=False)
    monkeypatch.setattr(ctypes, "FormatError", lambda code: f"what Windows says of {code}\r\n", raising=False)
    return kernel
