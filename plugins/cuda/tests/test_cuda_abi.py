"""The declarations of the driver's interface, against those of cuda-bindings. Needs no driver."""

from __future__ import annotations

import ctypes
import importlib
import re
from pathlib import Path
from typing import Any

import interop_cuda
import pytest
from interop_cuda import _abi
from interop_cuda._runtime import CudaRuntime

from interop.toolkit import device_streams, semaphores

driver: Any = importlib.import_module("cuda.bindings.driver")
PACKAGE = Path(interop_cuda.__file__).parent


def raw(structure: Any, size: int) -> bytes:
    return ctypes.string_at(structure.getPtr(), size)


def test_memory_handle_desc() -> None:
    theirs = driver.CUDA_EXTERNAL_MEMORY_HANDLE_DESC()
    theirs.type = driver.CUexternalMemoryHandleType.CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD
    theirs.handle.fd = 0x12345
    theirs.size = 0x1122334455667788
    theirs.flags = driver.CUDA_EXTERNAL_MEMORY_DEDICATED
    ours = _abi.MemoryHandleDesc()
    ours.type = _abi.MemoryType.OPAQUE_FD
    ours.handle.fd = 0x12345
    ours.size = 0x1122334455667788
    ours.flags = _abi.EXTERNAL_MEMORY_DEDICATED
    assert bytes(ours) == raw(theirs, 104)


def test_memory_handle_desc_of_windows() -> None:
    theirs = driver.CUDA_EXTERNAL_MEMORY_HANDLE_DESC()
    theirs.type = driver.CUexternalMemoryHandleType.CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_WIN32_KMT
    theirs.handle.win32.handle = 0x1122334455667788
    ours = _abi.MemoryHandleDesc()
    ours.type = _abi.MemoryType.OPAQUE_WIN32_KMT
    ours.handle.win32.handle = 0x1122334455667788
    assert bytes(ours) == raw(theirs, 104)


def test_memory_buffer_desc() -> None:
    theirs = driver.CUDA_EXTERNAL_MEMORY_BUFFER_DESC()
    theirs.offset, theirs.size, theirs.flags = 0x1122, 0x1122334455667788, 7
    ours = _abi.MemoryBufferDesc(0x1122, 0x1122334455667788, 7)
    assert bytes(ours) == raw(theirs, 88)


def test_mipmapped_array_desc() -> None:
    theirs = driver.CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC()
    array = driver.CUDA_ARRAY3D_DESCRIPTOR()
    array.Width, array.Height, array.Depth = 0x1122, 0x3344, 0x5566
    array.Format = driver.CUarray_format.CU_AD_FORMAT_HALF
    array.NumChannels, array.Flags = 4, driver.CUDA_ARRAY3D_LAYERED | driver.CUDA_ARRAY3D_SURFACE_LDST
    theirs.arrayDesc, theirs.offset, theirs.numLevels = array, 0x1122334455667788, 7
    ours = _abi.MipmappedArrayDesc(offset=0x1122334455667788, levels=7)
    ours.array.width, ours.array.height, ours.array.depth = 0x1122, 0x3344, 0x5566
    ours.array.format, ours.array.channels = 0x10, 4
    ours.array.flags = _abi.ARRAY_LAYERED | _abi.ARRAY_SURFACE_LOAD_STORE
    assert bytes(ours) == raw(theirs, 120)


def test_memcpy_3d() -> None:
    theirs = driver.CUDA_MEMCPY3D()
    theirs.srcXInBytes, theirs.srcY, theirs.srcZ, theirs.srcLOD = 1, 2, 3, 4
    theirs.srcMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_ARRAY
    theirs.srcArray = driver.CUarray(0x1122)
    theirs.dstMemoryType = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
    theirs.dstDevice, theirs.dstPitch, theirs.dstHeight = driver.CUdeviceptr(0x3344), 5, 6
    theirs.WidthInBytes, theirs.Height, theirs.Depth = 7, 8, 9
    source = _abi.Memcpy3DSide(x_in_bytes=1, y=2, z=3, level=4, kind=_abi.Place.ARRAY, array=0x1122)
    target = _abi.Memcpy3DSide(kind=_abi.Place.DEVICE, device=0x3344, pitch=5, height=6)
    assert bytes(_abi.Memcpy3D(source, target, 7, 8, 9)) == raw(theirs, 200)


