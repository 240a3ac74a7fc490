"""DLPack: export memory to array libraries without a copy.

A capsule keeps the memory's import until the library that took the capsule calls its deleter. So a tensor may
outlive every other reference to the memory. Follows the Python side of the DLPack specification (``__dlpack__``,
``__dlpack_device__``), versions 0 and 1.

NumPy makes the structure in a capsule, from an array that nothing reads; this module writes the device into it.
The reason is the deleter: it may run while an exception propagates, for instance when a library refuses a tensor. A
deleter in Python would lose the exception and the memory. NumPy's is in C.
"""

from __future__ import annotations

import ctypes
import enum
import weakref
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import DType

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
    """``DLTensor``, with which a ``DLManagedTensor`` begins."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    """``DLManagedTensorVersioned``."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


class _Keeper:
    """Keeps what a tensor needs for as long as the tensor lives. NumPy takes it for the memory."""

    __slots__ = ("__array_interface__", "__weakref__", "keep")

    def __init__(self, interface: dict[str, Any], keep: object) -> None:
        self.__array_interface__ = interface
        self.keep = keep


_keepers: weakref.WeakSet[_Keeper] = weakref.WeakSet()

_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.argtypes = (ctypes.py_object, ctypes.c_char_p)
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_get_pointer.restype = ctypes.c_void_p


def to_dlpack(
    keep: object,
    *,
    address: int,
    byte_offset: int = 0,
    shape: tuple[int, ...],
    dtype: DType,
    device: tuple[DeviceType, int],
    read_only: bool = False,
    max_version: tuple[int, int] | None = None,
) -> object:
    """Return a DLPack capsule for row-major memory.

    Args:
        keep: Kept until the library has freed its tensor.
        address: Pointer of the device's runtime: an address, or a handle such as ``cl_mem``.
        byte_offset: First byte of the memory after a handle. Add it to an address instead, because some libraries
            ignore the offset.
        shape: Extent in elements.
        dtype: Element type.
        device: DLPack's type of the device, and its ordinal.
        read_only: Whether the memory must not be written.
        max_version: Newest version that the library takes, as it passed it to ``__dlpack__``.

    Raises:
        Unsupported: Read-only memory for a library of version 0, which has no way to say so.
    """
    import numpy as np

    # NumPy speaks version 1 from 2.1 on; who takes that takes version 0 too.
    can = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
    versioned = max_version is not None and max_version[0] >= 1 and can
    if read_only and not versioned:
        raise Unsupported(
            "read-only memory by DLPack",
            "version 0 of DLPack cannot mark memory as read-only; use a newer array library",
        )
    interface = {"version": 3, "shape": shape, "typestr": dtype.typestr, "data": (address, read_only)}
    keeper = _Keeper(interface, keep)
    _keepers.add(keeper)
    array: Any = np.asarray(keeper)
    made: object = array.__dlpack__(max_version=(1, 0)) if versioned else array.__dlpack__()
    if _is_valid(made, _VERSIONED):
        tensor = _Versioned.from_address(_get_pointer(made, _VERSIONED)).tensor
    else:
        tensor = _Tensor.from_address(_get_pointer(made, _STRIDED))
    tensor.device = _Device(*device)
    tensor.byte_offset = byte_offset
    return made


def check_dlpack_request(
    device: tuple[DeviceType, int],
    *,
    stream: object,
    dl_device: tuple[int, int] | None,
    copy: bool | None,
    order: Callable[[int], None] | None = None,
) -> None:
    """Check the arguments that an array library passed to ``__dlpack__``, and order its stream.

    Args:
        device: The memory's device.
        stream: The library's stream, as an integer of the device's runtime; None and -1 ask for no order.
        dl_device: Device that the library wants the memory on.
        copy: Whether the library wants a copy.
        order: Makes the library's stream wait for the work that fills the memory; None where there are no streams.

    Raises:
        BufferError: Another device, a copy, or a stream where there are none.
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


def live_tensors() -> int:
    """Return the number of tensors in array libraries and in capsules that no library took."""
    return len(_keepers)
