"""The backend: one device, the host's processor."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - this module is imported by load() only

from interop.protocols import (
    DEFAULT_TIMEOUT,
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    HandleType,
    host_identity,
)
from interop.toolkit import HOST_IMPORTABLE, ConsumerBase, HostMemory
from interop_numpy.memory import HostArray
from interop_numpy.stream import HostStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.protocols import Handle, MemoryDescriptor
    from interop_numpy.kernels import HostModule

_NO_SEMAPHORES = "NumPy has no semaphores; a worker thread and a Vulkan timeline keep the order"
_NO_MEMFD = "this system has no memfds, through which NumPy imports device memory"


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
                    memory_import=HOST_IMPORTABLE if linux else frozenset({HandleType.HOST_ALLOCATION}),
                    host_memory="an array over it",
                    stream_hold="a worker thread that waits on a condition",
                    stream_notify="a call on the worker thread",
                    notes=() if linux else (_NO_MEMFD,),
                    semaphore_notes=(_NO_SEMAPHORES,),
                ),
                software=True,
                driver=f"NumPy {np.__version__}",
                details={"processor": platform.machine()},
            )
        ]

    def open_consumer(self, device: DeviceInfo) -> NumPyConsumer:
        """Open the device."""
        return NumPyConsumer(device)


class NumPyConsumer(ConsumerBase[HostArray, HostStream]):
    """The host's processor, opened: imports memory of software drivers and runs kernels on it."""

    no_semaphores = _NO_SEMAPHORES

    def open_stream(self) -> HostStream:
        """Start a worker thread."""
        return HostStream()

    def open_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> HostMemory[HostArray]:
        """Map the memfd behind an opaque fd of a software Vulkan driver, or take host pages."""
        return HostMemory.open(handle, descriptor, self.stream, HostArray)

    def allocate(self, size: int, *, timeout: float = DEFAULT_TIMEOUT) -> HostArray:
        """Allocate zeroed bytes of the process's own."""
        return self.keep(HostMemory.allocate(size, self.stream, HostArray)).owner(timeout)

    def compile(self, source: str | Mapping[str, str]) -> HostModule:
        """Compile portable source with the system's C compiler; see :mod:`interop.toolkit.host_kernels`."""
        from interop_numpy.kernels import HostModule

        return self.keep(HostModule(source, self.stream))
