"""The OpenCL driver of another machine: what it would get, recorded, over a real driver that does the rest.

Functions of C stand where the backend finds those of its loader and of its platform. What the device answers about
handles and identity is the machine's; imports end here, with an ordinary buffer in place of the memory.
"""

# ruff: noqa: N802 - methods have the names of the functions that they stand for
# pyright: reportPrivateUsage=false

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any

from interop_opencl import _driver

if TYPE_CHECKING:
    from collections.abc import Callable

SUCCESS = 0
_BY_DEFAULT = {
    "clEnqueueAcquireExternalMemObjectsKHR": "acquired",
    "clEnqueueReleaseExternalMemObjectsKHR": "released",
}


class OpenCL:
    """Stands for the library of an OpenCL backend. ``answers`` are of ``clGetDeviceInfo``, as bytes."""

    def __init__(self, driver: _driver.Driver, answers: dict[int, bytes]) -> None:
        self.answers = answers
        self.code = SUCCESS
        """What imports return; not 0: they fail."""
        self.object_beside_failure = False
        """Whether a failed import returns an object nevertheless, as NVIDIA's does."""
        self.memory: list[tuple[list[int], int, int, int | None]] = []
        """Property list without its end, flags, size and host pointer of each import."""
        self.semaphores: list[list[int]] = []
        self.owned: list[str] = []
        self.released: list[int] = []
        self.raised: list[Exception] = []
        self._real = driver.library
        self._kept: dict[str, Any] = {}
        driver.library = self  # type: ignore[assignment]
        driver.raw.cache_clear()
        driver.extension.cache_clear()

    def __getitem__(self, name: str) -> Any:
        body: Callable[..., Any] | None = getattr(self, name, None)
        if body is None:
            return self._real[name]
        return self._function(name, body, *_driver.signature(name))

    def _function(self, name: str, body: Callable[..., Any], result: Any, arguments: list[Any]) -> Any:
        def call(*given: Any) -> Any:
            try:
                return body(*given)
            except Exception as error:  # noqa: BLE001 - C cannot raise; the test looks here
                self.raised.append(error)
                return None if result is ctypes.c_void_p else -9999

        if name not in self._kept:
            self._kept[name] = ctypes.CFUNCTYPE(result, *arguments)(call)
        return self._kept[name]

    def _below(self, name: str) -> Any:
        """Return the real function, with types of its own."""
        result, arguments = _driver.signature(name)
        function = ctypes.CFUNCTYPE(result, *arguments)
        return function(ctypes.cast(self._real[name], ctypes.c_void_p).value or 0)

    def clGetDeviceInfo(self, device: int, name: int, room: int, value: int | None, size: int | None) -> int:
        answer = self.answers.get(name)
        if answer is None:
            return int(self._below("clGetDeviceInfo")(device, name, room, value, size))
        if size:
            ctypes.c_size_t.from_address(size).value = len(answer)
        if value:
            assert room >= len(answer)
            ctypes.memmove(value, answer, len(answer))
        return SUCCESS

    def clGetExtensionFunctionAddressForPlatform(self, platform: int, name: bytes) -> int | None:
        text = name.decode()
        result, arguments = _driver.signature(text)
        if text in _BY_DEFAULT:
            made = self._function(text, lambda *_: _noted(self.owned, _BY_DEFAULT[text]), result, arguments)
        elif text == "clCreateSemaphoreWithPropertiesKHR":
            made = self._function(text, self._create_semaphore, result, arguments)
        elif text == "clReleaseSemaphoreKHR":
            made = self._function(text, lambda each: _noted(self.released, each), result, arguments)
        else:
            found = self._below("clGetExtensionFunctionAddressForPlatform")(platform, name)
            return int(found) if found else None
        return ctypes.cast(made, ctypes.c_void_p).value

    def clCreateBufferWithProperties(
        self, context: int, properties: int, flags: int, size: int, host: int | None, status: int
    ) -> int | None:
        self.memory.append((_list_at(properties), flags, size, host))
        made = None
        if self.code == SUCCESS or self.object_beside_failure:
            made = self._below("clCreateBuffer")(context, flags, size, host, status)
        ctypes.c_int.from_address(status).value = self.code
        return made

    def _create_semaphore(self, _context: int, properties: int, status: int) -> int | None:
        self.semaphores.append(_list_at(properties))
        ctypes.c_int.from_address(status).value = self.code
        return 0x5E3A if self.code == SUCCESS else None


def _noted(where: list[Any], what: object) -> int:
    where.append(what)
    return SUCCESS


def _list_at(address: int) -> list[int]:
    """Read 64-bit words up to the one that ends the list."""
    found: list[int] = []
    while word := ctypes.c_uint64.from_address(address + 8 * len(found)).value:
        found.append(word)
    return found


def numbers(*values: int) -> bytes:
    """Return a list of ``cl_uint`` as a query answers it."""
    return struct.pack(f"={len(values)}I", *values)
