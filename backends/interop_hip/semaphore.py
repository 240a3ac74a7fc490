"""External semaphores: signals of another API that a HIP stream waits for and gives."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import (
    SEMAPHORE_FLOOR,
    BackendUnavailable,
    BareCall,
    DriverError,
    FdFate,
    Handle,
    HandleType,
    SemaphoreKind,
    Unsupported,
    lend,
)
from interop.toolkit import Resource, ValueRule, check_import_semaphore
from interop_hip._driver import INVALID_VALUE, bare
from interop_hip.stream import HipStream, stream_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interop.protocols import SemaphoreDescriptor, Stream
    from interop_hip._driver import Driver

_PARAMETERS_SIZE = 144  # hipExternalSemaphoreSignalParams and ...WaitParams; fence.value comes first
_SIGNAL = "hipSignalExternalSemaphoresAsync"
_WAIT = "hipWaitExternalSemaphoresAsync"

# AMD's Windows runtime takes a timeline under the plain type and goes by fence.value; it refuses 9 and 10.
_TYPES = {
    (HandleType.OPAQUE_FD, SemaphoreKind.BINARY): "hipExternalSemaphoreHandleTypeOpaqueFd",
    (HandleType.OPAQUE_FD, SemaphoreKind.TIMELINE): "hipExternalSemaphoreHandleTypeTimelineSemaphoreFd",
    (HandleType.OPAQUE_WIN32, SemaphoreKind.BINARY): "hipExternalSemaphoreHandleTypeOpaqueWin32",
    (HandleType.OPAQUE_WIN32, SemaphoreKind.TIMELINE): "hipExternalSemaphoreHandleTypeOpaqueWin32",
}


class HipSemaphore(Resource):
    """A Vulkan semaphore, imported. The parameter blocks of both calls are built once."""

    __slots__ = (
        "_device",
        "_driver",
        "_kind",
        "_lock",
        "_prepared",
        "_rule",
        "_semaphores",
        "_signal",
        "_wait",
        "_words",
    )

    def __init__(self, driver: Driver, device: int, address: int, kind: SemaphoreKind) -> None:
        super().__init__(f"external semaphore 0x{address:x}", _release, driver, device, address)
        self._driver = driver
        self._device = device
        self._kind = kind
        self._rule = ValueRule(kind)
        self._lock = threading.Lock()
        self._semaphores = (ctypes.c_void_p * 1)(address)
        self._words = (ctypes.c_uint64 * (_PARAMETERS_SIZE // 8))()
        self._signal = bare(driver.raw(_SIGNAL))
        self._wait = bare(driver.raw(_WAIT))
        self._prepared: tuple[HipStream | None, tuple[object, ...]] = (None, ())

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        return self._kind

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a wait (``hipWaitExternalSemaphoresAsync``)."""
        known, call = self._prepared
        if known is None or known is not stream or not (self.alive and known.alive):
            call = self._prepare(stream)
        self._driver.use(self._device)
        self._lock.acquire()  # the runtime reads the parameters during the call
        try:
            self._words[0] = self._rule.check_wait(value)
            code = self._wait(*call)
        finally:
            self._lock.release()
        if code:
            self._driver.check(_WAIT, code)

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal (``hipSignalExternalSemaphoresAsync``)."""
        known, call = self._prepared
        if known is None or known is not stream or not (self.alive and known.alive):
            call = self._prepare(stream)
        self._driver.use(self._device)
        self._lock.acquire()
        try:
            self._words[0] = self._rule.check_signal(value)
            code = self._signal(*call)
        finally:
            self._lock.release()
        if code:
            self._driver.check(_SIGNAL, code)

    def bare_wait(self, stream: Stream) -> BareCall:
        """Return the wait alone; see :class:`interop.protocols.BareSemaphore`."""
        return self._bare(self._wait, _WAIT, stream)

    def bare_signal(self, stream: Stream) -> BareCall:
        """Return the signal alone; see :class:`interop.protocols.BareSemaphore`."""
        return self._bare(self._signal, _SIGNAL, stream)

    def _bare(self, function: Callable[..., int], name: str, stream: Stream) -> BareCall:
        self.check_open()
        words = (ctypes.c_uint64 * (_PARAMETERS_SIZE // 8))()
        address = ctypes.c_void_p(stream_address(stream, self._device))
        call = partial(function, self._semaphores, words, ctypes.c_uint(1), address)
        value = partial(words.__setitem__, 0) if self._kind is SemaphoreKind.TIMELINE else None
        return BareCall(call, partial(self._driver.check, name), self._driver.using(self._device), value)

    def _prepare(self, stream: Stream) -> tuple[object, ...]:
        """Convert what both calls take, once for as long as they name the same stream."""
        self.check_open()
        address = ctypes.c_void_p(stream_address(stream, self._device))
        call = (self._semaphores, self._words, ctypes.c_uint(1), address)
        self._prepared = (stream if isinstance(stream, HipStream) else None, call)
        return call


def _release(driver: Driver, device: int, address: int) -> None:
    with driver.releasing(device):
        driver.call("hipDestroyExternalSemaphore", address)


def import_semaphore(
    driver: Driver,
    device: int,
    handle: Handle,
    descriptor: SemaphoreDescriptor,
    *,
    supported: frozenset[HandleType],
    fate: FdFate,
) -> HipSemaphore:
    """Import a semaphore; ``handle`` is consumed on success only (``hipImportExternalSemaphore``)."""
    check_import_semaphore(handle, descriptor, supported)
    for name in (_SIGNAL, _WAIT):
        driver.raw(name)  # a runtime without them must fail before it has the handle
    driver.select(device)
    with lend(handle, fate, floor=SEMAPHORE_FLOOR) as number:
        address = _import(driver, number, handle.type, descriptor.kind)
    return HipSemaphore(driver, device, address, descriptor.kind)


def _import(driver: Driver, number: int, handle_type: HandleType, kind: SemaphoreKind) -> int:
    wanted = driver.hip.hipExternalSemaphoreHandleDesc()
    wanted.type = getattr(driver.hip.hipExternalSemaphoreHandleType, _TYPES[handle_type, kind])
    if handle_type.is_fd:
        wanted.handle.fd = number
    else:
        wanted.handle.win32.handle = number
    return driver.create("hipImportExternalSemaphore", wanted)


def probe(
    driver: Driver, device: int, *, amd: bool
) -> tuple[Mapping[SemaphoreKind, frozenset[HandleType]], list[str]]:
    """Return which semaphores a device can import, and why some are missing.

    HIP has no query for it. AMD's runtime is known and is not asked: on Linux no release has external
    semaphores, and builds with assertions abort the process on the attempt; on Windows both kinds work as NT
    handles. Any other runtime is asked by importing a file that is no semaphore: one that knows the type
    looks at the file and says something else than "invalid value" (1) or "not supported" (801). The file must
    be open: CUDA (driver 580) answers 1 for fd -1 and 999 for a file under a type that it knows.
    """
    if amd and sys.platform == "win32":
        both = dict.fromkeys(SemaphoreKind, frozenset({HandleType.OPAQUE_WIN32}))
        return both, ["AMD's Windows runtime does not report waits that the driver refuses"]
    if amd:
        return {}, ["AMD's HIP runtime has no external semaphores on Linux, in any release"]
    if sys.platform == "win32":
        return {}, ["external semaphores of a HIP runtime that is not AMD's are not known on Windows"]
    found: dict[SemaphoreKind, frozenset[HandleType]] = {}
    notes: list[str] = []
    for kind in SemaphoreKind:
        refusal = _refusal(driver, device, kind)
        if refusal:
            notes.append(f"the HIP runtime refuses {kind.value} semaphores: {refusal}")
        else:
            found[kind] = frozenset({HandleType.OPAQUE_FD})
    return found, notes


def _refusal(driver: Driver, device: int, kind: SemaphoreKind) -> str:
    """Return how the runtime refuses the type, or an empty string when it knows it."""
    driver.select(device)
    with Handle.adopt(os.memfd_create("no semaphore"), HandleType.OPAQUE_FD) as handle:
        try:
            with lend(handle, FdFate.VARIES, floor=SEMAPHORE_FLOOR) as number:
                address = _import(driver, number, HandleType.OPAQUE_FD, kind)
        except (Unsupported, BackendUnavailable) as error:
            return str(error)
        except DriverError as error:
            return str(error) if error.code == INVALID_VALUE else ""
    driver.call("hipDestroyExternalSemaphore", address)
    return ""
