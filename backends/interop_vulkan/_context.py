"""An opened device, and the lifetime of everything that hangs on it."""

from __future__ import annotations

import contextlib
import itertools
import threading
import warnings
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import ClosedError, DriverError, SemaphoreKind, Unsupported
from interop.toolkit import fork_generation
from interop_vulkan import _devices, _driver
from interop_vulkan._driver import API_VERSION_1_2, NULL, VK, Functions, check, struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import DeviceInfo
    from interop_vulkan._lifetime import Child

CLOSE_TIMEOUT = 10.0
"""Seconds that closing a device waits for work in flight before it leaves everything open instead."""
_SLICE = 0.25  # seconds in the driver at a time, so that Ctrl-C gets through
_WAIT_INFO = _driver.structure_type("VkSemaphoreWaitInfo")
_SIGNAL_INFO = _driver.structure_type("VkSemaphoreSignalInfo")
_new = _driver.ffi.new
_TIMELINE_TYPE = _devices.SEMAPHORE_KINDS[SemaphoreKind.TIMELINE]


class Timeline:
    """The host's side of a timeline ``VkSemaphore``. Does not own it."""

    def __init__(self, vk: Functions, device: Any, semaphore: Any) -> None:
        self.device = device
        self._get = vk.vkGetSemaphoreCounterValue
        self._wait = vk.vkWaitSemaphores
        self._signal = vk.vkSignalSemaphore
        self._semaphores = _driver.array("VkSemaphore", [semaphore])
        self.semaphore = semaphore
        self.submitted = 0
        """The last value that a submission will signal; of the progress timeline alone."""

    def counter(self) -> int:
        """Return the counter's present value."""
        value = _driver.ffi.new("uint64_t *")
        check("vkGetSemaphoreCounterValue", self._get(self.device, self.semaphore, value))
        return int(value[0])

    def wait(self, value: int, timeout: float) -> bool:
        """Block until the counter reaches ``value``; False after ``timeout`` seconds."""
        # Any thread may wait, so the structure is one's own; a bridge waits in each turn, so it is made fast.
        values = _new("uint64_t[1]", (value,))
        info = _new("VkSemaphoreWaitInfo *", (_WAIT_INFO, NULL, 0, 1, self._semaphores, values))
        left = max(timeout, 0.0)
        while True:
            part = min(left, _SLICE)
            result = self._wait(self.device, info, int(part * 1e9))
            check("vkWaitSemaphores", result)
            if result == VK.VK_SUCCESS:
                return True
            left -= part
            if left <= 0:
                return False

    def signal(self, value: int) -> None:
        """Set the counter; it must grow."""
        info = _new("VkSemaphoreSignalInfo *", (_SIGNAL_INFO, NULL, self.semaphore, value))
        check("vkSignalSemaphore", self._signal(self.device, info))


class Context:
    """A ``VkDevice`` with one queue, shared by everything made from it.

    Children refer to it strongly, so the device outlives them. ``undo`` holds what destroys the
    device and is taken over on success; for a device that somebody else owns it is empty, ``queue`` is
    the queue to use, and ``lock`` what guards it.
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
        self.graphics = bool(queue_flags(self.instance_vk, physical)[family] & VK.VK_QUEUE_GRAPHICS_BIT)
        self.lock: contextlib.AbstractContextManager[object] = threading.Lock() if lock is None else lock
        """Guards the queue and what has been submitted to it."""
        kind = struct("VkSemaphoreTypeCreateInfo", semaphoreType=_TIMELINE_TYPE)
        semaphore_info = struct("VkSemaphoreCreateInfo", pNext=kind)
        semaphore = self.create("vkCreateSemaphore", "VkSemaphore", semaphore_info)
        undo.callback(self.vk.vkDestroySemaphore, device, semaphore, NULL)
        self.timeline = Timeline(self.vk, device, semaphore)
        self.private_exports: set[str] = set()
        """Functions whose descriptors the driver does not let child processes inherit, as far as is known."""
        self._serials = itertools.count()
        self._children: weakref.WeakValueDictionary[int, Child] = weakref.WeakValueDictionary()
        self._retired: deque[tuple[int, Callable[[], None]]] = deque()
        self._sweeping = threading.Lock()
        self._pins = 0
        self._born = fork_generation()
        self.closed = False
        # Of somebody else's device no other queue may be waited for, nor touched.
        own = self.vk if queue is None else None
        ended = partial(_all_ended, self.timeline, own)
        # Collected without close(): the children have gone before, as they hold the context.
        rest = ended, self._retired, undo.pop_all()
        self._finalizer = weakref.finalize(self, _drop, self._born, *rest)
        self._finalizer.atexit = False

    @property
    def orphaned(self) -> bool:
        """Whether this process was forked since: then the device is the parent's, and is left alone."""
        return self._born != fork_generation()

    @property
    def submitted(self) -> int:
        """The last value of :attr:`timeline` that a submission will signal."""
        return self.timeline.submitted

    def create(self, function: str, kind: str, info: Any) -> Any:
        """Call a ``vkCreate...`` or ``vkAllocate...`` function of the device."""
        return self.vk.create(function, kind, self.device, info, NULL)

    def undo(self, stack: contextlib.ExitStack, function: str, handle: Any) -> None:
        """Register ``vkDestroy...`` or ``vkFree...`` of a handle."""
        stack.callback(getattr(self.vk, function), self.device, handle, NULL)

    def adopt(self, child: Child) -> int:
        """Register a child, which is closed before the device; returns its serial number, never reused."""
        serial = next(self._serials)
        self._children[serial] = child
        return serial

    def idle(self) -> bool:
        """Whether everything submitted has ended. A lost device has nothing running."""
        try:
            return self.timeline.counter() >= self.submitted
        except DriverError as error:  # one that has no memory to answer with may be working still
            return bool(error.code == VK.VK_ERROR_DEVICE_LOST)

    def retire(self, destroy: Callable[[], None], pin: Any = None) -> None:
        """Destroy something as soon as no submitted work can use it and ``pin`` has been collected."""
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
        """Destroy what was retired and is not in use any more."""
        if not self._retired or not self._sweeping.acquire(blocking=False):
            return
        try:
            reached = self.timeline.counter()
            while self._retired and self._retired[0][0] <= reached:
                self._retired.popleft()[1]()
        finally:
            self._sweeping.release()

    def check_open(self) -> None:
        """Raise :class:`ClosedError` after close."""
        if self.closed:
            msg = f"the producer on {self.info.name} is closed"
            raise ClosedError(msg)

    def close(self) -> None:
        """Wait for the work, close the children, newest first, then the device."""
        if self.closed:
            return
        self.closed = True
        if self.orphaned:
            self._finalizer.detach()
            return
        ended = _all_ended(self.timeline)
        for serial in sorted(self._children.keys(), reverse=True):
            child = self._children.get(serial)
            if child is not None:
                child.close()
        if not ended:
            self._finalizer.detach()
            msg = f"work on {self.info.name} has not ended after {CLOSE_TIMEOUT:g} s; the device is left open"
            warnings.warn(msg, ResourceWarning, stacklevel=3)
        elif not self._pins:  # else the last view of mapped memory closes the device
            self._finalizer()


