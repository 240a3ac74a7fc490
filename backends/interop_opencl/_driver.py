"""The OpenCL loader through ctypes: functions, constants and errors.

pyopencl wraps none of the calls for external memory and semaphores, and its queries refuse enums that it does not know.
ctypes calls them in the loader that pyopencl is linked to. A second loader would see other platforms and load every
layer twice.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interop.protocols import DriverError, HandleError, HandleType, Unsupported, is_windows
from interop.toolkit import made_nothing, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# CL/cl.h and CL/cl_ext.h
FALSE = 0
COMPLETE = 0
MEM_READ_WRITE = 1
MEM_USE_HOST_PTR = 1 << 3
USE_HOST_PTR = "CL_MEM_USE_HOST_PTR"
DEVICE_UUID = 0x106A
DEVICE_LUID_VALID = 0x106C
DEVICE_LUID = 0x106D
DEVICE_NODE_MASK = 0x106E
DEVICE_PCI_BUS_INFO = 0x410F
DEVICE_SEMAPHORE_IMPORT = 0x204D
DEVICE_SEMAPHORE_EXPORT = 0x204E
DEVICE_MEMORY_IMPORT = 0x204F
DEVICE_LINEAR_IMAGES = 0x2052
SEMAPHORE_TYPE = 0x203D
SEMAPHORE_TYPE_BINARY = 1
SEMAPHORE_EXPORT_TYPES = 0x203F
EVENT_EXECUTION_STATUS = 0x11D3
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

# Answers to a handle that is not the driver's: Intel -38, others -30 or -64, NVIDIA 999 and, for a size past the
# allocation, 1.
_BAD_HANDLE = frozenset({-30, -38, -64, 999, 1})
_NEWER_NAMES = {-64: "CL_INVALID_PROPERTY", -1142: "CL_INVALID_SEMAPHORE_KHR"}
"""Names of statuses that pyopencl does not know."""

CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_TYPES = {
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "Q": ctypes.c_uint64,
    "N": ctypes.c_size_t,
    "P": ctypes.c_void_p,
    "C": CALLBACK,
    "s": ctypes.c_char_p,
}
_SIGNATURES = {
    "clGetDeviceInfo": "iPINPP",
    "clGetExtensionFunctionAddressForPlatform": "PPs",
    "clCreateBuffer": "PPQNPP",
    "clCreateBufferWithProperties": "PPPQNPP",
    "clCreateImageWithProperties": "PPPQPPPP",
    "clGetSupportedImageFormats": "iPQIIPP",
    "clCreateUserEvent": "PPP",
    "clSetUserEventStatus": "iPi",
    "clSetEventCallback": "iPiCP",
    "clGetEventInfo": "iPINPP",
    "clEnqueueMarkerWithWaitList": "iPIPP",
    "clEnqueueBarrierWithWaitList": "iPIPP",
    "clEnqueueMapBuffer": "PPPIQNNIPPP",
    "clEnqueueUnmapMemObject": "iPPPIPP",
    "clEnqueueReadBuffer": "iPPINNPIPP",
    "clEnqueueWriteBuffer": "iPPINNPIPP",
    "clEnqueueReadImage": "iPPIPPNNPIPP",
    "clEnqueueWriteImage": "iPPIPPNNPIPP",
    "clSetKernelArg": "iPINP",
    "clEnqueueNDRangeKernel": "iPPIPPPIPP",
    "clEnqueueAcquireExternalMemObjectsKHR": "iPIPIPP",
    "clEnqueueReleaseExternalMemObjectsKHR": "iPIPIPP",
    "clCreateSemaphoreWithPropertiesKHR": "PPPP",
    "clEnqueueWaitSemaphoresKHR": "iPIPPIPP",
    "clEnqueueSignalSemaphoresKHR": "iPIPPIPP",
    "clGetSemaphoreHandleForTypeKHR": "iPPINPP",
}
"""Result and arguments of each function, in the format characters of the module ``struct``.

Other functions take one object and return a status.
"""
MEMORY_FUNCTIONS = ("clEnqueueAcquireExternalMemObjectsKHR", "clEnqueueReleaseExternalMemObjectsKHR")
SEMAPHORE_FUNCTIONS = (
    "clCreateSemaphoreWithPropertiesKHR",
    "clEnqueueWaitSemaphoresKHR",
    "clEnqueueSignalSemaphoresKHR",
    "clReleaseSemaphoreKHR",
)


def signature(name: str) -> tuple[Any, list[Any]]:
    """Return the ctypes of a function's result and arguments."""
    result, *arguments = (_TYPES[each] for each in _SIGNATURES.get(name, "iP"))
    return result, arguments


