"""The Vulkan driver of another machine: what it would get, recorded, over a real driver that does the rest.

Stands where the backend gets its function pointers, so the code above is what it always is, cffi's conversions
included. Extensions, handle types and identity are those of the machine that is told; the calls of external memory
and semaphores end here, and what the driver below does not know is taken out of the chains that it gets.
"""

# pyright: reportPrivateUsage=false
# ruff: noqa: N802 - methods have the names of the functions that they stand for

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interop_vulkan import _driver

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    import windows

ffi, NULL = _driver.ffi, _driver.NULL
_EXTERNAL = (
    "VkExternalMemoryBufferCreateInfo",
    "VkExportMemoryAllocateInfo",
    "VkExportMemoryWin32HandleInfoKHR",
    "VkImportMemoryFdInfoKHR",
    "VkImportMemoryWin32HandleInfoKHR",
    "VkMemoryDedicatedAllocateInfo",
    "VkExportSemaphoreCreateInfo",
    "VkExportSemaphoreWin32HandleInfoKHR",
    "VkSemaphoreTypeCreateInfo",
    "VkPhysicalDeviceIDProperties",
)
_NAMES = {_driver.structure_type(name): name for name in _EXTERNAL}
_TIMELINE = "VkSemaphoreTypeCreateInfo"


@dataclass(kw_only=True)
class Machine:
    """What its driver says of itself."""

    extensions: tuple[str, ...]
    memory: dict[int, int] = field(default_factory=dict[int, int])
    """``VkExternalMemoryFeatureFlags`` by handle type."""
    semaphores: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    """``VkExternalSemaphoreFeatureFlags`` by handle type and ``VkSemaphoreType``."""
    luid: bytes = b""
    nodes: int = 0
    dedicated: tuple[bool, bool] = (False, False)
    """Whether allocations for one buffer alone are preferred, and required."""
    fd_memory_types: int = 0xFFFFFFFF
    """``VkMemoryFdPropertiesKHR::memoryTypeBits``."""


@dataclass
class Link:
    """One structure of a chain, as it was when the driver got it."""

    name: str
    fields: dict[str, Any]
    raw: bytes


