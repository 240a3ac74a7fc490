"""Semaphores, and their export."""

from __future__ import annotations

import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import (
    ONE_SHOT,
    SEMAPHORE_FLOOR,
    DriverError,
    FdFate,
    HandleError,
    InvalidArgument,
    SemaphoreDescriptor,
    SemaphoreKind,
    TurnError,
    Unsupported,
    lend,
)
from interop.toolkit import check_import_semaphore
from interop_vulkan._context import Timeline
from interop_vulkan._devices import SEMAPHORE_KINDS, SEMAPHORE_TYPES
from interop_vulkan._driver import NULL, VK, check, struct
from interop_vulkan._exports import exported_semaphore, semaphore_exports
from interop_vulkan._lifetime import Child

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle, HandleType
    from interop_vulkan._context import Context
    from interop_vulkan._driver import Functions
    from interop_vulkan._exports import Exports


class Semaphore(Child):
    """A ``VkSemaphore``. Fulfils :class:`interop.protocols.ProducerSemaphore`."""

    def __init__(
        self,
        context: Context,
        native: Any,
        kind: SemaphoreKind,
        export: HandleType | None,
        destroy: Callable[[], None],
        exports: Exports | None = None,
    ) -> None:
        super().__init__(context, f"{kind.value} semaphore", destroy)
        self._native = native
        self._kind = kind
        self._export = export
        self._exports = exports
        is_timeline = kind is SemaphoreKind.TIMELINE
        self._timeline = Timeline(context.vk, context.device, native) if is_timeline else None
        self.last_signal = 0
        """The highest value that our own side has signalled or submitted a signal of."""
        self.one_shot = export is ONE_SHOT
        """Whether its signals are handed out one at a time."""
        self.signalled = False
        """One-shot: whether a submitted signal has been neither handed out nor waited for."""

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        return self._kind

    @property
    def native(self) -> Any:
        """The ``VkSemaphore``."""
        self.check_open()
        return self._native

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        """Hand out the semaphore (``vkGetSemaphoreFdKHR``, ``vkGetSemaphoreWin32HandleKHR``).

        The caller owns the handle; each call makes a new one. Raises :class:`Unsupported` for a semaphore
        that was not made exportable. A ``sync_fd`` is the last signal that was submitted, and takes it back;
        without one this raises :class:`TurnError`.
        """
        self.check_open()
        if self._export is None or self._exports is None:
            raise Unsupported("exporting this semaphore", "it was made without export=")
        if self.one_shot and not self.signalled:
            raise TurnError("a sync_fd carries a signal that is on its way; submit one first")
        handle = self._exports.take()
        self.signalled = False
        return handle, SemaphoreDescriptor(
            kind=self._kind, handle_type=self._export, device=self.context.info.identity
        )

    def submitted(self, point: int, *, signal: bool) -> None:  # noqa: ARG002 - for those that count submissions
        """Note, of a one-shot semaphore, that a submission that ends at ``point`` signals it or waits for it."""
        self.signalled = signal

    def wait_host(self, value: int, timeout: float) -> bool:
        """Block until the counter reaches ``value``, False after ``timeout`` s (``vkWaitSemaphores``)."""
        return self._counter("wait_host").wait(_checked(value), timeout)

    def signal_host(self, value: int) -> None:
        """Set the counter from the host (``vkSignalSemaphore``); any thread.

        Raises :class:`TurnError` for a value that is not above the counter.
        """
        timeline = self._counter("signal_host")
        now = timeline.counter()
        if _checked(value) <= now:
            msg = f"the timeline stands at {now}; it can only be signalled with more, got {value}"
            raise TurnError(msg)
        timeline.signal(value)
        self.last_signal = max(self.last_signal, value)

    def counter(self) -> int:
        """Return the counter's present value (``vkGetSemaphoreCounterValue``)."""
        return self._counter("counter").counter()

    def _counter(self, what: str) -> Timeline:
        self.check_open()
        if self._timeline is None:
            msg = f"{what} needs a timeline semaphore; this one is binary"
            raise TurnError(msg)
        return self._timeline


