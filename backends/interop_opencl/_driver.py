"""OpenCL as this backend calls it: the loader that pyopencl uses, constants, errors, raw functions.

pyopencl wraps none of the external-memory and semaphore calls, and its queries refuse enums that it does not
know, so these go through ctypes, to the very loader that pyopencl itself is linked to: a second one would see
other platforms and load every layer twice.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interop.protocols import (
    BackendUnavailable,
    DriverError,
    HandleError,
    HandleType,
    Unsupported,
    is_windows,
)
from interop_opencl._install import INSTALL_HINT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# CL/cl.h and CL/cl_ext.h
FALSE = 0
COMPLETE = 0
MEM_READ_WRITE = 1
MEM_USE_HOST_PTR = 1 << 3
USE_HOST_PTR = "CL_MEM_USE_HOST_PTR"
QUEUE_PROPERTIES = 0x1093
DEVICE_UUID = 0x106A
DEVICE_LUID_VALID = 0x106C
DEVICE_LUID = 0x106D
DEVICE_NODE_MASK = 0x106E
DEVICE_PCI_BUS_INFO = 0x410F
DEVICE_SEMAPHORE_TYPES = 0x204C
DEVICE_SEMAPHORE_IMPORT = 0x204D
DEVICE_SEMAPHORE_EXPORT = 0x204E
DEVICE_MEMORY_IMPORT = 0x204F
DEVICE_LINEAR_IMAGES = 0x2052
SEMAPHORE_TYPE = 0x203D
SEMAPHORE_TYPE_BINARY = 1
SEMAPHORE_EXPORT_TYPES = 0x203F
EVENT_EXECUTION_STATUS = 0x11D3
BUFFER_CREATE_TYPE_REGION = 0x1220
DEVICE_NOT_FOUND = -1
FAILED_WAIT_LIST = -14

MEMORY_HANDLES = {
    0x2060: HandleType.OPAQUE_FD,
    0x2061: HandleType.OPAQUE_WIN32,
    0x2062: HandleType.OPAQUE_WIN32_KMT,
    0x2067: HandleType.DMA_BUF,
}
SEMAPHORE_HANDLES = {
    0x2055: HandleType.OPAQUE_FD,
    0x2056: HandleType.OPAQUE_WIN32,
    0x2057: HandleType.OPAQUE_WIN32_KMT,
    0x2058: HandleType.SYNC_FD,
}

# What drivers answer to a handle that is not theirs: Intel -38, others -30 or -64, NVIDIA 999 and, for a size
# past the allocation, 1.
_BAD_HANDLE = frozenset({-30, -38, -64, 999, 1})
_NAMES = {
    -1: "CL_DEVICE_NOT_FOUND",
    -2: "CL_DEVICE_NOT_AVAILABLE",
    -4: "CL_MEM_OBJECT_ALLOCATION_FAILURE",
    -5: "CL_OUT_OF_RESOURCES",
    -6: "CL_OUT_OF_HOST_MEMORY",
    -10: "CL_IMAGE_FORMAT_NOT_SUPPORTED",
    -11: "CL_BUILD_PROGRAM_FAILURE",
    -13: "CL_MISALIGNED_SUB_BUFFER_OFFSET",
    -14: "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
    -30: "CL_INVALID_VALUE",
    -33: "CL_INVALID_DEVICE",
    -34: "CL_INVALID_CONTEXT",
    -36: "CL_INVALID_COMMAND_QUEUE",
    -37: "CL_INVALID_HOST_PTR",
    -38: "CL_INVALID_MEM_OBJECT",
    -39: "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR",
    -40: "CL_INVALID_IMAGE_SIZE",
    -48: "CL_INVALID_KERNEL",
    -49: "CL_INVALID_ARG_INDEX",
    -50: "CL_INVALID_ARG_VALUE",
    -51: "CL_INVALID_ARG_SIZE",
    -52: "CL_INVALID_KERNEL_ARGS",
    -54: "CL_INVALID_WORK_GROUP_SIZE",
    -57: "CL_INVALID_EVENT_WAIT_LIST",
    -58: "CL_INVALID_EVENT",
    -59: "CL_INVALID_OPERATION",
    -61: "CL_INVALID_BUFFER_SIZE",
    -64: "CL_INVALID_PROPERTY",
    -65: "CL_INVALID_IMAGE_DESCRIPTOR",
    -1001: "CL_PLATFORM_NOT_FOUND_KHR",
    -1142: "CL_INVALID_SEMAPHORE_KHR",
}

_INT = ctypes.c_int
_UINT = ctypes.c_uint
_ULONG = ctypes.c_uint64
_SIZE = ctypes.c_size_t
_POINTER = ctypes.c_void_p
CALLBACK = ctypes.CFUNCTYPE(None, _POINTER, _INT, _POINTER)

_CORE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "clGetPlatformIDs": (_INT, (_UINT, _POINTER, _POINTER)),
    "clGetDeviceInfo": (_INT, (_POINTER, _UINT, _SIZE, _POINTER, _POINTER)),
    "clGetExtensionFunctionAddressForPlatform": (_POINTER, (_POINTER, ctypes.c_char_p)),
    "clCreateBufferWithProperties": (_POINTER, (_POINTER, _POINTER, _ULONG, _SIZE, _POINTER, _POINTER)),
    "clCreateImageWithProperties": (
        _POINTER,
        (_POINTER, _POINTER, _ULONG, _POINTER, _POINTER, _POINTER, _POINTER),
    ),
    "clGetSupportedImageFormats": (_INT, (_POINTER, _ULONG, _UINT, _UINT, _POINTER, _POINTER)),
    "clRetainMemObject": (_INT, (_POINTER,)),
    "clReleaseMemObject": (_INT, (_POINTER,)),
    "clRetainContext": (_INT, (_POINTER,)),
    "clReleaseContext": (_INT, (_POINTER,)),
    "clRetainCommandQueue": (_INT, (_POINTER,)),
    "clReleaseCommandQueue": (_INT, (_POINTER,)),
    "clCreateUserEvent": (_POINTER, (_POINTER, _POINTER)),
    "clSetUserEventStatus": (_INT, (_POINTER, _INT)),
    "clSetEventCallback": (_INT, (_POINTER, _INT, CALLBACK, _POINTER)),
    "clGetEventInfo": (_INT, (_POINTER, _UINT, _SIZE, _POINTER, _POINTER)),
    "clRetainEvent": (_INT, (_POINTER,)),
    "clReleaseEvent": (_INT, (_POINTER,)),
    "clEnqueueMarkerWithWaitList": (_INT, (_POINTER, _UINT, _POINTER, _POINTER)),
    "clEnqueueBarrierWithWaitList": (_INT, (_POINTER, _UINT, _POINTER, _POINTER)),
    "clCreateBuffer": (_POINTER, (_POINTER, ctypes.c_uint64, _SIZE, _POINTER, _POINTER)),
    "clEnqueueMapBuffer": (
        _POINTER,
        (
            *(_POINTER, _POINTER, _UINT, ctypes.c_uint64, _SIZE, _SIZE),
            *(_UINT, _POINTER, _POINTER, _POINTER),
        ),
    ),
    "clEnqueueUnmapMemObject": (_INT, (_POINTER, _POINTER, _POINTER, _UINT, _POINTER, _POINTER)),
    "clEnqueueReadBuffer": (
        _INT,
        (_POINTER, _POINTER, _UINT, _SIZE, _SIZE, _POINTER, _UINT, _POINTER, _POINTER),
    ),
    "clEnqueueWriteBuffer": (
        _INT,
        (_POINTER, _POINTER, _UINT, _SIZE, _SIZE, _POINTER, _UINT, _POINTER, _POINTER),
    ),
    "clEnqueueReadImage": (
        _INT,
        (_POINTER, _POINTER, _UINT, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _UINT, _POINTER, _POINTER),
    ),
    "clEnqueueWriteImage": (
        _INT,
        (_POINTER, _POINTER, _UINT, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _UINT, _POINTER, _POINTER),
    ),
    "clSetKernelArg": (_INT, (_POINTER, _UINT, _SIZE, _POINTER)),
    "clEnqueueNDRangeKernel": (
        _INT,
        (_POINTER, _POINTER, _UINT, _POINTER, _POINTER, _POINTER, _UINT, _POINTER, _POINTER),
    ),
    "clFlush": (_INT, (_POINTER,)),
}
_EXTENSIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "clEnqueueAcquireExternalMemObjectsKHR": (_INT, (_POINTER, _UINT, _POINTER, _UINT, _POINTER, _POINTER)),
    "clEnqueueReleaseExternalMemObjectsKHR": (_INT, (_POINTER, _UINT, _POINTER, _UINT, _POINTER, _POINTER)),
    "clCreateSemaphoreWithPropertiesKHR": (_POINTER, (_POINTER, _POINTER, _POINTER)),
    "clEnqueueWaitSemaphoresKHR": (
        _INT,
        (_POINTER, _UINT, _POINTER, _POINTER, _UINT, _POINTER, _POINTER),
    ),
    "clEnqueueSignalSemaphoresKHR": (
        _INT,
        (_POINTER, _UINT, _POINTER, _POINTER, _UINT, _POINTER, _POINTER),
    ),
    "clReleaseSemaphoreKHR": (_INT, (_POINTER,)),
    "clGetSemaphoreHandleForTypeKHR": (_INT, (_POINTER, _POINTER, _UINT, _SIZE, _POINTER, _POINTER)),
}
MEMORY_FUNCTIONS = ("clEnqueueAcquireExternalMemObjectsKHR", "clEnqueueReleaseExternalMemObjectsKHR")
SEMAPHORE_FUNCTIONS = (
    "clCreateSemaphoreWithPropertiesKHR",
    "clEnqueueWaitSemaphoresKHR",
    "clEnqueueSignalSemaphoresKHR",
    "clReleaseSemaphoreKHR",
)


class Driver:
    """pyopencl and the loader below it. One per backend; owns nothing that would need closing."""

    def __init__(self) -> None:
        self.cl: Any = importlib.import_module("pyopencl")
        self.scalar: type = importlib.import_module("numpy").generic
        self.library = _loader(self.cl)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._extensions: dict[tuple[int, str], Callable[..., Any] | None] = {}
        self._references: dict[str, tuple[Callable[..., int], Callable[..., int]]] = {}

    def raw(self, name: str) -> Callable[..., Any]:
        """Return a core function, prepared. Releases the GIL while it runs."""
        found = self._functions.get(name)
        if found is None:
            result, arguments = _CORE[name]
            try:
                function = self.library[name]
            except AttributeError as error:
                raise Unsupported(name, "the OpenCL loader is older than OpenCL 3.0") from error
            function.restype, function.argtypes = result, arguments
            found = self._functions[name] = function
        return found

    def references(self, kind: str) -> tuple[Callable[..., int], Callable[..., int]]:
        """Return ``clRetain...`` and ``clRelease...`` of a kind of object, such as ``"MemObject"``."""
        found = self._references.get(kind)
        if found is None:
            found = self._references[kind] = self.raw(f"clRetain{kind}"), self.raw(f"clRelease{kind}")
        return found

    def extension(self, platform: int, name: str) -> Callable[..., Any] | None:
        """Return a function of a platform or None (``clGetExtensionFunctionAddressForPlatform``)."""
        key = platform, name
        if key not in self._extensions:
            address = self.raw("clGetExtensionFunctionAddressForPlatform")(platform, name.encode())
            result, arguments = _EXTENSIONS[name]
            self._extensions[key] = ctypes.CFUNCTYPE(result, *arguments)(address) if address else None
        return self._extensions[key]

    def required(self, platform: int, name: str) -> Callable[..., Any]:
        """Return an extension function, or raise :class:`Unsupported`."""
        found = self.extension(platform, name)
        if found is None:
            raise Unsupported(name, "the OpenCL platform does not offer it")
        return found

    def query(self, device: int, parameter: int) -> bytes | None:
        """Return what ``clGetDeviceInfo`` says, or None where the driver refuses the question."""
        ask = self.raw("clGetDeviceInfo")
        size = ctypes.c_size_t()
        if ask(device, parameter, 0, None, ctypes.byref(size)) != 0:
            return None
        value = ctypes.create_string_buffer(max(1, size.value))
        if ask(device, parameter, size.value, value, None) != 0:
            return None  # NVIDIA answers the size of an empty list and refuses its value
        return value.raw[: size.value]

    def query_numbers(self, device: int, parameter: int) -> tuple[int, ...]:
        """Return a list of 32-bit numbers; empty where the driver refuses the question."""
        raw = self.query(device, parameter) or b""
        return tuple(int.from_bytes(raw[at : at + 4], sys.byteorder) for at in range(0, len(raw) // 4 * 4, 4))

    def platforms(self) -> list[Any]:
        """Return the platforms. Raises :class:`BackendUnavailable` when there is none."""
        try:
            return list(self.cl.get_platforms())
        except self.cl.Error as error:
            raise BackendUnavailable("opencl", f"no OpenCL platform: {error}", INSTALL_HINT) from error

    def devices(self, platform: Any) -> list[Any]:
        """Return the devices of a platform; none for one without (Mesa's Clover shows such)."""
        try:
            return list(platform.get_devices())
        except self.cl.Error as error:
            if int(error.code) != DEVICE_NOT_FOUND:
                # One vendor's broken driver must not take the others' devices away, nor stay unmentioned.
                warnings.warn(
                    f"OpenCL platform {platform.name} is left out: {error}", RuntimeWarning, stacklevel=2
                )
            return []

    def adopt(self, address: int) -> Any:
        """Give a ``cl_mem`` of our own making to pyopencl; released when that fails (``clGetMemObjectInfo``)."""
        try:
            return self.cl.MemoryObject.from_int_ptr(address, retain=False)
        except self.cl.Error as error:
            self.raw("clReleaseMemObject")(address)
            raise failure("clGetMemObjectInfo", error) from error

    def versions(self) -> Mapping[str, str]:
        """Versions of pyopencl and the platforms, and which file the loader is."""
        import importlib.metadata  # not for connecting, which needs none of this

        found = {"pyopencl": importlib.metadata.version("pyopencl"), "loader": loader_path()}
        for platform in self.platforms():
            found[f"platform {platform.name}"] = platform.version
        return found


class LastReference:
    """Our own reference to an object of pyopencl's, given up last and with the GIL released.

    pyopencl releases with the GIL held. Where that is the last reference, NVIDIA's driver (580) waits in the
    call for its callback thread, which may be waiting for the GIL.
    """

    __slots__ = ("_address", "_release")

    def __init__(self, driver: Driver, kind: str, address: int) -> None:
        """Retain an object; ``kind`` is the end of ``clRetain...`` and ``clRelease...``."""
        retain, self._release = driver.references(kind)
        self._address = address
        code = retain(address)
        if code:
            check(f"clRetain{kind}", code)

    def drop(self) -> None:
        """Give it up. Call once, after pyopencl's object has gone."""
        self._release(self._address)


def check(function: str, code: int, *, hint: str = "") -> None:
    """Raise :class:`DriverError` for a status other than CL_SUCCESS."""
    if code != 0:
        raise DriverError(function, code, _NAMES.get(code, ""), hint=hint)


def check_handle(function: str, code: int, what: str) -> None:
    """Judge an import: :class:`HandleError` where the driver refuses the handle, else as :func:`check`."""
    if code in _BAD_HANDLE:
        error = DriverError(function, code, name_of(code))
        raise HandleError(f"{error}; the handle is no {what} of this device's Vulkan driver") from error
    check(function, code)


def imported(driver: Driver, function: str, code: int, address: int | None, what: str, size: int) -> int:
    """Return the ``cl_mem`` of an import of ``size`` bytes, or raise as :func:`check_handle`.

    NVIDIA's driver (580) returns an object beside the code 999. It is good for nothing and keeps its context,
    with some 18 descriptors and 6 threads, so it is released.
    """
    if code != 0:
        if address:
            driver.raw("clReleaseMemObject")(address)
        check_handle(function, code, f"{what} of {size} bytes")
    if not address:
        raise DriverError(function, 0, text="reported success and returned no object")
    return address


def failure(function: str, error: Any) -> DriverError:
    """Return an exception of pyopencl as this project's, with the driver's code."""
    code = int(error.code)
    return DriverError(function, code, name_of(code), text=str(error))


def name_of(code: int) -> str:
    """Return the constant's name for an error code, or an empty string."""
    return _NAMES.get(code, "")


def loader_path() -> str:
    """Return the file that the OpenCL loader of this process was read from, or an empty string."""
    try:
        with Path("/proc/self/maps").open(encoding="utf-8", errors="surrogateescape") as maps:
            paths = {line.split(maxsplit=5)[-1].strip() for line in maps if "libOpenCL" in line}
    except OSError:
        return ""
    return ", ".join(sorted(paths))


def _loader(cl: Any) -> ctypes.CDLL:
    """Open what pyopencl has opened: through its own module where that resolves dependencies."""
    module = importlib.import_module("pyopencl._cl")
    if not is_windows():
        return ctypes.CDLL(module.__file__)
    folder = Path(cl.__file__).parent.with_name("pyopencl.libs")
    bundled = sorted(folder.glob("opencl*.dll")) if folder.is_dir() else []
    return ctypes.CDLL(str(bundled[0]) if bundled else "OpenCL.dll")
