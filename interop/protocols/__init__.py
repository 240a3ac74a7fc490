"""Errors, plain data, protocols and hooks: the contract between interop, its backends and its users.

This package imports no other part of interop. `interop` exports the names that users need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols.arguments import MAX_BYTES, as_choice, as_integer, check_range, round_up
from interop.protocols.backend import (
    API_VERSION,
    Backend,
    BackendInfo,
    ConsumerBackend,
    ProducerBackend,
    Role,
)
from interop.protocols.consumers import Consumer
from interop.protocols.devices import Capabilities, DeviceInfo, is_driver
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
from interop.protocols.formats import FORMATS, ImageFormat, ImageTypes, Numbers, Tiling, TilingLike, as_format
from interop.protocols.handles import FD_TYPES, Handle, HandleType, HandleTypeLike, check_fd, check_value
from interop.protocols.identity import DeviceIdentity, MatchKey, PciAddress, host_identity
from interop.protocols.later import load_later
from interop.protocols.lending import MEMORY_FLOOR, SEMAPHORE_FLOOR, FdFate, lend, widen_table
from interop.protocols.memory import (
    DEFAULT_TIMEOUT,
    ExternalMemory,
    HostBytes,
    MappedBuffer,
    MemoryDescriptor,
)
from interop.protocols.producers import (
    BufferPart,
    Commands,
    CommandsT,
    CommandsT_co,
    Producer,
    ProducerBuffer,
    ProducerSemaphore,
    ProducerT,
    ProducerT_co,
    Submission,
)
from interop.protocols.semaphores import (
    ExternalSemaphore,
    SemaphoreDescriptor,
    SemaphoreKind,
    SemaphoreKindLike,
)
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
from interop.protocols.win32 import is_windows

if TYPE_CHECKING:
    from interop.protocols.abilities import (
        ComputeCommands,
        ComputePipeline,
        ComputeProducer,
        GpuCommands,
        GpuProducer,
        Mesh,
        MeshCommands,
        MeshProducer,
    )
    from interop.protocols.conformance import ConformanceProfile, DriverFault, find_declared
    from interop.protocols.hookspecs import hookimpl
    from interop.protocols.images import (
        ImageConsumer,
        ImageDescriptor,
        ImageProducer,
        MappedImage,
        ProducerImage,
    )
    from interop.protocols.kernels import Kernel, Launch, Module, Parameter, Signature

__all__ = ["API_VERSION", "DEFAULT_TIMEOUT", "DTYPES", "FD_TYPES", "FORMATS", "MAX_BYTES", "MEMORY_FLOOR"]
__all__ += ["ONE_SHOT", "SEMAPHORE_FLOOR", "ArgumentError", "Backend", "BackendInfo", "BackendUnavailable"]
__all__ += ["BufferPart", "Capabilities", "ClosedError", "ClosedMisuse", "CommandList", "Commands"]
__all__ += ["CommandsT", "CommandsT_co", "CompileError", "ComputeCommands", "ComputePipeline"]
__all__ += ["ComputeProducer", "ConformanceProfile", "Consumer", "ConsumerBackend", "ConsumerSemaphore"]
__all__ += ["DType", "DeviceIdentity", "DeviceInfo", "DeviceMismatch", "DriverError", "DriverFault"]
__all__ += ["ExportingConsumer", "ExternalMemory", "ExternalSemaphore", "FdFate", "GpuCommands"]
__all__ += ["GpuProducer", "Handle", "HandleError", "HandleType", "HandleTypeLike", "HostBytes"]
__all__ += ["ImageConsumer", "ImageDescriptor", "ImageFormat", "ImageProducer", "ImageTypes"]
__all__ += ["ImportingProducer", "ImportingSemaphore", "InteropError", "InvalidArgument", "Kernel"]
__all__ += ["KernelError", "Launch", "LaunchCall", "MappedBuffer", "MappedImage", "MatchKey"]
__all__ += ["MemoryDescriptor", "Mesh", "MeshCommands", "MeshProducer", "Misuse", "Module"]
__all__ += ["NoCommonHandleType", "NoCommonSync", "Numbers", "OwnershipCalls", "Parameter", "PciAddress"]
__all__ += ["PreparedCall", "Producer", "ProducerBackend", "ProducerBuffer", "ProducerImage"]
__all__ += ["ProducerSemaphore", "ProducerT", "ProducerT_co", "RegistryError", "Role", "SemaphoreCalls"]
__all__ += ["SemaphoreDescriptor", "SemaphoreKind", "SemaphoreKindLike", "Signature", "Stream", "Submission"]
__all__ += ["Tiling", "TilingLike", "TurnError", "UnknownBackend", "Unsupported", "WaitTimeout", "as_choice"]
__all__ += ["as_dtype", "as_format", "as_integer", "check_fd", "check_range", "check_shape", "check_value"]
__all__ += ["find_declared", "hookimpl", "host_identity", "is_driver", "is_windows", "lend", "load_later"]
__all__ += ["round_up", "widen_table"]


_LATER = {
    "abilities": "ComputeCommands ComputePipeline ComputeProducer GpuCommands GpuProducer Mesh MeshCommands"
    " MeshProducer",
    "conformance": "ConformanceProfile DriverFault find_declared",
    "hookspecs": "hookimpl",
    "images": "ImageConsumer ImageDescriptor ImageProducer MappedImage ProducerImage",
    "kernels": "Kernel Launch Module Parameter Signature",
}
"""Names that a first frame does not need, by their modules."""

if not TYPE_CHECKING:
    __getattr__ = load_later(__name__, _LATER)