class Inlet(Semaphore):
    """A binary semaphore that takes one signal in before each wait.

    Fulfils :class:`interop.protocols.ImportingSemaphore`. Behind it are several ``VkSemaphore``: one that a queue
    has not waited for yet must not be imported into (VUID-vkImportSemaphoreFdKHR-semaphore-01142).
    """

    def __init__(self, context: Context) -> None:
        made: list[Any] = []
        super().__init__(
            context, NULL, SemaphoreKind.BINARY, None, partial(_destroy, context.vk, context.device, made)
        )
        self.one_shot = True
        self._made = made
        self._free: list[Any] = []
        self._flying: deque[tuple[int, Any]] = deque()
        self._next: Any = None

    @property
    def native(self) -> Any:
        """The ``VkSemaphore`` with the signal that was taken in; :class:`TurnError` where there is none."""
        self.check_open()
        if self._next is None:
            raise TurnError("nothing to wait for: import a signal before each submission that waits")
        return self._next

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> None:
        """Take a signal in (``vkImportSemaphoreFdKHR``); see :class:`interop.protocols.ImportingSemaphore`."""
        self.check_open()
        if self._next is not None:
            raise TurnError("no submission has waited for the last signal yet")
        check_import_semaphore(handle, descriptor, frozenset({ONE_SHOT}))
        native = self._unused()
        vk, bit = self.context.vk, SEMAPHORE_TYPES[ONE_SHOT][0]
        try:
            with lend(handle, FdFate.TAKEN, floor=SEMAPHORE_FLOOR) as number:
                request = struct(
                    "VkImportSemaphoreFdInfoKHR",
                    semaphore=native,
                    flags=VK.VK_SEMAPHORE_IMPORT_TEMPORARY_BIT,
                    handleType=bit,
                    fd=number,
                )
                _check_import(vk.vkImportSemaphoreFdKHR(self.context.device, request))
        except BaseException:
            self._free.append(native)
            raise
        self._next = native

    def _unused(self) -> Any:
        if self._flying and self._flying[0][0] <= self.context.timeline.counter():
            return self._flying.popleft()[1]
        if self._free:
            return self._free.pop()
        native = self.context.create("vkCreateSemaphore", "VkSemaphore", struct("VkSemaphoreCreateInfo"))
        self._made.append(native)
        return native

    def submitted(self, point: int, *, signal: bool) -> None:
        """Note that a submission that ends at ``point`` waits for the signal that was taken in."""
        super().submitted(point, signal=signal)
        self._flying.append((point, self._next))
        self._next = None


def _destroy(vk: Functions, device: Any, made: list[Any]) -> None:
    while made:
        vk.vkDestroySemaphore(device, made.pop(), NULL)


def _check_import(result: int) -> None:
    """Raise :class:`HandleError` where the driver refuses the handle, else as :func:`check`."""
    try:
        check("vkImportSemaphoreFdKHR", result)
    except DriverError as error:
        if error.name == "VK_ERROR_INVALID_EXTERNAL_HANDLE":
            raise HandleError(f"{error}; a sync_fd is a sync file, or -1") from error
        raise


class Progress(Semaphore):
    """The timeline that every submission advances. The context owns its ``VkSemaphore``."""

    def __init__(self, context: Context) -> None:
        native = context.timeline.semaphore
        super().__init__(context, native, SemaphoreKind.TIMELINE, None, lambda: None)

    def signal_host(self, value: int) -> None:
        """Raise :class:`TurnError`: only submissions advance it."""
        msg = f"the progress timeline is advanced by submissions alone, not to {value} by the host"
        raise TurnError(msg)


def _checked(value: int) -> int:
    if not 0 <= value < 2**64:
        msg = f"a timeline's value must be from 0 to 2**64 - 1, got {value}"
        raise InvalidArgument(msg)
    return value


def create_semaphore(context: Context, kind: SemaphoreKind, export: HandleType | None) -> Semaphore:
    """Make a semaphore of either kind.

    Exporting one that the driver did not offer is never tried: SwiftShader creates an exportable timeline
    without complaint and crashes in ``vkGetSemaphoreFdKHR``.
    """
    context.check_open()
    context.sweep()
    capabilities = context.info.capabilities
    if export is not None and export not in capabilities.exportable(kind):
        offered = ", ".join(sorted(capabilities.exportable(kind))) or "none"
        reason = f"{context.info.name} exports them as: {offered}"
        what = f"exporting a {kind.value} semaphore as {export.value}"
        raise Unsupported(what, reason, reasons=capabilities.notes)
    chain = struct("VkSemaphoreTypeCreateInfo", semaphoreType=SEMAPHORE_KINDS[kind])
    if export is not None:
        chain = exported_semaphore(export, chain)
    with contextlib.ExitStack() as undo:
        info = struct("VkSemaphoreCreateInfo", pNext=chain)
        native = context.create("vkCreateSemaphore", "VkSemaphore", info)
        context.undo(undo, "vkDestroySemaphore", native)
        exports = semaphore_exports(context, native, export) if export is not None else None
        if exports is not None:
            undo.callback(exports.close)
        return Semaphore(context, native, kind, export, undo.pop_all().close, exports)


def create_importing_semaphore(context: Context, handle_type: HandleType) -> Inlet:
    """Make a semaphore that takes signals in; see :class:`interop.protocols.ImportingProducer`."""
    context.check_open()
    context.sweep()
    offered = context.info.capabilities.importable(SemaphoreKind.BINARY)
    if handle_type is not ONE_SHOT or handle_type not in offered:
        names = ", ".join(sorted(offered & {ONE_SHOT})) or "none"
        reason = f"{context.info.name} takes signals in one at a time as: {names}"
        raise Unsupported(
            f"importing a signal as {handle_type.value}", reason, reasons=context.info.capabilities.notes
        )
    return Inlet(context)
