"""How much memory of an NVIDIA GPU is in use: what neither descriptors nor resident memory show."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

GRANULE = 2 << 20
"""Bytes in which the driver takes memory from the device, so no smaller growth can be told from none."""


class DeviceMemory:
    """The memory of one GPU, asked of the CUDA driver (``cuMemGetInfo``) whoever has taken it.

    Holds the device's primary context, which takes memory itself: make it before the first measurement.
    """

    def __init__(self, driver: ctypes.CDLL, device: int) -> None:
        self._driver = driver
        self._device = device
        self._context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)

    @classmethod
    def find(cls, uuid: bytes | None) -> Self | None:
        """Return the memory of the GPU with this uuid, or None where no CUDA driver knows it."""
        try:
            driver = ctypes.CDLL("libcuda.so.1")
        except OSError:
            return None
        count = ctypes.c_int()
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return None
        for device in range(count.value):
            found = ctypes.create_string_buffer(16)
            if driver.cuDeviceGetUuid_v2(found, device) == 0 and found.raw == uuid:
                return cls(driver, device)
        return None

    def used(self) -> int:
        """Return the bytes in use on the whole device, by every process."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        return total.value - free.value

    def close(self) -> None:
        """Give the context back."""
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def reset(self) -> None:
        """End the context with all that is in it, so that a leak checker counts what was left there."""
        self._call("cuDevicePrimaryCtxReset_v2", self._device)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._driver, function)(*arguments)
        if code != 0:
            raise OSError(f"{function} returned {code}")
