"""Driver libraries called through ctypes: functions by name, and one place that turns a status into an error."""

from __future__ import annotations

import ctypes
import functools
from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from interop.protocols import BackendUnavailable, DriverError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NO_HINTS: Mapping[int, str] = MappingProxyType({})


class DriverLibrary(ABC):
    """A loaded driver library. One per backend; owns nothing that needs closing."""

    backend: ClassVar[str]
    """Name of the backend, for instance ``"cuda"``."""
    title: ClassVar[str]
    """Name of the library in messages, for instance ``"the CUDA driver"``."""
    install_hint: ClassVar[str]
    functions: ClassVar[Mapping[str, tuple[Any, ...]]]
    """Argument types of each function; every function returns a status."""
    no_device: ClassVar[frozenset[int]]
    """Statuses that mean: there is no device."""
    not_supported: ClassVar[int]

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library: Any = library
        self._functions: dict[str, Callable[..., int]] = {}
        self.streams: dict[int, int] = {}
        """Device of each stream that is open or was leaked, by address."""

    def raw(self, name: str) -> Callable[..., int]:
        """Return a function of the library with its argument types set.

        Raises:
            Unsupported: The library does not export the function.
        """
        found = self._functions.get(name)
        if found is None:
            missing = f"{self.title} does not export it; a newer version may"
            found = typed(self.library, name, ctypes.c_int, self.functions[name], missing)
            self._functions[name] = found
        return found

    def exports(self, name: str) -> bool:
        """Whether the library exports a function."""
        return hasattr(self.library, name)

    def call(self, name: str, *args: object, hints: Mapping[int, str] = NO_HINTS) -> Any:
        """Call a function and raise the error of its status; see :meth:`check`."""
        code = self.raw(name)(*args)
        if code:
            self.check(name, code, hints)

    def make(self, name: str, *args: object, hints: Mapping[int, str] = NO_HINTS) -> int:
        """Call a function that writes the address of a new object to its first argument; return the address."""
        function = self._functions.get(name) or self.raw(name)
        made = ctypes.c_void_p()
        code = function(ctypes.byref(made), *args)
        if code:
            self.check(name, code, hints)
        address = made.value
        if address is None:
            raise made_nothing(name)
        return address

    def check(self, function: str, code: int, hints: Mapping[int, str] = NO_HINTS) -> None:
        """Raise the error of a status. Does nothing for 0.

        Args:
            function: The function that returned the status.
            code: The status.
            hints: Meaning of a status for this call.

        Raises:
            BackendUnavailable: There is no device.
            Unsupported: The driver does not offer this.
            DriverError: Any other status; has the driver's words and the hint.
        """
        if code == 0:
            return
        name, text = self.describe(code)
        words = " ".join(part for part in (name, f"({text})" if text else "") if part)
        if code in self.no_device:
            raise BackendUnavailable(self.backend, f"{function} returned {code} {words}", self.install_hint)
        if code == self.not_supported:
            raise Unsupported(function, f"{self.title} returned {code} {words}")
        raise DriverError(function, code, name, text, hint=hints.get(code, ""))

    @abstractmethod
    def describe(self, code: int) -> tuple[str, str]:
        """Return the driver's name and text of a status; empty where it has none."""


def typed(library: Any, name: str, result: Any, arguments: Sequence[Any], missing: str) -> Any:
    """Return a function of a ctypes library with its types set.

    Raises:
        Unsupported: The library does not export the function; the text is ``missing``.
    """
    try:
        function = library[name]
    except AttributeError as error:
        raise Unsupported(name, missing) from error
    function.restype, function.argtypes = result, arguments
    return function


def made_nothing(function: str) -> DriverError:
    """Return the error of a call that reports success without an object."""
    return DriverError(function, 0, text="reported success and returned no object")


def decode(value: object) -> str:
    """Return a C string of a binding as text: bytes up to the first zero, or an object that decodes itself."""
    raw = bytes(value) if isinstance(value, (bytes, bytearray)) else getattr(value, "decode", None)
    if isinstance(raw, bytes):
        return raw.split(b"\0", 1)[0].decode(errors="replace")
    return str(raw()) if callable(raw) else str(value)


def preconverted(function: Callable[..., int]) -> Callable[..., int]:
    """Return the function for arguments that are ctypes objects already, without conversions. For prepared calls."""
    found: Any = function
    return _at(ctypes.cast(found, ctypes.c_void_p).value or 0)


@functools.cache
def _at(address: int) -> Callable[..., int]:
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)
