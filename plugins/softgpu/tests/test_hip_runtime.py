"""The HIP runtime through hip-python, with memory and semaphores of a real Vulkan driver in one process."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from interop_softgpu import paths
from interop_softgpu.native import Controls

from .conftest import open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop_softgpu.native import Payloads
    from interop_softgpu.vulkan_objects import VulkanDevice

SIZE = 1 << 16
COUNT = SIZE // 4
NOT_READY, NOT_SUPPORTED = 600, 801
UUID_OFFSET, ARCH_OFFSET = 256, 1160
KINDS = ("memory", "mapping", "semaphore", "stream", "allocation", "host_allocation")
SOURCE = b"""
#define KERNEL extern "C" __global__
KERNEL void add(unsigned *words, unsigned by, int count)
{
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count)
        words[at] += by;
}
KERNEL void sinewave(float *height, int width, int rows, float t)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= rows) return;
    float u = 2.0f * x / width - 1.0f, v = 2.0f * y / rows - 1.0f;
    height[y * width + x] = sin(10.0f * u + t) * cos(10.0f * v + t);
}
"""

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("nothing_left")]


def ok(answer: tuple[Any, ...]) -> Any:
    """Return what a call gave besides hipSuccess."""
    code, *rest = answer
    assert int(code) == 0, code
    return rest[0] if len(rest) == 1 else tuple(rest)


class Hip:
    """hip-python, with the few things that need several calls."""

    def __init__(self) -> None:
        from rocm.bindings import hip, hiprtc

        self.api: Any = hip
        self.rtc: Any = hiprtc

    def load(self, source: bytes) -> Any:
        """Compile and load, or fail with the log."""
        program = ok(self.rtc.hiprtcCreateProgram(source, b"test.hip", 0, None, None))
        result = int(self.rtc.hiprtcCompileProgram(program, 1, [b"--offload-arch=softgpu"])[0])
        log = bytearray(ok(self.rtc.hiprtcGetProgramLogSize(program)))
        ok(self.rtc.hiprtcGetProgramLog(program, log))
        assert result == 0, log.decode()
        code = bytearray(ok(self.rtc.hiprtcGetCodeSize(program)))
        ok(self.rtc.hiprtcGetCode(program, code))
        ok(self.rtc.hiprtcDestroyProgram(program.createRef()))
        return ok(self.api.hipModuleLoadData(code))

    def memory(self, fd: int) -> Any:
        """Import memory."""
        desc = self.api.hipExternalMemoryHandleDesc()
        desc.type = self.api.hipExternalMemoryHandleType.hipExternalMemoryHandleTypeOpaqueFd
        desc.handle.fd = fd
        desc.size = SIZE
        return ok(self.api.hipImportExternalMemory(desc))

    def map(self, memory: Any) -> Any:
        """Map all of it."""
        desc = self.api.hipExternalMemoryBufferDesc()
        desc.size = SIZE
        return ok(self.api.hipExternalMemoryGetMappedBuffer(memory, desc))

    def semaphore(self, fd: int) -> tuple[Any, ...]:
        """Import a binary semaphore: hip-python's answer."""
        desc = self.api.hipExternalSemaphoreHandleDesc()
        desc.type = self.api.hipExternalSemaphoreHandleType.hipExternalSemaphoreHandleTypeOpaqueFd
        desc.handle.fd = fd
        answer: tuple[Any, ...] = self.api.hipImportExternalSemaphore(desc)
        return answer

    def wait(self, semaphore: Any, stream: Any) -> None:
        """Enqueue a wait."""
        params = self.api.hipExternalSemaphoreWaitParams()
        ok(self.api.hipWaitExternalSemaphoresAsync([semaphore], params, 1, stream))

    def signal(self, semaphore: Any, stream: Any) -> None:
        """Enqueue a signal."""
        params = self.api.hipExternalSemaphoreSignalParams()
        ok(self.api.hipSignalExternalSemaphoresAsync([semaphore], params, 1, stream))

    def property_bytes(self, offset: int, count: int) -> bytes:
        """Return a part of device 0's properties, as C sees it."""
        properties = ok(self.api.hipGetDeviceProperties(0))
        return ctypes.string_at(int(properties) + offset, count)


@pytest.fixture(scope="module")
def hip(environment: None) -> Hip:
    """The runtime that hip-python finds through ROCM_PATH; it must be ours."""
    made = Hip()
    assert b"software" in made.property_bytes(0, 256)
    return made


@pytest.fixture(scope="module")
def controls(hip: Hip) -> Controls:
    """The switches and counters of that runtime."""
    library = paths.native(paths.HIP)
    assert library is not None
    return Controls(library)


@pytest.fixture(scope="module")
def kernel(hip: Hip) -> Iterator[Callable[[bytes], Any]]:
    """The kernels of SOURCE by name."""
    module = hip.load(SOURCE)
    yield lambda name: ok(hip.api.hipModuleGetFunction(module, name))
    ok(hip.api.hipModuleUnload(module))


@pytest.fixture
def nothing_left(kernel: Callable[[bytes], Any], vulkan: VulkanDevice, controls: Controls) -> Iterator[None]:
    """Fail when the test leaves an fd or an object of the runtime."""
    before = [controls.live(kind) for kind in KINDS]
    files = open_files()
    yield
    assert [controls.live(kind) for kind in KINDS] == before, KINDS
    assert open_files() == files


@pytest.fixture
def stream(hip: Hip) -> Iterator[Any]:
    """A stream without ties to the null stream."""
    made = ok(hip.api.hipStreamCreateWithFlags(1))
    yield made
    ok(hip.api.hipStreamSynchronize(made))
    ok(hip.api.hipStreamDestroy(made))


