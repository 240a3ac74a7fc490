"""Semaphores, and their export."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from interop.errors import InvalidArgument, TurnError, Unsupported
from interop.semaphore import SemaphoreDescriptor, SemaphoreKind
from interop_vulkan._context import Timeline
from interop_vulkan._devices import SEMAPHORE_KINDS
from interop_vulkan._driver import struct
from interop_vulkan._exports import exported_semaphore, semaphore_exports
from interop_vulkan._lifetime import Child

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.handles import Handle, HandleType
    from interop_vulkan._context import Context
    from interop_vulkan._exports import Exports


class Semaphore(Child):
    """A ``VkSemaphore``. Fulfils :class:`interop.backend.ProducerSemaphore`."""

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
        that was not made exportable.
        """
        self.check_open()
        if self._export is None or self._exports is None:
            raise Unsupported("exporting this semaphore", "it was made without export=")
        return self._exports.take(), SemaphoreDescriptor(
            kind=self._kind, handle_type=self._export, device=self.context.info.identity
        )

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
