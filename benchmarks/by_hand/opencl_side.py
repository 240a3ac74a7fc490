"""OpenCL by hand: pyopencl for what it wraps, ctypes for external memory and semaphores, which it does not."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import pyopencl as cl
from by_hand.vulkan_side import Clock, Turns, Vulkan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_INT, _UINT, _POINTER = ctypes.c_int, ctypes.c_uint, ctypes.c_void_p
_SEMAPHORES = (_POINTER, _UINT, _POINTER, _POINTER, _UINT, _POINTER, _POINTER)
_OBJECTS = (_POINTER, _UINT, _POINTER, _UINT, _POINTER, _POINTER)
_MEMORY_FD, _SEMAPHORE_FD = 0x2060, 0x2055
_SEMAPHORE_TYPE, _BINARY = 0x203D, 1
_FRAME = 4096


def _ok(code: int) -> None:
    if code:
        raise RuntimeError(f"OpenCL returned {code}")


def _loader() -> ctypes.CDLL:
    """Open the loader that pyopencl uses: another one would have other objects."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:  # noqa: PTH123
        path = next(line.split(maxsplit=5)[-1].strip() for line in maps if "libOpenCL" in line)
    return ctypes.CDLL(path)


class Program:
    """Vulkan and OpenCL on one device, joined by hand."""

    binding = "vulkan, pyopencl and ctypes"

    def __init__(self, producer: int, consumer: int, *, timeline: bool, pointers: bool) -> None:
        """Open both devices, by their numbers. ``timeline`` is not for OpenCL, which has binary semaphores.

        ``pointers`` is for Vulkan: pyopencl has none of what is called every turn.
        """
        if timeline:
            raise RuntimeError("OpenCL has no timeline semaphores")
        clock = Clock()
        self.vulkan = Vulkan(producer, clock, pointers=pointers)
        devices = [device for platform in cl.get_platforms() for device in platform.get_devices()]
        self._context = cl.Context([devices[consumer]])
        clock.step("consumer context")
        self._native_queue = cl.CommandQueue(self._context, devices[consumer])
        clock.step("consumer queue")
        self.steps: Mapping[str, float] = clock.steps
        self._queue = self._native_queue.int_ptr
        self._library = _loader()
        self._platform = devices[consumer].platform.int_ptr
        self._create = self._library.clCreateBufferWithProperties
        self._create.restype = _POINTER
        self._create.argtypes = (
            *(_POINTER, _POINTER, ctypes.c_uint64),
            *(ctypes.c_size_t, _POINTER, _POINTER),
        )
        self._flush = self._library.clFlush
        self._flush.argtypes = (_POINTER,)

    def _extension(self, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
        look_up = self._library.clGetExtensionFunctionAddressForPlatform
        look_up.restype, look_up.argtypes = _POINTER, (_POINTER, ctypes.c_char_p)
        return ctypes.CFUNCTYPE(result, *arguments)(look_up(self._platform, name.encode()))

    def _take(self, fd: int, size: int) -> Any:
        """Import memory; the fd is the driver's from now on."""
        status = ctypes.c_int()
        properties = (ctypes.c_uint64 * 3)(_MEMORY_FD, fd, 0)
        made = self._create(self._context.int_ptr, properties, 1, size, None, ctypes.byref(status))
        _ok(status.value)
        return cl.Buffer.from_int_ptr(made, retain=False)

    def importer(self, size: int) -> tuple[Callable[[], object], Callable[[Any], None], Callable[[], None]]:
        """Return how to export and import a buffer of ``size``, how to undo an import, and how to free it all."""
        shared = self.vulkan.share(size)
        return (
            lambda: self._take(shared.export(), shared.allocated),
            lambda made: made.release(),
            shared.close,
        )

    def turns(
        self, size: int = _FRAME, *, fill: bool = False
    ) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
        """Return a pair of turns, empty or one that fills, a wait for both sides, and how to free what they use."""
        shared = self.vulkan.share(size)
        memory = self._take(shared.export(), shared.allocated)
        ready, ready_fd = self.vulkan.semaphore(timeline=False, export=True)
        back, back_fd = self.vulkan.semaphore(timeline=False, export=True)
        imported = [self._semaphore(fd) for fd in (ready_fd, back_fd)]
        here, there = ((ctypes.c_void_p * 1)(each) for each in imported)
        objects = (ctypes.c_void_p * 1)(memory.int_ptr)
        wait = self._extension("clEnqueueWaitSemaphoresKHR", _INT, _SEMAPHORES)
        signal = self._extension("clEnqueueSignalSemaphoresKHR", _INT, _SEMAPHORES)
        acquire = self._extension("clEnqueueAcquireExternalMemObjectsKHR", _INT, _OBJECTS)
        release = self._extension("clEnqueueReleaseExternalMemObjectsKHR", _INT, _OBJECTS)
        queue, flush = self._queue, self._flush
        producer = Turns(self.vulkan, shared, ready, back, timeline=False, fill=fill)
        begin, submit = producer.begin, producer.submit
        submit(begin())

        def pair() -> None:
            code = wait(queue, 1, here, None, 0, None, None)
            if code:
                _ok(code)
            code = acquire(queue, 1, objects, 0, None, None)
            if code:
                _ok(code)
            code = release(queue, 1, objects, 0, None, None)
            if code:
                _ok(code)
            code = signal(queue, 1, there, None, 0, None, None)
            if code:
                _ok(code)
            code = flush(queue)
            if code:
                _ok(code)
            submit(begin())

        def finish() -> None:
            producer.wait()
            self._native_queue.finish()

        def close() -> None:
            _ok(wait(queue, 1, here, None, 0, None, None))  # the last signal
            finish()
            drop = self._extension("clReleaseSemaphoreKHR", _INT, (_POINTER,))
            for each in imported:
                _ok(drop(each))
            memory.release()
            shared.close()

        return pair, finish, close

    def blocking(self, size: int) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return a frame that fills and is waited for on the host, without semaphores, and how to free it."""
        shared = self.vulkan.share(size)
        memory = self._take(shared.export(), shared.allocated)
        objects = (ctypes.c_void_p * 1)(memory.int_ptr)
        acquire = self._extension("clEnqueueAcquireExternalMemObjectsKHR", _INT, _OBJECTS)
        release = self._extension("clEnqueueReleaseExternalMemObjectsKHR", _INT, _OBJECTS)
        producer = Turns(self.vulkan, shared, None, None, timeline=False, fill=True)

        def frame() -> None:
            producer.submit(producer.begin())
            producer.wait()
            _ok(acquire(self._queue, 1, objects, 0, None, None))
            _ok(release(self._queue, 1, objects, 0, None, None))
            self._native_queue.finish()

        def close() -> None:
            memory.release()
            shared.close()

        return frame, close

    def _semaphore(self, fd: int) -> int:
        create = self._extension(
            "clCreateSemaphoreWithPropertiesKHR", _POINTER, (_POINTER, _POINTER, _POINTER)
        )
        status = ctypes.c_int()
        properties = (ctypes.c_uint64 * 5)(_SEMAPHORE_TYPE, _BINARY, _SEMAPHORE_FD, fd, 0)
        made: int = create(self._context.int_ptr, properties, ctypes.byref(status))
        _ok(status.value)
        return made

    def close(self) -> None:
        """Free both devices."""
        self._native_queue.finish()
        self.vulkan.close()
