"""Programs that use the software HIP runtime through hip-python: run in fresh processes, as it is loaded once."""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import time
from typing import TYPE_CHECKING, Any

from interop_softgpu.native import Payloads, Status

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = b"""
extern "C" __global__ void turn(unsigned *data, unsigned count, unsigned add)
{
    __shared__ unsigned tile[64];
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = data[i];
    __syncthreads();
    if (i < count)
        data[i] = tile[blockDim.x - 1 - threadIdx.x] + add;
}
"""
PADDING = 15
"""Bytes by which SwiftShader's memory files are longer than the memory."""


def binding(name: str) -> Any:
    """Return a module of hip-python, which has no types."""
    return importlib.import_module(f"rocm.bindings.{name}")


def take(result: tuple[Any, ...]) -> Any:
    """Return what a call answers beside its error, which must be success."""
    error, *values = result
    assert int(error) == 0, error
    return values[0] if len(values) == 1 else values


class VulkanMemory:
    """A file as SwiftShader exports it, and the exporter's own mapping."""

    def __init__(self, size: int) -> None:
        self.fd = os.memfd_create("SwiftShader.Memory.3", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size + PADDING)
        self.view = mmap.mmap(self.fd, size + PADDING)

    def close(self) -> None:
        self.view.close()
        os.close(self.fd)


def memory_descriptor(fd: int, size: int) -> Any:
    hip = binding("hip")

    wanted = hip.hipExternalMemoryHandleDesc()
    wanted.type = hip.hipExternalMemoryHandleType.hipExternalMemoryHandleTypeOpaqueFd
    wanted.handle.fd = fd
    wanted.size = size
    return wanted


def semaphore_descriptor(fd: int) -> Any:
    hip = binding("hip")

    wanted = hip.hipExternalSemaphoreHandleDesc()
    wanted.type = hip.hipExternalSemaphoreHandleType.hipExternalSemaphoreHandleTypeOpaqueFd
    wanted.handle.fd = fd
    return wanted


