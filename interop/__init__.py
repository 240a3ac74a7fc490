"""Write cross-API GPU code once.

A Vulkan producer feeds a HIP, OpenCL, CUDA or plain host consumer through one API, with no copy where the
drivers allow it, and with the reason stated where they do not::

    with interop.connect(producer="vulkan", consumer="opencl") as link:
        height = link.buffer(shape=(256, 256), dtype="float32")
        kernel = link.consumer.compile(SOURCE).kernel("wave")
        with link.consumer_turn(height) as view:
            kernel(view, global_size=(256, 256))
        with link.producer_turn(height) as commands:
            commands.draw(mesh, height)

Importing this package opens no driver and loads no plugin.
"""

from __future__ import annotations

from interop.buffers import Buffer
from interop.connection import connect
from interop.device import DeviceIdentity, DeviceInfo, MatchKey, PciAddress
from interop.errors import (
    ArgumentError,
    BackendUnavailable,
    ClosedError,
    ClosedMisuse,
    CompileError,
    DeviceMismatch,
    DriverError,
    HandleError,
    InteropError,
    InvalidArgument,
    KernelError,
    Misuse,
    NoCommonHandleType,
    NoCommonSync,
    PeerError,
    PeerLost,
    ProtocolError,
    RegistryError,
    TurnError,
    UnknownBackend,
    Unsupported,
    WaitTimeout,
)
from interop.formats import FORMATS, ImageFormat
from interop.handles import Handle, HandleType
from interop.images import ImageDescriptor, MappedImage, Tiling
from interop.latest import LatestRing
from interop.link import Link
from interop.memory import ExternalMemory, MappedBuffer, MemoryDescriptor
from interop.negotiation import Path, Plan, Strategy
from interop.ring import FrameRing
from interop.semaphore import ExternalSemaphore, SemaphoreDescriptor, SemaphoreKind, Stream

__version__ = "0.1.0"

__all__ = [
    "FORMATS",
    "ArgumentError",
    "BackendUnavailable",
    "Buffer",
    "ClosedError",
    "ClosedMisuse",
    "CompileError",
    "DeviceIdentity",
    "DeviceInfo",
    "DeviceMismatch",
    "DriverError",
    "ExternalMemory",
    "ExternalSemaphore",
    "FrameRing",
    "Handle",
    "HandleError",
    "HandleType",
    "ImageDescriptor",
    "ImageFormat",
    "InteropError",
    "InvalidArgument",
    "KernelError",
    "LatestRing",
    "Link",
    "MappedBuffer",
    "MappedImage",
    "MatchKey",
    "MemoryDescriptor",
    "Misuse",
    "NoCommonHandleType",
    "NoCommonSync",
    "Path",
    "PciAddress",
    "PeerError",
    "PeerLost",
    "Plan",
    "ProtocolError",
    "RegistryError",
    "SemaphoreDescriptor",
    "SemaphoreKind",
    "Strategy",
    "Stream",
    "Tiling",
    "TurnError",
    "UnknownBackend",
    "Unsupported",
    "WaitTimeout",
    "__version__",
    "connect",
]
