"""An opened ``VkDevice`` with its queue, and the destruction of everything made from it."""

from __future__ import annotations

import contextlib
import threading
import warnings
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import ClosedError, DriverError, SemaphoreKind, Unsupported
from interop.toolkit import Children, fork_generation
from interop_vulkan import _driver
from interop_vulkan._devices import queue_flags
from interop_vulkan._driver import NULL, VK, Functions, struct
from interop_vulkan._handle_types import semaphore_type
from interop_vulkan._timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from interop.protocols import DeviceInfo, HandleType

CLOSE_TIMEOUT = 10.0
"""Seconds that closing a device waits for work in flight by default. After them the device stays open."""


class Context:
    """A ``VkDevice`` with one queue, shared by everything made from it.

    Children refer to the context strongly, so the device outlives them. On success the context takes over ``undo``,
    which destroys the device. For an adopted device ``undo`` is empty, ``queue`` is the caller's queue, and ``lock``
    guards that queue.
    """

    def __init__(
        self,
        info: DeviceInfo,
        instance_vk: Functions,
        instance: Any,
        physical: Any,
        device: Any,
        family: int,
        undo: contextlib.ExitStack,
        *,
        queue: Any = None,
        lock: contextlib.AbstractContextManager[object] | None = None,
    ) -> None:
        self.info = info
        self.instance = instance
        self.instance_vk = instance_vk
        self.physical = physical
        self.device = device
        self.family = family
        self.vk = _driver.device_functions(instance_vk, device)
        if queue is None:
            out = _driver.ffi.new("VkQueue *")
            self.vk.vkGetDeviceQueue(device, family, 0, out)
            self.queue = out[0]
        else:
            self.queue = queue
        self.memory = _driver.ffi.new("VkPhysicalDeviceMemoryProperties *")
        self.instance_vk.vkGetPhysicalDeviceMemoryProperties(physical, self.memory)
        self._properties = _driver.ffi.new("VkPhysicalDeviceProperties *")
        self.instance_vk.vkGetPhysicalDeviceProperties(physical, self._properties)
        self.limits = self._properties.limits
        self.graphics = bool(queue_flags(instance_vk, physical)[family] & VK.VK_QUEUE_GRAPHICS_BIT)
        self.lock: contextlib.AbstractContextManager[object] = threading.Lock() if lock is None else lock
        """Guards the queue and the timeline value of the last submission."""
        semaphore_info = struct("VkSemaphoreCreateInfo", pNext=semaphore_type(SemaphoreKind.TIMELINE))
        semaphore = self.create("Semaphore", semaphore_info, undo)
        self.timeline = Timeline(self.vk, device, semaphore)
        self.private_exports: set[str] = set()
        """Export functions whose descriptors the driver returns as not inheritable."""
        self.children = Children()
        """The open objects of this device, referred to weakly."""
        self._retired: deque[tuple[int, Callable[[], None]]] = deque()
        self._sweeping = threading.Lock()
        self._pins = 0
        self._kept: dict[str, Any] = {}
        self._keeping = threading.Lock()
        self._born = fork_generation()
        self.closed = False
        # An adopted device has other queues, which must not be waited for.
        own = self.vk if queue is None else None
        ended = partial(_all_ended, self.timeline, own)
        # Runs when the context is collected. Its children are gone by then, because they refer to it.
        self._undo = undo.pop_all()
        rest = ended, self._retired, self._undo
        self._finalizer = weakref.finalize(self, _drop, self._born, *rest)
        self._finalizer.atexit = False

    @property
    def orphaned(self) -> bool:
        """Whether this process was forked since. The device belongs to the parent then."""
        return self._born != fork_generation()

    @property
    def submitted(self) -> int:
        """Timeline value of the last submission on :attr:`timeline`."""
        return self.timeline.submitted

    def create(self, kind: str, info: Any, undo: contextlib.ExitStack) -> Any:
        """Return a new object of the device. ``undo`` destroys it.

        ``create("Fence", info, undo)`` calls ``vkCreateFence`` and has ``undo`` call ``vkDestroyFence``.
        """
        made = self.vk.create(f"vkCreate{kind}", f"Vk{kind}", self.device, info, NULL)
        self.undo(undo, f"vkDestroy{kind}", made)
        return made

    def undo(self, stack: contextlib.ExitStack, function: str, handle: Any) -> None:
        """Have ``stack`` call ``vkDestroy...`` or ``vkFree...`` for a handle."""
        stack.callback(getattr(self.vk, function), self.device, handle, NULL)

    def check_offered(
        self, wanted: HandleType, offered: Collection[HandleType], what: str, does: str
    ) -> None:
        """Raise :class:`Unsupported` for a handle type that is not offered. ``does`` introduces those that are."""
        if wanted not in offered:
            reason = f"{self.info.name} {does}: {', '.join(sorted(offered)) or 'none'}"
            raise Unsupported(f"{what} as {wanted.value}", reason, reasons=self.info.capabilities.notes)

    def keep(self, name: str, create: Callable[[contextlib.ExitStack], Any]) -> Any:
        """Return the object of that name, which ``create`` makes once. It is destroyed with the device."""
        with self._keeping:
            if name not in self._kept:
                with contextlib.ExitStack() as undo:
                    self._kept[name] = create(undo)
                    self._undo.callback(undo.pop_all().close)
            return self._kept[name]

    def idle(self) -> bool:
        """Return whether all submitted work has ended. A lost device runs no work."""
        try:
            return self.timeline.counter() >= self.submitted
        except DriverError as error:  # a device that is out of memory may still be working
            return bool(error.code == VK.VK_ERROR_DEVICE_LOST)

    def retire(self, destroy: Callable[[], None], pin: Any = None) -> None:
        """Call ``destroy`` as soon as no submitted work can use its object and ``pin`` has been collected."""
        if self.orphaned:
            return
        if pin is not None:
            self._pins += 1
            weakref.finalize(pin, self._unpin, destroy).atexit = False
        elif self._retired or not self.idle():
            self._retired.append((self.submitted, destroy))
        else:
            destroy()

    def _unpin(self, destroy: Callable[[], None]) -> None:
        self._pins -= 1
        self.retire(destroy)
        if self.closed and not self._pins:
            self._finalizer()

    def sweep(self) -> None:
        """Destroy the retired objects that no work uses any more."""
        if not self._retired or not self._sweeping.acquire(blocking=False):
            return
        try:
            reached = self.timeline.counter()
            while self._retired and self._retired[0][0] <= reached:
                self._retired.popleft()[1]()
        finally:
            self._sweeping.release()

    def check_open(self) -> None:
        """Raise :class:`ClosedError` after :meth:`close`."""
        if self.closed:
            raise ClosedError(f"the producer on {self.info.name} was used after close()")

    def close(self, timeout: float | None = None) -> None:
        """Wait for submitted work, close the children, last made first, then destroy the device."""
        if self.closed:
            return
        self.closed = True
        timeout = CLOSE_TIMEOUT if timeout is None else timeout
        if self.orphaned:
            self._finalizer.detach()
            return
        ended = _all_ended(self.timeline, None, timeout)
        self._pins += 1  # the device stays until all children are closed
        try:
            self.children.close()
        finally:
            self._pins -= 1
        if not ended:
            self._finalizer.detach()
            msg = f"work on {self.info.name} has not ended after {timeout:g} s; the device is left open"
            warnings.warn(msg, ResourceWarning, stacklevel=3)
        elif not self._pins:  # otherwise the last view of mapped memory destroys the device
            self._finalizer()


def _all_ended(timeline: Timeline, own: Functions | None = None, timeout: float | None = None) -> bool:
    """Wait for submitted work; on a device of our own (``own``), wait for the driver's last steps too."""
    try:
        ended = timeline.wait(timeline.submitted, CLOSE_TIMEOUT if timeout is None else timeout)
    except DriverError:  # the device is lost, so nothing runs any more
        return True
    if ended and own is not None:
        own.vkDeviceWaitIdle(timeline.device)
    return ended


def _drop(
    born: int,
    ended: Callable[[], bool],
    retired: deque[tuple[int, Callable[[], None]]],
    undo: contextlib.ExitStack,
) -> None:
    if born != fork_generation():
        return
    if not ended():
        undo.pop_all()
        msg = f"work still runs after {CLOSE_TIMEOUT:g} s; the device and the objects in use are left open"
        warnings.warn(msg, ResourceWarning, stacklevel=2)
        return
    while retired:
        retired.popleft()[1]()
    undo.close()
