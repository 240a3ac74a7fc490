"""Questions to an OpenCL driver that no binding would ask: each in a fresh process, since some end badly.

Every probe returns what JSON can carry and judges nothing. They run on hardware and on the software drivers
alike, so that the two can be compared.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import stat
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl
from image_cases import hand_over
from interop_opencl._driver import Driver

import interop
from interop import FORMATS, HandleType, ImageDescriptor, registry
from interop.protocols import SemaphoreKind, Tiling
from interop.testing import leaks

if TYPE_CHECKING:
    from interop.protocols import Producer

SIZE = 1 << 20
MEMORY_FD = 0x2060
SEMAPHORE_FD = 0x2055
SEMAPHORE_TYPE = 0x203D
EXPORT_LIST = 0x203F
MEMORY_DEVICES = 0x2051
SEMAPHORE_DEVICES = 0x2053
BINARY = 1
SEMAPHORE_TYPES = 0x204C
ASSUME_LINEAR = 0x2052
RGBA, UNSIGNED_INT8, IMAGE_2D = 0x10B5, 0x10DA, 0x10F1
USE_HOST_PTR = 8
READ_WRITE = 1
HANG_SECONDS = 4.0
STEP = """
__kernel void add_one(__global unsigned int *words) { words[get_global_id(0)] += 1u; }
"""


class Rig:
    """The driver by its raw calls, and a Vulkan producer on the same device."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.device: Any = next(
            device
            for platform in cl.get_platforms()
            for device in platform.get_devices()
            if "cl_khr_external_memory" in device.extensions
        )
        self.platform: int = self.device.platform.int_ptr
        backend = registry.default().load_producer("vulkan")
        self.producer: Producer = backend.open_producer(backend.devices()[0])
        self.context: Any = cl.Context([self.device])
        self.queue = cl.CommandQueue(self.context)

    def memory_fd(self) -> int:
        """Export a new allocation of SIZE bytes; its buffer stays."""
        self.buffer = self.producer.create_buffer(SIZE, export=HandleType.OPAQUE_FD)
        return self.buffer.export_memory()[0].detach()

    def semaphore_fd(self, kind: SemaphoreKind = SemaphoreKind.BINARY) -> int:
        """Export a new semaphore, which stays."""
        self.semaphore = self.producer.create_semaphore(kind, export=HandleType.OPAQUE_FD)
        return self.semaphore.export_semaphore()[0].detach()

    def import_memory(
        self,
        fd: int,
        size: int = SIZE,
        *,
        extra: tuple[int, ...] = (),
        flags: int = READ_WRITE,
        host: Any = None,
    ) -> tuple[int, int]:
        """Return code and address of the object (``clCreateBufferWithProperties``)."""
        words = (ctypes.c_uint64 * (3 + len(extra)))(MEMORY_FD, fd & 2**64 - 1, *extra, 0)
        code = ctypes.c_int(12345)
        create = self.driver.raw("clCreateBufferWithProperties")
        made = create(self.context.int_ptr, words, flags, size, host, ctypes.byref(code))
        return code.value, int(made or 0)

    def import_semaphore(self, fd: int, *extra: int) -> tuple[int, int]:
        """Return code and address of the object (``clCreateSemaphoreWithPropertiesKHR``)."""
        properties = (SEMAPHORE_TYPE, BINARY, SEMAPHORE_FD, fd & 2**64 - 1, *extra, 0)
        words = (ctypes.c_uint64 * len(properties))(*properties)
        code = ctypes.c_int(12345)
        create = self.driver.required(self.platform, "clCreateSemaphoreWithPropertiesKHR")
        made = create(self.context.int_ptr, words, ctypes.byref(code))
        return code.value, int(made or 0)

    def hand_over(self, name: str, address: int) -> int:
        """Enqueue ``clEnqueue{name}ExternalMemObjectsKHR`` for one object."""
        objects = (ctypes.c_void_p * 1)(address)
        call = self.driver.required(self.platform, f"clEnqueue{name}ExternalMemObjectsKHR")
        return int(call(self.queue.int_ptr, 1, objects, 0, None, None))

    def release(self, address: int) -> None:
        """Release an imported memory object."""
        self.driver.raw("clReleaseMemObject")(address)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _number() -> int:
    """Return a number that no file of this process has had."""
    return 700 + len(_used) * 7


_used: list[int] = []
_KEPT: list[Rig] = []


def _renumber(fd: int, number: int = 0) -> int:
    number = number or _number()
    _used.append(number)
    os.dup2(fd, number, inheritable=False)
    os.close(fd)
    return number


