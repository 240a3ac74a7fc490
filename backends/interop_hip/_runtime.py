"""HIP as the shared pieces of CUDA-like runtimes call it."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import FdFate, HandleType, InteropError, SemaphoreKind
from interop.toolkit import ALL_HOLDS, DeviceRuntime, DeviceType, WordGate, put_handle, settle
from interop_hip._driver import OUT_OF_MEMORY, Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.protocols import DeviceInfo, MemoryDescriptor

_DEDICATED = 1
HOST_TO_DEVICE = 1
DEVICE_TO_HOST = 2

# HIP has no type for dma-bufs: on Linux AMD's runtime takes any fd as a dma-buf of its own kernel driver.
_MEMORY_TYPES = {
    HandleType.OPAQUE_FD: "hipExternalMemoryHandleTypeOpaqueFd",
    HandleType.DMA_BUF: "hipExternalMemoryHandleTypeOpaqueFd",
    HandleType.OPAQUE_WIN32: "hipExternalMemoryHandleTypeOpaqueWin32",
    HandleType.OPAQUE_WIN32_KMT: "hipExternalMemoryHandleTypeOpaqueWin32Kmt",
}
# AMD's Windows runtime takes a timeline under the plain type and goes by fence.value; it refuses 9 and 10.
_SEMAPHORE_TYPES = {
    (HandleType.OPAQUE_FD, SemaphoreKind.BINARY): "OpaqueFd",
    (HandleType.OPAQUE_FD, SemaphoreKind.TIMELINE): "TimelineSemaphoreFd",
    (HandleType.OPAQUE_WIN32, SemaphoreKind.BINARY): "OpaqueWin32",
    (HandleType.OPAQUE_WIN32, SemaphoreKind.TIMELINE): "OpaqueWin32",
}
_IMPORT_HINTS = {
    OUT_OF_MEMORY: "the handle is not memory of this GPU's driver, or of another GPU, or memory ran out"
}


class HipRuntime(DeviceRuntime):
    """A device of the HIP runtime."""

    api = "HIP"
    default_stream = 0
    pointers = frozenset({"rocm"})
    patience = 5.0
    leaks_busy_streams = True

    set_device = "hipSetDevice"
    stream_create = "hipStreamCreateWithFlags"
    stream_destroy = "hipStreamDestroy"
    stream_query = "hipStreamQuery"
    stream_wait_event = "hipStreamWaitEvent"
    event_create = "hipEventCreateWithFlags"
    event_destroy = "hipEventDestroy"
    event_record = "hipEventRecord"
    event_query = "hipEventQuery"
    host_function = "hipLaunchHostFunc"
    wait_value = "hipStreamWaitValue32"
    allocate = "hipMalloc"
    free = "hipFree"
    destroy_memory = "hipDestroyExternalMemory"
    register = "hipHostRegister"
    unregister = "hipHostUnregister"
    host_pointer = "hipHostGetDevicePointer"
    wait_semaphores = "hipWaitExternalSemaphoresAsync"
    signal_semaphores = "hipSignalExternalSemaphoresAsync"
    destroy_semaphore = "hipDestroyExternalSemaphore"
    map_array = "hipExternalMemoryGetMappedMipmappedArray"
    array_level = "hipGetMipmappedArrayLevel"
    free_array = "hipFreeMipmappedArray"
    load_module = "hipModuleLoadData"
    unload_module = "hipModuleUnload"
    get_function = "hipModuleGetFunction"
    launch = "hipModuleLaunchKernel"

    driver: Driver

    def __init__(self, driver: Driver, device: DeviceInfo) -> None:
        super().__init__(driver, device.index, device.index)
        # AMD's runtime never touches the fd; runtimes on top of CUDA consume it.
        amd = device.details["architecture"].startswith("gfx")
        self.fate = FdFate.KEPT if amd else FdFate.VARIES
        self.array_type = DeviceType.CUDA if device.layered == "CUDA" else DeviceType.ROCM
        self.current = self
        self._copy = driver.raw("hipMemcpyAsync")

    __enter__ = DeviceRuntime.select

    def __exit__(self, *_: object) -> None:
        """Leave the device current, as HIP programs expect."""

    @contextmanager
    def releasing(self, leaked: str = "") -> Generator[None]:
        """Return a block that releases an object even if the device cannot be made current, and raises that after."""
        failure: InteropError | None = None
        try:
            self.select()
        except InteropError as error:
            failure = error
        if leaked:  # hipFree waits for every stream
            settle(self, leaked)
        yield
        if failure is not None:
            raise failure

    def open_gate(self, stream: int) -> HipGate:
        """Return a gate of two 32-bit words (``hipHostMalloc``)."""
        return HipGate(self, stream)

    def import_memory(self, number: int, handle_type: HandleType, descriptor: MemoryDescriptor) -> int:
        """Call ``hipImportExternalMemory``."""
        hip = self.driver.hip
        wanted = hip.hipExternalMemoryHandleDesc()
        wanted.type = getattr(hip.hipExternalMemoryHandleType, _MEMORY_TYPES[handle_type])
        wanted.size = descriptor.allocation_size
        wanted.flags = _DEDICATED if descriptor.dedicated else 0
        put_handle(wanted.handle, number, handle_type)
        return self.driver.create("hipImportExternalMemory", wanted, hints=_IMPORT_HINTS)

    def map_memory(
        self, external: int, descriptor: MemoryDescriptor, undo: list[Callable[[], object]]
    ) -> int:
        """Call ``hipExternalMemoryGetMappedBuffer``."""
        whole = self.driver.hip.hipExternalMemoryBufferDesc()
        whole.size = descriptor.allocation_size
        address = self.driver.create("hipExternalMemoryGetMappedBuffer", external, whole)
        undo.append(partial(self.call, "hipFree", address))
        return address

    def import_semaphore(self, number: int, handle_type: HandleType, kind: SemaphoreKind) -> int:
        """Call ``hipImportExternalSemaphore``."""
        hip = self.driver.hip
        wanted = hip.hipExternalSemaphoreHandleDesc()
        name = f"hipExternalSemaphoreHandleType{_SEMAPHORE_TYPES[handle_type, kind]}"
        wanted.type = getattr(hip.hipExternalSemaphoreHandleType, name)
        put_handle(wanted.handle, number, handle_type)
        return self.driver.create("hipImportExternalSemaphore", wanted)

    def copy(self, target: int, source: int, nbytes: int, stream: int, *, to_host: bool) -> None:
        """Call ``hipMemcpyAsync``."""
        code = self._copy(target, source, nbytes, DEVICE_TO_HOST if to_host else HOST_TO_DEVICE, stream)
        if code:
            self.check("hipMemcpyAsync", code)


_GREATER_OR_EQUAL = 0
_ALL_BITS = 0xFFFFFFFF
_WORD = 4

SPAN = 1 << 30
"""Holds per lap of the two words; far below 2**31, where CUDA's cyclic comparison would turn over."""


