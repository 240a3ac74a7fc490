"""Bindings of the C side: payloads behind opaque fds, and a driver library's switches and counters."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_long, c_uint8, c_uint64, c_void_p
from enum import IntEnum
from pathlib import Path

from interop_softgpu import paths

_KINDS = {
    "opencl": "memory semaphore thread",
    "hip": "memory mapping surface semaphore allocation host_allocation stream event module",
    "hiprtc": "program",
}
"""Kinds of objects that each library counts. OpenCL's layer counts external objects only."""


class Status(IntEnum):
    """``enum softgpu_payload_status``."""

    OK = 0
    BAD_FD = 1
    FOREIGN = 2
    TOO_SMALL = 3
    NO_MEMORY = 4
    TIMEOUT = 5
    CANCELLED = 6


class PayloadError(RuntimeError):
    """A payload function failed; ``status`` is its result."""

    def __init__(self, function: str, status: int) -> None:
        """Store the function's name and result."""
        self.status = Status(status)
        super().__init__(f"{function}: {self.status.name}")


def _check(function: str, status: int) -> None:
    """Raise :class:`PayloadError` unless a payload function has succeeded."""
    if status != Status.OK:
        raise PayloadError(function, status)


_POINTER = POINTER(c_void_p)
_PROBES = {
    "memory": (c_int, [c_int, c_uint64, _POINTER, POINTER(c_uint64), _POINTER, POINTER(c_uint64)]),
    "memory_close": (None, [c_void_p, c_uint64]),
    "open": (c_int, [c_int, _POINTER]),
    "create": (c_int, [_POINTER, POINTER(c_int)]),
    "close": (None, [c_void_p]),
    "wait": (c_int, [c_void_p, c_double, POINTER(c_int)]),
    "signal": (c_int, [c_void_p]),
    "signalled": (c_int, [c_void_p]),
    "uuids": (c_int, [POINTER(c_uint8), c_int]),
}
"""Result and arguments of each function ``softgpu_probe_...`` of the probe library."""


class Payloads:
    """The functions of payload.h. No call takes ownership of an fd."""

    def __init__(self, library: Path | None = None) -> None:
        """Open the probe library; raises ``FileNotFoundError`` where the C part was not built."""
        path = library or paths.native(paths.PROBE)
        if path is None:
            raise FileNotFoundError(
                f"{paths.PROBE} was not built; reinstall interop-softgpu where a C compiler is available"
            )
        self._lib = ctypes.CDLL(str(path))
        for name, (result, arguments) in _PROBES.items():
            function = getattr(self._lib, f"softgpu_probe_{name}")
            function.restype, function.argtypes = result, arguments

    def map(self, fd: int, size: int = 0) -> MemoryPayload:
        """Map the data behind a memory fd. Fails if it has fewer than ``size`` bytes; 0 accepts any size."""
        data, mapping, usable, whole = c_void_p(), c_void_p(), c_uint64(), c_uint64()
        sought = byref(data), byref(usable), byref(mapping), byref(whole)
        _check("softgpu_memory_map", self._lib.softgpu_probe_memory(fd, size, *sought))
        assert data.value is not None
        assert mapping.value is not None
        return MemoryPayload(self._lib, data.value, usable.value, mapping.value, whole.value)

    def open(self, fd: int) -> SemaphorePayload:
        """Open the payload behind a binary semaphore's fd."""
        semaphore = c_void_p()
        _check("softgpu_semaphore_open", self._lib.softgpu_probe_open(fd, byref(semaphore)))
        return SemaphorePayload(self._lib, semaphore)

    def create(self) -> tuple[SemaphorePayload, int]:
        """Create a payload; return it and an fd. The caller owns both."""
        semaphore, fd = c_void_p(), c_int(-1)
        _check("softgpu_semaphore_create", self._lib.softgpu_probe_create(byref(semaphore), byref(fd)))
        return SemaphorePayload(self._lib, semaphore), fd.value

    def cpu_uuids(self) -> list[bytes]:
        """Return the UUIDs of the Vulkan CPU devices, in the loader's order."""
        buffer = (c_uint8 * 256)()
        count = self._lib.softgpu_probe_uuids(buffer, 16)
        return [bytes(buffer[16 * index : 16 * index + 16]) for index in range(count)]


