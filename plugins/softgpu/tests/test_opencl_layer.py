"""The OpenCL layer over a real CPU OpenCL, with memory and semaphores of a real Vulkan driver."""

from __future__ import annotations

import ctypes
import os
import select
import time
from ctypes import byref, c_int, c_size_t, c_void_p
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from .conftest import open_files, query, words64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop_softgpu.native import Controls, Payloads
    from interop_softgpu.vulkan_objects import VulkanDevice, VulkanMemory

    from .conftest import OpenCL

MEMORY_FD, SEMAPHORE_FD, SYNC_FD = 0x2060, 0x2055, 0x2058
TYPE, EXPORT, SEMAPHORE_DEVICES, MEMORY_DEVICES = 0x203D, 0x203F, 0x2053, 0x2051
BINARY = [TYPE, 1]
SIZE = 1 << 16
WAIT, SIGNAL = "clEnqueueWaitSemaphoresKHR", "clEnqueueSignalSemaphoresKHR"
ACQUIRE, RELEASE = "clEnqueueAcquireExternalMemObjectsKHR", "clEnqueueReleaseExternalMemObjectsKHR"

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_leaks")]


@pytest.fixture
def memory(vulkan: VulkanDevice) -> Iterator[VulkanMemory]:
    made = vulkan.memory(SIZE)
    yield made
    made.close()


@pytest.fixture
def imported(opencl: OpenCL, memory: VulkanMemory) -> Iterator[Any]:
    code, made = opencl.buffer([MEMORY_FD, memory.fd(), 0], SIZE)
    assert code == 0
    buffer = opencl.cl.MemoryObject.from_int_ptr(made, retain=False)
    yield buffer
    buffer.release()


def own_semaphore(opencl: OpenCL, *more: int) -> int:
    code, made = opencl.semaphore([*BINARY, *more, 0])
    assert code == 0
    assert made is not None
    return made


# What the device says


def test_device_says_that_it_is_software_and_what_it_offers(opencl: OpenCL, payloads: Payloads) -> None:
    extensions = opencl.device.extensions.split()
    for name in (
        "cl_khr_external_memory",
        "cl_khr_external_memory_opaque_fd",
        "cl_khr_semaphore",
        "cl_khr_external_semaphore",
        "cl_khr_external_semaphore_opaque_fd",
        "cl_khr_device_uuid",
    ):
        assert extensions.count(name) == 1
        assert name in opencl.device.platform.extensions.split()
    code, versions = opencl.info(0x1060)
    assert code == 0
    assert versions.count(b"cl_khr_external_memory\0") == 1
    assert opencl.words(0x204F) == opencl.words(0x2044, platform=True) == [MEMORY_FD]
    assert opencl.words(0x2052) == [MEMORY_FD]
    assert opencl.words(0x204C) == opencl.words(0x2036, platform=True) == [1]
    assert opencl.words(0x204D) == opencl.words(0x2037, platform=True) == [SEMAPHORE_FD]
    assert opencl.words(0x204E) == opencl.words(0x2038, platform=True) == [SEMAPHORE_FD]
    assert opencl.info(0x106A) == (0, payloads.cpu_uuids()[0])
    assert opencl.info(0x106B) == (0, b"interop softgpu\0")
    assert opencl.words(0x106C) == [0]


def test_a_too_small_answer_buffer_is_refused(opencl: OpenCL) -> None:
    small = ctypes.create_string_buffer(3)
    assert opencl.lib.clGetDeviceInfo(opencl.device.int_ptr, 0x204F, 3, small, None) == -30


@pytest.mark.parametrize(("value", "wrong"), [("wrong", True), ("0", False)])
def test_uuid_switch(
    opencl: OpenCL, controls: Controls, payloads: Payloads, value: str, *, wrong: bool
) -> None:
    controls.set("CL_UUID", value)
    code, uuid = opencl.info(0x106A)
    assert code == 0
    assert (uuid != payloads.cpu_uuids()[0]) is wrong


def test_uuid_can_be_missing_as_on_amd(opencl: OpenCL, controls: Controls) -> None:
    controls.set("CL_UUID", "none")
    assert opencl.info(0x106A)[0] == -30
    assert b"cl_khr_device_uuid" not in opencl.info(0x1030)[1]


def test_queries_like_nvidia(opencl: OpenCL, controls: Controls) -> None:
    controls.set("CL_QUERIES", "nvidia")
    assert opencl.info(0x204C)[0] == -30
    assert opencl.info(0x2036, platform=True)[0] == -30
    assert opencl.words(0x204D) == [SEMAPHORE_FD]
    assert opencl.words(0x204E) == []
    assert opencl.semaphore([*BINARY, EXPORT, SEMAPHORE_FD, 0, 0]) == (-64, None)