class Vulkan:
    """Records what reaches the driver. ``fails`` gives a function's result in place of doing anything."""

    def __init__(self, machine: Machine, kernel: windows.Kernel32 | None = None) -> None:
        self.machine = machine
        self.kernel = kernel
        self.fails: dict[str, int] = {}
        self.calls: list[tuple[str, Any]] = []
        """In order: the function, and what of its arguments is recorded."""
        self.returns: list[int] = []
        """Handles to give out before those of ``kernel``."""
        self.live: list[tuple[str, int]] = []
        """Objects, with the function that made each."""
        self.raised: list[Exception] = []
        """What a driver cannot raise: a file or an object that somebody else has closed."""
        self._fds: dict[int, int] = {}
        self._kept: dict[tuple[str, int], Any] = {}
        self._below: dict[str, Any] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Vulkan:
        """Stand below the backend until the test ends."""
        real = _driver._get_instance_function
        monkeypatch.setattr(
            _driver, "_get_instance_function", lambda instance, name: self._wrap(real(instance, name), name)
        )
        return self

    def of(self, function: str) -> list[Any]:
        """What was recorded of a function's calls."""
        return [what for name, what in self.calls if name == function]

    def _wrap(self, pointer: Any, name: bytes) -> Any:
        text = name.decode()
        body: Callable[..., Any] | None = getattr(self, text, None)
        if body is None:
            return pointer
        key = text, int(ffi.cast("uintptr_t", pointer))
        if key not in self._kept:
            self._below[text] = ffi.cast(f"PFN_{text}", pointer)
            kind = ffi.typeof(f"PFN_{text}")
            fallback = {"error": -13} if kind.result.cname.endswith("VkResult") else {}  # VK_ERROR_UNKNOWN
            self._kept[key] = ffi.callback(kind, body, onerror=self._raised, **fallback)
        return self._kept[key]

    def _raised(self, _kind: object, error: Exception, _trace: object) -> None:
        self.raised.append(error)

    def _result(self, name: str, what: Any) -> int:
        self.calls.append((name, what))
        return self.fails.get(name, 0)

    def _created(self, name: str, args: tuple[Any, ...], result: int) -> int:
        if result == 0:
            self.live.append((name, int(ffi.cast("uintptr_t", args[-1][0]))))
        return result

    def _destroyed(self, name: str, made_by: str, handle: Any) -> None:
        number = int(ffi.cast("uintptr_t", handle))
        self.calls.append((name, number))
        if number:
            self.live.remove((made_by, number))

    def vkGetDeviceProcAddr(self, device: Any, name: Any) -> Any:
        found = self._wrap(self._below["vkGetDeviceProcAddr"](device, name), ffi.string(name))
        return ffi.cast("PFN_vkVoidFunction", found)

    # Who the machine is.

    def vkEnumerateDeviceExtensionProperties(self, physical: Any, layer: Any, count: Any, out: Any) -> int:
        below = self._below["vkEnumerateDeviceExtensionProperties"]
        number = ffi.new("uint32_t *")
        below(physical, layer, number, NULL)
        total = number[0] + len(self.machine.extensions)
        if out != NULL:
            assert count[0] >= total
            below(physical, layer, number, out)
            for at, name in enumerate(self.machine.extensions):
                ffi.memmove(out[number[0] + at].extensionName, name.encode() + b"\0", len(name) + 1)
        count[0] = total
        return 0

    def vkGetPhysicalDeviceProperties2(self, physical: Any, properties: Any) -> None:
        self._below["vkGetPhysicalDeviceProperties2"](physical, properties)
        for name, each in _walk(properties.pNext):
            if name == "VkPhysicalDeviceIDProperties" and self.machine.luid:
                ffi.memmove(each.deviceLUID, self.machine.luid, 8)
                each.deviceNodeMask = self.machine.nodes
                each.deviceLUIDValid = 1

    def vkGetPhysicalDeviceExternalBufferProperties(self, _physical: Any, info: Any, answer: Any) -> None:
        features = self.machine.memory.get(int(info.handleType), 0)
        answer.externalMemoryProperties.externalMemoryFeatures = features

    def vkGetPhysicalDeviceExternalSemaphoreProperties(self, _physical: Any, info: Any, answer: Any) -> None:
        kinds = [int(each.semaphoreType) for name, each in _walk(info.pNext) if name == _TIMELINE]
        key = int(info.handleType), kinds[0] if kinds else 0
        answer.externalSemaphoreFeatures = self.machine.semaphores.get(key, 0)

    def vkGetPhysicalDeviceImageFormatProperties2(self, *_args: Any) -> int:
        return -11  # VK_ERROR_FORMAT_NOT_SUPPORTED: images are not what is looked at

    def vkCreateDevice(self, physical: Any, info: Any, allocator: Any, out: Any) -> int:
        names = [ffi.string(info.ppEnabledExtensionNames[i]) for i in range(info.enabledExtensionCount)]
        self.calls.append(("vkCreateDevice", [name.decode() for name in names]))
        own = [name for name in names if name.decode() not in self.machine.extensions]
        mine = [ffi.new("char[]", name) for name in own]
        array = ffi.new("char *[]", mine)
        copy = ffi.new("VkDeviceCreateInfo *", info[0])
        copy.enabledExtensionCount, copy.ppEnabledExtensionNames = len(own), array
        return int(self._below["vkCreateDevice"](physical, copy, allocator, out))

    # What is made.

    def vkCreateBuffer(self, device: Any, info: Any, allocator: Any, out: Any) -> int:
        if code := self._result("vkCreateBuffer", _chain(info)):
            return code
        copy = ffi.new("VkBufferCreateInfo *", info[0])
        copy.pNext = NULL
        result = self._below["vkCreateBuffer"](device, copy, allocator, out)
        return self._created("vkCreateBuffer", (out,), result)

    def vkGetBufferMemoryRequirements2(self, device: Any, info: Any, answer: Any) -> None:
        self._below["vkGetBufferMemoryRequirements2"](device, info, answer)
        if answer.pNext != NULL:
            asked = ffi.cast("VkMemoryDedicatedRequirements *", answer.pNext)
            asked.prefersDedicatedAllocation, asked.requiresDedicatedAllocation = self.machine.dedicated

    def vkDestroyBuffer(self, device: Any, buffer: Any, allocator: Any) -> None:
        self._destroyed("vkDestroyBuffer", "vkCreateBuffer", buffer)
        self._below["vkDestroyBuffer"](device, buffer, allocator)

    def vkAllocateMemory(self, device: Any, info: Any, allocator: Any, out: Any) -> int:
        chain = _chain(info)
        if code := self._result("vkAllocateMemory", chain):
            return code
        copy = ffi.new("VkMemoryAllocateInfo *", info[0])
        copy.pNext = NULL
        result = self._below["vkAllocateMemory"](device, copy, allocator, out)
        for link in chain:
            if link.name == "VkImportMemoryFdInfoKHR":  # the driver's own from now on
                self._fds[int(ffi.cast("uintptr_t", out[0]))] = link.fields["fd"]
        return self._created("vkAllocateMemory", (out,), result)

    def vkFreeMemory(self, device: Any, memory: Any, allocator: Any) -> None:
        fd = self._fds.pop(int(ffi.cast("uintptr_t", memory)), None)
        if fd is not None:
            os.close(fd)  # raises when somebody else has closed it
        self._destroyed("vkFreeMemory", "vkAllocateMemory", memory)
        self._below["vkFreeMemory"](device, memory, allocator)

    def vkBindBufferMemory(self, device: Any, buffer: Any, memory: Any, offset: int) -> int:
        if code := self._result("vkBindBufferMemory", int(offset)):
            return code
        return int(self._below["vkBindBufferMemory"](device, buffer, memory, offset))

    def vkCreateSemaphore(self, device: Any, info: Any, allocator: Any, out: Any) -> int:
        chain = _chain(info)
        if code := self._result("vkCreateSemaphore", chain):
            return code
        copy = ffi.new("VkSemaphoreCreateInfo *", info[0])
        copy.pNext = next((each for name, each in _walk(info.pNext) if name == _TIMELINE), NULL)
        result = self._below["vkCreateSemaphore"](device, copy, allocator, out)
        return self._created("vkCreateSemaphore", (out,), result)

    def vkDestroySemaphore(self, device: Any, semaphore: Any, allocator: Any) -> None:
        self._destroyed("vkDestroySemaphore", "vkCreateSemaphore", semaphore)
        self._below["vkDestroySemaphore"](device, semaphore, allocator)

    # What is handed out and asked about. Nothing below knows these.

    def _give(self, name: str, info: Any, out: Any, what: str) -> int:
        code = self._result(name, (int(info.sType), info.pNext == NULL, int(info.handleType)))
        if code:
            return code
        if self.returns:
            number = self.returns.pop(0)
        else:
            assert self.kernel is not None
            number = self.kernel.make(what)
        out[0] = ffi.cast("HANDLE", number)
        return 0

    def vkGetMemoryWin32HandleKHR(self, _device: Any, info: Any, out: Any) -> int:
        return self._give("vkGetMemoryWin32HandleKHR", info, out, "memory")

    def vkGetSemaphoreWin32HandleKHR(self, _device: Any, info: Any, out: Any) -> int:
        return self._give("vkGetSemaphoreWin32HandleKHR", info, out, "semaphore")

    def vkGetMemoryFdKHR(self, _device: Any, info: Any, out: Any) -> int:
        code = self._result("vkGetMemoryFdKHR", (int(info.sType), info.pNext == NULL, int(info.handleType)))
        if code == 0:
            out[0] = os.memfd_create("a driver's")
        return code

    def vkGetMemoryFdPropertiesKHR(self, _device: Any, handle_type: int, fd: int, answer: Any) -> int:
        code = self._result("vkGetMemoryFdPropertiesKHR", (int(handle_type), int(fd), int(answer.sType)))
        answer.memoryTypeBits = self.machine.fd_memory_types
        return code

    def vkGetMemoryWin32HandlePropertiesKHR(self, *_args: Any) -> int:
        return self._result("vkGetMemoryWin32HandlePropertiesKHR", None)


