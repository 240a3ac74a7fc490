"""The HIP runtime of another machine: what it would get, recorded, over a real runtime that does the rest.

Stands for hip-python's functions, which pass the addresses of the structures that the backend fills straight on to
the library: what is recorded is those structures' bytes. Imports end here; an ordinary allocation takes the place of
the memory.
"""

# ruff: noqa: N802 - methods have the names of the functions that they stand for

from __future__ import annotations

import ctypes
import importlib
from typing import TYPE_CHECKING, Any

from interop.toolkit import decode

if TYPE_CHECKING:
    from interop_hip._driver import Driver

_PROPERTIES = 1472  # sizeof(hipDeviceProp_tR0600)
_LUID, _NODES = 272, 280  # after name[256] and uuid[16]
_ROOM = 256  # gcnArchName


class Hip:
    """Stands for the module of hip-python. ``fails`` gives a function's status in place of doing anything."""

    def __init__(
        self, driver: Driver, *, luid: bytes = b"", nodes: int = 0, architecture: str = "gfx1100"
    ) -> None:
        self._real: Any = importlib.import_module("rocm.bindings.hip")
        self._luid = luid
        self._nodes = nodes
        self._architecture = architecture
        self.fails: dict[str, int] = {}
        self.memory: list[bytes] = []
        """``hipExternalMemoryHandleDesc`` of each import."""
        self.semaphores: list[bytes] = []
        """``hipExternalSemaphoreHandleDesc`` of each import."""
        self.destroyed: list[str] = []
        driver.hip = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def _status(self, name: str) -> Any:
        return self._real.hipError_t(self.fails.get(name, 0))

    def hipGetDeviceProperties(self, device: int) -> tuple[Any, Any]:
        status, properties = self._real.hipGetDeviceProperties(device)
        at = int(properties)
        arch = decode(properties.gcnArchName).encode()
        place = ctypes.string_at(at, _PROPERTIES).index(arch + b"\0")
        ctypes.memmove(at + place, self._architecture.encode().ljust(_ROOM, b"\0"), _ROOM)
        ctypes.memmove(at + _LUID, self._luid.ljust(8, b"\0"), 8)
        ctypes.c_uint.from_address(at + _NODES).value = self._nodes
        return status, properties

    def hipImportExternalMemory(self, wanted: Any) -> tuple[Any, Any]:
        self.memory.append(ctypes.string_at(int(wanted), 104))
        status = self._status("hipImportExternalMemory")
        return status, None if int(status) else 0x3E30

    def hipExternalMemoryGetMappedBuffer(self, external: int, whole: Any) -> tuple[Any, Any]:
        assert external == 0x3E30
        status = self._status("hipExternalMemoryGetMappedBuffer")
        if int(status):
            return status, None
        made = self._real.hipMalloc(whole.size)
        return made[0], made[1]

    def hipDestroyExternalMemory(self, external: int) -> tuple[Any]:
        assert external == 0x3E30
        self.destroyed.append("memory")
        return (self._status("hipDestroyExternalMemory"),)

    def hipImportExternalSemaphore(self, wanted: Any) -> tuple[Any, Any]:
        self.semaphores.append(ctypes.string_at(int(wanted), 96))
        status = self._status("hipImportExternalSemaphore")
        return status, None if int(status) else 0x5E30

    def hipDestroyExternalSemaphore(self, semaphore: int) -> tuple[Any]:
        assert semaphore == 0x5E30
        self.destroyed.append("semaphore")
        return (self._status("hipDestroyExternalSemaphore"),)
