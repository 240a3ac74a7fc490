"""A producer on a device that the caller made: adopted, used, and never destroyed.

Vulkan cannot be asked how a device was made. So the caller says which API version, extensions and features
were enabled, and what can be asked is asked: whether the physical device belongs to the instance, what its
driver lists, and whether the device has the functions of each extension.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from interop.protocols import (
    Handle,
    HandleError,
    HandleType,
    InvalidArgument,
    MemoryDescriptor,
    Unsupported,
    check_range,
)
from interop.toolkit import check_import_memory
from interop_vulkan import _devices, _driver
from interop_vulkan._context import Context, queue_flags
from interop_vulkan._devices import WANTED_EXTENSIONS, version_text
from interop_vulkan._driver import API_VERSION_1_2, NULL, VK, Functions, address, ffi, struct
from interop_vulkan._exports import Exports, memory_exports
from interop_vulkan._queue_lock import QueueLock
from interop_vulkan.memory import PART_ALIGNMENT, Buffer, exportable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interop.protocols import DeviceInfo
    from interop_vulkan.backend import Producer

TIMELINES = "timelineSemaphore"

# One function of each extension that has any; a device has it exactly when the extension was enabled.
_FUNCTION_OF = {
    "VK_KHR_external_memory_fd": "vkGetMemoryFdKHR",
    "VK_KHR_external_memory_win32": "vkGetMemoryWin32HandleKHR",
    "VK_KHR_external_semaphore_fd": "vkGetSemaphoreFdKHR",
    "VK_KHR_external_semaphore_win32": "vkGetSemaphoreWin32HandleKHR",
    "VK_EXT_external_memory_host": "vkGetMemoryHostPointerPropertiesEXT",
}
_CORE = (
    "vkWaitSemaphores",
    "vkSignalSemaphore",
    "vkGetSemaphoreCounterValue",
    "vkGetBufferMemoryRequirements2",
)
"""Of Vulkan 1.2: a driver hides them from a device that was made for less."""


def adopt(
    *,
    instance: object,
    physical_device: object,
    device: object,
    queue_family: int,
    queue: object = None,
    queue_index: int = 0,
    api_version: int | tuple[int, int],
    extensions: Iterable[str] | None = None,
    features: Iterable[str] = (),
    lock: object = None,
    get_instance_proc_addr: object = None,
) -> Producer:
    """Make a producer on a ``VkDevice`` that the caller made and keeps, for ``interop.connect(producer=...)``.

    ``instance``, ``physical_device``, ``device`` and ``queue`` are objects of the ``vulkan`` package or of
    another cffi library, integers, or anything with the integer as its attribute ``value``
    (``ctypes.c_void_p``). They must be alive and are believed: an integer that is no handle crashes the driver.
    ``queue`` is a queue of ``queue_family``, which must be able to compute; without it
    ``vkGetDeviceQueue(queue_family, queue_index)`` is asked.

    The caller says what Vulkan does not tell: ``api_version``, the ``VkApplicationInfo::apiVersion`` of the
    instance, packed or as ``(1, 2)``; ``extensions``, the names in
    ``VkDeviceCreateInfo::ppEnabledExtensionNames``; ``features``, the names of the features that were enabled,
    of which ``"timelineSemaphore"`` is needed. Names that do not matter here are passed by. Without
    ``extensions`` those count as enabled whose functions ``vkGetDeviceProcAddr`` finds; an extension without
    functions (``VK_EXT_external_memory_dma_buf``) has to be named.

    ``lock`` guards the queue where other code submits to it from other threads, as Vulkan demands
    (``vkQueueSubmit``, host synchronisation): a ``threading.Lock`` or ``RLock``, waited for at most 10 seconds, a
    context manager that can be entered again, or a callable that returns one. It is held for the length of each
    submission. Other code must hold it for each use of the queue. ``get_instance_proc_addr`` is the address of
    ``vkGetInstanceProcAddr`` in the loader that made the instance, needed where that is not the
    ``libvulkan.so.1`` of the process.

    Nothing that was given is ever destroyed, and no other queue is waited for. Close the producer before the
    device is destroyed. Raises :class:`InvalidArgument` for a handle, family or name that cannot be, and
    :class:`Unsupported` for a device made for less than Vulkan 1.2, without timeline semaphores, on a queue that
    cannot compute, or without an extension that ``extensions`` names; nothing is left behind.
    """
    from interop_vulkan.backend import Producer

    instance = as_handle("VkInstance", instance)
    physical = as_handle("VkPhysicalDevice", physical_device)
    opened = as_handle("VkDevice", device)
    version = _packed(api_version)
    get = None
    if get_instance_proc_addr is not None:
        get = as_handle("PFN_vkGetInstanceProcAddr", get_instance_proc_addr)
    if version < API_VERSION_1_2:
        reason = f"the instance was made for {version_text(version)}; set VkApplicationInfo::apiVersion to 1.2 or more"
        raise Unsupported("Vulkan 1.2", reason)
    if TIMELINES not in set(features):
        reason = (
            "it must be enabled (VkPhysicalDeviceTimelineSemaphoreFeatures in the chain of VkDeviceCreateInfo) "
            f"and named: features=[{TIMELINES!r}]"
        )
        raise Unsupported(TIMELINES, reason)
    functions = _driver.instance_functions(instance, get)
    info, enabled = _examine(functions, instance, physical)
    device_vk = _driver.device_functions(functions, opened)
    missing = [name for name in _CORE if not device_vk.has(name)]
    if missing:
        reason = f"the device on {info.name} has no {missing[0]}; it was made for an earlier version"
        raise Unsupported("Vulkan 1.2", reason)
    names = _enabled(device_vk, info, enabled, extensions)
    _check_family(functions, physical, info, queue_family)
    info = _devices.describe(functions, physical, info.index, enabled=names)
    if queue is None:
        out = ffi.new("VkQueue *")
        device_vk.vkGetDeviceQueue(opened, queue_family, queue_index, out)
        queue = out[0]
    guard = QueueLock(lock) if lock is not None else None
    with contextlib.ExitStack() as undo:
        return Producer(
            Context(
                info,
                functions,
                instance,
                physical,
                opened,
                queue_family,
                undo,
                queue=as_handle("VkQueue", queue),
                lock=guard,
            )
        )


class AdoptedBuffer(Buffer):
    """A range of a ``VkBuffer`` that the caller made, and keeps. Fulfils :class:`interop.protocols.ProducerBuffer`."""

    def __init__(
        self,
        context: Context,
        native: Any,
        source: Exports | Handle,
        *,
        offset: int,
        size: int,
        descriptor: MemoryDescriptor,
    ) -> None:
        """``source`` is where handles of the memory come from; closed with this buffer."""
        super().__init__(
            context,
            native,
            None,
            size=size,
            allocation_size=descriptor.allocation_size,
            export=descriptor.handle_type,
            dedicated=descriptor.dedicated,
            mapped=NULL,
            destroy=source.close,
        )
        self._offset = offset
        self._descriptor = descriptor
        self._source = source

    @property
    def offset(self) -> int:
        """First byte in the ``VkBuffer``."""
        return self._offset

    @property
    def span(self) -> int:
        """What commands and descriptors take as its size: the range alone, the rest is not ours."""
        return self.size

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Hand out the allocation: by the driver, or as a duplicate of the handle that the caller gave."""
        self.check_open()
        source = self._source
        return source.dup() if isinstance(source, Handle) else source.take(), self._descriptor


