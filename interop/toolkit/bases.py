"""What the consumers of most backends do in the same way, to derive from. For backends; none has to.

The protocols of :mod:`interop.protocols` say what a backend is. These classes fulfil the parts in which one hardly
differs from another: who owns what, one import for each allocation, the checks before a launch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from interop.protocols import Unsupported
from interop.toolkit.import_cache import Imports, View
from interop.toolkit.kernel_source import check_arguments, check_grid, unknown_kernel
from interop.toolkit.resource import Children, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.protocols import (
        DeviceInfo,
        ExternalSemaphore,
        Handle,
        MemoryDescriptor,
        SemaphoreDescriptor,
        Signature,
        Stream,
    )
    from interop.toolkit.import_cache import Share

_Child = TypeVar("_Child", bound=Resource)
_NOTHING_WAITS = "work is done when it is enqueued, so a stream cannot be held"


class ConsumerBase(Resource, ABC, Generic[View]):
    """An opened device that owns what it makes. Fulfils :class:`interop.protocols.Consumer`."""

    no_semaphores = "the API has no semaphores of other APIs"
    """Why :meth:`import_semaphore` raises, where it is not overridden."""

    def __init__(self, device: DeviceInfo) -> None:
        """Open the default stream; what a backend's :meth:`open_stream` needs must be there before."""
        children = Children()
        super().__init__(f"consumer on {device}", children.close)
        self._children = children
        self._imports: Imports[View] = children.add(Imports())
        self.device = device
        self.stream = self.create_stream()

    def keep(self, child: _Child) -> _Child:
        """Have ``child`` closed with this consumer, unless it is closed or dropped before, and return it."""
        return self._children.add(child)

    @abstractmethod
    def open_stream(self) -> Any:
        """Make a stream that nobody owns yet: an :class:`interop.toolkit.Resource`."""

    @abstractmethod
    def open_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Any:
        """Import a whole allocation. Must consume ``handle`` by success only.

        The handle is of a type in the device's ``memory_import`` and fits the descriptor. What is returned is an
        :class:`interop.toolkit.Whole` with the backend's views.
        """

    def create_stream(self) -> Any:
        """Make a further stream; the caller closes it."""
        self.check_open()
        return self.keep(self.open_stream())

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Share[View]:
        """Take an allocation in, once for all descriptors that name it; see :class:`interop.toolkit.Imports`."""
        self.check_open()
        supported = self.device.capabilities.memory_import
        return self.keep(self._imports.take(handle, descriptor, self.open_memory, supported=supported))

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> ExternalSemaphore:  # noqa: ARG002
        """Raise :class:`Unsupported`; ``handle`` stays the caller's."""
        raise Unsupported(f"import of a {descriptor.kind.value} semaphore", self.no_semaphores)


class EagerStream(Resource):
    """A stream of an API whose work is done when it is enqueued. Fulfils :class:`interop.protocols.Stream`.

    It cannot be held and calls nobody: with ``stream_hold`` and ``stream_notify`` left empty in the capabilities,
    links use the blocking strategy.
    """

    native = None

    def __init__(self, what: str) -> None:
        super().__init__(what, _nothing)

    def flush(self) -> None:
        """Do nothing: no work is waiting."""
        self.check_open()

    def synchronize(self, timeout: float) -> None:  # noqa: ARG002 - all that was enqueued is done
        """Do nothing: all that was enqueued is done."""
        self.check_open()

    def hold(self, value: int) -> NoReturn:
        """Raise :class:`Unsupported`."""
        raise Unsupported(f"hold {value}", _NOTHING_WAITS)

    def release(self, value: int, *, failed: bool = False) -> NoReturn:  # noqa: ARG002 - there is no hold
        """Raise :class:`Unsupported`."""
        raise Unsupported(f"release {value}", _NOTHING_WAITS)

    def notify(self, callback: object, value: int, *, failed: object = None) -> NoReturn:  # noqa: ARG002 - as above
        """Raise :class:`Unsupported`."""
        raise Unsupported(f"notification {value}", _NOTHING_WAITS)


class ModuleBase(Resource, ABC):
    """A compiled source whose kernels are found by name. Fulfils :class:`interop.protocols.Module`."""

    may_be_dropped = True

    def __init__(
        self,
        signatures: Mapping[str, Signature],
        stream: Stream,
        release: Callable[..., None] | None = None,
        *args: object,
    ) -> None:
        """Have ``release(*args)`` called at the end; see :class:`interop.toolkit.Resource`."""
        super().__init__(f"module of {', '.join(signatures)}", release or _nothing, *args)
        self.signatures = signatures
        self.stream = stream

    def kernel(self, name: str) -> KernelBase:
        """Return a kernel by name. Raises :class:`ArgumentError`, listing the names that exist."""
        self.check_open()
        if name not in self.signatures:
            raise unknown_kernel(name, self.signatures)
        return self.open_kernel(self.signatures[name])

    @abstractmethod
    def open_kernel(self, signature: Signature) -> KernelBase:
        """Return a kernel of this module."""


class KernelBase(ABC):
    """A kernel whose arguments are checked before they are bound. Fulfils :class:`interop.protocols.Kernel`."""

    group_limit = 1024
    """Work items of the largest group."""

    def __init__(self, module: ModuleBase, signature: Signature) -> None:
        self.module = module
        self.signature = signature

    def __call__(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> None:
        """Enqueue the kernel; see :meth:`interop.protocols.Kernel.__call__`."""
        self.prepare(*args, global_size=global_size, local_size=local_size, stream=stream)()

    def prepare(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> Callable[[], None]:
        """Check and bind once; each call of what is returned sees to it that nothing has been closed since."""
        self.module.check_open()
        chosen: Any = stream or self.module.stream
        check_arguments(self.signature, args)
        grid, group = check_grid(self.signature.name, global_size, local_size, self.group_limit)
        launch = self.bind(args, _three(grid), _three(group or ()), chosen)
        owners: list[Any] = [self.module, chosen, *(each for each in args if hasattr(each, "check_open"))]
        checks = [each.check_open for each in owners]

        def checked() -> None:
            for check in checks:
                check()
            launch()

        return checked

    @abstractmethod
    def bind(
        self, args: Sequence[object], grid: Sequence[int], group: Sequence[int], stream: Any
    ) -> Callable[[], None]:
        """Return what enqueues the kernel.

        ``args`` have passed :func:`interop.toolkit.check_arguments`; ``grid`` and ``group`` are three extents in work
        items. Raises :class:`ArgumentError` for memory or a stream of another API.
        """


def _three(extents: Sequence[int]) -> tuple[int, ...]:
    return (*extents, *[1] * (3 - len(extents)))


def _nothing() -> None:
    """Give nothing back."""
