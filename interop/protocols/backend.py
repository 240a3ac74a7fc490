"""What a backend is: the protocols that a producer or a consumer of memory fulfils.

Nothing here needs to be inherited from. A backend registers a :class:`BackendInfo`; its ``load`` imports the
binding and returns a :class:`Backend`, which lists devices and opens them as :class:`Producer` or
:class:`Consumer`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.memory import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.protocols.devices import DeviceInfo
    from interop.protocols.handles import Handle, HandleType
    from interop.protocols.kernels import Module
    from interop.protocols.memory import ExternalMemory, MappedBuffer, MemoryDescriptor
    from interop.protocols.semaphores import ExternalSemaphore, SemaphoreDescriptor, SemaphoreKind
    from interop.protocols.streams import Stream

API_VERSION = 1
"""Version of these protocols. A plugin states the one it was written for."""


class Role(enum.StrEnum):
    """Which side of a link a backend can take."""

    PRODUCER = "producer"
    """Owns the memory and hands it out."""
    CONSUMER = "consumer"
    """Takes the memory in and computes on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """The declaration by which a plugin registers a backend. Making one touches no driver."""

    name: str
    roles: frozenset[Role]
    load: Callable[[], Backend]
    """Imports the binding and returns the backend; called at most once, on first use.

    Raises ``ImportError`` or :class:`interop.protocols.BackendUnavailable` where it cannot."""
    api_version: int = API_VERSION
    install_hint: str = ""
    """The command or package that makes the backend available."""
    summary: str = ""
    """One line for listings."""


@runtime_checkable
class Backend(Protocol):
    """One API on this machine. Cheap to hold; owns nothing but loaded libraries."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Versions of the binding and of the driver libraries, for reports."""
        ...

    def devices(self) -> Sequence[DeviceInfo]:
        """List the devices with identities and capabilities, leaving nothing open.

        Raises :class:`BackendUnavailable` when there is no driver or no device.
        """
        ...


@runtime_checkable
class ProducerBackend(Backend, Protocol):
    """A backend that can own and hand out memory."""

    def open_producer(self, device: DeviceInfo) -> Producer:
        """Open a device of :meth:`Backend.devices`. The caller owns the result."""
        ...


@runtime_checkable
class ConsumerBackend(Backend, Protocol):
    """A backend that can take memory in and compute on it."""

    def open_consumer(self, device: DeviceInfo) -> Consumer:
        """Open a device of :meth:`Backend.devices`. The caller owns the result."""
        ...


@runtime_checkable
class Consumer(Protocol):
    """An opened device that imports memory and semaphores and runs kernels on them."""

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        ...

    @property
    def stream(self) -> Stream:
        """The stream on which everything runs that names no other."""
        ...

    def create_stream(self) -> Stream:
        """Make a further stream; the caller closes it."""
        ...

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> ExternalMemory:
        """Take an allocation in. ``handle`` is consumed when this returns and untouched when it raises.

        Raises :class:`HandleError` for a handle that contradicts the descriptor, :class:`DriverError` for
        what the driver refuses.
        """
        ...

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> ExternalSemaphore:
        """Take a semaphore in; ownership and errors as in :meth:`import_memory`."""
        ...

    def allocate(self, size: int, *, timeout: float = DEFAULT_TIMEOUT) -> MappedBuffer:
        """Allocate memory of the consumer's own, for the staged path. The caller closes it.

        Args:
            size: Bytes.
            timeout: Seconds that reads and writes of the view wait at most for earlier work.
        """
        ...

    def compile(self, source: str | Mapping[str, str]) -> Module:
        """Compile portable kernel source (see :mod:`interop.protocols.kernels`). Raises :class:`CompileError`.

        A mapping may hold an entry named after this backend, in the API's own language.
        """
        ...

    def close(self) -> None:
        """Release the device and all that hangs on it. Work must have ended. A second call does nothing."""
        ...


@runtime_checkable
class BufferPart(Protocol):
    """A range of a producer's buffer, as its commands take it."""

    @property
    def size(self) -> int:
        """Bytes of the range."""
        ...

    @property
    def offset(self) -> int:
        """Its first byte in the API's own object."""
        ...

    @property
    def native(self) -> object:
        """The API's own object (``VkBuffer``), which may hold more than the range."""
        ...

    def part(self, offset: int, size: int) -> BufferPart:
        """Return ``size`` bytes from ``offset`` on as something that commands take in place of a buffer.

        Closed with the buffer. ``offset`` must be a multiple of 4 bytes, and of 256 for shaders on any device.
        Raises :class:`InvalidArgument` for a range outside this one.
        """
        ...