def adopt_buffer(
    context: Context,
    buffer: object,
    memory: object,
    *,
    size: int,
    allocation_size: int | None = None,
    memory_offset: int = 0,
    offset: int = 0,
    handle_type: HandleType = HandleType.OPAQUE_FD,
    dedicated: bool = False,
) -> AdoptedBuffer:
    """Take a buffer of the caller's; see :meth:`interop_vulkan.backend.Producer.adopt_buffer`."""
    context.check_open()
    context.sweep()
    native = as_handle("VkBuffer", buffer)
    given = memory if isinstance(memory, Handle) else None
    if given is None:
        exportable(context, handle_type)
    elif given.type is not handle_type:
        msg = f"the handle is {given.type.value}, the memory is said to be {handle_type.value}"
        raise HandleError(msg)
    if memory_offset < 0 or offset < 0 or offset % PART_ALIGNMENT:
        msg = f"offsets are 0 or more, that in the buffer a multiple of {PART_ALIGNMENT}, got {memory_offset}, {offset}"
        raise InvalidArgument(msg)
    needs = struct("VkMemoryRequirements2")
    which = struct("VkBufferMemoryRequirementsInfo2", buffer=native)
    context.vk.vkGetBufferMemoryRequirements2(context.device, which, needs)
    bound = int(needs.memoryRequirements.size)
    if allocation_size is None:
        allocation_size = memory_offset + bound
    check_range(memory_offset, bound, allocation_size, alignment=int(needs.memoryRequirements.alignment))
    check_range(offset, size, bound)
    if dedicated and memory_offset:
        raise InvalidArgument(
            f"a dedicated allocation begins with its buffer, not {memory_offset} bytes before it"
        )
    descriptor = MemoryDescriptor(
        allocation_size=allocation_size,
        size=size,
        offset=memory_offset + offset,
        handle_type=handle_type,
        dedicated=dedicated,
        device=context.info.identity,
    )
    if given is not None:
        check_import_memory(given, descriptor, frozenset({handle_type}))
    source: Exports | Handle
    if given is not None:
        source = given.dup()
    else:
        source = memory_exports(context, as_handle("VkDeviceMemory", memory), handle_type)
    return AdoptedBuffer(context, native, source, offset=offset, size=size, descriptor=descriptor)