def test_no_semaphores_as_on_intel(opencl: OpenCL, controls: Controls) -> None:
    controls.set("CL_SEMAPHORES", "0")
    extensions = opencl.info(0x1030)[1]
    assert b"semaphore" not in extensions
    assert b"cl_khr_external_memory_opaque_fd" in extensions
    assert opencl.info(0x204D)[0] == -30
    assert opencl.address(WAIT) == 0
    assert opencl.address(ACQUIRE) != 0


# Memory


def test_both_sides_see_one_memory(opencl: OpenCL, memory: VulkanMemory) -> None:
    queue = opencl.queue()
    memory.view[:SIZE] = bytes([1, 2, 3, 4]) * (SIZE // 4)
    fd = memory.fd()
    code, made = opencl.buffer([MEMORY_FD, fd, 0], SIZE)
    assert code == 0
    assert fd not in open_files(), "OpenCL owns the fd of a successful import"
    buffer = opencl.cl.MemoryObject.from_int_ptr(made, retain=False)
    host = np.zeros(SIZE, np.uint8)
    opencl.cl.enqueue_copy(queue, host, buffer)
    assert bytes(host[:4]) == b"\1\2\3\4"
    source = "kernel void add(global uchar *data) { data[get_global_id(0)] += 10; }"
    kernel = opencl.cl.Kernel(opencl.cl.Program(opencl.context, source).build(), "add")
    kernel(queue, (SIZE,), None, buffer)
    queue.finish()
    assert bytes(memory.view[SIZE - 4 : SIZE]) == bytes([11, 12, 13, 14])
    buffer.release()


def test_data_outlives_the_exporter(opencl: OpenCL, vulkan: VulkanDevice) -> None:
    memory = vulkan.memory(SIZE)
    memory.view[:4] = b"left"
    code, made = opencl.buffer([MEMORY_FD, memory.fd(), 0], SIZE)
    memory.close()
    assert code == 0
    buffer = opencl.cl.MemoryObject.from_int_ptr(made, retain=False)
    host = np.zeros(4, np.uint8)
    opencl.cl.enqueue_copy(opencl.queue(), host, buffer)
    assert bytes(host) == b"left"
    buffer.release()


def test_import_hides_how_it_is_made(opencl: OpenCL, memory: VulkanMemory) -> None:
    properties = [MEMORY_DEVICES, opencl.device.int_ptr, 0, MEMORY_FD, memory.fd(), 0]
    code, made = opencl.buffer(properties, SIZE)
    assert code == 0
    info = opencl.lib.clGetMemObjectInfo
    assert made is not None
    assert query(info, made, 0x1101) == (0, (1).to_bytes(8, "little"))  # CL_MEM_FLAGS
    assert query(info, made, 0x1103) == (0, bytes(8))  # CL_MEM_HOST_PTR
    assert query(info, made, 0x110A) == (0, bytes(words64(properties)))  # CL_MEM_PROPERTIES
    opencl.lib.clReleaseMemObject(made)


def test_sub_buffer_and_second_import_are_the_same_bytes(
    opencl: OpenCL, memory: VulkanMemory, imported: Any
) -> None:
    code, again = opencl.buffer([MEMORY_FD, memory.fd(), 0], SIZE // 2)
    assert code == 0
    second = opencl.cl.MemoryObject.from_int_ptr(again, retain=False)
    part = imported.get_sub_region(4096, 4096)
    queue = opencl.queue()
    opencl.cl.enqueue_fill_buffer(queue, part, np.uint8(7), 0, 4096)
    host = np.zeros(SIZE // 2, np.uint8)
    opencl.cl.enqueue_copy(queue, host, second)
    assert list(host[[4095, 4096, 8191, 8192]]) == [0, 7, 7, 0]
    for made in (part, second):
        made.release()


@pytest.mark.parametrize(
    ("properties", "size", "flags", "expected"),
    [
        ([MEMORY_FD, -64, 0], SIZE, 1, -30),
        ([MEMORY_FD, "fd", 0], 0, 1, -61),
        ([MEMORY_FD, "fd", 0], SIZE * 2, 1, -61),
        ([MEMORY_FD, "fd", 0], SIZE, 1 | 8, -30),  # CL_MEM_USE_HOST_PTR
        ([MEMORY_FD, "fd", MEMORY_FD, "fd", 0], SIZE, 1, -64),
        ([MEMORY_FD, "fd", 0x9999, 1, 0], SIZE, 1, -64),
        ([MEMORY_DEVICES, "device", 0, 0], SIZE, 1, -64),
        ([MEMORY_FD, "fd", MEMORY_DEVICES, 4096, 0, 0], SIZE, 1, -33),
        ([0x2067, "fd", 0], SIZE, 1, -33),  # DMA_BUF
        ([MEMORY_FD, "null", 0], SIZE, 1, -64),
        ([MEMORY_FD, 900, 0], SIZE, 1, -30),
    ],
)
def test_refused_imports_leave_the_fd(
    opencl: OpenCL, memory: VulkanMemory, properties: list[Any], size: int, flags: int, expected: int
) -> None:
    fd, null = memory.fd(), os.open(os.devnull, os.O_RDWR)
    named: dict[Any, Any] = {"fd": fd, "null": null, "device": opencl.device.int_ptr}
    assert opencl.buffer([named.get(word, word) for word in properties], size, flags) == (expected, None)
    os.close(fd)  # would raise had it been closed
    os.close(null)


def test_errors_like_nvidia(opencl: OpenCL, controls: Controls, memory: VulkanMemory) -> None:
    controls.set("CL_ERRORS", "nvidia")
    fd, null = memory.fd(), os.open(os.devnull, os.O_RDWR)
    code, made = opencl.buffer([MEMORY_FD, null, 0], SIZE)
    assert code == 999
    assert made is not None, "the driver returns an object"
    opencl.lib.clReleaseMemObject(made)
    assert opencl.buffer([MEMORY_FD, fd, 0], SIZE * 2) == (1, None)
    assert opencl.buffer([MEMORY_FD, -64, 0], SIZE) == (-30, None)
    os.close(fd)
    os.close(null)


def test_fd_can_be_held_until_release_as_by_nvidia(
    opencl: OpenCL, controls: Controls, memory: VulkanMemory
) -> None:
    controls.set("CL_FD", "hold")
    fd = memory.fd()
    code, made = opencl.buffer([MEMORY_FD, fd, 0], SIZE)
    assert code == 0
    assert fd in open_files()
    opencl.lib.clReleaseMemObject(made)
    assert fd not in open_files()


def test_fd_can_be_left_open_as_by_intel(opencl: OpenCL, controls: Controls, memory: VulkanMemory) -> None:
    controls.set("CL_FD", "keep")
    fd = memory.fd()
    code, made = opencl.buffer([MEMORY_FD, fd, 0], SIZE)
    assert code == 0
    opencl.lib.clReleaseMemObject(made)
    os.close(fd)


def test_volume_lies_as_vulkan_lays_it(opencl: OpenCL, memory: VulkanMemory) -> None:
    slice_pitch = 152 * 6  # SwiftShader rounds width and height up to even
    at = 2 * slice_pitch + 152 * 4 + 4 * 36
    memory.view[at : at + 4] = b"last"
    properties = words64([MEMORY_FD, memory.fd(), 0])
    format_ = (ctypes.c_uint * 2)(0x10B5, 0x10DA)
    description = (ctypes.c_uint64 * 9)(0x10F2, 37, 5, 3, 0, 0, 0, 0, 0)  # CL_MEM_OBJECT_IMAGE3D
    code = c_int(1234)
    made = opencl.lib.clCreateImageWithProperties(
        opencl.context.int_ptr, properties, 1, format_, description, None, byref(code)
    )
    assert code.value == 0
    volume = opencl.cl.MemoryObject.from_int_ptr(made, retain=False)
    host = np.zeros((3, 5, 37, 4), np.uint8)
    opencl.cl.enqueue_copy(opencl.queue(), host, volume, origin=(0, 0, 0), region=(37, 5, 3))
    assert bytes(host[2, 4, 36]) == b"last"
    volume.release()


def image(
    opencl: OpenCL, properties: list[int], width: int, height: int, row_pitch: int = 0
) -> tuple[int, int | None]:
    format_ = (ctypes.c_uint * 2)(0x10B5, 0x10DA)  # CL_RGBA, CL_UNSIGNED_INT8
    description = (ctypes.c_uint64 * 9)(
        0x10F1, width, height, 0, 0, row_pitch, 0, 0, 0
    )  # CL_MEM_OBJECT_IMAGE2D
    code = c_int(1234)
    made = opencl.lib.clCreateImageWithProperties(
        opencl.context.int_ptr, words64(properties), 1, format_, description, None, byref(code)
    )
    return code.value, made


@pytest.mark.parametrize("pitch", [0, 152, 256])
def test_image_over_linear_memory(opencl: OpenCL, memory: VulkanMemory, pitch: int) -> None:
    row = pitch or 152  # SwiftShader's own: the width rounded up to even
    memory.view[row * 5 + 4 * 36 : row * 5 + 4 * 37] = b"last"
    code, made = image(opencl, [MEMORY_FD, memory.fd(), 0], 37, 6, pitch)
    assert code == 0
    picture = opencl.cl.MemoryObject.from_int_ptr(made, retain=False)
    host = np.zeros((6, 37, 4), np.uint8)
    queue = opencl.queue()
    opencl.cl.enqueue_copy(queue, host, picture, origin=(0, 0), region=(37, 6))
    assert bytes(host[5, 36]) == b"last"
    host[2, 3] = list(b"mine")
    opencl.cl.enqueue_copy(queue, picture, host, origin=(0, 0), region=(37, 6))
    assert bytes(memory.view[row * 2 + 12 : row * 2 + 16]) == b"mine"
    picture.release()


@pytest.mark.parametrize("tiled", [False, True])
def test_rows_that_are_taken_for_tiles(
    opencl: OpenCL, memory: VulkanMemory, controls: Controls, *, tiled: bool
) -> None:
    """Said to be rows, an image succeeds all the same; its texels come in tiles of 4 x 4."""
    texels = np.arange(8 * 8, dtype=np.uint32).reshape(8, 8)
    memory.view[: texels.nbytes] = texels.tobytes()
    host = np.zeros((8, 8), np.uint32)
    for pitch in (0, 32):
        controls.set("CL_IMAGES", "tiled" if tiled else None)
        code, made = image(opencl, [MEMORY_FD, memory.fd(), 0], 8, 8, pitch)
        controls.set("CL_IMAGES", None)
        assert code == 0
        picture = opencl.cl.MemoryObject.from_int_ptr(made, retain=False)
        opencl.cl.enqueue_copy(opencl.queue(), host, picture, origin=(0, 0), region=(8, 8))
        picture.release()
        if tiled and pitch:
            assert host[0].tolist() == [0, 1, 2, 3, 16, 17, 18, 19]
            assert host[1, :4].tolist() == [4, 5, 6, 7]
            assert sorted(host.ravel()) == list(range(64))
        else:
            np.testing.assert_array_equal(host, texels)


def test_refused_images(opencl: OpenCL, memory: VulkanMemory) -> None:
    fd = memory.fd()
    assert image(opencl, [MEMORY_FD, fd, 0], 64, 4096) == (-65, None)  # larger than the memory
    assert image(opencl, [MEMORY_FD, fd, 0], 64, 4, 64) == (-65, None)  # pitch shorter than a row
    os.close(fd)
    assert image(opencl, [MEMORY_FD, -64, 0], 4, 4) == (-30, None)


# Acquire and release


def test_acquire_and_release_return_typed_events(opencl: OpenCL, imported: Any) -> None:
    queue = opencl.queue()
    for name, kind in ((ACQUIRE, 0x2047), (RELEASE, 0x2048)):
        event = opencl.enqueue(name, queue, [imported.int_ptr])
        event.wait()
        assert query(opencl.lib.clGetEventInfo, event.int_ptr, 0x11D1) == (0, kind.to_bytes(4, "little"))
    code, event = opencl.try_enqueue(ACQUIRE, queue.int_ptr, None)
    assert code == 0, "no objects are legal"
    opencl.cl.Event.from_int_ptr(event, retain=False).wait()


def test_acquire_refuses_what_is_not_imported(opencl: OpenCL, imported: Any) -> None:
    queue = opencl.queue()
    plain = opencl.cl.Buffer(opencl.context, 0, 64)
    assert opencl.try_enqueue(ACQUIRE, queue.int_ptr, [plain.int_ptr])[0] == -38
    assert opencl.try_enqueue(ACQUIRE, None, [imported.int_ptr])[0] == -36
    other = opencl.cl.CommandQueue(opencl.cl.Context([opencl.device]))
    assert opencl.try_enqueue(ACQUIRE, other.int_ptr, [imported.int_ptr])[0] == -36


def test_use_without_acquire_can_be_an_error(opencl: OpenCL, controls: Controls, imported: Any) -> None:
    controls.set("CL_ENFORCE_ACQUIRE", "1")
    queue = opencl.queue()
    source = "kernel void touch(global uchar *data) { data[0] = 1; }"
    kernel = opencl.cl.Kernel(opencl.cl.Program(opencl.context, source).build(), "touch")
    kernel.set_args(imported)
    host = np.zeros(4, np.uint8)
    uses: list[Callable[[], object]] = [
        lambda: opencl.cl.enqueue_nd_range_kernel(queue, kernel, (1,), None),
        lambda: opencl.cl.enqueue_copy(queue, host, imported),
        lambda: opencl.cl.enqueue_fill_buffer(queue, imported, np.uint8(1), 0, 4),
    ]
    for use in uses:
        with pytest.raises(opencl.cl.LogicError, match="INVALID_OPERATION"):
            use()
        opencl.enqueue(ACQUIRE, queue, [imported.int_ptr])
        use()
        queue.finish()
        assert opencl.try_enqueue(ACQUIRE, queue.int_ptr, [imported.int_ptr])[0] == -59, (
            "it is acquired already"
        )
        opencl.enqueue(RELEASE, queue, [imported.int_ptr]).wait()


# Semaphores


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (None, -30),
        ([0], -30),
        ([SEMAPHORE_FD, "fd", 0], -30),  # no type
        ([TYPE, 2, 0], -64),
        ([TYPE, 1, TYPE, 1, 0], -64),
        ([TYPE, 1, 0x7777, 1, 0], -64),
        ([TYPE, 1, MEMORY_DEVICES, "device", 0, 0], -64),
        ([TYPE, 1, SEMAPHORE_DEVICES, "device", "device", 0, 0], -33),
        ([TYPE, 1, SEMAPHORE_DEVICES, 4096, 0, 0], -33),
        ([TYPE, 1, EXPORT, SEMAPHORE_FD, SEMAPHORE_FD, 0, 0], -30),
        ([TYPE, 1, EXPORT, 0x2058, 0, 0], -64),
        ([TYPE, 1, SEMAPHORE_FD, "fd", EXPORT, SEMAPHORE_FD, 0, 0], -59),
        ([TYPE, 1, SEMAPHORE_FD, "fd", SEMAPHORE_FD, "fd", 0], -64),
        ([TYPE, 1, 0x2058, -1, 0], -33),  # SYNC_FD
        ([TYPE, 1, SEMAPHORE_FD, -64, 0], -30),
        ([TYPE, 1, SEMAPHORE_FD, "null", 0], -64),
    ],
)
def test_refused_semaphores_leave_the_fd(
    opencl: OpenCL, vulkan: VulkanDevice, properties: list[Any] | None, expected: int
) -> None:
    semaphore, fd = vulkan.semaphore()
    null = os.open(os.devnull, os.O_RDWR)
    named: dict[Any, Any] = {"fd": fd, "null": null, "device": opencl.device.int_ptr}
    words = None if properties is None else [named.get(word, word) for word in properties]
    assert opencl.semaphore(words) == (expected, None)
    os.close(fd)
    os.close(null)
    vulkan.destroy_semaphore(semaphore)


def test_semaphore_needs_a_context(opencl: OpenCL) -> None:
    assert opencl.semaphore([*BINARY, 0], context=0) == (-34, None)


def test_semaphore_answers_questions(opencl: OpenCL) -> None:
    properties = [*BINARY, SEMAPHORE_DEVICES, opencl.device.int_ptr, 0, 0]
    code, made = opencl.semaphore(properties)
    assert code == 0
    assert made is not None
    ask: Any = opencl.clGetSemaphoreInfoKHR  # type: ignore[attr-defined]
    assert query(ask, made, 0x2039) == (0, opencl.context.int_ptr.to_bytes(8, "little"))
    assert query(ask, made, 0x203A) == (0, (1).to_bytes(4, "little"))
    assert query(ask, made, 0x203B) == (0, bytes(words64(properties)))
    assert query(ask, made, 0x203C) == (0, bytes(8))
    assert query(ask, made, 0x203D) == (0, (1).to_bytes(4, "little"))
    assert query(ask, made, 0x203F) == (0, b"")
    assert query(ask, made, 0x2054) == (0, bytes(4))
    assert query(ask, made, 0x2053) == (0, opencl.device.int_ptr.to_bytes(8, "little"))
    assert ask(made, 0xFFFF, 0, None, None) == -30
    assert ask(None, 0x203A, 0, None, None) == -1142
    small = ctypes.create_string_buffer(1)
    assert ask(made, 0x203A, 1, small, None) == -30
    retain: Any = opencl.clRetainSemaphoreKHR  # type: ignore[attr-defined]
    release: Any = opencl.clReleaseSemaphoreKHR  # type: ignore[attr-defined]
    assert retain(made) == 0
    assert query(ask, made, 0x203A) == (0, (2).to_bytes(4, "little"))
    assert [release(made), release(made), release(made), retain(made)] == [0, 0, -1142, -1142]


def export(opencl: OpenCL, semaphore: int) -> tuple[int, int]:
    fd = c_int(-1)
    get: Any = opencl.clGetSemaphoreHandleForTypeKHR  # type: ignore[attr-defined]
    return get(semaphore, opencl.device.int_ptr, SEMAPHORE_FD, 4, byref(fd), None), fd.value


def release(opencl: OpenCL, *semaphores: int) -> None:
    for semaphore in semaphores:
        assert opencl.clReleaseSemaphoreKHR(semaphore) == 0  # type: ignore[attr-defined]


def test_export_reaches_opencl_and_vulkan(opencl: OpenCL, vulkan: VulkanDevice) -> None:
    source = own_semaphore(opencl, EXPORT, SEMAPHORE_FD, 0)
    code, first = export(opencl, source)
    assert code == 0
    code, imported = opencl.semaphore([*BINARY, SEMAPHORE_FD, first, 0])
    assert code == 0
    assert imported is not None
    assert export(opencl, imported)[0] == -30, "an import cannot be exported"
    queue, other = opencl.queue(), opencl.queue()
    opencl.enqueue(SIGNAL, queue, [source]).wait()
    opencl.enqueue(WAIT, other, [imported]).wait()
    semaphore = vulkan.import_semaphore(export(opencl, source)[1])
    opencl.enqueue(SIGNAL, queue, [source])
    fence = vulkan.submit(wait=semaphore)
    assert vulkan.finished(fence, 5)
    vulkan.destroy_fence(fence)
    vulkan.destroy_semaphore(semaphore)
    release(opencl, source, imported)


def test_misused_wait_and_signal(opencl: OpenCL) -> None:
    queue = opencl.queue()
    semaphore = own_semaphore(opencl)
    foreign = opencl.cl.Context([opencl.device])
    foreign_queue = opencl.cl.CommandQueue(foreign)
    for name in (WAIT, SIGNAL):
        function = getattr(opencl, name)
        one = (c_void_p * 1)(semaphore)
        assert opencl.try_enqueue(name, queue.int_ptr, None)[0] == -30
        assert function(queue.int_ptr, 1, None, None, 0, None, None) == -1142
        assert opencl.try_enqueue(name, queue.int_ptr, [opencl.context.int_ptr])[0] == -1142
        assert opencl.try_enqueue(name, None, [semaphore])[0] == -36
        assert opencl.try_enqueue(name, foreign_queue.int_ptr, [semaphore])[0] == -34
        assert opencl.try_enqueue(name, queue.int_ptr, [semaphore], [opencl.cl.UserEvent(foreign)])[0] == -34
        assert function(queue.int_ptr, 1, one, None, 1, None, None) == -57
        assert function(queue.int_ptr, 1, one, None, 0, one, None) == -57
        failed = opencl.cl.UserEvent(opencl.context)
        failed.set_status(-1)
        assert opencl.try_enqueue(name, queue.int_ptr, [semaphore], [failed])[0] == -14
    release(opencl, semaphore)


@pytest.mark.parametrize("out_of_order", [False, True])
def test_wait_returns_at_once_and_ends_with_the_signal(
    opencl: OpenCL, vulkan: VulkanDevice, *, out_of_order: bool
) -> None:
    semaphore, fd = vulkan.semaphore()
    code, made = opencl.semaphore([*BINARY, SEMAPHORE_FD, fd, 0])
    assert code == 0
    assert made is not None
    assert fd not in open_files()
    queue = opencl.queue(out_of_order=out_of_order)
    event = opencl.enqueue(WAIT, queue, [made])  # the signal comes later: to wait here would be for ever
    assert query(opencl.lib.clGetEventInfo, event.int_ptr, 0x11D1) == (0, (0x2042).to_bytes(4, "little"))
    time.sleep(0.05)
    assert event.command_execution_status > 0
    fence = vulkan.submit(signal=semaphore)
    event.wait()
    assert vulkan.finished(fence, 5)
    vulkan.destroy_fence(fence)
    vulkan.destroy_semaphore(semaphore)
    release(opencl, made)


def test_out_of_order_signal_does_not_wait_for_earlier_commands(opencl: OpenCL) -> None:
    queue = opencl.queue(out_of_order=True)
    first, second = own_semaphore(opencl), own_semaphore(opencl)
    blocked = opencl.enqueue(WAIT, queue, [first])
    opencl.enqueue(SIGNAL, queue, [second]).wait()
    assert blocked.command_execution_status > 0
    opencl.enqueue(SIGNAL, queue, [first]).wait()
    blocked.wait()
    opencl.enqueue(WAIT, queue, [second]).wait()
    release(opencl, first, second)


def test_several_semaphores_and_a_wait_list(opencl: OpenCL) -> None:
    queue, other = opencl.queue(), opencl.queue()
    semaphores = [own_semaphore(opencl) for _ in range(3)]
    gate = opencl.cl.UserEvent(opencl.context)
    signalled = opencl.enqueue(SIGNAL, queue, semaphores, [gate])
    waited = opencl.enqueue(WAIT, other, semaphores)
    time.sleep(0.05)
    assert signalled.command_execution_status > 0
    assert waited.command_execution_status > 0
    gate.set_status(0)
    waited.wait()
    signalled.wait()
    release(opencl, *semaphores)


def test_signal_can_be_late(opencl: OpenCL, controls: Controls) -> None:
    controls.set("SIGNAL_DELAY_MS", "600")
    queue, other = opencl.queue(), opencl.queue()
    semaphore = own_semaphore(opencl)
    begin = time.monotonic()
    opencl.enqueue(SIGNAL, queue, [semaphore])
    assert time.monotonic() - begin < 0.5
    opencl.enqueue(WAIT, other, [semaphore]).wait()
    assert time.monotonic() - begin > 0.59
    queue.finish()
    release(opencl, semaphore)


def test_wait_without_a_signal_can_be_bounded(opencl: OpenCL, controls: Controls) -> None:
    controls.set("CL_WAIT_LIMIT_MS", "100")
    queue = opencl.queue()
    semaphore = own_semaphore(opencl)
    event = opencl.enqueue(WAIT, queue, [semaphore])
    release(opencl, semaphore)
    deadline = time.monotonic() + 10
    while event.command_execution_status > 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert event.command_execution_status < 0


@pytest.mark.parametrize("out_of_order", [False, True])
def test_ping_pong(
    opencl: OpenCL, vulkan: VulkanDevice, memory: VulkanMemory, imported: Any, *, out_of_order: bool
) -> None:
    """Half of the frames enqueue the consumer before the producer submits."""
    cl = opencl.cl
    ready, ready_fd = vulkan.semaphore()
    done, done_fd = vulkan.semaphore()
    handles = []
    for fd in (ready_fd, done_fd):
        code, made = opencl.semaphore([*BINARY, SEMAPHORE_FD, fd, 0])
        assert code == 0
        assert made is not None
        handles.append(made)
    source = (
        "kernel void advance(global uint *data) { data[get_global_id(0)] = data[get_global_id(0)] * 2 + 1; }"
    )
    kernel = cl.Kernel(cl.Program(opencl.context, source).build(), "advance")
    kernel.set_args(imported)
    queue = opencl.queue(out_of_order=out_of_order)
    words = np.frombuffer(memory.view, np.uint32, SIZE // 4)
    files = open_files()

    def consume() -> None:
        opencl.enqueue(WAIT, queue, handles[:1])
        if out_of_order:
            cl.enqueue_barrier(queue)
        opencl.enqueue(ACQUIRE, queue, [imported.int_ptr])
        cl.enqueue_nd_range_kernel(queue, kernel, (SIZE // 4,), None)
        if out_of_order:
            cl.enqueue_barrier(queue)
        opencl.enqueue(RELEASE, queue, [imported.int_ptr])
        opencl.enqueue(SIGNAL, queue, handles[1:])

    for frame in range(100):
        words[:] = frame
        if frame % 2:
            consume()
        first = vulkan.submit(signal=ready)
        if not frame % 2:
            consume()
        last = vulkan.submit(wait=done)
        assert vulkan.finished(last, 10)
        assert vulkan.finished(first, 10)
        vulkan.destroy_fence(first)
        vulkan.destroy_fence(last)
        assert set(words.tolist()) == {2 * frame + 1}
    queue.finish()
    assert open_files() == files
    release(opencl, *handles)
    vulkan.destroy_semaphore(ready)
    vulkan.destroy_semaphore(done)


# Sync files


def export_file(opencl: OpenCL, semaphore: int) -> tuple[int, int]:
    fd = c_int(-2)
    get: Any = opencl.clGetSemaphoreHandleForTypeKHR  # type: ignore[attr-defined]
    return get(semaphore, opencl.device.int_ptr, SYNC_FD, 4, byref(fd), None), fd.value


def import_file(opencl: OpenCL, fd: int) -> int:
    code, made = opencl.semaphore([*BINARY, SYNC_FD, fd, 0])
    assert code == 0
    assert made is not None
    return made


@pytest.mark.parametrize(("handles", "types"), [("sync_fd", [SYNC_FD]), ("both", [SEMAPHORE_FD, SYNC_FD])])
def test_handle_types_are_a_switch(
    opencl: OpenCL, controls: Controls, handles: str, types: list[int]
) -> None:
    controls.set("SEMAPHORE_HANDLES", handles)
    extensions = opencl.info(0x1030)[1].split()
    assert b"cl_khr_external_semaphore_sync_fd" in extensions
    assert (b"cl_khr_external_semaphore_opaque_fd" in extensions) is (SEMAPHORE_FD in types)
    assert opencl.words(0x204D) == opencl.words(0x2037, platform=True) == types
    assert opencl.words(0x204E) == opencl.words(0x2038, platform=True) == types
    controls.set("CL_QUERIES", "nvidia")
    assert opencl.words(0x204D) == types
    assert opencl.words(0x204E) == []


def test_a_sync_file_carries_one_signal(opencl: OpenCL, controls: Controls) -> None:
    controls.set("SEMAPHORE_HANDLES", "both")
    controls.set("SIGNAL_DELAY_MS", "100")
    queue, other = opencl.queue(), opencl.queue()
    source = own_semaphore(opencl, EXPORT, SYNC_FD, 0)
    ask: Any = opencl.clGetSemaphoreInfoKHR  # type: ignore[attr-defined]
    assert query(ask, source, 0x203F) == (0, SYNC_FD.to_bytes(4, "little"))
    assert query(ask, source, 0x2054) == (0, (1).to_bytes(4, "little"))
    assert export_file(opencl, source) == (-59, -2), "there is no signal"
    for _ in range(2):
        begin = time.monotonic()
        opencl.enqueue(SIGNAL, queue, [source])
        assert opencl.try_enqueue(SIGNAL, queue.int_ptr, [source])[0] == -59, "signalled already"
        code, fd = export_file(opencl, source)
        assert (code, select.select([fd], [], [], 0)[0]) == (0, [])
        assert export_file(opencl, source) == (-59, -2), "taken back by the export"
        imported = import_file(opencl, fd)
        assert query(ask, imported, 0x203C) == (0, bytes(8))
        assert opencl.try_enqueue(SIGNAL, other.int_ptr, [imported])[0] == -59, "not from this side"
        waited = opencl.enqueue(WAIT, other, [imported])
        assert opencl.try_enqueue(WAIT, other.int_ptr, [imported])[0] == -59, "used up"
        release(opencl, imported)
        waited.wait()
        assert time.monotonic() - begin > 0.09
    queue.finish()
    release(opencl, source)


def test_a_signal_that_has_run_is_minus_one(opencl: OpenCL, controls: Controls) -> None:
    controls.set("SEMAPHORE_HANDLES", "sync_fd")
    queue = opencl.queue()
    source = own_semaphore(opencl, EXPORT, SYNC_FD, 0)
    opencl.enqueue(SIGNAL, queue, [source]).wait()
    queue.finish()
    assert export_file(opencl, source) == (0, -1)
    imported = import_file(opencl, -1)
    ask: Any = opencl.clGetSemaphoreInfoKHR  # type: ignore[attr-defined]
    assert query(ask, imported, 0x203C) == (0, (1).to_bytes(8, "little"))
    opencl.enqueue(WAIT, queue, [imported]).wait()
    release(opencl, source, imported)


def test_reimport(opencl: OpenCL, controls: Controls) -> None:
    controls.set("SEMAPHORE_HANDLES", "both")
    queue = opencl.queue()
    again: Any = opencl.clReImportSemaphoreSyncFdKHR  # type: ignore[attr-defined]
    imported, own = import_file(opencl, -1), own_semaphore(opencl)
    null = os.open(os.devnull, os.O_RDWR)
    assert again(own, None, -1) == -1142
    assert again(imported, None, null) == -30
    os.close(null)
    for _ in range(3):
        fd = os.eventfd(0)
        kept = os.dup(fd)
        assert again(imported, None, fd) == 0
        waited = opencl.enqueue(WAIT, queue, [imported])
        assert waited.command_execution_status > 0
        os.eventfd_write(kept, 1)
        waited.wait()
        os.close(kept)
    release(opencl, imported, own)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ([TYPE, 1, SYNC_FD, "null", 0], -64),
        ([TYPE, 1, SYNC_FD, -64, 0], -64),
        ([TYPE, 1, SEMAPHORE_FD, "null", 0], -33),  # not offered now
        ([TYPE, 1, EXPORT, SEMAPHORE_FD, 0, 0], -64),
    ],
)
def test_refused_sync_files_stay_open(
    opencl: OpenCL, controls: Controls, properties: list[Any], expected: int
) -> None:
    controls.set("SEMAPHORE_HANDLES", "sync_fd")
    null = os.open(os.devnull, os.O_RDWR)
    assert opencl.semaphore([null if word == "null" else word for word in properties]) == (expected, None)
    os.close(null)


# Faults


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("clCreateBufferWithProperties", -4),
        ("clCreateSemaphoreWithPropertiesKHR", -5),
        (WAIT, -6),
        (ACQUIRE, -5),
    ],
)
def test_nth_call_fails_and_takes_nothing(
    opencl: OpenCL, controls: Controls, memory: VulkanMemory, imported: Any, function: str, code: int
) -> None:
    queue, semaphore, fd = opencl.queue(), own_semaphore(opencl), memory.fd()
    calls = controls.calls(function)
    controls.set("FAIL", f"{function}:1:{code}")
    answers = {
        "clCreateBufferWithProperties": lambda: opencl.buffer([MEMORY_FD, fd, 0], SIZE),
        "clCreateSemaphoreWithPropertiesKHR": lambda: opencl.semaphore([*BINARY, 0]),
        WAIT: lambda: opencl.try_enqueue(WAIT, queue.int_ptr, [semaphore]),
        ACQUIRE: lambda: opencl.try_enqueue(ACQUIRE, queue.int_ptr, [imported.int_ptr]),
    }
    assert answers[function]() == (code, None)
    assert controls.calls(function) == calls + 1
    os.close(fd)
    release(opencl, semaphore)


def test_core_calls_fail_too(opencl: OpenCL, controls: Controls) -> None:
    queue = opencl.queue()
    controls.set("FAIL", "clFinish:2:-5")
    queue.finish()
    with pytest.raises(opencl.cl.RuntimeError):
        queue.finish()
    queue.finish()


def test_extension_function_has_no_size_side_effect(opencl: OpenCL) -> None:
    semaphore = own_semaphore(opencl, EXPORT, SEMAPHORE_FD, 0)
    files, size = open_files(), c_size_t()
    get: Any = opencl.clGetSemaphoreHandleForTypeKHR  # type: ignore[attr-defined]
    assert get(semaphore, opencl.device.int_ptr, SEMAPHORE_FD, 0, None, byref(size)) == 0
    assert size.value == 4
    assert open_files() == files
    release(opencl, semaphore)
