"""Errors, plain data, protocols and hooks: the contract between interop, its backends and its users.

This package imports no other part of interop. `interop` exports the names that users need.
"""

from __future__ import annotations

from importlib import import_module
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

__all__ = ["ComputeCommands", "ComputePipeline", "ComputeProducer", "GpuCommands", "GpuProducer", "Mesh"]
__all__ += ["MeshCommands", "MeshProducer"]
__all__ += ["MAX_BYTES", "as_choice", "as_integer", "check_range", "round_up"]
__all__ += ["API_VERSION", "Backend", "BackendInfo", "ConsumerBackend", "ProducerBackend", "Role"]
__all__ += ["ConformanceProfile", "DriverFault", "find_declared"]
__all__ += ["Consumer"]
__all__ += ["Capabilities", "DeviceInfo", "is_driver"]
__all__ += ["DTYPES", "DType", "as_dtype", "check_shape"]
__all__ += ["ArgumentError", "BackendUnavailable", "ClosedError", "ClosedMisuse", "CompileError"]
__all__ += ["DeviceMismatch", "DriverError", "HandleError", "InteropError", "InvalidArgument"]
__all__ += ["KernelError", "Misuse", "NoCommonHandleType", "NoCommonSync", "RegistryError", "TurnError"]
__all__ += ["UnknownBackend", "Unsupported", "WaitTimeout"]
__all__ += ["FORMATS", "ImageFormat", "ImageTypes", "Numbers", "Tiling", "TilingLike", "as_format"]
__all__ += ["FD_TYPES", "Handle", "HandleType", "HandleTypeLike", "check_fd", "check_value"]
__all__ += ["hookimpl"]
__all__ += ["DeviceIdentity", "MatchKey", "PciAddress", "host_identity"]
__all__ += ["ImageConsumer", "ImageDescriptor", "ImageProducer", "MappedImage", "ProducerImage"]
__all__ += ["Kernel", "Launch", "Module", "Parameter", "Signature"]
__all__ += ["MEMORY_FLOOR", "SEMAPHORE_FLOOR", "FdFate", "lend", "widen_table"]
__all__ += ["DEFAULT_TIMEOUT", "ExternalMemory", "HostBytes", "MappedBuffer", "MemoryDescriptor"]
__all__ += ["BufferPart", "Commands", "CommandsT", "CommandsT_co", "Producer", "ProducerBuffer"]
__all__ += ["ProducerSemaphore", "ProducerT", "ProducerT_co", "Submission"]
__all__ += ["ExternalSemaphore", "SemaphoreDescriptor", "SemaphoreKind", "SemaphoreKindLike"]
__all__ += ["CommandList", "LaunchCall", "OwnershipCalls", "PreparedCall", "SemaphoreCalls", "Stream"]
__all__ += ["ONE_SHOT", "ConsumerSemaphore", "ExportingConsumer", "ImportingProducer"]
__all__ += ["ImportingSemaphore"]
__all__ += ["is_windows"]


_LATER = {
    "abilities": "ComputeCommands ComputePipeline ComputeProducer GpuCommands GpuProducer Mesh MeshCommands"
    " MeshProducer",
    "conformance": "ConformanceProfile DriverFault find_declared",
    "hookspecs": "hookimpl",
    "images": "ImageConsumer ImageDescriptor ImageProducer MappedImage ProducerImage",
    "kernels": "Kernel Launch Module Parameter Signature",
}
"""Names that a first frame does not need, by their modules."""
_HOME = {name: module for module, names in _LATER.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Load the module of a name, and keep the name here."""
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    found: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found
