"""The software drivers, and OpenCL's extension calls over ctypes (pyopencl has none of them)."""

from __future__ import annotations

import ctypes
import os
import time
from ctypes import POINTER, byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from interop_softgpu import paths
from interop_softgpu.activate import activate
from interop_softgpu.native import Controls, Payloads
from interop_softgpu.vulkan_objects import VulkanDevice

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTENSION_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "clCreateSemaphoreWithPropertiesKHR": (c_void_p, [c_void_p, c_void_p, POINTER(c_int)]),
    "clGetSemaphoreInfoKHR": (c_int, [c_void_p, c_uint, c_size_t, c_void_p, POINTER(c_size_t)]),
    "clRetainSemaphoreKHR": (c_int, [c_void_p]),
    "clReleaseSemaphoreKHR": (c_int, [c_void_p]),
    "clReImportSemaphoreSyncFdKHR": (c_int, [c_void_p, c_void_p, c_int]),
    "clGetSemaphoreHandleForTypeKHR": (
        c_int,
        [c_void_p, c_void_p, c_uint, c_size_t, c_void_p, POINTER(c_size_t)],
    ),
    "clEnqueueWaitSemaphoresKHR": (c_int, [c_void_p, c_uint, c_void_p, c_void_p, c_uint, c_void_p, c_void_p]),
    "clEnqueueSignalSemaphoresKHR": (
        c_int,
        [c_void_p, c_uint, c_void_p, c_void_p, c_uint, c_void_p, c_void_p],
    ),
    "clEnqueueAcquireExternalMemObjectsKHR": (
        c_int,
        [c_void_p, c_uint, c_void_p, c_uint, c_void_p, c_void_p],
    ),
    "clEnqueueReleaseExternalMemObjectsKHR": (
        c_int,
        [c_void_p, c_uint, c_void_p, c_uint, c_void_p, c_void_p],
    ),
}


class OpenCL:
    """The emulated device with a context and the extension functions."""

    def __init__(self) -> None:
        import pyopencl

        self.cl: Any = pyopencl
        cl = self.cl
        self.lib = ctypes.CDLL(cl._cl.__file__)
        devices = [device for platform in cl.get_platforms() for device in platform.get_devices()]
        software = [device for device in devices if device.name.endswith("(software)")]
        assert software, f"the layer is not there: {[device.name for device in devices]}"
        self.device = software[0]
        self.context = cl.Context([self.device])
        self.lib.clGetExtensionFunctionAddressForPlatform.restype = c_void_p
        self.lib.clGetExtensionFunctionAddressForPlatform.argtypes = [c_void_p, ctypes.c_char_p]
        self.lib.clGetDeviceInfo.argtypes = [c_void_p, c_uint, c_size_t, c_void_p, POINTER(c_size_t)]
        self.lib.clGetPlatformInfo.argtypes = self.lib.clGetDeviceInfo.argtypes
        self.lib.clGetMemObjectInfo.argtypes = self.lib.clGetDeviceInfo.argtypes
        self.lib.clGetEventInfo.argtypes = self.lib.clGetDeviceInfo.argtypes
        self.lib.clReleaseMemObject.argtypes = [c_void_p]
        self.lib.clCreateBufferWithProperties.restype = c_void_p
        self.lib.clCreateBufferWithProperties.argtypes = [
            c_void_p,
            c_void_p,
            c_uint64,
            c_size_t,
            c_void_p,
            POINTER(c_int),
        ]
        self.lib.clCreateImageWithProperties.restype = c_void_p
        self.lib.clCreateImageWithProperties.argtypes = [
            c_void_p,
            c_void_p,
            c_uint64,
            c_void_p,
            c_void_p,
            c_void_p,
            POINTER(c_int),
        ]
        for name, (result, arguments) in EXTENSION_FUNCTIONS.items():
            setattr(self, name, ctypes.CFUNCTYPE(result, *arguments)(self.address(name)))

    def address(self, name: str) -> int:
        """Return where an extension function is; 0 when it is not offered."""
        platform = self.device.platform.int_ptr
        return self.lib.clGetExtensionFunctionAddressForPlatform(platform, name.encode()) or 0

    def info(self, name: int, *, platform: bool = False) -> tuple[int, bytes]:
        """Ask the device or platform as a C program does: code and bytes."""
        function = self.lib.clGetPlatformInfo if platform else self.lib.clGetDeviceInfo
        handle = self.device.platform.int_ptr if platform else self.device.int_ptr
        return query(function, handle, name)

    def words(self, name: int, *, platform: bool = False) -> list[int]:
        """Ask for a list of cl_uint that must be answered."""
        code, data = self.info(name, platform=platform)
        assert code == 0, (hex(name), code)
        return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]

    def buffer(self, properties: list[int] | None, size: int, flags: int = 1) -> tuple[int, int | None]:
        """Call clCreateBufferWithProperties: code and object."""
        code = c_int(1234)
        array = words64(properties)
        made = self.lib.clCreateBufferWithProperties(
            self.context.int_ptr, array, flags, size, None, byref(code)
        )
        return code.value, made

    def semaphore(self, properties: list[int] | None, context: int | None = None) -> tuple[int, int | None]:
        """Call clCreateSemaphoreWithPropertiesKHR: code and object."""
        code = c_int(1234)
        array = words64(properties)
        owner = self.context.int_ptr if context is None else context
        made = self.clCreateSemaphoreWithPropertiesKHR(owner, array, byref(code))  # type: ignore[attr-defined]
        return code.value, made

    def enqueue(self, name: str, queue: Any, objects: list[int], events: list[Any] | None = None) -> Any:
        """Call a wait, signal, acquire or release that must succeed; returns its pyopencl event."""
        code, event = self.try_enqueue(name, queue.int_ptr, objects, events)
        assert code == 0, (name, code)
        return self.cl.Event.from_int_ptr(event, retain=False)

    def try_enqueue(
        self, name: str, queue: int | None, objects: list[int] | None, events: list[Any] | None = None
    ) -> tuple[int, int | None]:
        """Call a wait, signal, acquire or release: code and event."""
        array = (c_void_p * len(objects))(*objects) if objects else None
        waits = (c_void_p * len(events))(*[event.int_ptr for event in events]) if events else None
        event = c_void_p()
        count = len(objects) if objects is not None else 0
        payloads = [None] if "Semaphores" in name else []
        code = getattr(self, name)(queue, count, array, *payloads, len(events or []), waits, byref(event))
        return code, event.value

    def queue(self, *, out_of_order: bool = False) -> Any:
        """Make a command queue."""
        flag = self.cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
        return self.cl.CommandQueue(self.context, properties=flag if out_of_order else 0)


