"""Semaphores and their export."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from interop.protocols import (
    ONE_SHOT,
    InvalidArgument,
    SemaphoreDescriptor,
    SemaphoreKind,
    TurnError,
    Unsupported,
)
from interop_vulkan._child import Child
from interop_vulkan._driver import struct
from interop_vulkan._exports import Exports, exported
from interop_vulkan._handle_types import semaphore_type
from interop_vulkan._timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle, HandleType
    from interop_vulkan._context import Context


class VulkanSemaphore(Child):
    """A ``VkSemaphore``. Fulfils :class:`interop.protocols.ProducerSemaphore`."""

    def __init__(
        self,
        context: Context,
        native: Any,
        kind: SemaphoreKind,
        destroy: Callable[[], None],
        exports: Exports | None = None,
    ) -> None:
        super().__init__(context, f"{kind.value} semaphore", destroy)
        self._native = native
        self._kind = kind
        self._exports = exports
        is_timeline = kind is SemaphoreKind.TIMELINE
        self._timeline = Timeline(context.vk, context.device, native) if is_timeline else None
        self.last_signal = 0
        """Highest timeline value that this process has signalled or submitted."""
        self.one_shot = exports is not None and exports.type is ONE_SHOT
        """Whether its signals travel one at a time, as sync files."""
        self.signalled = False
        """One-shot: whether a submitted signal was neither exported nor waited for."""

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
        """Export the semaphore. Exporting a ``sync_fd`` takes the last submitted signal out of the semaphore.

        Returns:
            A new handle, owned by the caller, and the descriptor.

        Raises:
            Unsupported: The semaphore was created without ``export``.
            TurnError: A ``sync_fd`` was requested and no signal has been submitted.

        Note:
            ``vkGetSemaphoreFdKHR``, ``vkGetSemaphoreWin32HandleKHR``.
        """
        self.check_open()
        if self._exports is None:
            raise Unsupported("exporting this semaphore", "it was made without export=")
        if self.one_shot and not self.signalled:
            raise TurnError("a sync_fd carries a submitted signal; submit one before export_semaphore()")
        handle = self._exports.take()
        self.signalled = False
        return handle, SemaphoreDescriptor(
            kind=self._kind, handle_type=self._exports.type, device=self.context.info.identity
        )

    def submitted(self, point: int, *, signal: bool) -> None:  # noqa: ARG002 - SignalInlet uses it
        """Note that the submission with the timeline value ``point`` signals the semaphore or waits for it."""
        self.signalled = signal

    def wait_host(self, value: int, timeout: float) -> bool:
        """Block until the counter reaches ``value``, False after ``timeout`` s (``vkWaitSemaphores``)."""
        return self._counter("wait_host").wait(_checked(value), timeout)

    def signal_host(self, value: int) -> None:
        """Set the counter from the host, on any thread (``vkSignalSemaphore``).

        Raises :class:`TurnError` for a value that is not above the present one.
        """
        timeline = self._counter("signal_host")
        now = timeline.counter()
        if _checked(value) <= now:
            msg = f"the timeline has the value {now}; a signal must be above it, got {value}"
            raise TurnError(msg)
        timeline.signal(value)
        self.last_signal = max(self.last_signal, value)

    def counter(self) -> int:
        """Return the present timeline value (``vkGetSemaphoreCounterValue``)."""
        return self._counter("counter").counter()

    def _counter(self, what: str) -> Timeline:
        self.check_open()
        if self._timeline is None:
            msg = f"{what} needs a timeline semaphore; this one is binary"
            raise TurnError(msg)
        return self._timeline


class ProgressTimeline(VulkanSemaphore):
    """The timeline that every submission advances. Borrows the ``VkSemaphore`` of the context."""

    def __init__(self, context: Context) -> None:
        native = context.timeline.semaphore
        super().__init__(context, native, SemaphoreKind.TIMELINE, lambda: None)

    def signal_host(self, value: int) -> None:
        """Raise :class:`TurnError`: only submissions advance it."""
        msg = f"only submissions advance the progress timeline; the host cannot signal {value}"
        raise TurnError(msg)


def _checked(value: int) -> int:
    if not 0 <= value < 2**64:
        msg = f"a timeline value must be from 0 to 2**64 - 1, got {value}"
        raise InvalidArgument(msg)
    return value


def create_semaphore(context: Context, kind: SemaphoreKind, export: HandleType | None) -> VulkanSemaphore:
    """Create a semaphore. The caller has checked the arguments.

    An export that the driver does not offer is refused first: SwiftShader creates an exportable timeline without an
    error and crashes in ``vkGetSemaphoreFdKHR``.
    """
    chain = semaphore_type(kind)
    if export is not None:
        offered = context.info.capabilities.exportable(kind)
        context.check_offered(export, offered, f"exporting a {kind.value} semaphore", "exports them as")
        chain = exported("Semaphore", export, chain)
    with contextlib.ExitStack() as undo:
        native = context.create("Semaphore", struct("VkSemaphoreCreateInfo", pNext=chain), undo)
        exports = Exports(context, "Semaphore", native, export, undo) if export is not None else None
        return VulkanSemaphore(context, native, kind, undo.pop_all().close, exports)