class MemoryPayload:
    """Mapped memory; ``view`` is valid until ``close``."""

    def __init__(self, lib: ctypes.CDLL, data: int, size: int, mapping: int, whole: int) -> None:
        """Take ownership of a mapping."""
        self._lib, self._mapping, self._whole = lib, mapping, whole
        self.size = size
        self.view = memoryview((c_uint8 * size).from_address(data)).cast("B")

    def close(self) -> None:
        """Unmap."""
        if self._mapping:
            self.view.release()
            self._lib.softgpu_probe_memory_close(self._mapping, self._whole)
            self._mapping = 0


class SemaphorePayload:
    """A reference to a semaphore's payload."""

    def __init__(self, lib: ctypes.CDLL, semaphore: c_void_p) -> None:
        """Take ownership of an open payload."""
        self._lib, self._semaphore = lib, semaphore

    @property
    def signalled(self) -> bool:
        """Whether a signal is pending that no wait has consumed."""
        return bool(self._lib.softgpu_probe_signalled(self._semaphore))

    def signal(self) -> None:
        """Signal it."""
        _check("softgpu_semaphore_signal", self._lib.softgpu_probe_signal(self._semaphore))

    def wait(self, timeout_s: float, cancel: c_int | None = None) -> Status:
        """Block until the signal, at most ``timeout_s`` seconds (negative: no limit), and consume it.

        Returns OK, TIMEOUT or, when ``cancel`` became non-zero, CANCELLED.
        """
        flag = byref(cancel) if cancel is not None else None
        return Status(self._lib.softgpu_probe_wait(self._semaphore, timeout_s, flag))

    def close(self) -> None:
        """Release the reference. Idempotent."""
        if self._semaphore.value:
            self._lib.softgpu_probe_close(self._semaphore)
            self._semaphore = c_void_p()


class Controls:
    """Switches and counters that each driver library exports (switches.h)."""

    def __init__(self, library: Path) -> None:
        """Open the same library file as the API's loader, and so the same switches."""
        self._lib = ctypes.CDLL(str(library))
        self._lib.softgpu_control.argtypes = [c_char_p, c_char_p]
        for name in ("softgpu_live", "softgpu_total", "softgpu_calls"):
            function = getattr(self._lib, name)
            function.argtypes = [c_char_p]
            function.restype = c_long

    def set(self, key: str, value: str | None) -> None:
        """Set a switch; None restores the value of the environment, or the default."""
        if self._lib.softgpu_control(key.encode(), None if value is None else value.encode()) != 0:
            raise RuntimeError(
                f"softgpu_control({key!r}, {value!r}) failed: the library does not know this switch or value"
            )

    def live(self, kind: str = "*") -> int:
        """Return the number of live objects of a kind."""
        return int(self._lib.softgpu_live(kind.encode()))

    def total(self, kind: str = "*") -> int:
        """Return the number of objects of a kind created so far."""
        return int(self._lib.softgpu_total(kind.encode()))

    def calls(self, function: str = "*") -> int:
        """Return the number of calls of an API function."""
        return int(self._lib.softgpu_calls(function.encode()))


def live_objects(backend: str) -> dict[str, int]:
    """Return the number of live objects of each kind in a backend's software drivers.

    Empty if this process has not loaded the software drivers. The call loads nothing.
    """
    layer, folder = os.environ.get("OPENCL_LAYERS", ""), Path(os.environ.get("ROCM_PATH", ""), "lib")
    libraries = {
        "opencl": {"opencl": Path(layer)},
        "hip": {"hip": folder / "libamdhip64.so", "hiprtc": folder / "libhiprtc.so"},
    }
    found: dict[str, int] = {}
    for name, path in libraries[backend].items():
        if _is_loaded(path):
            controls = Controls(path)
            found.update({f"{name} {kind}": controls.live(kind) for kind in _KINDS[name].split()})
    return found


def _is_loaded(library: Path) -> bool:
    """Whether this process has loaded this library, and it is one of the software drivers."""
    mode = getattr(os, "RTLD_NOLOAD", None)
    if mode is None or not library.is_file():
        return False
    try:
        return hasattr(ctypes.CDLL(str(library), mode=mode | os.RTLD_NOW), "softgpu_live")
    except OSError:
        return False