def _walk(pointer: Any) -> list[tuple[str, Any]]:
    """Return the structures of a chain, each cast to what its ``sType`` says."""
    found: list[tuple[str, Any]] = []
    while pointer != NULL:
        kind = int(ffi.cast("VkMemoryAllocateInfo *", pointer).sType)  # any structure begins with it
        name = _NAMES.get(kind, f"structure {kind}")
        known = ffi.cast(f"{name} *" if kind in _NAMES else "VkMemoryAllocateInfo *", pointer)
        found.append((name, known))
        pointer = known.pNext
    return found


def _chain(info: Any) -> list[Link]:
    """Copy a create info and its chain, with what a described NT handle points to."""
    first = ffi.typeof(info).item.cname.removeprefix("struct ")
    links: list[Link] = []
    for name, each in [(first, info), *_walk(info.pNext)]:
        kind = ffi.typeof(each).item
        fields: dict[str, Any] = {}
        for label, member in kind.fields:
            value = getattr(each, label)
            if label == "pAttributes":
                value = bytes(ffi.buffer(value[0:1])) if value != NULL else None
            elif member.type.kind == "pointer":
                value = int(ffi.cast("uintptr_t", value))
            elif member.type.kind in ("primitive", "enum"):
                value = int(value)
            fields[label] = value
        links.append(Link(name, fields, bytes(ffi.buffer(each[0:1]))))
    return links