def words64(values: list[int] | None) -> Any:
    """Make a property list in C; negative numbers are sign-extended."""
    return None if values is None else (c_uint64 * len(values))(*[value & (2**64 - 1) for value in values])


def query(function: Any, handle: int, name: int) -> tuple[int, bytes]:
    """Ask for the size, then for the value."""
    size = c_size_t()
    code = function(handle, name, 0, None, byref(size))
    if code != 0:
        return code, b""
    buffer = ctypes.create_string_buffer(max(size.value, 1))
    code = function(handle, name, size.value, buffer, None)
    return code, buffer.raw[: size.value]


def open_files() -> set[int]:
    """Return the open file descriptors, without the one that lists them."""
    return {int(name) for name in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{name}").exists()}


@pytest.fixture(scope="session")
def environment() -> None:
    """Activate the software drivers, hardware or not."""
    activate("swiftshader", force=True)


@pytest.fixture(scope="session")
def payloads(environment: None) -> Payloads:
    """The payload functions."""
    return Payloads()


@pytest.fixture(scope="session")
def vulkan(environment: None) -> Iterator[VulkanDevice]:
    """SwiftShader."""
    with VulkanDevice() as device:
        yield device


@pytest.fixture(scope="session")
def opencl(environment: None) -> OpenCL:
    """PoCL below the layer."""
    return OpenCL()


@pytest.fixture
def controls(opencl: OpenCL) -> Iterator[Controls]:
    """The layer's switches, all back to the default afterwards."""
    layer = paths.native(paths.LAYER)
    assert layer is not None
    controls = Controls(layer)
    touched: set[str] = set()
    set_switch = controls.set

    def remember(key: str, value: str | None) -> None:
        touched.add(key)
        set_switch(key, value)

    controls.set = remember  # type: ignore[method-assign]
    yield controls
    for key in touched:
        set_switch(key, None)


@pytest.fixture
def no_leaks(opencl: OpenCL, controls: Controls) -> Iterator[None]:
    """Fail when the test leaves fds, memory, semaphores or threads of the layer."""
    kinds = ("memory", "semaphore", "thread")
    before = [controls.live(kind) for kind in kinds]
    files = open_files()
    yield
    deadline = time.monotonic() + 5
    while [controls.live(kind) for kind in kinds] != before and time.monotonic() < deadline:
        time.sleep(0.01)  # PoCL frees objects of finished commands in its own threads
    assert {kind: controls.live(kind) for kind in kinds} == dict(zip(kinds, before, strict=True))
    assert open_files() == files
