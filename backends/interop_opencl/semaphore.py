"""External semaphores: an OpenCL queue waits for the signals of another API and signals it."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import (
    SEMAPHORE_FLOOR,
    DriverError,
    FdFate,
    Handle,
    HandleType,
    PreparedCall,
    SemaphoreDescriptor,
    SemaphoreKind,
    TurnError,
    Unsupported,
    lend,
)
from interop.toolkit import SemaphoreBase, preconverted
from interop_opencl._driver import (
    SEMAPHORE_EXPORT_TYPES,
    SEMAPHORE_HANDLES,
    SEMAPHORE_TYPE,
    SEMAPHORE_TYPE_BINARY,
    check,
    check_handle,
)
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import DeviceIdentity, Stream
    from interop_opencl._driver import Driver

_CREATE = "clCreateSemaphoreWithPropertiesKHR"
_WAIT = "clEnqueueWaitSemaphoresKHR"
_SIGNAL = "clEnqueueSignalSemaphoresKHR"
_EXPORT = "clGetSemaphoreHandleForTypeKHR"
_DESTROY = "clReleaseSemaphoreKHR"
_CODES = {handle_type: code for code, handle_type in SEMAPHORE_HANDLES.items()}
NO_TIMELINE = "OpenCL has binary semaphores only: a timeline imported as one would be accepted and hang"


class OpenCLSemaphore(SemaphoreBase):
    """A binary Vulkan semaphore, imported."""

    __slots__ = ("_context", "_semaphores", "_signal", "_wait")

    def __init__(self, driver: Driver, platform: int, context: int, address: int) -> None:
        release = driver.required(platform, _DESTROY)
        super().__init__(f"OpenCL semaphore 0x{address:x}", SemaphoreKind.BINARY, _release, release, address)
        self._context = context
        self._semaphores = (ctypes.c_void_p * 1)(address)
        self._wait = preconverted(driver.required(platform, _WAIT))
        self._signal = preconverted(driver.required(platform, _SIGNAL))

    def prepare_wait(self, stream: Stream) -> PreparedCall:
        """Return ``clEnqueueWaitSemaphoresKHR``."""
        return self._prepare(self._wait, _WAIT, stream)

    def prepare_signal(self, stream: Stream) -> PreparedCall:
        """Return ``clEnqueueSignalSemaphoresKHR``."""
        return self._prepare(self._signal, _SIGNAL, stream)

    def submit(self, stream: Stream) -> None:
        """Flush: the other side waits for the signal."""
        stream.flush()

    def _prepare(self, function: Callable[..., int], name: str, stream: Stream) -> PreparedCall:
        self.check_open()
        queue = ctypes.c_void_p(stream_address(stream, self._context))
        none, zero = ctypes.c_void_p(), ctypes.c_uint(0)
        call = (queue, ctypes.c_uint(1), self._semaphores, none, zero, none, none)
        return PreparedCall(partial(function, *call), partial(check, name))


class OneShotSemaphore(OpenCLSemaphore):
    """One signal of Vulkan, imported from a sync file. It is waited for once and never signalled here.

    It may be closed as soon as its wait is enqueued, because OpenCL keeps it for the command. A new import for each
    signal has the effect of ``clReImportSemaphoreSyncFdKHR``, which older drivers lack.
    """

    __slots__ = ("_waited",)

    def __init__(self, driver: Driver, platform: int, context: int, address: int) -> None:
        super().__init__(driver, platform, context, address)
        self._waited = False

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue the one wait. Raises :class:`TurnError` for a second one."""
        if self._waited:
            raise TurnError("the one signal of this sync_fd has been waited for; import the next one")
        super().wait(stream, value)
        self._waited = True

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Raise ``TurnError``: only the side that created the semaphore signals it."""
        self.rule.check_signal(value)
        stream_address(stream, self._context)
        raise TurnError(
            "a sync_fd carries a signal of the other side; signal a semaphore of create_semaphore"
        )


class OpenCLSignals(OpenCLSemaphore):
    """A semaphore of this consumer whose signals are exported. Fulfils ``interop.protocols.ConsumerSemaphore``."""

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
        """Raise ``TurnError``: the importing side waits for the signals."""
        raise TurnError(
            f"{stream!r} cannot wait for a semaphore whose signals are exported ({value=}); the importer waits"
        )

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal and flush. Raises ``TurnError`` while the last signal has not been exported."""
        if self._signalled:
            raise TurnError("export the last signal before the next one: a binary semaphore holds one signal")
        super().signal(stream, value)
        self._signalled = True

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        """Export the last signal; see ``interop.protocols.ConsumerSemaphore.export_semaphore``."""
        self.check_open()
        if not self._signalled:
            raise TurnError("there is no signal to export; call signal first")
        number, size = ctypes.c_int(-1), ctypes.sizeof(ctypes.c_int)
        address, code = self._semaphores[0], _CODES[HandleType.SYNC_FD]
        check(_EXPORT, self._export(address, self._device, code, size, ctypes.byref(number), None))
        self._signalled = False
        handle = Handle(number.value, HandleType.SYNC_FD)
        return handle, SemaphoreDescriptor(
            kind=SemaphoreKind.BINARY, handle_type=HandleType.SYNC_FD, device=self._identity
        )


def _release(release: Callable[[int], int], address: int) -> None:
    check(_DESTROY, release(address))


def import_semaphore(driver: Driver, platform: int, context: int, handle: Handle) -> OpenCLSemaphore:
    """Import a binary semaphore (``clCreateSemaphoreWithPropertiesKHR``); ``handle`` is consumed on success only."""
    create = driver.required(platform, _CREATE)
    for name in (_WAIT, _SIGNAL, _DESTROY):
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
    """Create a semaphore whose signals are exported (``clCreateSemaphoreWithPropertiesKHR``).

    Raises:
        Unsupported: The device does not export that kind of semaphore by that handle type.
    """
    if kind is not SemaphoreKind.BINARY or export not in supported:
        offered = ", ".join(sorted(supported)) or "none"
        raise Unsupported(
            f"exporting a {kind.value} semaphore as {export.value}",
            f"the device exports binary semaphores as: {offered}",
        )
    create = driver.required(platform, _CREATE)
    for name in (_EXPORT, _WAIT, _SIGNAL, _DESTROY):
        driver.required(platform, name)  # before there is anything to release
    status = ctypes.c_int()
    wanted = (SEMAPHORE_TYPE, SEMAPHORE_TYPE_BINARY, SEMAPHORE_EXPORT_TYPES, _CODES[export], 0, 0)
    address = create(context, (ctypes.c_uint64 * len(wanted))(*wanted), ctypes.byref(status))
    check(_CREATE, status.value)
    if not address:
        raise DriverError(_CREATE, 0, text="reported success and returned no object")
    return OpenCLSignals(driver, platform, context, device, identity, address)
