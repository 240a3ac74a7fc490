"""CUDA by hand, over cuda-bindings; with ``pointers`` the calls of every turn go to the driver by ctypes."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from by_hand.vulkan_side import Clock, Turns, Vulkan
from cuda.bindings import driver as cu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FRAME = 4096
_PARAMETERS = 144  # bytes of CUDA_EXTERNAL_SEMAPHORE_WAIT_PARAMS and ..._SIGNAL_PARAMS; the value comes first


def _ok(result: Any) -> Any:
    status, *values = result
    if int(status):
        raise RuntimeError(f"CUDA returned {status!r}")
    return values[0] if values else None


class Program:
    """Vulkan and CUDA on one device, joined by hand."""

    binding = "vulkan and cuda-bindings"

    def __init__(self, producer: int, consumer: int, *, timeline: bool, pointers: bool) -> None:
        """Open both devices, by their numbers."""
        self._timeline, self._pointers = timeline, pointers
        clock = Clock()
        self.vulkan = Vulkan(producer, clock, pointers=pointers)
        _ok(cu.cuInit(0))
        self._device = _ok(cu.cuDeviceGet(consumer))
        context = _ok(cu.cuDevicePrimaryCtxRetain(self._device))
        _ok(cu.cuCtxSetCurrent(context))
        clock.step("consumer context")
        self._stream = _ok(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_NON_BLOCKING.value))
        clock.step("consumer queue")
        self.steps: Mapping[str, float] = clock.steps

    def _take(self, fd: int, size: int) -> tuple[Any, Any]:
        """Import memory and map it; the fd is the driver's from now on."""
        wanted = cu.CUDA_EXTERNAL_MEMORY_HANDLE_DESC()
        wanted.type = cu.CUexternalMemoryHandleType.CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD
        wanted.handle.fd, wanted.size = fd, size
        memory = _ok(cu.cuImportExternalMemory(wanted))
        whole = cu.CUDA_EXTERNAL_MEMORY_BUFFER_DESC()
        whole.size = size
        return memory, _ok(cu.cuExternalMemoryGetMappedBuffer(memory, whole))

    def _drop(self, taken: tuple[Any, Any]) -> None:
        memory, address = taken
        _ok(cu.cuMemFree(address))
        _ok(cu.cuDestroyExternalMemory(memory))

    def importer(self, size: int) -> tuple[Callable[[], object], Callable[[Any], None], Callable[[], None]]:
        """Return how to export and import a buffer of ``size``, how to undo an import, and how to free it all."""
        shared = self.vulkan.share(size)
        return lambda: self._take(shared.export(), shared.allocated), self._drop, shared.close

    def turns(
        self, size: int = _FRAME, *, fill: bool = False
    ) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
        """Return a pair of turns, empty or one that fills, a wait for both sides, and how to free what they use."""
        shared = self.vulkan.share(size)
        memory = self._take(shared.export(), shared.allocated)
        ready, ready_fd = self.vulkan.semaphore(timeline=self._timeline, export=True)
        back, back_fd = self.vulkan.semaphore(timeline=self._timeline, export=True)
        here, there = (self._semaphore(fd) for fd in (ready_fd, back_fd))
        producer = Turns(self.vulkan, shared, ready, back, timeline=self._timeline, fill=fill)
        begin, submit = producer.begin, producer.submit
        wait, signal = self._calls(here, there)
        submit(begin())

        def pair() -> None:
            wait(producer.number)
            signal(producer.number)
            submit(begin())

        def finish() -> None:
            producer.wait()
            _ok(cu.cuStreamSynchronize(self._stream))

        def close() -> None:
            wait(producer.number)  # for the last signal
            finish()
            for each in (here, there):
                _ok(cu.cuDestroyExternalSemaphore(each))
            self._drop(memory)
            shared.close()

        return pair, finish, close

    def blocking(self, size: int) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return a frame that fills and is waited for on the host, without semaphores, and how to free it."""
        shared = self.vulkan.share(size)
        memory = self._take(shared.export(), shared.allocated)
        producer = Turns(self.vulkan, shared, None, None, timeline=False, fill=True)

        def frame() -> None:
            producer.submit(producer.begin())
            producer.wait()
            _ok(cu.cuStreamSynchronize(self._stream))

        def close() -> None:
            self._drop(memory)
            shared.close()

        return frame, close

    def _calls(self, here: Any, there: Any) -> tuple[Callable[[int], None], Callable[[int], None]]:
        if self._pointers:
            library = ctypes.CDLL("libcuda.so.1")
            arguments = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p)
            stream = int(self._stream)

            def raw(name: str, semaphore: Any) -> Callable[[int], None]:
                call = library[name]
                call.argtypes = arguments
                semaphores = (ctypes.c_void_p * 1)(int(semaphore))
                parameters = (ctypes.c_uint64 * (_PARAMETERS // 8))()

                def run(value: int) -> None:
                    parameters[0] = value
                    code = call(semaphores, parameters, 1, stream)
                    if code:
                        _ok((code,))

                return run

            return raw("cuWaitExternalSemaphoresAsync", here), raw("cuSignalExternalSemaphoresAsync", there)
        waits, signals = cu.CUDA_EXTERNAL_SEMAPHORE_WAIT_PARAMS(), cu.CUDA_EXTERNAL_SEMAPHORE_SIGNAL_PARAMS()
        first, second, stream = [here], [there], self._stream

        def wait(value: int) -> None:
            waits.params.fence.value = value
            (status,) = cu.cuWaitExternalSemaphoresAsync(first, [waits], 1, stream)
            if status:
                _ok((status,))

        def signal(value: int) -> None:
            signals.params.fence.value = value
            (status,) = cu.cuSignalExternalSemaphoresAsync(second, [signals], 1, stream)
            if status:
                _ok((status,))

        return wait, signal

    def _semaphore(self, fd: int) -> Any:
        kinds = cu.CUexternalSemaphoreHandleType
        wanted = cu.CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC()
        wanted.type = kinds.CU_EXTERNAL_SEMAPHORE_HANDLE_TYPE_OPAQUE_FD
        if self._timeline:
            wanted.type = kinds.CU_EXTERNAL_SEMAPHORE_HANDLE_TYPE_TIMELINE_SEMAPHORE_FD
        wanted.handle.fd = fd
        return _ok(cu.cuImportExternalSemaphore(wanted))

    def close(self) -> None:
        """Free both devices."""
        _ok(cu.cuStreamDestroy(self._stream))
        _ok(cu.cuDevicePrimaryCtxRelease(self._device))
        self.vulkan.close()
