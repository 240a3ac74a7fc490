"""A whole backend in one module: kernels through cffi, on the memory of a software Vulkan driver.

Written along docs/how-to/add-a-backend.md as the smallest thing that passes the conformance kit. Work is done when it
is enqueued, so there is nothing to hold and nobody to notify, and links use the blocking strategy. The entry point
``cffi = "cffi_backend"`` of the group ``interop`` makes it known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.protocols import (
    DEFAULT_TIMEOUT,
    ArgumentError,
    BackendInfo,
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    InvalidArgument,
    Role,
    hookimpl,
    host_identity,
)
from interop.toolkit import (
    HOST_IMPORTABLE,
    ConsumerBase,
    EagerLaunch,
    EagerStream,
    HostMemory,
    HostView,
    KernelBase,
    ModuleBase,
    compile_c,
    three_extents,
    to_c,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.protocols import Handle, MemoryDescriptor, Signature


class Backend:
    """What ``load`` returns: the binding, and the devices that it finds."""

    name = "cffi"

    def __init__(self) -> None:
        """Import the binding; an ImportError becomes BackendUnavailable with the hint."""
        import cffi  # type: ignore[import-untyped]  # ships no types

        self.cffi = cffi

    def versions(self) -> dict[str, str]:
        """For reports."""
        return {"cffi": self.cffi.__version__}

    def devices(self) -> list[DeviceInfo]:
        """List the one device there is, with nothing offered that it does not have."""
        return [
            DeviceInfo(
                backend=self.name,
                index=0,
                name="cffi (host processor)",
                identity=DeviceIdentity(host=host_identity()),
                capabilities=Capabilities(
                    memory_import=HOST_IMPORTABLE,
                    host_memory="its address",
                    notes=("work is done when it is enqueued",),
                ),
                software=True,
                driver=f"cffi {self.cffi.__version__}",
            )
        ]

    def open_consumer(self, device: DeviceInfo) -> Consumer:
        """Open the device."""
        if device.backend != self.name:
            raise InvalidArgument(f"not a device of this backend: {device}")
        return Consumer(self.cffi, device)


class Consumer(ConsumerBase[HostView, EagerStream]):
    """The processor, opened: what it makes, it owns."""

    no_semaphores = "a processor has none"

    def __init__(self, cffi: Any, device: DeviceInfo) -> None:
        """Open it with the binding."""
        self.cffi = cffi
        super().__init__(device)

    def open_stream(self) -> EagerStream:
        """Nothing is ever waiting on it."""
        return EagerStream("cffi stream")

    def open_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> HostMemory[HostView]:
        """Map what a software driver puts behind an opaque fd, or take host pages."""
        return HostMemory.open(handle, descriptor, self.stream, HostView)

    def allocate(self, size: int, *, timeout: float = DEFAULT_TIMEOUT) -> HostView:
        """Allocate memory of the consumer's own, for the staged path."""
        return self.keep(HostMemory.allocate(size, self.stream, HostView)).owner(timeout)

    def compile(self, source: str | Mapping[str, str]) -> Module:
        """Compile portable kernels."""
        return self.keep(Module(self.cffi.FFI(), source, self.stream))


class Module(ModuleBase):
    """A compiled source, loaded by cffi."""

    def __init__(self, ffi: Any, source: str | Mapping[str, str], stream: EagerStream) -> None:
        """Compile and load it."""
        text, signatures = to_c("cffi", source)
        for name in signatures:
            ffi.cdef(f"void interop_run_{name}(void **arguments, size_t *grid, size_t *group);")
        with compile_c("cffi", text) as path:
            self.library = ffi.dlopen(str(path))
        self.ffi = ffi
        super().__init__(signatures, stream, ffi.dlclose, self.library)

    def open_kernel(self, signature: Signature) -> Kernel:
        """Find a kernel that is there."""
        return Kernel(self, signature)


class Kernel(KernelBase):
    """A kernel, called through cffi."""

    def bind(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Any
    ) -> EagerLaunch:
        """Find the addresses once. The launch keeps the memory mapped."""
        ffi, name = self.module.ffi, self.signature.name
        if not isinstance(stream, EagerStream):
            raise ArgumentError(f"{name} needs a stream of this backend, got {stream!r}")
        run = getattr(self.module.library, f"interop_run_{name}")
        kept = [self._address(*each) for each in zip(self.signature.parameters, args, strict=True)]
        addresses = ffi.new("void *[]", [address for address, _ in kept])
        extents = [ffi.new("size_t[3]", three_extents(each)) for each in (grid, group or ())]

        def launch(_kept: object = kept) -> None:
            run(addresses, *extents)

        views = (each for each in args if isinstance(each, HostView))
        return EagerLaunch([self.module, stream, *views], launch)

    def _address(self, parameter: Any, argument: Any) -> tuple[Any, object]:
        """Return the address of what C reads for an argument, and what must live as long."""
        ffi = self.module.ffi
        if not parameter.pointer:
            scalar = ffi.from_buffer(argument.tobytes())
            return ffi.cast("void *", scalar), scalar
        memory = argument.native if isinstance(argument, HostView) else argument
        if not isinstance(memory, memoryview) or memory.readonly:
            raise ArgumentError(f"{parameter} of {self.signature.name} needs a view of this backend")
        start = ffi.from_buffer(memory)
        pointer = ffi.new("void *[1]", [start])
        return ffi.cast("void *", pointer), (pointer, start)


@hookimpl
def interop_register_backends() -> list[BackendInfo]:
    """Declare the backend; nothing is loaded yet."""
    return [
        BackendInfo(
            name="cffi",
            roles=frozenset({Role.CONSUMER}),
            load=Backend,
            install_hint="pip install cffi",
        )
    ]


@hookimpl
def interop_conformance_profile(backend: str) -> object:
    """Name the cases about what it does not have."""
    if backend != "cffi":
        return None
    from interop.protocols import ConformanceProfile  # only in a run of the kit

    return ConformanceProfile(unsupported={"kernels::local_memory*": "work items run one after the other"})
