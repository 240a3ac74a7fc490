"""CUDA as the shared pieces of CUDA-like runtimes call it."""

from __future__ import annotations

import ctypes
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

from interop.protocols import FdFate, HandleType, SemaphoreKind
from interop.toolkit import DeviceRuntime, DeviceType, WordGate, put_handle
from interop_cuda._abi import (
    EXTERNAL_MEMORY_DEDICATED,
    HOST_PORTABLE_AND_MAPPED,
    WAIT_GREATER_OR_EQUAL,
    MemoryBufferDesc,
    MemoryHandleDesc,
    MemoryType,
    SemaphoreHandleDesc,
    SemaphoreType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.protocols import MemoryDescriptor
    from interop_cuda._driver import Driver

_MEMORY_TYPES = {
    HandleType.OPAQUE_FD: MemoryType.OPAQUE_FD,
    HandleType.OPAQUE_WIN32: MemoryType.OPAQUE_WIN32,
    HandleType.OPAQUE_WIN32_KMT: MemoryType.OPAQUE_WIN32_KMT,
}
_SEMAPHORE_TYPES = {
    (HandleType.OPAQUE_FD, SemaphoreKind.BINARY): SemaphoreType.OPAQUE_FD,
    (HandleType.OPAQUE_FD, SemaphoreKind.TIMELINE): SemaphoreType.TIMELINE_SEMAPHORE_FD,
    (HandleType.OPAQUE_WIN32, SemaphoreKind.BINARY): SemaphoreType.OPAQUE_WIN32,
    (HandleType.OPAQUE_WIN32, SemaphoreKind.TIMELINE): SemaphoreType.TIMELINE_SEMAPHORE_WIN32,
    (HandleType.OPAQUE_WIN32_KMT, SemaphoreKind.BINARY): SemaphoreType.OPAQUE_WIN32_KMT,
}
_OUT_OF_MEMORY = 2
_UNKNOWN = 999
_MEMORY_HINTS = {
    _OUT_OF_MEMORY: "no room to map the allocation",
    _UNKNOWN: "the handle is not memory of this GPU's driver",
}
_SEMAPHORE_HINTS = {_UNKNOWN: "the handle is no semaphore of this GPU's driver"}
WAIT_SYMBOL = "cuStreamWaitValue64_v2"


class CudaRuntime(DeviceRuntime):
    """A device in its primary context: the one that CUDA's runtime, and so PyTorch and CuPy, use too.

    Counted: the consumer holds the context once, each object in it once more. The last :meth:`drop` releases the
    context, so that tensors may outlive the consumer that imported their memory.
    """

    api = "CUDA"
    default_stream = 1
    ambiguous_streams = frozenset({0})
    pointers = frozenset({"cuda"})
    patience = 0.25
    leaks_busy_streams = False
    fate = FdFate.TAKEN  # on success, and on some failures
    array_type = DeviceType.CUDA

    set_device = "cuCtxSetCurrent"
    stream_create = "cuStreamCreate"
    stream_destroy = "cuStreamDestroy_v2"
    stream_query = "cuStreamQuery"
    stream_wait_event = "cuStreamWaitEvent"
    event_create = "cuEventCreate"
    event_destroy = "cuEventDestroy_v2"
    event_record = "cuEventRecord"
    event_query = "cuEventQuery"
    host_function = "cuLaunchHostFunc"
    wait_value = "cuStreamWaitValue64"
    allocate = "cuMemAlloc_v2"
    free = "cuMemFree_v2"
    destroy_memory = "cuDestroyExternalMemory"
    register = "cuMemHostRegister_v2"
    unregister = "cuMemHostUnregister"
    host_pointer = "cuMemHostGetDevicePointer_v2"
    wait_semaphores = "cuWaitExternalSemaphoresAsync"
    signal_semaphores = "cuSignalExternalSemaphoresAsync"
    destroy_semaphore = "cuDestroyExternalSemaphore"
    map_array = "cuExternalMemoryGetMappedMipmappedArray"
    array_level = "cuMipmappedArrayGetLevel"
    free_array = "cuMipmappedArrayDestroy"
    load_module = "cuModuleLoadData"
    unload_module = "cuModuleUnload"
    get_function = "cuModuleGetFunction"
    launch = "cuLaunchKernel"

    driver: Driver

    def __init__(self, driver: Driver, index: int) -> None:
        self._device = driver.number("cuDeviceGet", index)
        super().__init__(driver, index, driver.make("cuDevicePrimaryCtxRetain", self._device))
        self.current = _Current(driver, self.context)
        self._holders = 1
        self._lock = threading.RLock()  # a garbage collection inside may drop

    def hold(self) -> Self:
        """Count an object that lives in the context and return self."""
        with self._lock:
            self._holders += 1
        return self

    def drop(self) -> None:
        """Count an object less; the last one releases the context (``cuDevicePrimaryCtxRelease``)."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            self.forget()
            self.call("cuDevicePrimaryCtxRelease_v2", self._device)

    def prepare_launch(self) -> None:
        """Make the context current for a launch, even when another library has changed that since."""
        self.select()

    @contextmanager
    def releasing(self, leaked: str = "") -> Generator[None]:  # noqa: ARG002 - CUDA frees in bounded time
        """Return a block that releases an object in the context and drops its hold."""
        try:
            with self.current:
                yield
        finally:
            self.drop()

    def open_gate(self, stream: int) -> CudaGate:
        """Return a gate of one 64-bit word (``cuMemHostAlloc``)."""
        return CudaGate(self, stream)

    def import_memory(self, number: int, handle_type: HandleType, descriptor: MemoryDescriptor) -> int:
        """Call ``cuImportExternalMemory``."""
        wanted = MemoryHandleDesc()
        wanted.type = _MEMORY_TYPES[handle_type]
        wanted.size = descriptor.allocation_size
        wanted.flags = EXTERNAL_MEMORY_DEDICATED if descriptor.dedicated else 0
        put_handle(wanted.handle, number, handle_type)
        return self.make("cuImportExternalMemory", ctypes.byref(wanted), hints=_MEMORY_HINTS)

    def map_memory(
        self, external: int, descriptor: MemoryDescriptor, undo: list[Callable[[], object]]
    ) -> int:
        """Call ``cuExternalMemoryGetMappedBuffer``."""
        whole = ctypes.byref(MemoryBufferDesc(size=descriptor.allocation_size))
        address = self.make("cuExternalMemoryGetMappedBuffer", external, whole, hints=_MEMORY_HINTS)
        undo.append(partial(self.call, "cuMemFree_v2", address))
        return address

    def import_semaphore(self, number: int, handle_type: HandleType, kind: SemaphoreKind) -> int:
        """Call ``cuImportExternalSemaphore``."""
        wanted = SemaphoreHandleDesc()
        wanted.type = _SEMAPHORE_TYPES[handle_type, kind]
        put_handle(wanted.handle, number, handle_type)
        return self.make("cuImportExternalSemaphore", ctypes.byref(wanted), hints=_SEMAPHORE_HINTS)

    def copy(self, target: int, source: int, nbytes: int, stream: int, *, to_host: bool) -> None:
        """Call ``cuMemcpyDtoHAsync`` or ``cuMemcpyHtoDAsync``."""
        name = "cuMemcpyDtoHAsync_v2" if to_host else "cuMemcpyHtoDAsync_v2"
        self.call(name, target, source, nbytes, stream)


class _Current:
    """A block in which a context is current, and after which the thread has its own context again.

    Releases run in garbage collections of any thread, which must find its context unchanged. One object serves all
    blocks of all threads.
    """

    __slots__ = ("_address", "_driver", "_out", "_pop", "_push")

    def __init__(self, driver: Driver, address: int) -> None:
        self._driver = driver
        self._address = address
        self._push = driver.raw("cuCtxPushCurrent_v2")
        self._pop = driver.raw("cuCtxPopCurrent_v2")
        self._out = ctypes.byref(ctypes.c_void_p())  # where the driver writes the context that it popped

    def __enter__(self) -> None:
        code = self._push(self._address)
        if code:
            self._driver.check("cuCtxPushCurrent_v2", code)

    def __exit__(self, *_: object) -> None:
        code = self._pop(self._out)
        if code:
            self._driver.check("cuCtxPopCurrent_v2", code)


class CudaGate(WordGate):
    """Holds by ``cuStreamWaitValue64`` on a word of pinned host memory."""

    def __init__(self, runtime: CudaRuntime, stream: int) -> None:
        super().__init__()
        self._runtime = runtime
        self._stream = stream
        self._wait = runtime.raw(WAIT_SYMBOL)
        self._base = runtime.make("cuMemHostAlloc", 8, HOST_PORTABLE_AND_MAPPED)
        try:
            self._address = runtime.make(runtime.host_pointer, self._base, 0)
        except BaseException:
            self.close()
            raise
        self._word = ctypes.c_uint64.from_address(self._base)
        self._word.value = 0

    def hold(self, value: int) -> None:
        """Enqueue a wait for the release of ``value``."""
        code = self._wait(self._stream, self._address, value, WAIT_GREATER_OR_EQUAL)
        if code:
            self._runtime.check(self._runtime.wait_value, code)

    def store(self, value: int) -> None:
        """Store the word: one aligned 64-bit store, which the device sees whole."""
        self._word.value = value

    def close(self) -> None:
        """Free the word (``cuMemFreeHost``)."""
        self._runtime.call("cuMemFreeHost", self._base)
