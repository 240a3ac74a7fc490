"""Producers: opened devices that own memory, export it, and submit work in turns.

A producer's optional abilities (meshes, compute pipelines, images) are in :mod:`interop.protocols.abilities`.
``Producer`` and ``Submission`` are generic in the class of their commands, so that type checkers know them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import TypeVar

    from interop.protocols.arguments import HandleTypeLike, SemaphoreKindLike
    from interop.protocols.devices import DeviceInfo
    from interop.protocols.handles import Handle
    from interop.protocols.memory import MemoryDescriptor
    from interop.protocols.semaphores import SemaphoreDescriptor, SemaphoreKind
else:
    from typing import TypeVar


@runtime_checkable
class BufferPart(Protocol):
    """A range of a producer's buffer. Commands take it like a buffer."""

    @property
    def size(self) -> int:
        """Bytes of the range."""
        ...

    @property
    def offset(self) -> int:
        """First byte of the range in :attr:`native`."""
        ...

    @property
    def native(self) -> object:
        """The API's own object (``VkBuffer``), which may be larger than the range."""
        ...

    def part(self, offset: int, size: int) -> BufferPart:
        """Return a range of this range. Closing the buffer closes it.

        Args:
            offset: First byte, relative to this range: a multiple of 4, and of 256 for shaders on any device.
            size: Bytes.

        Raises:
            InvalidArgument: The bytes do not lie in this range.
        """
        ...


@runtime_checkable
class ProducerBuffer(BufferPart, Protocol):
    """A buffer and its allocation on the producer's side."""

    @property
    def allocation_size(self) -> int:
        """Bytes of the allocation."""
        ...

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Export the allocation.

        Returns:
            A new handle, owned by the caller, and the descriptor. The descriptor names the allocation, so that a
            consumer imports it once. A copy with another ``offset`` and ``size`` describes a part.

        Raises:
            Unsupported: The buffer was created without ``export``.

        Note:
            Vulkan: ``vkGetMemoryFdKHR``, ``vkGetMemoryWin32HandleKHR``.
        """
        ...

    def host_view(self) -> memoryview:
        """Return the writable bytes of the mapped buffer.

        Raises:
            Unsupported: The buffer was created without ``host_visible=True``.
        """
        ...

    def close(self) -> None:
        """Free buffer and allocation. Importers keep their references. A second call does nothing."""
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
        """Export the semaphore. The caller owns the handle. Raises :class:`Unsupported` if it is not exportable."""
        ...

    def wait_host(self, value: int, timeout: float) -> bool:
        """Timeline: block until the counter reaches ``value``; False after ``timeout`` seconds. Releases the GIL."""
        ...

    def signal_host(self, value: int) -> None:
        """Timeline: set the counter to ``value`` from the host, on any thread (``vkSignalSemaphore``)."""
        ...

    def counter(self) -> int:
        """Timeline: return the present value of the counter."""
        ...

    def close(self) -> None:
        """Destroy the semaphore. Work that uses it must have ended. A second call does nothing."""
        ...


@runtime_checkable
class Commands(Protocol):
    """Records the producer's work of one turn. Valid inside the turn only."""

    @property
    def native(self) -> object:
        """The API's own recorder (``VkCommandBuffer`` in the recording state)."""
        ...

    def fill(self, buffer: object, word: int) -> None:
        """Set every 32-bit word of a buffer (``vkCmdFillBuffer``)."""
        ...

    def copy(self, source: object, target: object) -> None:
        """Copy all bytes of ``source`` to the start of ``target`` (``vkCmdCopyBuffer``)."""
        ...


# Python 3.11 has no defaults of type variables at run time, where nothing needs them.
if TYPE_CHECKING:
    CommandsT = TypeVar("CommandsT", bound=Commands)
    CommandsT_co = TypeVar("CommandsT_co", bound=Commands, covariant=True, default=Commands)
