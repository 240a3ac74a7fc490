"""Semaphores that import signals one at a time, as sync files."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from interop.protocols import (
    ONE_SHOT,
    SEMAPHORE_FLOOR,
    DriverError,
    FdFate,
    HandleError,
    SemaphoreKind,
    TurnError,
    lend,
)
from interop.toolkit import check_import_semaphore
from interop_vulkan._driver import NULL, VK, check, struct
from interop_vulkan._handle_types import SEMAPHORE_TYPES
from interop_vulkan.semaphore import VulkanSemaphore

if TYPE_CHECKING:
    from interop.protocols import Handle, HandleType, SemaphoreDescriptor
    from interop_vulkan._context import Context


class SignalInlet(VulkanSemaphore):
    """A binary semaphore that imports one signal before each wait.

    Fulfils :class:`interop.protocols.ImportingSemaphore`. It uses several ``VkSemaphore``, because a signal must not be
    imported into one that a queue still waits for (VUID-vkImportSemaphoreFdKHR-semaphore-01142).
    """

    def __init__(self, context: Context) -> None:
        self._made = ExitStack()
        super().__init__(context, NULL, SemaphoreKind.BINARY, self._made.close)
        self.one_shot = True
        self._free: list[Any] = []
        self._flying: deque[tuple[int, Any]] = deque()
        self._next: Any = None

    @property
    def native(self) -> Any:
        """The ``VkSemaphore`` with the imported signal. Raises :class:`TurnError` if none was imported."""
        self.check_open()
        if self._next is None:
            raise TurnError(
                "the semaphore has no signal to wait for; import one before each submission that waits"
            )
        return self._next

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> None:
        """Import a signal (``vkImportSemaphoreFdKHR``); see :class:`interop.protocols.ImportingSemaphore`."""
        self.check_open()
        if self._next is not None:
            raise TurnError("no submission has waited for the last imported signal yet; submit one first")
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
        return self.context.create("Semaphore", struct("VkSemaphoreCreateInfo"), self._made)

    def submitted(self, point: int, *, signal: bool) -> None:
        """Note that the submission with the timeline value ``point`` waits for the imported signal."""
        super().submitted(point, signal=signal)
        self._flying.append((point, self._next))
        self._next = None


def _check_import(result: int) -> None:
    """Raise :class:`HandleError` if the driver refuses the handle, :class:`DriverError` for other errors."""
    try:
        check("vkImportSemaphoreFdKHR", result)
    except DriverError as error:
        if error.name == "VK_ERROR_INVALID_EXTERNAL_HANDLE":
            raise HandleError(f"{error}; a sync_fd handle must be a sync file, or -1") from error
        raise


def create_inlet(context: Context, handle_type: HandleType) -> SignalInlet:
    """Create a semaphore that imports signals. Raises :class:`Unsupported` for other types than ``sync_fd``."""
    offered = context.info.capabilities.importable(SemaphoreKind.BINARY) & {ONE_SHOT}
    context.check_offered(handle_type, offered, "importing a signal", "imports single signals as")
    return SignalInlet(context)