def descriptors_of_memory() -> dict[str, object]:
    """What becomes of a memory fd: after success, after the release, and after a semaphore had its number."""
    rig = Rig()
    fd = _renumber(rig.memory_fd())
    code, memory = rig.import_memory(fd)
    after_import = _is_open(fd)
    rig.release(memory)
    after_release = _is_open(fd)
    tainted = _renumber(rig.semaphore_fd())
    semaphore_code, _ = rig.import_semaphore(tainted)
    semaphore_open = _is_open(tainted)
    if semaphore_open:
        os.close(tainted)
    tainted = _renumber(rig.memory_fd(), tainted)
    again, memory = rig.import_memory(tainted)
    rig.release(memory)
    return {
        "codes": [code, semaphore_code, again],
        "open after import": after_import,
        "open after release": after_release,
        "semaphore open after import": semaphore_open,
        "open after release, number used by a semaphore before": _is_open(tainted),
    }


def refusals() -> dict[str, object]:
    """Codes, objects and descriptors of imports that are refused."""
    rig = Rig()
    good = rig.memory_fd()
    null = os.open(os.devnull, os.O_RDWR)
    host = (ctypes.c_char * SIZE)()
    host_pointer = rig.import_memory(os.dup(good), host=host)
    result: dict[str, object] = {
        "number -64": rig.import_memory(-64)[0],
        "semaphore, number -64": rig.import_semaphore(-64)[0],
        "size 0": rig.import_memory(good, 0)[0],
        "larger": rig.import_memory(good, 16 * SIZE)[0],
        "still open": _is_open(good),
        "host pointer": host_pointer[0],
    }
    code, made = rig.import_memory(null)
    result["foreign file"] = {
        "code": code,
        "object": bool(made),
        "open": stat.S_ISCHR(os.fstat(null).st_mode),
    }
    code, made = rig.import_semaphore(null)
    result["semaphore, foreign file"] = {"code": code, "object": bool(made), "open": _is_open(null)}
    result["no such file"] = rig.import_memory(9999)[0]
    result["smaller"] = rig.import_memory(os.dup(good), SIZE // 2)[0]
    return result


def kept_after_refusals(*, release: bool) -> dict[str, object]:
    """How many descriptors each of three contexts leaves open in which a file was refused.

    ``release`` gives the object up that came beside the code.
    """
    rig = Rig()
    code, memory = rig.import_memory(rig.memory_fd())
    rig.release(memory)
    null = os.open(os.devnull, os.O_RDWR)
    counts = [len(os.listdir("/proc/self/fd"))]
    for _ in range(3):
        rig.context = cl.Context([rig.device])
        code, memory = rig.import_memory(null)
        if release and memory:
            rig.release(memory)
        rig.context = None
        counts.append(len(os.listdir("/proc/self/fd")))
    return {
        "code": code,
        "kept": [later - early for early, later in itertools.pairwise(counts)],
        "still open": _is_open(null),
    }


def refused_by_interop() -> dict[str, object]:
    """Offer a stranger's file to three consumers, one after the other; name what is left open."""
    backend = registry.default().load_consumer("opencl")
    info = next(info for info in backend.devices() if info.capabilities.memory_import)
    before, refused = None, 0
    descriptor = interop.protocols.MemoryDescriptor(
        allocation_size=SIZE, size=SIZE, handle_type=HandleType.OPAQUE_FD
    )
    for turn in range(4):
        if turn == 1:
            before = leaks.snapshot()  # after the first: drivers open files on first use
        null = interop.Handle.adopt(os.open(os.devnull, os.O_RDWR), HandleType.OPAQUE_FD)
        with contextlib.closing(backend.open_consumer(info)) as consumer, null as handle:
            try:
                consumer.import_memory(handle, descriptor).close()
            except interop.HandleError:
                refused += turn > 0
    assert before is not None
    return {"refused": refused, "left": leaks.leaked_since(before)}


def kinds() -> dict[str, object]:
    """Whether memory passes for a semaphore, and a semaphore for memory."""
    rig = Rig()
    return {
        "memory as semaphore": rig.import_semaphore(rig.memory_fd())[0],
        "semaphore as memory": rig.import_memory(rig.semaphore_fd())[0],
    }


def lists() -> dict[str, object]:
    """What property lists are taken: two handles, device lists, an import that also exports."""
    rig = Rig()
    fd, other = rig.memory_fd(), rig.memory_fd()
    device = rig.device.int_ptr
    return {
        "two handles": rig.import_memory(fd, extra=(MEMORY_FD, other))[0],
        "memory, 0x2051": rig.import_memory(rig.memory_fd(), extra=(MEMORY_DEVICES, device, 0))[0],
        "semaphore, 0x2053": rig.import_semaphore(rig.semaphore_fd(), SEMAPHORE_DEVICES, device, 0)[0],
        "semaphore, 0x2051": rig.import_semaphore(rig.semaphore_fd(), MEMORY_DEVICES, device, 0)[0],
        "semaphore, import and export": rig.import_semaphore(
            rig.semaphore_fd(), EXPORT_LIST, SEMAPHORE_FD, 0
        )[0],
        "semaphore types": _query_code(rig, SEMAPHORE_TYPES),
    }


def _query_code(rig: Rig, name: int) -> int:
    size = ctypes.c_size_t()
    return int(rig.driver.raw("clGetDeviceInfo")(rig.device.int_ptr, name, 0, None, ctypes.byref(size)))


def kernel_without_acquire() -> dict[str, object]:
    """A kernel on imported memory that was not acquired: its code, and whether the words are right."""
    rig = Rig()
    _, memory = rig.import_memory(rig.memory_fd())
    program = cl.Program(rig.context, STEP).build()
    buffer: Any = cl.Buffer.from_int_ptr(memory, retain=False)
    words = np.arange(1024, dtype=np.uint32)
    try:
        cl.enqueue_copy(rig.queue, buffer, words)
        program.add_one(rig.queue, (1024,), None, buffer)
        cl.enqueue_copy(rig.queue, words, buffer)
    except cl.Error as error:
        return {"code": int(error.code), "right": False}
    return {"code": 0, "right": bool((words == np.arange(1, 1025)).all())}


def two_devices() -> dict[str, object]:
    """What a context with two GPUs takes: imports without a device list, and with one that names either or both."""
    rig = Rig()
    devices = [device for device in rig.device.platform.get_devices() if device.extensions]
    if len(devices) < 2:
        return {"devices": len(devices)}
    rig.context = cl.Context(devices[:2])
    first, second = (device.int_ptr for device in devices[:2])
    result: dict[str, object] = {"devices": len(devices)}
    for name, listed in {
        "no list": (),
        "the producer's device": (MEMORY_DEVICES, first, 0),
        "the other device": (MEMORY_DEVICES, second, 0),
        "both devices": (MEMORY_DEVICES, first, second, 0),
    }.items():
        fd = rig.memory_fd()
        code, made = rig.import_memory(fd, extra=listed)
        result[f"memory, {name}"] = code
        if made:
            rig.release(made)
        swapped = tuple(SEMAPHORE_DEVICES if word == MEMORY_DEVICES else word for word in listed)
        result[f"semaphore, {name}"] = rig.import_semaphore(rig.semaphore_fd(), *swapped)[0]
    return result


def release_of_a_context(*, give_back: bool) -> dict[str, object]:
    """Whether ``clReleaseContext`` returns within seconds while an import is acquired, or was given back."""
    rig = Rig()
    _, memory = rig.import_memory(rig.memory_fd())
    codes = [rig.hand_over("Acquire", memory)]
    if give_back:
        codes.append(rig.hand_over("Release", memory))
    rig.queue.finish()
    rig.release(memory)
    release = rig.driver.raw("clReleaseContext")
    address = rig.context.int_ptr
    rig.driver.raw("clRetainContext")(address)
    del rig.queue, rig.context
    _wait_for_the_last(rig, address)
    done = threading.Event()

    def end() -> None:
        release(address)
        done.set()

    threading.Thread(target=end, daemon=True).start()
    returned = done.wait(HANG_SECONDS)
    if returned:
        del rig
    else:  # nothing of the driver can be ended any more: leave without its destructors
        _KEPT.append(rig)
    return {"codes": codes, "returned": returned}


def _wait_for_the_last(rig: Rig, context: int) -> None:
    """Wait a second at most until nobody else refers to a context: drivers let go of what has ended a little later."""
    references = ctypes.c_uint(0)
    ask, what = rig.driver.library["clGetContextInfo"], cl.context_info.REFERENCE_COUNT
    for _ in range(100):
        ask(ctypes.c_void_p(context), what, ctypes.c_size_t(4), ctypes.byref(references), None)
        if references.value == 1:
            return
        time.sleep(0.01)


def images(*, linear: bool, pitch: bool) -> dict[str, object]:
    """What an imported image of Vulkan's reads as: 64 × 48 RGBA8, with or without Vulkan's row pitch."""
    rig = Rig()
    made: Any = rig.producer
    tiling = Tiling.LINEAR if linear else Tiling.OPTIMAL
    wanted = ImageDescriptor(extent=(64, 48, 1), format=FORMATS["rgba8uint"], tiling=tiling)
    image = made.create_image(wanted, export=HandleType.OPAQUE_FD)
    sent = np.arange(48 * 64, dtype=np.uint32) * 2654435761 & 0xFFFFFFFF
    image.write(sent.astype(np.uint32))
    hand_over(rig.producer, image.release)
    words = (ctypes.c_uint64 * 3)(MEMORY_FD, image.export_memory()[0].detach(), 0)
    channels = (ctypes.c_uint * 2)(RGBA, UNSIGNED_INT8)
    row_pitch = image.descriptor.row_pitch if pitch else 0
    layout = (ctypes.c_size_t * 9)(IMAGE_2D, 64, 48, 0, 0, row_pitch, 0, 0, 0)
    code = ctypes.c_int(12345)
    create = rig.driver.raw("clCreateImageWithProperties")
    places = (ctypes.byref(channels), ctypes.byref(layout))
    address = create(rig.context.int_ptr, words, READ_WRITE, *places, None, ctypes.byref(code))
    seen = np.zeros_like(sent, np.uint32)
    if code.value == 0:
        rig.hand_over("Acquire", address)
        native: Any = cl.MemoryObject.from_int_ptr(address, retain=False)
        cl.enqueue_copy(rig.queue, seen, native, origin=(0, 0, 0), region=(64, 48, 1))
        rig.hand_over("Release", address)
        rig.queue.finish()
    listed = _query_numbers(rig, ASSUME_LINEAR)
    return {"code": code.value, "right": bool((seen == sent).all()), "linear types": listed}


def _query_numbers(rig: Rig, name: int) -> list[int]:
    return list(rig.driver.query_numbers(rig.device.int_ptr, name))


def user_events() -> dict[str, object]:
    """How long a caller is held up by each command behind a user event that is set 100 ms later, in ms."""
    rig = Rig()
    _, memory = rig.import_memory(rig.memory_fd())
    rig.hand_over("Acquire", memory)
    commands: dict[str, Any] = {
        "marker": partial(cl.enqueue_marker, rig.queue),
        "release": partial(rig.hand_over, "Release", memory),
        "acquire": partial(rig.hand_over, "Acquire", memory),
    }
    times: dict[str, object] = {}
    for name, command in commands.items():
        event = cl.UserEvent(rig.context)
        cl.enqueue_barrier(rig.queue, wait_for=[event])
        timer = threading.Timer(0.5, event.set_status, [0])
        start = time.perf_counter()
        timer.start()
        command()
        times[name] = 1e3 * (time.perf_counter() - start)
        timer.join()
        rig.queue.finish()
    rig.hand_over("Release", memory)
    rig.queue.finish()
    rig.release(memory)
    return times


def drivers_loaded_again() -> dict[str, object]:
    """Whether the Vulkan driver can be asked for its devices forty times."""
    backend = registry.default().load_producer("vulkan")
    return {"found": [len(backend.devices()) > 0 for _ in range(40)]}


def lines() -> dict[str, object]:
    """Which line of a source with ``#line`` a compiler names for an error in its third line."""
    rig = Rig()
    source = "#line 500\n__kernel void f(__global int *x)\n{ x[0] = not_there; }\n"
    try:
        cl.Program(rig.context, source).build()
    except cl.Error as error:
        text = str(error)
        return {
            "honoured": "501" in text,
            "ignored": ":3:" in text or "(3)" in text or "<3>" in text,
            "log": text,
        }
    return {"log": ""}


def wait_before_signal() -> dict[str, object]:
    """How long the enqueueing of a wait takes whose signal comes later, and whether it was waited for."""
    rig = Rig()
    _, semaphore = rig.import_semaphore(rig.semaphore_fd())
    waits = (ctypes.c_void_p * 1)(semaphore)
    call = rig.driver.required(rig.platform, "clEnqueueWaitSemaphoresKHR")
    start = time.perf_counter()
    code = call(rig.queue.int_ptr, 1, waits, None, 0, None, None)
    marker = cl.enqueue_marker(rig.queue)
    rig.queue.flush()
    enqueued = 1e3 * (time.perf_counter() - start)
    time.sleep(0.2)
    early = marker.command_execution_status == 0
    submission = rig.producer.prepare(signal=rig.semaphore)
    submission.submit()
    rig.queue.finish()
    return {"code": code, "milliseconds": enqueued, "early": early}


def timeline_as_binary() -> dict[str, object]:
    """Whether a timeline's handle is taken as a binary semaphore's."""
    rig = Rig()
    return {"code": rig.import_semaphore(rig.semaphore_fd(SemaphoreKind.TIMELINE))[0]}


def compile_error(consumer: str) -> dict[str, object]:
    """What a user sees of an error in the third line of a portable source."""
    source = "KERNEL void f(GLOBAL_MEM int *x)\n{\n    x[0] = not_there;\n}\n"
    with interop.connect("vulkan", consumer) as link:
        try:
            link.consumer.compile(source)
        except interop.CompileError as error:
            return {"text": str(error)}
    return {"text": ""}
