"""A library that takes DLPack capsules, as one in C does it: by the structures of ``dlpack.h`` alone."""

from __future__ import annotations

import ctypes
import importlib
import math
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

OPENCL = 4  # kDLOpenCL

_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_name_of = ctypes.pythonapi.PyCapsule_GetName
_name_of.argtypes, _name_of.restype = (ctypes.py_object,), ctypes.c_char_p
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.argtypes, _pointer_of.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = (ctypes.py_object, ctypes.c_char_p)
_USED = {b"dltensor": b"used_dltensor", b"dltensor_versioned": b"used_dltensor_versioned"}


class Tensor(ctypes.Structure):
    """``DLTensor``."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    """``DLManagedTensor``."""

    flags = 0
    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class ManagedVersioned(ctypes.Structure):
    """``DLManagedTensorVersioned``."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


class Taken:
    """A tensor that was taken out of a capsule. Gives it back when closed or dropped."""

    def __init__(self, capsule: object) -> None:
        name = _name_of(capsule)
        self._address = _pointer_of(capsule, name)
        kind = Managed if name == b"dltensor" else ManagedVersioned
        self._managed: Managed | ManagedVersioned = kind.from_address(self._address)
        _rename(capsule, _USED[name])
        self._release = weakref.finalize(self, self._managed.deleter, self._address)

    @property
    def tensor(self) -> Tensor:
        """Valid until closed."""
        tensor: Tensor = self._managed.tensor
        return tensor

    @property
    def flags(self) -> int:
        """1 for read-only, 2 for a copy; version 0 cannot say."""
        return int(self._managed.flags)

    def read(self) -> bytes:
        """Return what the tensor holds, as a library does that knows its runtime and nothing of this project.

        An address must be one of the host, as it is with the software HIP runtime.
        """
        tensor = self.tensor
        nbytes = math.prod(tensor.shape[: tensor.ndim]) * tensor.bits // 8
        if tensor.device_type != OPENCL:
            return ctypes.string_at(tensor.data + tensor.byte_offset, nbytes)
        cl: Any = importlib.import_module("pyopencl")
        memory = cl.MemoryObject.from_int_ptr(tensor.data, retain=True)
        target = bytearray(nbytes)
        with cl.CommandQueue(memory.context) as queue:
            cl.enqueue_copy(queue, target, memory, src_offset=tensor.byte_offset)
        memory.release()
        return bytes(target)

    def close(self) -> None:
        """Call the deleter. A second call does nothing."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