def gate_point(value: int) -> tuple[int, int]:
    """Return the word that hold ``value`` waits for (0 or 1), and the number it waits for (1 to ``SPAN``).

    The words take turns, ``SPAN`` values each, so that 32 bits serve any number of holds.
    """
    lap, low = divmod(value - 1, SPAN)
    return lap % 2, low + 1


def gate_words(value: int) -> tuple[int, int]:
    """Return what the two words must hold once ``value`` has been released.

    The word whose lap is over lets all of its holds pass. It is set back half a lap later: long after the last of
    them, and long before the first hold of the lap after next.
    """
    index, number = gate_point(value)
    other = SPAN if number <= SPAN // 2 and value > SPAN else 0
    return (number, other) if index == 0 else (other, number)


class HipGate(WordGate):
    """Holds by ``hipStreamWaitValue32`` on two words of pinned host memory."""

    def __init__(self, runtime: HipRuntime, stream: int) -> None:
        super().__init__()
        self._runtime = runtime
        self._stream = stream
        self._wait = runtime.raw(runtime.wait_value)
        self._base = runtime.make("hipHostMalloc", 2 * _WORD, 0)
        self._words = (ctypes.c_uint32 * 2).from_address(self._base)
        self._words[0] = self._words[1] = 0

    def hold(self, value: int) -> None:
        """Enqueue a wait for the release of ``value``."""
        index, number = gate_point(value)
        word = self._base + index * _WORD
        code = self._wait(self._stream, word, number, _GREATER_OR_EQUAL, _ALL_BITS)
        if code:
            self._runtime.check(self._runtime.wait_value, code)

    def store(self, value: int) -> None:
        """Store the words; aligned 32-bit stores, each of which the device sees whole."""
        self._words[0], self._words[1] = (SPAN, SPAN) if value == ALL_HOLDS else gate_words(value)

    def close(self) -> None:
        """Free the words (``hipHostFree``, which waits for every stream)."""
        settle(self._runtime, "a stream's gate")
        self._runtime.call("hipHostFree", self._base)
