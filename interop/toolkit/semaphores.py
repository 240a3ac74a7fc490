"""Imported semaphores: one prepared call for ordinary waits and signals, and for command lists."""

from __future__ import annotations

import ctypes
import threading
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import PreparedCall, SemaphoreKind
from interop.toolkit.checks import ValueRule
from interop.toolkit.device_streams import stream_address
from interop.toolkit.drivers import preconverted
from interop.toolkit.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Stream
    from interop.toolkit.runtimes import DeviceRuntime


class _Kept:
    """A prepared call, kept for the stream that was named last."""

    __slots__ = ("prepared", "stream")

    def __init__(self) -> None:
        self.stream: Any = None
        self.prepared = PreparedCall(int, int)


class SemaphoreBase(Resource, ABC):
    """An imported semaphore. Fulfils :class:`interop.protocols.ExternalSemaphore`."""

    __slots__ = ("_kept_signal", "_kept_wait", "_kind", "_lock", "rule")

    def __init__(self, what: str, kind: SemaphoreKind, release: Callable[..., None], *args: object) -> None:
        super().__init__(what, release, *args)
        self._kind = kind
        self.rule = ValueRule(kind)
        self._lock = threading.Lock()
        self._kept_wait, self._kept_signal = _Kept(), _Kept()

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        return self._kind

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a wait for the other side's signal. Returns immediately."""
        self._run(self._kept_wait, self.prepare_wait, self.rule.check_wait, stream, value)

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal after all earlier work, and submit it."""
        self._run(self._kept_signal, self.prepare_signal, self.rule.check_signal, stream, value)
        self.submit(stream)

    def _run(
        self,
        kept: _Kept,
        prepare: Callable[[Any], PreparedCall],
        check: Callable[[int | None], int],
        stream: Any,
        value: int | None,
    ) -> None:
        if kept.stream is not stream or not (self.alive and stream.alive):
            prepared = prepare(stream)
            kept.stream, kept.prepared = stream, prepared
        call, fail, begin, set_value = kept.prepared
        if begin is not None:
            begin()
        self._lock.acquire()  # the driver reads the value during the call
        try:
            number = check(value)
            if set_value is not None:
                set_value(number)
            code = call()
        finally:
            self._lock.release()
        if code:
            fail(code)

    def submit(self, stream: Stream) -> None:
        """Submit an enqueued signal. Does nothing where the API submits by itself."""

    @abstractmethod
    def prepare_wait(self, stream: Stream) -> PreparedCall:
        """Return the call that :meth:`wait` makes. Each result has a place of its own for the value."""

    @abstractmethod
    def prepare_signal(self, stream: Stream) -> PreparedCall:
        """Return the call that :meth:`signal` makes; as :meth:`prepare_wait`."""


PARAMETER_WORDS = 144 // 8
"""Of ``CUDA_EXTERNAL_SEMAPHORE_SIGNAL_PARAMS``, ``hipExternalSemaphoreWaitParams`` and their twins: the first is the
timeline value, the others stay 0 for semaphores of Vulkan."""


class DeviceSemaphore(SemaphoreBase):
    """A semaphore of Vulkan, imported by a CUDA-like runtime."""

    __slots__ = ("_runtime", "_semaphores")

    def __init__(self, runtime: DeviceRuntime, kind: SemaphoreKind, address: int) -> None:
        """Take ownership of an imported semaphore of the driver."""
        super().__init__(f"external semaphore 0x{address:x}", kind, _destroy, runtime.hold(), address)
        self._runtime = runtime
        self._semaphores = (ctypes.c_void_p * 1)(address)

    def prepare_wait(self, stream: Stream) -> PreparedCall:
        """Return the wait (``cuWaitExternalSemaphoresAsync``, ``hipWaitExternalSemaphoresAsync``)."""
        return self._prepare(self._runtime.wait_semaphores, stream)

    def prepare_signal(self, stream: Stream) -> PreparedCall:
        """Return the signal (``cuSignalExternalSemaphoresAsync``, ``hipSignalExternalSemaphoresAsync``)."""
        return self._prepare(self._runtime.signal_semaphores, stream)

    def _prepare(self, name: str, stream: Stream) -> PreparedCall:
        self.check_open()
        runtime = self._runtime
        words = (ctypes.c_uint64 * PARAMETER_WORDS)()
        address = ctypes.c_void_p(stream_address(stream, runtime))
        call = partial(preconverted(runtime.raw(name)), self._semaphores, words, ctypes.c_uint(1), address)
        value = partial(words.__setitem__, 0) if self.kind is SemaphoreKind.TIMELINE else None
        return PreparedCall(call, partial(runtime.check, name), runtime.use, value)


def _destroy(runtime: DeviceRuntime, address: int) -> None:
    with runtime.releasing():
        runtime.call(runtime.destroy_semaphore, address)
