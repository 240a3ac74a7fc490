"""One opened device of a CUDA-like runtime, as streams, memory, semaphores and kernels of it call the driver.

HIP and CUDA have the same objects under other names. A backend fills in the names and what differs; the classes
``Device...`` of this room do the rest.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Self

    from interop.protocols import FdFate, HandleType, MemoryDescriptor, SemaphoreKind
    from interop.toolkit.dlpack import DeviceType
    from interop.toolkit.drivers import DriverLibrary
    from interop.toolkit.gates import WordGate

_here = threading.local()


class DeviceRuntime(ABC):
    """A device of a CUDA-like runtime: its driver, and which thread has it current."""

    api: ClassVar[str]
    """Name of the API in messages."""
    not_ready: ClassVar[int] = 600
    default_stream: ClassVar[int]
    """The stream that DLPack's ``None`` means."""
    ambiguous_streams: ClassVar[frozenset[int]] = frozenset()
    """Streams that DLPack's specification does not define for this API."""
    pointers: ClassVar[frozenset[str]]
    """Packages whose pointer objects kernels take, by ``int(pointer)``."""
    patience: ClassVar[float]
    """Seconds that closing a stream waits for its work."""
    leaks_busy_streams: ClassVar[bool]
    """Whether a stream with work in flight is leaked, because destroying it would block without bound."""

    # Functions of the driver.
    set_device: ClassVar[str]
    stream_create: ClassVar[str]
    stream_destroy: ClassVar[str]
    stream_query: ClassVar[str]
    stream_wait_event: ClassVar[str]
    event_create: ClassVar[str]
    event_destroy: ClassVar[str]
    event_record: ClassVar[str]
    event_query: ClassVar[str]
    host_function: ClassVar[str]
    wait_value: ClassVar[str]
    allocate: ClassVar[str]
    free: ClassVar[str]
    destroy_memory: ClassVar[str]
    register: ClassVar[str]
    unregister: ClassVar[str]
    host_pointer: ClassVar[str]
    wait_semaphores: ClassVar[str]
    signal_semaphores: ClassVar[str]
    destroy_semaphore: ClassVar[str]
    map_array: ClassVar[str]
    array_level: ClassVar[str]
    free_array: ClassVar[str]
    load_module: ClassVar[str]
    unload_module: ClassVar[str]
    get_function: ClassVar[str]
    launch: ClassVar[str]

    fate: FdFate
    """What an import does with the number of an fd."""
    array_type: DeviceType
    """DLPack's type of the device."""
    current: AbstractContextManager[object]
    """``with`` this the device is current. For calls that create or import."""

    def __init__(self, driver: DriverLibrary, index: int, context: int) -> None:
        self.driver = driver
        self.index = index
        """Ordinal of the device."""
        self.context = context
        """Argument of ``set_device``: the ordinal, or the address of the device's context."""
        self._set_device = driver.raw(self.set_device)
        self.streams = driver.streams
        """Device of each stream that is open or was leaked, by address; of all devices of the driver."""
        self.call = driver.call
        self.make = driver.make
        self.raw = driver.raw
        self.check = driver.check

    def use(self) -> None:
        """Make the device current in this thread, once per thread. For calls that name a stream."""
        if getattr(_here, self.api, None) is not self:
            self.select()

    def select(self) -> None:
        """Make the device current in this thread, even when another library has changed that since."""
        code = self._set_device(self.context)
        if code:
            self.check(self.set_device, code)
        setattr(_here, self.api, self)

    def forget(self) -> None:
        """Forget that the device is current in this thread."""
        if getattr(_here, self.api, None) is self:
            setattr(_here, self.api, None)

    def prepare_launch(self) -> None:
        """Make the device current for a launch."""
        self.use()

    @abstractmethod
    def releasing(self, leaked: str = "") -> AbstractContextManager[object]:
        """Return a block that releases an object of the device, and drops the object's :meth:`hold` at its end.

        Args:
            leaked: Name of memory whose release waits for all streams in the driver. Where the driver does that
                without bound, the block raises :class:`WaitTimeout` first and the memory is leaked.
        """

    def hold(self) -> Self:
        """Count an object that lives in the device's context and return self."""
        return self

    def drop(self) -> None:  # noqa: B027 - runtimes without contexts count nothing
        """Count an object less."""

    @abstractmethod
    def open_gate(self, stream: int) -> WordGate:
        """Return a gate of pinned words for a stream; the device is current."""

    @abstractmethod
    def import_memory(self, number: int, handle_type: HandleType, descriptor: MemoryDescriptor) -> int:
        """Import an allocation by the value of its handle; return the driver's object."""

    @abstractmethod
    def map_memory(
        self, external: int, descriptor: MemoryDescriptor, undo: list[Callable[[], object]]
    ) -> int:
        """Map all of an imported allocation; return its device address and add what unmaps it to ``undo``."""

    @abstractmethod
    def import_semaphore(self, number: int, handle_type: HandleType, kind: SemaphoreKind) -> int:
        """Import a semaphore by the value of its handle; return the driver's object."""

    @abstractmethod
    def copy(self, target: int, source: int, nbytes: int, stream: int, *, to_host: bool) -> None:
        """Enqueue a copy between the device and the host."""


def put_handle(place: Any, number: int, handle_type: HandleType) -> None:
    """Put a handle into the ``handle`` union of a driver's import descriptor.

    Args:
        place: The union; HIP and CUDA have the fields ``fd`` and ``win32.handle``.
        number: A file descriptor or a Windows handle.
        handle_type: Tells which of the two it is.
    """
    if handle_type.is_fd:
        place.fd = number
    else:
        place.win32.handle = number
