"""External semaphores: signals of another API that an OpenCL queue waits for and gives."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import (
    SEMAPHORE_FLOOR,
    BareCall,
    DriverError,
    FdFate,
    Handle,
    HandleType,
    SemaphoreDescriptor,
    SemaphoreKind,
    TurnError,
    Unsupported,
    lend,
)
from interop.toolkit import Resource, ValueRule, check_import_semaphore
from interop_opencl._driver import (
    SEMAPHORE_EXPORT_TYPES,
    SEMAPHORE_HANDLES,
    SEMAPHORE_TYPE,
    SEMAPHORE_TYPE_BINARY,
    bare,
    check,
    check_handle,
)
from interop_opencl.stream import OpenCLStream, stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import DeviceIdentity, Stream
    from interop_opencl._driver import Driver

_CREATE = "clCreateSemaphoreWithPropertiesKHR"
_WAIT = "clEnqueueWaitSemaphoresKHR"
_SIGNAL = "clEnqueueSignalSemaphoresKHR"
_EXPORT = "clGetSemaphoreHandleForTypeKHR"
_CODES = {handle_type: code for code, handle_type in SEMAPHORE_HANDLES.items()}
NO_TIMELINE = "OpenCL has binary semaphores only: a timeline imported as one would be accepted and hang"


class OpenCLSemaphore(Resource):
    """A binary Vulkan semaphore, imported."""

    __slots__ = ("_context", "_flush", "_prepared", "_rule", "_semaphores", "_signal", "_wait")

    def __init__(self, driver: Driver, platform: int, context: int, address: int) -> None:
        release = driver.required(platform, "clReleaseSemaphoreKHR")
        super().__init__(f"OpenCL semaphore 0x{address:x}", _release, release, address)
        self._context = context
        self._semaphores = (ctypes.c_void_p * 1)(address)
        self._wait = bare(driver.required(platform, _WAIT))
        self._signal = bare(driver.required(platform, _SIGNAL))
        self._flush = bare(driver.raw("clFlush"))
        self._rule = ValueRule(SemaphoreKind.BINARY)
        self._prepared: tuple[OpenCLStream | None, ctypes.c_void_p, tuple[object, ...]]
        self._prepared = (None, ctypes.c_void_p(), ())

    @property
    def kind(self) -> SemaphoreKind:
        """Always binary."""
        return SemaphoreKind.BINARY

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a wait (``clEnqueueWaitSemaphoresKHR``)."""
        known, _, call = self._prepared
        if known is None or known is not stream or value is not None or not (self.alive and known.alive):
            self._rule.check_wait(value)
            _, call = self._prepare(stream)
        code = self._wait(*call)
        if code:
            check(_WAIT, code)

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal (``clEnqueueSignalSemaphoresKHR``) and flush: the other side waits for it."""
        known, queue, call = self._prepared
        if known is None or known is not stream or value is not None or not (self.alive and known.alive):
            self._rule.check_signal(value)
            queue, call = self._prepare(stream)
        code = self._signal(*call)
        if code:
            check(_SIGNAL, code)
        code = self._flush(queue)
        if code:
            check("clFlush", code)

    def bare_wait(self, stream: Stream) -> BareCall:
        """Return the wait alone; see :class:`interop.protocols.BareSemaphore`."""
        _, call = self._prepare(stream)
        return BareCall(partial(self._wait, *call), partial(check, _WAIT))

    def bare_signal(self, stream: Stream) -> BareCall:
        """Return the signal alone, without a flush; see :class:`interop.protocols.BareSemaphore`."""
        _, call = self._prepare(stream)
        return BareCall(partial(self._signal, *call), partial(check, _SIGNAL))

    def _prepare(self, stream: Stream) -> tuple[ctypes.c_void_p, tuple[object, ...]]:
        """Convert what both calls take, once for as long as they name the same queue."""
        self.check_open()
        queue = ctypes.c_void_p(stream_address(stream, self._context))
        none, zero = ctypes.c_void_p(), ctypes.c_uint(0)
        call = (queue, ctypes.c_uint(1), self._semaphores, none, zero, none, none)
        self._prepared = (stream if isinstance(stream, OpenCLStream) else None, queue, call)
        return queue, call


class OneShotSemaphore(OpenCLSemaphore):
    """One signal of Vulkan, taken in from a sync file: waited for once, never signalled from here.

    It may be closed as soon as its wait is enqueued: OpenCL keeps it for the command. A fresh one for each signal is
    what ``clReImportSemaphoreSyncFdKHR`` is equivalent to, and older drivers of the extension lack that call.
    """

    __slots__ = ("_waited",)

    def __init__(self, driver: Driver, platform: int, context: int, address: int) -> None:
        super().__init__(driver, platform, context, address)
        self._waited = False

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue the one wait. Raises :class:`TurnError` for a second one."""
        if self._waited:
            raise TurnError("a sync_fd carries one signal, which has been waited for; import the next one")
        super().wait(stream, value)
        self._waited = True

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Raise :class:`TurnError`: the extension leaves that to who made it."""
        self._rule.check_signal(value)
        stream_address(stream, self._context)
        raise TurnError("a sync_fd carries a signal of the other side; signal a semaphore made here instead")


class OpenCLSignals(OpenCLSemaphore):
    """A semaphore made here, whose signals are handed out. Fulfils :class:`interop.protocols.ConsumerSemaphore`."""

    __slots__ = ("_device", "_export", "_identity", "_signalled")

    def __init__(
        self,
        driver: Driver,
        platform: int,
        context: int,
        device: int,
        identity: DeviceIdentity,
        address: int,
    ) -> None:
        super().__init__(driver, platform, context, address)
        self._device, self._identity = device, identity
        self._export = driver.required(platform, _EXPORT)
        self._signalled = False

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Raise :class:`TurnError`: its signals are waited for by who takes them in."""
        raise TurnError(
            f"this semaphore's signals are handed out, so {stream!r} cannot wait for them, {value=}"
        )

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal and flush. Raises :class:`TurnError` while the last one has not been handed out."""
        if self._signalled:
            raise TurnError("export the last signal before the next one: a binary semaphore has room for one")
        super().signal(stream, value)
        self._signalled = True

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        """Hand out the last signal; see :meth:`interop.protocols.ConsumerSemaphore.export_semaphore`."""
        self.check_open()
        if not self._signalled:
            raise TurnError("there is no signal to hand out; signal first")
        number, size = ctypes.c_int(-1), ctypes.sizeof(ctypes.c_int)
        address, code = self._semaphores[0], _CODES[HandleType.SYNC_FD]
        check(_EXPORT, self._export(address, self._device, code, size, ctypes.byref(number), None))
        self._signalled = False
        handle = Handle(number.value, HandleType.SYNC_FD)
        return handle, SemaphoreDescriptor(
            kind=SemaphoreKind.BINARY, handle_type=HandleType.SYNC_FD, device=self._identity
        )


def _release(release: Callable[[int], int], address: int) -> None:
    check("clReleaseSemaphoreKHR", release(address))


def import_semaphore(
    driver: Driver,
    platform: int,
    context: int,
    handle: Handle,
    descriptor: SemaphoreDescriptor,
    *,
    supported: frozenset[HandleType],
) -> OpenCLSemaphore:
    """Import a binary semaphore (``clCreateSemaphoreWithPropertiesKHR``); ``handle`` goes on success only."""
    if descriptor.kind is SemaphoreKind.TIMELINE:
        raise Unsupported("timeline semaphores", NO_TIMELINE)
    check_import_semaphore(handle, descriptor, supported)
    create = driver.required(platform, _CREATE)
    for name in (_WAIT, _SIGNAL, "clReleaseSemaphoreKHR"):
        driver.required(platform, name)  # a platform without them must fail before it has the handle
    status = ctypes.c_int()
    with lend(handle, FdFate.TAKEN, floor=SEMAPHORE_FLOOR) as number:
        code = _CODES[handle.type]
        properties = (ctypes.c_uint64 * 5)(SEMAPHORE_TYPE, SEMAPHORE_TYPE_BINARY, code, number, 0)
        address = create(context, properties, ctypes.byref(status))
        check_handle(_CREATE, status.value, "binary semaphore")
        if not address:
            raise DriverError(_CREATE, 0, text="reported success and returned no object")
    kind = OneShotSemaphore if handle.type is HandleType.SYNC_FD else OpenCLSemaphore
    return kind(driver, platform, context, address)


def create_semaphore(
    driver: Driver,
    platform: int,
    context: int,
    device: int,
    identity: DeviceIdentity,
    kind: SemaphoreKind,
    export: HandleType,
    *,
    supported: frozenset[HandleType],
) -> OpenCLSignals:
    """Make a semaphore whose signals are handed out (``clCreateSemaphoreWithPropertiesKHR``).

    Raises :class:`Unsupported` for a kind or type that the device does not hand out.
    """
    if kind is not SemaphoreKind.BINARY or export not in supported:
        offered = ", ".join(sorted(supported)) or "none"
        raise Unsupported(
            f"exporting a {kind.value} semaphore as {export.value}", f"binary ones are exported as: {offered}"
        )
    create = driver.required(platform, _CREATE)
    for name in (_EXPORT, _WAIT, _SIGNAL, "clReleaseSemaphoreKHR"):
        driver.required(platform, name)  # before there is anything to release
    status = ctypes.c_int()
    wanted = (SEMAPHORE_TYPE, SEMAPHORE_TYPE_BINARY, SEMAPHORE_EXPORT_TYPES, _CODES[export], 0, 0)
    address = create(context, (ctypes.c_uint64 * len(wanted))(*wanted), ctypes.byref(status))
    check(_CREATE, status.value)
    if not address:
        raise DriverError(_CREATE, 0, text="reported success and returned no object")
    return OpenCLSignals(driver, platform, context, device, identity, address)