def as_handle(kind: str, given: object) -> Any:
    """Return what was given as a handle of ``kind``; see :func:`adopt`. Raises :class:`InvalidArgument`."""
    number = getattr(given, "value", given)
    wanted = ffi.typeof(kind)
    if isinstance(given, ffi.CData):
        found = ffi.typeof(given)
        if found.kind == "pointer" and found.cname not in (wanted.cname, "void *"):
            raise InvalidArgument(f"expected a {kind}, got {given!r}")
        number = address(given)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**64:
        raise InvalidArgument(f"expected a {kind} as an object of cffi or its address, got {given!r}")
    return ffi.cast(kind, number)


def _packed(version: int | tuple[int, int]) -> int:
    if isinstance(version, tuple):
        major, minor = version
        return major << 22 | minor << 12
    return version & ~0xE0000000  # the variant, which says nothing about the version


def _examine(functions: Functions, instance: Any, physical: Any) -> tuple[DeviceInfo, frozenset[str]]:
    """Return who the physical device is, and what its driver lists."""
    if not functions.has("vkGetPhysicalDeviceProperties2"):
        reason = "the instance has no vkGetPhysicalDeviceProperties2; it was made for Vulkan 1.0"
        raise Unsupported("Vulkan 1.2", reason)
    found = [address(each) for each in _devices.physical_devices(functions, instance)]
    if address(physical) not in found:
        msg = f"{physical!r} is none of the {len(found)} physical devices of {instance!r}"
        raise InvalidArgument(msg)
    info = _devices.describe(functions, physical, found.index(address(physical)))
    if "extensions" not in info.details:  # nothing more is asked of an old driver
        raise Unsupported("Vulkan 1.2", f"{info.name} has {info.details['api version']}")
    return info, _devices.extensions_of(functions, physical)


def _enabled(
    device_vk: Functions, info: DeviceInfo, listed: frozenset[str], said: Iterable[str] | None
) -> frozenset[str]:
    """Return the extensions that were enabled and matter here."""
    if said is None:
        return frozenset(
            name for name, function in _FUNCTION_OF.items() if name in listed and device_vk.has(function)
        )
    if isinstance(said, (str, bytes)):
        raise InvalidArgument(f"extensions takes several names, got the one text {said!r}")
    names = frozenset(said) & WANTED_EXTENSIONS
    for name in sorted(names):
        if name not in listed:
            raise InvalidArgument(f"{name} cannot have been enabled: {info.name} does not list it")
        function = _FUNCTION_OF.get(name)
        if function is not None and not device_vk.has(function):
            reason = (
                f"the device on {info.name} has no {function}; "
                "add the extension to VkDeviceCreateInfo::ppEnabledExtensionNames"
            )
            raise Unsupported(name, reason)
    return names


def _check_family(functions: Functions, physical: Any, info: DeviceInfo, family: int) -> None:
    flags = queue_flags(functions, physical)
    if not 0 <= family < len(flags):
        raise InvalidArgument(f"{info.name} has {len(flags)} queue families, got the index {family}")
    if not flags[family] & VK.VK_QUEUE_COMPUTE_BIT:
        able = [index for index, each in enumerate(flags) if each & VK.VK_QUEUE_COMPUTE_BIT]
        reason = f"queue family {family} of {info.name} has no VK_QUEUE_COMPUTE_BIT; these have it: {able}"
        raise Unsupported("a compute queue", reason)
