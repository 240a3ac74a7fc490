"""The backend: one device, the host's processor."""

from __future__ import annotations

import platform
import sys
import weakref
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np  # noqa: TID253 - this module is imported by load() only

from interop.backend import Capabilities
from interop.device import DeviceIdentity, DeviceInfo, host_identity
from interop.dtypes import DTYPES
from interop.errors import ClosedError, Unsupported
from interop.handles import HandleType
from interop.imports import Imports
from interop_numpy.kernels import HostModule
from interop_numpy.memory import IMPORTABLE, HostBuffer, HostMemory
from interop_numpy.stream import HostStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.handles import Handle
    from interop.imports import Share
    from interop.memory import MemoryDescriptor
    from interop.semaphore import ExternalSemaphore, SemaphoreDescriptor

_Child = TypeVar("_Child", bound="_Closable")
_NO_SEMAPHORES = "NumPy has no semaphores; a worker thread and a Vulkan timeline keep the order"


class NumPyBackend:
    """NumPy on this machine."""

    name = "numpy"

    def versions(self) -> Mapping[str, str]:
        """Version of NumPy."""
        return {"numpy": np.__version__}

    def devices(self) -> Sequence[DeviceInfo]:
        """List the one device there is."""
        linux = sys.platform == "linux"
        return [
            DeviceInfo(
                backend=self.name,
                index=0,
                name="NumPy (host processor)",
                identity=DeviceIdentity(host=host_identity()),
                capabilities=Capabilities(
                    memory_import=IMPORTABLE if linux else frozenset({HandleType.HOST_ALLOCATION}),
                    host_memory="an array over it",
                    stream_hold="a worker thread that waits on a condition",
                    stream_notify="a call on the worker thread",
                    notes=(_NO_SEMAPHORES,)
                    if linux
                    else (
                        _NO_SEMAPHORES,
                        "device memory is imported through Linux memfds, which this system lacks",
                    ),
                ),
                software=True,
                driver=f"NumPy {np.__version__}",
                details={"processor": platform.machine()},
            )
        ]

    def open_consumer(self, device: DeviceInfo) -> NumPyConsumer:
        """Open the device."""
        return NumPyConsumer(device)


class _Closable(Protocol):
    """What hangs on a consumer."""

    def close(self) -> None: ...


class NumPyConsumer:
    """The host's processor, opened: imports memory of software drivers and runs kernels on it."""

    def __init__(self, device: DeviceInfo) -> None:
        self.device = device
        # What hangs on this consumer and is closed with it, unless the caller closed or dropped it before.
        self._children: weakref.WeakSet[_Closable] = weakref.WeakSet()
        self._imports: Imports[HostBuffer] = Imports()
        self._closed = False
        self.stream = self.create_stream()

    def create_stream(self) -> HostStream:
        """Start a further worker thread."""
        self._check_open()
        return self._keep(HostStream())

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Share[HostBuffer]:
        """Map the memfd behind an opaque fd of a software Vulkan driver, once for each allocation."""
        self._check_open()
        take = self._imports.take
        return self._keep(take(handle, descriptor, self._import_whole, supported=IMPORTABLE))

    def _import_whole(self, handle: Handle, descriptor: MemoryDescriptor) -> HostMemory:
        return self._keep(HostMemory.open(handle, descriptor, self.stream))

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> ExternalSemaphore:  # noqa: ARG002
        """Raise :class:`Unsupported`; ``handle`` stays the caller's."""
        raise Unsupported(f"import of a {descriptor.kind.value} semaphore", _NO_SEMAPHORES)

    def allocate(self, size: int) -> HostBuffer:
        """Allocate zeroed bytes of the process's own."""
        self._check_open()
        memory = self._keep(HostMemory.allocate(size, self.stream))
        return HostBuffer(memory, 0, (size,), DTYPES["uint8"], owner=True)

    def compile(self, source: str | Mapping[str, str]) -> HostModule:
        """Compile portable source with the system's C compiler; see :mod:`interop_numpy.kernels`."""
        self._check_open()
        return self._keep(HostModule(source, self.stream))

    def close(self) -> None:
        """Close everything that was made here. A second call does nothing."""
        self._closed = True
        for child in list(self._children):
            child.close()

    def _check_open(self) -> None:
        if self._closed:
            msg = "this NumPy consumer was closed"
            raise ClosedError(msg)

    def _keep(self, child: _Child) -> _Child:
        self._children.add(child)
        return child
