"""The part of CUDA's driver interface that this backend uses: functions, structures, numbers.

Symbols carry the version that the library exports; ``cuda.h`` hides it behind macros.
"""

from __future__ import annotations

import ctypes

from interop.toolkit import HOST_FUNCTION

NOT_SUPPORTED = 801
NO_DEVICE = 100

HOST_PORTABLE_AND_MAPPED = 1 | 2
WAIT_GREATER_OR_EQUAL = 0
EXTERNAL_MEMORY_DEDICATED = 1
ARRAY_LAYERED = 1
ARRAY_SURFACE_LOAD_STORE = 2


class Attribute:
    """``CUdevice_attribute``."""

    MAX_THREADS_PER_BLOCK = 1
    COMPUTE_CAPABILITY_MAJOR = 75
    COMPUTE_CAPABILITY_MINOR = 76
    HOST_REGISTER_SUPPORTED = 99
    TIMELINE_SEMAPHORE_INTEROP_SUPPORTED = 114
    CAN_USE_64_BIT_STREAM_MEM_OPS = 122


class MemoryType:
    """``CUexternalMemoryHandleType``."""

    OPAQUE_FD = 1
    OPAQUE_WIN32 = 2
    OPAQUE_WIN32_KMT = 3


class SemaphoreType:
    """``CUexternalSemaphoreHandleType``."""

    OPAQUE_FD = 1
    OPAQUE_WIN32 = 2
    OPAQUE_WIN32_KMT = 3
    TIMELINE_SEMAPHORE_FD = 9
    TIMELINE_SEMAPHORE_WIN32 = 10


class Place:
    """``CUmemorytype``."""

    HOST = 1
    DEVICE = 2
    ARRAY = 3


class _Win32(ctypes.Structure):
    _fields_ = (("handle", ctypes.c_void_p), ("name", ctypes.c_void_p))


class _AnyHandle(ctypes.Union):
    _fields_ = (("fd", ctypes.c_int), ("win32", _Win32))


class MemoryHandleDesc(ctypes.Structure):
    """``CUDA_EXTERNAL_MEMORY_HANDLE_DESC``."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("handle", _AnyHandle),
        ("size", ctypes.c_uint64),
        ("flags", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 16),
    )


class MemoryBufferDesc(ctypes.Structure):
    """``CUDA_EXTERNAL_MEMORY_BUFFER_DESC``."""

    _fields_ = (
        ("offset", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("flags", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 16),
    )


class _ArrayDesc(ctypes.Structure):
    """``CUDA_ARRAY3D_DESCRIPTOR``."""

    _fields_ = (
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
        ("depth", ctypes.c_size_t),
        ("format", ctypes.c_int),
        ("channels", ctypes.c_uint),
        ("flags", ctypes.c_uint),
    )


class MipmappedArrayDesc(ctypes.Structure):
    """``CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC``."""

    _fields_ = (
        ("offset", ctypes.c_uint64),
        ("array", _ArrayDesc),
        ("levels", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 16),
    )


class Memcpy3DSide(ctypes.Structure):
    """One half of ``CUDA_MEMCPY3D``: where from, or where to."""

    _fields_ = (
        ("x_in_bytes", ctypes.c_size_t),
        ("y", ctypes.c_size_t),
        ("z", ctypes.c_size_t),
        ("level", ctypes.c_size_t),
        ("kind", ctypes.c_int),
        ("host", ctypes.c_void_p),
        ("device", ctypes.c_uint64),
        ("array", ctypes.c_void_p),
        ("reserved", ctypes.c_void_p),
        ("pitch", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
    )


class Memcpy3D(ctypes.Structure):
    """``CUDA_MEMCPY3D``."""

    _fields_ = (
        ("source", Memcpy3DSide),
        ("target", Memcpy3DSide),
        ("width_in_bytes", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
        ("depth", ctypes.c_size_t),
    )


class SemaphoreHandleDesc(ctypes.Structure):
    """``CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC``."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("handle", _AnyHandle),
        ("flags", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 16),
    )


for _structure, _size in (
    (MemoryHandleDesc, 104),
    (MemoryBufferDesc, 88),
    (MipmappedArrayDesc, 120),
    (Memcpy3D, 200),
    (SemaphoreHandleDesc, 96),
):
    if ctypes.sizeof(_structure) != _size:
        raise ImportError(f"{_structure.__name__} has {ctypes.sizeof(_structure)} bytes, cuda.h says {_size}")