@runtime_checkable
class ProducerBuffer(BufferPart, Protocol):
    """A buffer and its allocation on the producer's side."""

    @property
    def allocation_size(self) -> int:
        """Bytes of the allocation behind it."""
        ...

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Hand out the allocation. The caller owns the handle; each call makes a new one (``vkGetMemoryFdKHR``).

        The descriptor names the allocation, so that a consumer imports it once; with another ``offset`` and
        ``size`` it stands for a part. Raises :class:`Unsupported` when the buffer was not made exportable.
        """
        ...

    def host_view(self) -> memoryview:
        """Writable bytes of a buffer that was made host-visible. Raises :class:`Unsupported` otherwise."""
        ...

    def close(self) -> None:
        """Free buffer and allocation. Importers keep theirs. A second call does nothing."""
        ...


@runtime_checkable
class ProducerSemaphore(Protocol):
    """A semaphore on the producer's side."""

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        ...

    @property
    def native(self) -> object:
        """The API's own object (``VkSemaphore``)."""
        ...

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        """Hand out the semaphore; the caller owns the handle. Raises :class:`Unsupported` if not exportable."""
        ...

    def wait_host(self, value: int, timeout: float) -> bool:
        """Timeline: block until the counter reaches ``value``; False after ``timeout`` seconds. Releases the GIL."""
        ...

    def signal_host(self, value: int) -> None:
        """Timeline: set the counter to ``value`` from the host (``vkSignalSemaphore``); any thread."""
        ...

    def counter(self) -> int:
        """Timeline: the counter's present value."""
        ...

    def close(self) -> None:
        """Destroy it. Work that uses it must have ended. A second call does nothing."""
        ...


@runtime_checkable
class Mesh(Protocol):
    """A grid of heights that the producer can draw into a picture of its own."""

    def image(self, timeout: float) -> memoryview:
        """The last picture drawn: bytes of shape (rows, columns, 4), RGBA. Waits for it at most ``timeout`` s."""
        ...

    def close(self) -> None:
        """Free pipeline, picture and vertices. A second call does nothing."""
        ...


@runtime_checkable
class Commands(Protocol):
    """Records the producer's work of one turn. Valid inside the turn only."""

    @property
    def native(self) -> object:
        """The API's own recorder (``VkCommandBuffer``, recording)."""
        ...

    def fill(self, buffer: object, word: int) -> None:
        """Set every 32-bit word of a buffer (``vkCmdFillBuffer``)."""
        ...

    def copy(self, source: object, target: object) -> None:
        """Copy the bytes of one buffer into another of at least its size (``vkCmdCopyBuffer``)."""
        ...

    def draw(self, mesh: Mesh, heights: object) -> None:
        """Draw a mesh with the heights in a float32 buffer of the mesh's grid."""
        ...


@runtime_checkable
class Submission(Protocol):
    """One prepared shape of queue submission: which memories change owner, which semaphores go with it.

    Everything that does not change from turn to turn is built once, when this is made.
    """

    def begin(self, *, repeat: bool = False) -> Commands:
        """Start recording. At most one recording at a time.

        With ``repeat`` every further :meth:`submit` submits this recording again, without another begin.
        """
        ...

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> int:
        """End recording and submit; returns the point on :attr:`Producer.progress` that is reached when it is done.

        Values are for timeline semaphores and ignored for binary ones. Without :meth:`begin` only the
        ownership transfers and semaphores are submitted.
        """
        ...

    def abandon(self) -> None:
        """Throw a recording away; nothing was submitted."""
        ...

    def close(self) -> None:
        """Free what was prepared. Submitted work must have ended. A second call does nothing."""
        ...


@runtime_checkable
class Producer(Protocol):
    """An opened device that owns memory, hands it out, and does work in turns."""

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        ...

    @property
    def progress(self) -> ProducerSemaphore:
        """A timeline that each submission advances; never exported. Lets the host see how far the queue is."""
        ...

    def create_buffer(
        self, size: int, *, export: HandleType | None = None, host_visible: bool = False
    ) -> ProducerBuffer:
        """Allocate a storage buffer of ``size`` bytes, exportable or host-visible on demand.

        Raises :class:`InvalidArgument` for a bad size, :class:`Unsupported` when the driver cannot export
        such a buffer (asked before anything is allocated), :class:`DriverError` when it has no memory.
        """
        ...

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType | None = None) -> ProducerSemaphore:
        """Make a semaphore, exportable on demand. Raises :class:`Unsupported` when that kind cannot be exported."""
        ...

    def create_mesh(self, rows: int, columns: int, *, width: int, height: int) -> Mesh:
        """Make a grid of ``rows`` × ``columns`` heights to be drawn into a picture of ``width`` × ``height``."""
        ...

    def prepare(
        self,
        *,
        acquire: Sequence[BufferPart] = (),
        release: Sequence[BufferPart] = (),
        wait: ProducerSemaphore | None = None,
        signal: ProducerSemaphore | None = None,
    ) -> Submission:
        """Prepare a submission, with the transfers of ownership and the semaphores that go with it.

        It takes ``acquire`` over from the consumer before its commands and gives ``release`` to it after them
        (``VK_QUEUE_FAMILY_EXTERNAL``).
        """
        ...

    def wait_idle(self, timeout: float) -> None:
        """Block until everything submitted has ended. Raises :class:`WaitTimeout`."""
        ...

    def close(self) -> None:
        """Release the device and all that hangs on it. Work must have ended. A second call does nothing."""
        ...