else:
    CommandsT = TypeVar("CommandsT", bound=Commands)
    CommandsT_co = TypeVar("CommandsT_co", bound=Commands, covariant=True)


@runtime_checkable
class Submission(Protocol[CommandsT_co]):
    """A prepared shape of queue submission: which buffers change owner, which semaphores it waits for and signals.

    Everything that stays the same from turn to turn is built once, at creation.
    """

    def begin(self, *, repeat: bool = False) -> CommandsT_co:
        """Start recording. One recording at a time.

        Args:
            repeat: Every further :meth:`submit` submits this recording again, without another ``begin``.
        """
        ...

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> int:
        """End the recording and submit it. Without :meth:`begin`, submit only transfers and semaphores.

        Args:
            wait_value: Timeline value to wait for; ignored for a binary semaphore.
            signal_value: Timeline value to signal; ignored for a binary semaphore.

        Returns:
            The timeline value that :attr:`Producer.progress` reaches when the submission has ended.
        """
        ...

    def abandon(self) -> None:
        """Discard the recording. Nothing is submitted."""
        ...

    def close(self) -> None:
        """Free the submission. Submitted work must have ended. A second call does nothing."""
        ...


@runtime_checkable
class Producer(Protocol[CommandsT_co]):
    """An opened device that owns memory, exports it, and submits work in turns."""

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        ...

    @property
    def progress(self) -> ProducerSemaphore:
        """A timeline that each submission advances. It shows the host how far the queue is; it is never exported."""
        ...

    def create_buffer(
        self, size: int, *, export: HandleTypeLike | None = None, host_visible: bool = False
    ) -> ProducerBuffer:
        """Allocate a storage buffer. The caller closes it.

        Args:
            size: Bytes.
            export: Handle type by which the allocation can be exported, or None.
            host_visible: Map the buffer for :meth:`ProducerBuffer.host_view`.

        Raises:
            InvalidArgument: ``size`` or ``export`` is impossible.
            Unsupported: The driver cannot export such a buffer. Nothing was allocated.
            DriverError: The driver has no memory for it.
        """
        ...

    def create_semaphore(
        self, kind: SemaphoreKindLike, *, export: HandleTypeLike | None = None
    ) -> ProducerSemaphore:
        """Create a semaphore. The caller closes it.

        Args:
            kind: ``"binary"`` or ``"timeline"``.
            export: Handle type by which the semaphore can be exported, or None.

        Raises:
            Unsupported: The driver cannot export this kind of semaphore by that type.
        """
        ...

    def prepare(
        self,
        *,
        acquire: Sequence[BufferPart] = (),
        release: Sequence[BufferPart] = (),
        wait: ProducerSemaphore | None = None,
        signal: ProducerSemaphore | None = None,
        timeout: float = 10.0,
    ) -> Submission[CommandsT_co]:
        """Prepare a submission. The caller closes it.

        Args:
            acquire: Buffers acquired from the consumer before the commands (``VK_QUEUE_FAMILY_EXTERNAL``).
            release: Buffers released to the consumer after the commands.
            wait: Semaphore that the submission waits for.
            signal: Semaphore that the submission signals.
            timeout: Seconds that :meth:`Submission.begin` waits at most while too many recordings are in flight.
        """
        ...

    def wait_idle(self, timeout: float) -> None:
        """Block until everything submitted has ended, or ``timeout`` seconds. Raises :class:`WaitTimeout`."""
        ...

    def close(self) -> None:
        """Release the device and all that it made. Submitted work must have ended. A second call does nothing."""
        ...


if TYPE_CHECKING:
    ProducerT = TypeVar("ProducerT", bound=Producer)
    ProducerT_co = TypeVar("ProducerT_co", bound=Producer, covariant=True, default=Producer)
else:
    ProducerT = TypeVar("ProducerT", bound=Producer)
    ProducerT_co = TypeVar("ProducerT_co", bound=Producer, covariant=True)
