"""What a backend fulfils and what users get in their hands: errors, plain data, protocols, hooks.

Imports nothing of interop. Users get what they need of it from :mod:`interop`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols._win32 import is_windows
from interop.protocols.backend import (
    API_VERSION,
    Backend,
    BackendInfo,
    BufferPart,
    Commands,
    Consumer,
    ConsumerBackend,
    Mesh,
    Producer,
    ProducerBackend,
    ProducerBuffer,
    ProducerSemaphore,
    Role,
    Submission,
)
from interop.protocols.conformance import ConformanceProfile, DriverFault, find_declared
from interop.protocols.devices import Capabilities, DeviceInfo, is_driver
from interop.protocols.driver_calls import (
    BareCall,
    BareLaunch,
    BareMemory,
    BareOwnership,
    BareSemaphore,
    bare_signal,
    bare_wait,
    launches,
    ownership,
)
from interop.protocols.dtypes import DTYPES, DType, as_dtype, check_shape
from interop.protocols.errors import (
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
    RegistryError,
    TurnError,
    UnknownBackend,
    Unsupported,
    WaitTimeout,
)
from interop.protocols.formats import FORMATS, ImageFormat, ImageTypes, Numbers, Tiling, as_format
from interop.protocols.handles import (
    FD_TYPES,
    MEMORY_FLOOR,
    SEMAPHORE_FLOOR,
    FdFate,
    Handle,
    HandleType,
    check_fd,
    check_value,
    lend,
    widen_table,
)
from interop.protocols.identity import DeviceIdentity, MatchKey, PciAddress, host_identity
from interop.protocols.images import ImageConsumer, ImageDescriptor, ImageProducer, MappedImage, ProducerImage
from interop.protocols.kernels import Kernel, Launch, Module, Parameter, Signature
from interop.protocols.memory import (
    DEFAULT_TIMEOUT,
    ExternalMemory,
    HostBytes,
    MappedBuffer,
    MemoryDescriptor,
    check_range,
)
from interop.protocols.semaphores import ExternalSemaphore, SemaphoreDescriptor, SemaphoreKind
from interop.protocols.streams import (
    CommandList,
    LaunchCall,
    OwnershipCalls,
    PreparedCall,
    SemaphoreCalls,
    Stream,
)
from interop.protocols.sync_files import (
    ONE_SHOT,
    ConsumerSemaphore,
    ExportingConsumer,
    ImportingProducer,
    ImportingSemaphore,
)

if TYPE_CHECKING:
    from interop.protocols.formats import ImageTypes
    from interop.protocols.hookspecs import hookimpl
    from interop.protocols.memory import HostBytes

__all__ = [
    "API_VERSION",
    "DEFAULT_TIMEOUT",
    "DTYPES",
    "FD_TYPES",
    "FORMATS",
    "MEMORY_FLOOR",
    "ONE_SHOT",
    "SEMAPHORE_FLOOR",
    "ArgumentError",
    "Backend",
    "BackendInfo",
    "BackendUnavailable",
    "BareCall",
    "BareLaunch",
    "BareMemory",
    "BareOwnership",
    "BareSemaphore",
    "BufferPart",
    "Capabilities",
    "ClosedError",
    "ClosedMisuse",
    "CommandList",
    "Commands",
    "CompileError",
    "ConformanceProfile",
    "Consumer",
    "ConsumerBackend",
    "ConsumerSemaphore",
    "DType",
    "DeviceIdentity",
    "DeviceInfo",
    "DeviceMismatch",
    "DriverError",
    "DriverFault",
    "ExportingConsumer",
    "ExternalMemory",
    "ExternalSemaphore",
    "FdFate",
    "Handle",
    "HandleError",
    "HandleType",
    "HostBytes",
    "ImageConsumer",
    "ImageDescriptor",
    "ImageFormat",
    "ImageProducer",
    "ImageTypes",
    "ImportingProducer",
    "ImportingSemaphore",
    "InteropError",
    "InvalidArgument",
    "Kernel",
    "KernelError",
    "Launch",
    "LaunchCall",
    "MappedBuffer",
    "MappedImage",
    "MatchKey",
    "MemoryDescriptor",
    "Mesh",
    "Misuse",
    "Module",
    "NoCommonHandleType",
    "NoCommonSync",
    "Numbers",
    "OwnershipCalls",
    "Parameter",
    "PciAddress",
    "PreparedCall",
    "Producer",
    "ProducerBackend",
    "ProducerBuffer",
    "ProducerImage",
    "ProducerSemaphore",
    "RegistryError",
    "Role",
    "SemaphoreCalls",
    "SemaphoreDescriptor",
    "SemaphoreKind",
    "Signature",
    "Stream",
    "Submission",
    "Tiling",
    "TurnError",
    "UnknownBackend",
    "Unsupported",
    "WaitTimeout",
    "as_dtype",
    "as_format",
    "bare_signal",
    "bare_wait",
    "check_fd",
    "check_range",
    "check_shape",
    "check_value",
    "find_declared",
    "hookimpl",
    "host_identity",
    "is_driver",
    "is_windows",
    "launches",
    "lend",
    "ownership",
    "widen_table",
]


def __getattr__(name: str) -> object:
    """Import pluggy only for plugins: ``import interop`` needs no third-party package."""
    if name == "hookimpl":
        from interop.protocols.hookspecs import hookimpl as marker

        return marker
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