@pytest.fixture
def shared(hip: Hip, vulkan: VulkanDevice) -> Iterator[tuple[Any, np.ndarray[Any, Any]]]:
    """Memory of Vulkan: HIP's pointer, and the words as Vulkan maps them. The fd stays ours, as with AMD."""
    memory = vulkan.memory(SIZE)
    fd = memory.fd()
    imported = hip.memory(fd)
    os.close(fd)
    pointer = hip.map(imported)
    yield pointer, np.frombuffer(memory.view, dtype=np.uint32)[:COUNT]
    ok(hip.api.hipFree(pointer))
    ok(hip.api.hipDestroyExternalMemory(imported))
    memory.close()


def submit(vulkan: VulkanDevice, **order: Any) -> None:
    """Submit to Vulkan's queue and see it finish."""
    fence = vulkan.submit(**order)
    assert vulkan.finished(fence, 10)
    vulkan.destroy_fence(fence)


def test_the_devices_are_vulkans(hip: Hip, payloads: Payloads) -> None:
    uuids = payloads.cpu_uuids()
    assert ok(hip.api.hipGetDeviceCount()) == len(uuids)
    assert hip.property_bytes(UUID_OFFSET, 16) == uuids[0]


def test_a_kernel_over_a_grid(hip: Hip, kernel: Callable[[bytes], Any], stream: Any) -> None:
    width, rows = 200, 100
    height = ok(hip.api.hipMalloc(width * rows * 4))
    arguments = (height, ctypes.c_int(width), ctypes.c_int(rows), ctypes.c_float(0.5))
    sinewave = kernel(b"sinewave")
    ok(hip.api.hipModuleLaunchKernel(sinewave, 25, 13, 1, 8, 8, 1, 0, stream, None, arguments))
    ok(hip.api.hipStreamSynchronize(stream))
    result = np.zeros((rows, width), dtype=np.float32)
    ok(hip.api.hipMemcpy(result, height, result.nbytes, hip.api.hipMemcpyKind.hipMemcpyDeviceToHost))
    ok(hip.api.hipFree(height))
    u = 2 * np.arange(width) / width - 1
    v = 2 * np.arange(rows) / rows - 1
    np.testing.assert_allclose(result, np.outer(np.cos(10 * v + 0.5), np.sin(10 * u + 0.5)), atol=2e-6)


def test_frames_in_turns_with_vulkan(
    hip: Hip,
    vulkan: VulkanDevice,
    shared: tuple[Any, np.ndarray[Any, Any]],
    kernel: Callable[[bytes], Any],
    stream: Any,
) -> None:
    pointer, words = shared
    ready, ready_fd = vulkan.semaphore()
    done, done_fd = vulkan.semaphore()
    here, there = ok(hip.semaphore(ready_fd)), ok(hip.semaphore(done_fd))
    os.close(ready_fd)
    os.close(done_fd)
    words[:] = np.arange(COUNT, dtype=np.uint32)
    arguments = (pointer, ctypes.c_uint(3), ctypes.c_int(COUNT))
    add = kernel(b"add")
    for frame in range(1, 101):
        if frame % 2:  # in half of the frames the producer submits first
            submit(vulkan, signal=ready)
        hip.wait(here, stream)
        ok(hip.api.hipModuleLaunchKernel(add, COUNT // 64, 1, 1, 64, 1, 1, 0, stream, None, arguments))
        hip.signal(there, stream)
        if not frame % 2:
            assert int(hip.api.hipStreamQuery(stream)[0]) == NOT_READY
            submit(vulkan, signal=ready)
        submit(vulkan, wait=done)
        assert words[0] == 3 * frame
    np.testing.assert_array_equal(words, np.arange(COUNT) + 300)
    for imported in (here, there):
        ok(hip.api.hipDestroyExternalSemaphore(imported))
    for semaphore in (ready, done):
        vulkan.destroy_semaphore(semaphore)


def test_the_mode_of_amd_on_linux(hip: Hip, vulkan: VulkanDevice, controls: Controls) -> None:
    semaphore, fd = vulkan.semaphore()
    controls.set("HIP_MODE", "amd")
    try:
        code, imported = hip.semaphore(fd)
        arch = hip.property_bytes(ARCH_OFFSET, 8)
        uuid = hip.property_bytes(UUID_OFFSET, 16)
    finally:
        controls.set("HIP_MODE", None)
    assert (int(code), imported) == (NOT_SUPPORTED, None)
    assert arch == b"gfx1100\0"
    assert int(uuid, 16) > 0  # hex digits in ASCII, not Vulkan's UUID
    os.close(fd)  # still ours
    vulkan.destroy_semaphore(semaphore)


def test_images_are_not_supported(hip: Hip, vulkan: VulkanDevice) -> None:
    memory = vulkan.memory(SIZE)
    fd = memory.fd()
    imported = hip.memory(fd)
    os.close(fd)
    desc = hip.api.hipExternalMemoryMipmappedArrayDesc()
    for channel in "xyzw":
        setattr(desc.formatDesc, channel, 8)
    desc.formatDesc.f = hip.api.hipChannelFormatKind.hipChannelFormatKindUnsigned
    desc.extent.width, desc.extent.height, desc.numLevels = 16, 16, 1
    assert int(hip.api.hipExternalMemoryGetMappedMipmappedArray(imported, desc)[0]) == NOT_SUPPORTED
    ok(hip.api.hipDestroyExternalMemory(imported))
    memory.close()
