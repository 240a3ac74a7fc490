"""DLPack: hand a mapped buffer to array libraries without a copy.

A capsule holds the buffer's view, and through it the driver's import, until the library that took it calls
the deleter. So a tensor outlives every other reference, in any order of deletion. Follows the Python side of
the DLPack specification (``__dlpack__``, ``__dlpack_device__``), versions 0 and 1.
"""

from __future__ import annotations

import ctypes
import enum
import sys
from typing import TYPE_CHECKING

from interop.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.dtypes import DType

_VERSION = (1, 0)
_READ_ONLY = 1
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}  # DLDataTypeCode
_STRIDED = b"dltensor"
_VERSIONED = b"dltensor_versioned"


class DeviceType(enum.IntEnum):
    """``DLDeviceType``: which runtime understands the pointer."""

    CPU = 1
    CUDA = 2
    OPENCL = 4
    VULKAN = 7
    ROCM = 10


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("manager", ctypes.c_void_p), ("deleter", _Deleter))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_alive: dict[int, tuple[object, ...]] = {}
"""What each managed tensor keeps alive, by its address, until its deleter runs."""


def _forget(address: int) -> None:
    _alive.pop(address, None)


_delete = _Deleter(_forget)

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_get_pointer.restype = ctypes.c_void_p
_new = ctypes.pythonapi.PyCapsule_New
_new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, _Destructor)
_new.restype = ctypes.py_object


def _drop(dropped: int) -> None:
    """Free a tensor that nobody took: a library that takes it renames the capsule."""
    if sys.is_finalizing():
        return
    for name in (_STRIDED, _VERSIONED):
        if _is_valid(dropped, name):
            _alive.pop(_get_pointer(dropped, name), None)


_capsule_dropped = _Destructor(_drop)


def capsule(
    keep: object,
    *,
    address: int,
    shape: tuple[int, ...],
    dtype: DType,
    device: tuple[DeviceType, int],
    read_only: bool = False,
    max_version: tuple[int, int] | None = None,
) -> object:
    """Return a DLPack capsule for row-major memory at ``address``.

    ``keep`` stays alive until the library that takes the capsule is done with it. ``max_version`` is what
    that library passed to ``__dlpack__``; one that speaks only version 0 cannot be told that memory is
    read-only, so read-only memory is refused then. Raises :class:`Unsupported`.
    """
    versioned = max_version is not None and max_version[0] >= 1
    if read_only and not versioned:
        raise Unsupported(
            "read-only memory by DLPack", "the array library speaks a version that cannot say so"
        )
    extents = (ctypes.c_int64 * len(shape))(*shape)
    strides = (ctypes.c_int64 * len(shape))()
    step = 1
    for axis in range(len(shape) - 1, -1, -1):
        strides[axis] = step
        step *= shape[axis]
    tensor = _Tensor(
        address,
        _Device(*device),
        len(shape),
        _DataType(_CODES[dtype.kind], dtype.itemsize * 8, 1),
        ctypes.cast(extents, ctypes.POINTER(ctypes.c_int64)),
        ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64)),
        0,
    )
    managed: _Managed | _Versioned
    if versioned:
        managed = _Versioned(*_VERSION, None, _delete, _READ_ONLY if read_only else 0, tensor)
    else:
        managed = _Managed(tensor, None, _delete)
    where = ctypes.addressof(managed)
    _alive[where] = (managed, extents, strides, keep)
    made: object = _new(where, _VERSIONED if versioned else _STRIDED, _capsule_dropped)
    return made


def check_request(
    device: tuple[DeviceType, int],
    *,
    stream: object,
    dl_device: tuple[int, int] | None,
    copy: bool | None,
    order: Callable[[int], None] | None = None,
) -> None:
    """Check and serve the arguments that an array library passed to ``__dlpack__``.

    ``order(stream)`` is called with the library's stream (an integer of the device's runtime) when it asks
    for one, and must make that stream wait for the work that fills the memory; -1 asks for nothing. Raises
    ``BufferError``, as the standard says, for another device, a copy, or a stream where there is none.
    """
    if copy:
        raise BufferError("this memory is shared, it is not copied; pass copy=None")
    if dl_device is not None and tuple(map(int, dl_device)) != (int(device[0]), device[1]):
        raise BufferError(f"the memory is on device {tuple(map(int, device))}, not on {tuple(dl_device)}")
    if stream is None or stream == -1:
        return
    if order is None:
        raise BufferError(f"this device has no streams, so stream must be None, got {stream!r}")
    if not isinstance(stream, int):
        raise InvalidArgument(f"stream must be an integer address, got {stream!r}")
    order(stream)


def alive() -> int:
    """Return how many tensors are held by array libraries or by capsules that nobody took."""
    return len(_alive)