_INT = ctypes.c_int
_UINT = ctypes.c_uint
_SIZE = ctypes.c_size_t
_ADDRESS = ctypes.c_uint64  # CUdeviceptr
_POINTER = ctypes.c_void_p
_TEXT = ctypes.c_char_p

FUNCTIONS = {
    "cuInit": (_UINT,),
    "cuDriverGetVersion": (_POINTER,),
    "cuGetErrorName": (_INT, _POINTER),
    "cuGetErrorString": (_INT, _POINTER),
    "cuDeviceGetCount": (_POINTER,),
    "cuDeviceGet": (_POINTER, _INT),
    "cuDeviceGetName": (_POINTER, _INT, _INT),
    "cuDeviceGetUuid": (_POINTER, _INT),
    "cuDeviceGetUuid_v2": (_POINTER, _INT),
    "cuDeviceGetLuid": (_POINTER, _POINTER, _INT),
    "cuDeviceGetPCIBusId": (_POINTER, _INT, _INT),
    "cuDeviceGetAttribute": (_POINTER, _INT, _INT),
    "cuDeviceTotalMem_v2": (_POINTER, _INT),
    "cuDevicePrimaryCtxRetain": (_POINTER, _INT),
    "cuDevicePrimaryCtxRelease_v2": (_INT,),
    "cuCtxSetCurrent": (_POINTER,),
    "cuCtxPushCurrent_v2": (_POINTER,),
    "cuCtxPopCurrent_v2": (_POINTER,),
    "cuStreamCreate": (_POINTER, _UINT),
    "cuStreamDestroy_v2": (_POINTER,),
    "cuStreamQuery": (_POINTER,),
    "cuStreamWaitEvent": (_POINTER, _POINTER, _UINT),
    "cuStreamWaitValue64_v2": (_POINTER, _ADDRESS, ctypes.c_uint64, _UINT),
    "cuEventCreate": (_POINTER, _UINT),
    "cuEventDestroy_v2": (_POINTER,),
    "cuEventRecord": (_POINTER, _POINTER),
    "cuEventQuery": (_POINTER,),
    "cuLaunchHostFunc": (_POINTER, HOST_FUNCTION, _POINTER),
    "cuMemAlloc_v2": (_POINTER, _SIZE),
    "cuMemFree_v2": (_ADDRESS,),
    "cuMemHostAlloc": (_POINTER, _SIZE, _UINT),
    "cuMemHostGetDevicePointer_v2": (_POINTER, _POINTER, _UINT),
    "cuMemFreeHost": (_POINTER,),
    "cuMemHostRegister_v2": (_POINTER, _SIZE, _UINT),
    "cuMemHostUnregister": (_POINTER,),
    "cuMemcpyHtoDAsync_v2": (_ADDRESS, _POINTER, _SIZE, _POINTER),
    "cuMemcpyDtoHAsync_v2": (_POINTER, _ADDRESS, _SIZE, _POINTER),
    "cuImportExternalMemory": (_POINTER, _POINTER),
    "cuExternalMemoryGetMappedBuffer": (_POINTER, _POINTER, _POINTER),
    "cuExternalMemoryGetMappedMipmappedArray": (_POINTER, _POINTER, _POINTER),
    "cuMipmappedArrayGetLevel": (_POINTER, _POINTER, _UINT),
    "cuMipmappedArrayDestroy": (_POINTER,),
    "cuMemcpy3DAsync_v2": (_POINTER, _POINTER),
    "cuDestroyExternalMemory": (_POINTER,),
    "cuImportExternalSemaphore": (_POINTER, _POINTER),
    "cuDestroyExternalSemaphore": (_POINTER,),
    "cuSignalExternalSemaphoresAsync": (_POINTER, _POINTER, _UINT, _POINTER),
    "cuWaitExternalSemaphoresAsync": (_POINTER, _POINTER, _UINT, _POINTER),
    "cuModuleLoadData": (_POINTER, _TEXT),
    "cuModuleUnload": (_POINTER,),
    "cuModuleGetFunction": (_POINTER, _POINTER, _TEXT),
    "cuLaunchKernel": (_POINTER, *[_UINT] * 7, _POINTER, _POINTER, _POINTER),
}
"""Argument types by symbol; every function returns a ``CUresult``."""