def _all_ended(timeline: Timeline, own: Functions | None = None) -> bool:
    """Wait for what was submitted; then, of a device of our own, for the last steps of the driver."""
    try:
        ended = timeline.wait(timeline.submitted, CLOSE_TIMEOUT)
    except DriverError:  # lost: nothing runs any more
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
        msg = f"work still runs after {CLOSE_TIMEOUT:g} s; what it uses is left behind"
        warnings.warn(msg, ResourceWarning, stacklevel=2)
        return
    while retired:
        retired.popleft()[1]()
    undo.close()


def queue_flags(functions: Functions, physical: Any) -> list[int]:
    """Return the ``VkQueueFlags`` of each queue family."""
    name = "vkGetPhysicalDeviceQueueFamilyProperties"
    return [int(each.queueFlags) for each in functions.enumerate(name, "VkQueueFamilyProperties", physical)]


def open_device(info: DeviceInfo) -> Context:
    """Make a device of its own for ``info``. A failure leaves nothing behind.

    Raises :class:`Unsupported` for a driver below Vulkan 1.2, without timeline semaphores or without a
    compute queue, and :class:`BackendUnavailable` when the device is not there any more.
    """
    with contextlib.ExitStack() as undo:
        instance, functions, physical = _devices.find_device(info)
        basic = _driver.ffi.new("VkPhysicalDeviceProperties *")
        functions.vkGetPhysicalDeviceProperties(physical, basic)
        if basic.apiVersion < API_VERSION_1_2:
            raise Unsupported("Vulkan 1.2", f"{info.name} has {_devices.version_text(basic.apiVersion)}")
        if not _devices.has_timelines(functions, physical):
            raise Unsupported("timelineSemaphore", f"{info.name} does not offer that feature")
        wanted = VK.VK_QUEUE_GRAPHICS_BIT | VK.VK_QUEUE_COMPUTE_BIT
        flags = queue_flags(functions, physical)
        families = [index for index, each in enumerate(flags) if each & VK.VK_QUEUE_COMPUTE_BIT]
        if not families:
            raise Unsupported("a compute queue", f"{info.name} has none")
        family = next((index for index in families if flags[index] & wanted == wanted), families[0])
        queue = struct(
            "VkDeviceQueueCreateInfo", queueFamilyIndex=family, queueCount=1, pQueuePriorities=[1.0]
        )
        names = sorted(_devices.extensions_of(functions, physical) & _devices.WANTED_EXTENSIONS)
        device_info = struct(
            "VkDeviceCreateInfo",
            pNext=struct("VkPhysicalDeviceTimelineSemaphoreFeatures", timelineSemaphore=1),
            queueCreateInfoCount=1,
            pQueueCreateInfos=[queue],
            enabledExtensionCount=len(names),
            ppEnabledExtensionNames=[name.encode() for name in names],
        )
        device = functions.create("vkCreateDevice", "VkDevice", physical, device_info, NULL)
        undo.callback(_driver.device_functions(functions, device).vkDestroyDevice, device, NULL)
        return Context(info, functions, instance, physical, device, family, undo)