def live_objects() -> int:
    """Return how many objects of the runtime are alive."""
    library = ctypes.CDLL("libamdhip64.so", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    library.softgpu_live.argtypes = [ctypes.c_char_p]
    library.softgpu_live.restype = ctypes.c_long
    return int(library.softgpu_live(b"*"))


def load(source: bytes) -> tuple[Any, Any]:
    """Compile a program with a kernel called turn; returns the module and the kernel."""
    hip, hiprtc = binding("hip"), binding("hiprtc")

    program = take(hiprtc.hiprtcCreateProgram(source, b"turn.hip", 0, None, None))
    take(hiprtc.hiprtcCompileProgram(program, 0, None))
    code = bytearray(take(hiprtc.hiprtcGetCodeSize(program)))
    take(hiprtc.hiprtcGetCode(program, code))
    take(hiprtc.hiprtcDestroyProgram(program.createRef()))
    module = take(hip.hipModuleLoadData(code))
    return module, take(hip.hipModuleGetFunction(module, b"turn"))


def text(value: Any) -> str:
    """Return a string of the C side, which comes as str, bytes or an object of its own."""
    return value if isinstance(value, str) else bytes(value).split(b"\0")[0].decode()


def devices() -> list[dict[str, Any]]:
    """Return what each device says of itself."""
    hip = binding("hip")

    error, count = hip.hipGetDeviceCount()
    assert int(error) == (0 if count else 100)
    found = []
    for index in range(count):
        properties = take(hip.hipGetDeviceProperties(index))
        identity = take(hip.hipDeviceGetUuid(index))
        error, address = hip.hipDeviceGetPCIBusId(32, index)
        found.append(
            {
                "name": text(properties.name),
                "uuid": bytes((ctypes.c_char * 16).from_address(int(identity))).hex(),
                "pci": text(address) if int(error) == 0 else int(error),
                "arch": text(properties.gcnArchName),
            }
        )
    return found


def frames(count: int) -> dict[str, Any]:
    """Share memory and two semaphores with a pretended Vulkan, and take turns in it; everything goes again."""
    hip = binding("hip")

    words = 4096
    before = len(os.listdir("/proc/self/fd"))
    payloads = Payloads()
    memory = VulkanMemory(4 * words)
    shared = memoryview(memory.view)[: 4 * words].cast("I")
    imported = take(hip.hipImportExternalMemory(memory_descriptor(memory.fd, 4 * words)))
    whole = hip.hipExternalMemoryBufferDesc()
    whole.size = 4 * words
    data = take(hip.hipExternalMemoryGetMappedBuffer(imported, whole))
    ready, ready_fd = payloads.create()
    done, done_fd = payloads.create()
    semaphores = [
        take(hip.hipImportExternalSemaphore(semaphore_descriptor(fd))) for fd in (ready_fd, done_fd)
    ]
    for fd in (ready_fd, done_fd):
        os.close(fd)
    wait, signal = hip.hipExternalSemaphoreWaitParams(), hip.hipExternalSemaphoreSignalParams()
    module, kernel = load(SOURCE)
    stream = take(hip.hipStreamCreateWithFlags(hip.hipStreamNonBlocking))
    wrong = 0
    for frame in range(count):
        shared[:] = memoryview(bytes(4 * words)).cast("I")
        shared[frame % words] = 7
        take(hip.hipWaitExternalSemaphoresAsync([semaphores[0]], wait, 1, stream))
        arguments = (data, ctypes.c_uint(words), ctypes.c_uint(frame))
        take(
            hip.hipModuleLaunchKernel(
                kernel,
                gridDimX=words // 64,
                gridDimY=1,
                gridDimZ=1,
                blockDimX=64,
                blockDimY=1,
                blockDimZ=1,
                sharedMemBytes=0,
                stream=stream,
                kernelParams=None,
                extra=arguments,
            )
        )
        take(hip.hipSignalExternalSemaphoresAsync([semaphores[1]], signal, 1, stream))
        assert int(hip.hipStreamQuery(stream)[0]) == 600  # it waits for the exporter
        ready.signal()
        assert done.wait(10) is Status.OK
        place = frame % words // 64 * 64 + 63 - frame % 64
        wrong += sum(value != frame + 7 * (index == place) for index, value in enumerate(shared))
    take(hip.hipStreamSynchronize(stream))
    take(hip.hipStreamDestroy(stream))
    take(hip.hipModuleUnload(module))
    for semaphore in semaphores:
        take(hip.hipDestroyExternalSemaphore(semaphore))
    take(hip.hipFree(data))
    take(hip.hipDestroyExternalMemory(imported))
    shared.release()
    memory.close()
    ready.close()
    done.close()
    return {
        "wrong": wrong,
        "live": live_objects(),
        "files": len(os.listdir("/proc/self/fd")) - before,
    }


def imports() -> dict[str, Any]:
    """Import memory, a semaphore and a file that is neither: the errors, and which fds are still open."""
    hip = binding("hip")

    memory = VulkanMemory(64)
    payload, semaphore = Payloads().create()
    foreign = os.memfd_create("another")
    answers: dict[str, Any] = {}
    rows: list[tuple[str, int, Callable[[int], Any]]] = [
        ("memory", memory.fd, lambda fd: hip.hipImportExternalMemory(memory_descriptor(fd, 64))),
        ("foreign", foreign, lambda fd: hip.hipImportExternalMemory(memory_descriptor(fd, 64))),
        ("semaphore", semaphore, lambda fd: hip.hipImportExternalSemaphore(semaphore_descriptor(fd))),
    ]
    for name, fd, call in rows:
        duplicate = os.dup(fd)
        error = call(duplicate)[0]
        answers[name] = [int(error), is_open(duplicate)]
    payload.close()
    return answers


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def wait_value() -> dict[str, Any]:
    """Hold a stream with a word that the host stores, as the bridge of a timeline semaphore does."""
    hip = binding("hip")

    attribute = hip.hipDeviceAttribute_t.hipDeviceAttributeCanUseStreamWaitValue
    offered = take(hip.hipDeviceGetAttribute(attribute, 0))
    pinned = take(hip.hipHostMalloc(4, 0))
    word = ctypes.c_uint.from_address(int(pinned))
    word.value = 0
    stream = take(hip.hipStreamCreate())
    error = int(hip.hipStreamWaitValue32(stream, pinned, 5, 0, 0xFFFFFFFF)[0])
    time.sleep(0.02)
    held = int(hip.hipStreamQuery(stream)[0])
    word.value = 5
    take(hip.hipStreamSynchronize(stream))
    take(hip.hipStreamDestroy(stream))
    take(hip.hipHostFree(pinned))
    return {"offered": offered, "error": error, "held": held, "live": live_objects()}


def allocations(count: int) -> list[int]:
    """Allocate and free, and return the errors of the allocations."""
    hip = binding("hip")

    errors = []
    for _ in range(count):
        error, pointer = hip.hipMalloc(16)
        errors.append(int(error))
        if int(error) == 0:
            take(hip.hipFree(pointer))
    return errors


def blocked_exit() -> str:
    """Return with a stream that waits for a semaphore nobody signals, and one for a word nobody writes."""
    hip = binding("hip")

    _, fd = Payloads().create()
    semaphore = take(hip.hipImportExternalSemaphore(semaphore_descriptor(fd)))
    wait = hip.hipExternalSemaphoreWaitParams()
    first, second = take(hip.hipStreamCreate()), take(hip.hipStreamCreate())
    take(hip.hipWaitExternalSemaphoresAsync([semaphore], wait, 1, first))
    pinned = take(hip.hipHostMalloc(4, 0))
    ctypes.c_uint.from_address(int(pinned)).value = 0
    take(hip.hipStreamWaitValue32(second, pinned, 1, 0, 0xFFFFFFFF))
    take(hip.hipMemsetAsync(pinned, 1, 4, None))  # the null stream waits for both
    time.sleep(0.05)
    return "left"