class Driver:
    """pyopencl and the loader below it. One per backend; owns nothing that needs closing."""

    def __init__(self) -> None:
        self.cl: Any = importlib.import_module("pyopencl")
        self.library = _loader(self.cl)
        self.raw = cache(self._raw)
        """Returns a function of the loader with its types set. It releases the GIL while it runs."""
        self.extension = cache(self._extension)
        """Returns a function of a platform or None (``clGetExtensionFunctionAddressForPlatform``)."""

    def _raw(self, name: str) -> Any:
        return typed(self.library, name, *signature(name), "the OpenCL loader is older than OpenCL 3.0")

    def _extension(self, platform: int, name: str) -> Callable[..., Any] | None:
        address = self.raw("clGetExtensionFunctionAddressForPlatform")(platform, name.encode())
        result, arguments = signature(name)
        return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None

    def call(self, name: str, *args: object) -> None:
        """Call a function of the loader and raise the error of its status."""
        code = self.raw(name)(*args)
        if code:
            check(name, code)

    def required(self, platform: int, name: str) -> Callable[..., Any]:
        """Return an extension function, or raise :class:`Unsupported`."""
        found = self.extension(platform, name)
        if found is None:
            raise Unsupported(name, "the OpenCL platform does not offer it")
        return found

    def query(self, device: int, name: int) -> bytes | None:
        """Return the answer of ``clGetDeviceInfo``, or None where the driver refuses the query."""
        ask = self.raw("clGetDeviceInfo")
        size = ctypes.c_size_t()
        if ask(device, name, 0, None, ctypes.byref(size)) != 0:
            return None
        value = ctypes.create_string_buffer(max(1, size.value))
        if ask(device, name, size.value, value, None) != 0:
            return None  # NVIDIA answers the size of an empty list and refuses its value
        return value.raw[: size.value]

    def query_numbers(self, device: int, name: int) -> tuple[int, ...]:
        """Return a list of 32-bit numbers; empty where the driver refuses the query."""
        raw = self.query(device, name) or b""
        return struct.unpack_from(f"{len(raw) // 4}I", raw)

    def query_handles(self, device: int, name: int, table: Mapping[int, HandleType]) -> frozenset[HandleType]:
        """Return the handle types of a list of codes, without those that this backend does not know."""
        return frozenset(table[code] for code in self.query_numbers(device, name) if code in table)

    def make(self, function: str, binding: Callable[..., Any], *args: object) -> Any:
        """Return a new object of pyopencl's, or raise pyopencl's error as the error of the driver's ``function``."""
        try:
            return binding(*args)
        except self.cl.Error as error:
            raise failure(function, error) from error

    def create_memory(
        self, name: str, args: tuple[object, ...], imported: str = ""
    ) -> tuple[int, Any, Callable[[], None]]:
        """Create a ``cl_mem``, as :func:`create` does, and give it to pyopencl; see :meth:`last_reference`.

        Returns:
            The address; pyopencl's object, which has a reference of its own; what releases both references.
        """
        release = self.raw("clReleaseMemObject")
        address = create(name, self.raw(name), *args, imported=imported, discard=release)
        try:
            native = self.cl.MemoryObject.from_int_ptr(address)
        except self.cl.Error as error:
            release(address)
            raise failure("clGetMemObjectInfo", error) from error

        def release_both() -> None:
            native.release()
            release(address)

        return address, native, release_both

    def last_reference(self, kind: str, address: int) -> Callable[[], object]:
        """Retain an object of pyopencl's; return what drops the reference, as the last one and without the GIL.

        pyopencl releases with the GIL held. If that drops the last reference, NVIDIA's driver (580) waits in the call
        for its callback thread, which may be waiting for the GIL.

        Args:
            kind: End of ``clRetain...`` and ``clRelease...``.
            address: The object.
        """
        self.call(f"clRetain{kind}", address)
        return partial(self.raw(f"clRelease{kind}"), address)


def check(function: str, code: int, *, hint: str = "", imported: str = "") -> None:
    """Raise the error of a status other than CL_SUCCESS.

    Raises:
        HandleError: An import of a handle, which ``imported`` describes, refused it.
        DriverError: Any other status.
    """
    if code == 0:
        return
    error = DriverError(function, code, name_of(code), hint=hint)
    if imported and code in _BAD_HANDLE:
        raise HandleError(f"{error}; the handle is no {imported} of this device's Vulkan driver") from error
    raise error


def create(
    name: str, function: Callable[..., Any], *args: object, imported: str = "", discard: Any = None
) -> int:
    """Call a function that creates an object and return the object's address.

    Args:
        name: Name of the function.
        function: Takes ``args`` and a pointer to the status.
        *args: Its other arguments.
        imported: Description of a handle that the function imports.
        discard: Releases an object that came with an error. NVIDIA's driver (580) returns one beside the code 999,
            which keeps its context with some 18 descriptors and 6 threads.
    """
    status = ctypes.c_int()
    address = function(*args, ctypes.byref(status))
    code = status.value
    if code:
        if address and discard is not None:
            discard(address)
        check(name, code, imported=imported)
    if not address:
        raise made_nothing(name)
    made: int = address
    return made


def failure(function: str, error: Any) -> DriverError:
    """Return the error of an exception of pyopencl, with the driver's code."""
    code = int(error.code)
    return DriverError(function, code, name_of(code), text=str(error))


def name_of(code: int) -> str:
    """Return the name of a status, or an empty string."""
    known = importlib.import_module("pyopencl").status_code.to_string(code, "%d")
    return _NEWER_NAMES.get(code, "") if known == str(code) else f"CL_{known}"


def loader_path() -> str:
    """Return the file of the OpenCL loader of this process, or an empty string."""
    try:
        with Path("/proc/self/maps").open(encoding="utf-8", errors="surrogateescape") as maps:
            paths = {line.split(maxsplit=5)[-1].strip() for line in maps if "libOpenCL" in line}
    except OSError:
        return ""
    return ", ".join(sorted(paths))


def _loader(cl: Any) -> ctypes.CDLL:
    """Open the loader that pyopencl uses: through pyopencl's own module where that resolves dependencies."""
    module = importlib.import_module("pyopencl._cl")
    if not is_windows():
        return ctypes.CDLL(module.__file__)
    folder = Path(cl.__file__).parent.with_name("pyopencl.libs")
    bundled = sorted(folder.glob("opencl*.dll")) if folder.is_dir() else []
    return ctypes.CDLL(str(bundled[0]) if bundled else "OpenCL.dll")
