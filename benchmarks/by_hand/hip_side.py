"""HIP by hand, over hip-python; with ``pointers`` the calls of every turn go to the runtime's functions by ctypes."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

from by_hand.vulkan_side import Clock, Turns, Vulkan
from rocm.bindings import hip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FRAME = 4096
_NON_BLOCKING = 1
_PARAMETERS = 144  # bytes of hipExternalSemaphoreWaitParams and ...SignalParams; the value comes first


def _ok(result: Any) -> Any:
    status, *values = result if isinstance(result, tuple) else (result,)
    if int(status):
        raise RuntimeError(f"HIP returned {status}")
    return values[0] if values else None


def _library() -> ctypes.CDLL:
    """Open the runtime that hip-python has opened."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:  # noqa: PTH123
        path = next(line.split(maxsplit=5)[-1].strip() for line in maps if "libamdhip64" in line)
    return ctypes.CDLL(path)


class Program:
    """Vulkan and HIP on one device, joined by hand."""

    binding = "vulkan and hip-python"

    def __init__(self, producer: int, consumer: int, *, timeline: bool, pointers: bool) -> None:
        """Open both devices, by their numbers."""
        self._timeline, self._pointers = timeline, pointers
        clock = Clock()
        self.vulkan = Vulkan(producer, clock, pointers=pointers)
        _ok(hip.hipSetDevice(consumer))
        _ok(hip.hipFree(None))  # what makes the runtime create its context
        clock.step("consumer context")
        self._stream = _ok(hip.hipStreamCreateWithFlags(_NON_BLOCKING))
        clock.step("consumer queue")
        self.steps: Mapping[str, float] = clock.steps

    def _take(self, fd: int, size: int) -> tuple[Any, Any]:
        """Import memory and map it. AMD's runtime does not take the fd, others do."""
        wanted = hip.hipExternalMemoryHandleDesc()
        wanted.type = hip.hipExternalMemoryHandleType.hipExternalMemoryHandleTypeOpaqueFd
        wanted.handle.fd, wanted.size = fd, size
        before = os.fstat(fd)
        memory = _ok(hip.hipImportExternalMemory(wanted))
        _close_if_same(fd, before)
        whole = hip.hipExternalMemoryBufferDesc()
        whole.size = size
        return memory, _ok(hip.hipExternalMemoryGetMappedBuffer(memory, whole))

    def _drop(self, taken: tuple[Any, Any]) -> None:
        memory, address = taken
        _ok(hip.hipFree(address))
        _ok(hip.hipDestroyExternalMemory(memory))

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
            _ok(hip.hipStreamSynchronize(self._stream))

        def close() -> None:
            wait(producer.number)  # for the last signal
            finish()
            for each in (here, there):
                _ok(hip.hipDestroyExternalSemaphore(each))
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
            _ok(hip.hipStreamSynchronize(self._stream))

        def close() -> None:
            self._drop(memory)
            shared.close()

        return frame, close

    def _calls(self, here: Any, there: Any) -> tuple[Callable[[int], None], Callable[[int], None]]:
        if self._pointers:
            library, none = _library(), ctypes.c_uint64 * (_PARAMETERS // 8)
            arguments = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p)
            stream = int(self._stream)

            def raw(name: str, semaphore: Any) -> Callable[[int], None]:
                call = library[name]
                call.argtypes = arguments
                semaphores, parameters = (ctypes.c_void_p * 1)(int(semaphore)), none()

                def run(value: int) -> None:
                    parameters[0] = value
                    code = call(semaphores, parameters, 1, stream)
                    if code:
                        _ok(code)

                return run

            return raw("hipWaitExternalSemaphoresAsync", here), raw("hipSignalExternalSemaphoresAsync", there)
        waits, signals = hip.hipExternalSemaphoreWaitParams(), hip.hipExternalSemaphoreSignalParams()
        first, second, stream = [here], [there], self._stream

        def wait(value: int) -> None:
            waits.params.fence.value = value
            (status,) = hip.hipWaitExternalSemaphoresAsync(first, waits, 1, stream)
            if status:
                _ok(status)

        def signal(value: int) -> None:
            signals.params.fence.value = value
            (status,) = hip.hipSignalExternalSemaphoresAsync(second, signals, 1, stream)
            if status:
                _ok(status)

        return wait, signal

    def _semaphore(self, fd: int) -> Any:
        kinds = hip.hipExternalSemaphoreHandleType
        wanted = hip.hipExternalSemaphoreHandleDesc()
        wanted.type = kinds.hipExternalSemaphoreHandleTypeOpaqueFd
        if self._timeline:
            wanted.type = kinds.hipExternalSemaphoreHandleTypeTimelineSemaphoreFd
        wanted.handle.fd = fd
        before = os.fstat(fd)
        made = _ok(hip.hipImportExternalSemaphore(wanted))
        _close_if_same(fd, before)
        return made

    def close(self) -> None:
        """Free both devices."""
        _ok(hip.hipStreamDestroy(self._stream))
        self.vulkan.close()


def _close_if_same(fd: int, before: os.stat_result) -> None:
    try:
        now = os.fstat(fd)
    except OSError:
        return
    if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino):
        os.close(fd)