def test_semaphore_handle_desc() -> None:
    theirs = driver.CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC()
    theirs.type = driver.CUexternalSemaphoreHandleType.CU_EXTERNAL_SEMAPHORE_HANDLE_TYPE_TIMELINE_SEMAPHORE_FD
    theirs.handle.fd = 0x12345
    theirs.flags = 7
    ours = _abi.SemaphoreHandleDesc()
    ours.type = _abi.SemaphoreType.TIMELINE_SEMAPHORE_FD
    ours.handle.fd = 0x12345
    ours.flags = 7
    assert bytes(ours) == raw(theirs, 96)


@pytest.mark.parametrize("name", ["SIGNAL", "WAIT"])
def test_semaphore_params(name: str) -> None:
    theirs = getattr(driver, f"CUDA_EXTERNAL_SEMAPHORE_{name}_PARAMS")()
    theirs.params.fence.value = 0x1122334455667788
    words = (ctypes.c_uint64 * semaphores.PARAMETER_WORDS)(0x1122334455667788)
    assert bytes(words) == raw(theirs, 144)


@pytest.mark.parametrize(
    ("ours", "enum", "prefix"),
    [
        (_abi.Attribute, driver.CUdevice_attribute, "CU_DEVICE_ATTRIBUTE_"),
        (_abi.Place, driver.CUmemorytype, "CU_MEMORYTYPE_"),
        (_abi.MemoryType, driver.CUexternalMemoryHandleType, "CU_EXTERNAL_MEMORY_HANDLE_TYPE_"),
        (_abi.SemaphoreType, driver.CUexternalSemaphoreHandleType, "CU_EXTERNAL_SEMAPHORE_HANDLE_TYPE_"),
    ],
)
def test_enumerations(ours: type, enum: type, prefix: str) -> None:
    names = [name for name in vars(ours) if name.isupper()]
    assert names
    for name in names:
        assert getattr(ours, name) == int(getattr(enum, prefix + name))


def test_numbers() -> None:
    assert int(driver.CUresult.CUDA_ERROR_NOT_READY) == CudaRuntime.not_ready
    assert int(driver.CUresult.CUDA_ERROR_NOT_SUPPORTED) == _abi.NOT_SUPPORTED
    assert int(driver.CUresult.CUDA_ERROR_NO_DEVICE) == _abi.NO_DEVICE
    assert int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING) == device_streams.NON_BLOCKING
    assert int(driver.CUevent_flags.CU_EVENT_DISABLE_TIMING) == device_streams.DISABLE_TIMING
    mapped = driver.CU_MEMHOSTALLOC_PORTABLE | driver.CU_MEMHOSTALLOC_DEVICEMAP
    assert mapped == _abi.HOST_PORTABLE_AND_MAPPED
    assert int(driver.CUstreamWaitValue_flags.CU_STREAM_WAIT_VALUE_GEQ) == _abi.WAIT_GREATER_OR_EQUAL
    assert int(driver.CU_STREAM_LEGACY) == 1
    assert int(driver.CU_STREAM_PER_THREAD) == 2


def test_every_function_is_one_of_the_binding() -> None:
    for symbol in _abi.FUNCTIONS:
        assert hasattr(driver, re.sub(r"_v\d$", "", symbol)), symbol


def test_every_function_called_is_declared_and_the_other_way_round() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py") if path.name != "_abi.py"
    )
    called = set(re.findall(r'"(cu[A-Z]\w+)"', sources)) - {"cuStreamWaitValue64"}
    assert called == set(_abi.FUNCTIONS)
