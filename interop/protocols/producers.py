"""Producers: opened devices that own memory, export it, and submit work in turns.

`interop.protocols.abilities` holds the optional abilities: meshes, compute pipelines and images. `Producer` and
`Submission` are generic in the class of their commands, so that type checkers know the commands of a turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import TypeVar

    from interop.protocols.devices import DeviceInfo
    from interop.protocols.handles import Handle, HandleTypeLike
    from interop.protocols.memory import MemoryDescriptor
    from interop.protocols.semaphores import SemaphoreDescriptor, SemaphoreKind, SemaphoreKindLike
else:
    from typing import TypeVar


@runtime_checkable
class BufferPart(Protocol):
    """A byte range of a producer's buffer. `Commands` accepts it in place of a buffer."""

    @property
    def size(self) -> int:
        """Size of the range in bytes."""
        ...

    @property
    def offset(self) -> int:
        """First byte of the range in the API's own object."""
        ...

    @property
    def native(self) -> object:
        """The API's own object (`VkBuffer`). It may be larger than the range."""

    def part(self, offset: int, size: int) -> BufferPart:
        """Return a smaller range of this range. The buffer owns it and closes it.

        Args:
            offset: First byte, counted from the start of this range. A multiple of 4; a multiple of 256 suits
                the shaders of every device.
            size: Size in bytes.

        Raises:
            InvalidArgument: The new range does not lie within this one.
        """
        ...


@runtime_checkable
class ProducerBuffer(BufferPart, Protocol):
    """A buffer of the producer, with the allocation behind it."""

    @property
    def allocation_size(self) -> int:
        """Size of the allocation in bytes."""
        ...

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Export the allocation.

        Returns:
            A new handle, which the caller owns, and the descriptor of the buffer in its allocation. The
            descriptor names the allocation: a consumer imports it once for all descriptors of that name.

        Raises:
            Unsupported: The buffer was created without `export`.
            DriverError: The driver refused the export.

        Note:
            `vkGetMemoryFdKHR`, `vkGetMemoryWin32HandleKHR`.
        """
        ...

    def host_view(self) -> memoryview:
        """Return the writable bytes of a host-visible buffer. They are valid until the buffer is closed.

        Raises:
            Unsupported: The buffer was created without `host_visible=True`.
        """
        ...

    def close(self) -> None:
        """Free the buffer and its allocation. Importers keep their references. Idempotent."""


@runtime_checkable
class ProducerSemaphore(Protocol):
    """A semaphore of the producer."""

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        ...

    @property
    def native(self) -> object:
        """The API's own object (`VkSemaphore`)."""

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        """Export the semaphore.

        Returns:
            A new handle, which the caller owns, and its descriptor.

        Raises:
            Unsupported: The semaphore was created without `export`.
            DriverError: The driver refused the export.

        Note:
            `vkGetSemaphoreFdKHR`, `vkGetSemaphoreWin32HandleKHR`.
        """
        ...

    def wait_host(self, value: int, timeout: float) -> bool:
        """Block until the counter of a timeline semaphore reaches a value. Releases the GIL.

        Args:
            value: Timeline value to wait for.
            timeout: Longest wait in seconds.

        Returns:
            True once the counter has reached `value`, False after `timeout`.

        Raises:
            TurnError: The semaphore is binary.

        Note:
            `vkWaitSemaphores`.
        """
        ...

    def signal_host(self, value: int) -> None:
        """Set the counter of a timeline semaphore from the host. Any thread may call it.

        Args:
            value: New timeline value, above the present one.

        Raises:
            TurnError: The semaphore is binary, or `value` is not above the counter.

        Note:
            `vkSignalSemaphore`.
        """

    def counter(self) -> int:
        """Return the present value of a timeline semaphore (`vkGetSemaphoreCounterValue`).

        Raises:
            TurnError: The semaphore is binary.
        """
        ...

    def close(self) -> None:
        """Destroy the semaphore. Work that uses it must have ended. Idempotent."""


@runtime_checkable
class Commands(Protocol):
    """Records the producer's work of one turn. Valid until the turn ends."""

    @property
    def native(self) -> object:
        """The API's own recorder (a `VkCommandBuffer` in the recording state)."""

    def fill(self, buffer: object, word: int) -> None:
        """Record a fill of a buffer.

        Args:
            buffer: A buffer or a part of one.
            word: The 32-bit value of every word.

        Note:
            `vkCmdFillBuffer`.
        """

    def copy(self, source: object, target: object) -> None:
        """Record a copy of all bytes of one buffer to the start of another.

        Args:
            source: The buffer or part to read.
            target: The buffer or part to write, at least as large as `source`.

        Note:
            `vkCmdCopyBuffer`.
        """


CommandsT = TypeVar("CommandsT", bound=Commands)
# Python 3.11 has no defaults of type variables. Type checkers alone need them.
if TYPE_CHECKING:
    CommandsT_co = TypeVar("CommandsT_co", bound=Commands, covariant=True, default=Commands)
else:
    CommandsT_co = TypeVar("CommandsT_co", bound=Commands, covariant=True)


@runtime_checkable
class Submission(Protocol[CommandsT_co]):
    """A prepared queue submission: its ownership transfers and its semaphores.

    The backend builds everything that is the same in each turn when the submission is prepared. One thread at
    a time may use a submission.
    """

    def begin(self, *, repeat: bool = False) -> CommandsT_co:
        """Start recording. A submission has at most one recording at a time.

        Args:
            repeat: Each later `submit` submits this recording again, without another `begin`.

        Returns:
            The recorder, valid until `submit` or `abandon`.

        Raises:
            TurnError: A recording is open, or the submission repeats an earlier recording.
            WaitTimeout: Too many recordings are in flight, and the oldest one does not end.
        """
        ...

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> int:
        """End the recording and submit it. Returns immediately.

        Without a recording, the submission holds the ownership transfers and the semaphores alone.

        Args:
            wait_value: Timeline value to wait for; ignored for a binary semaphore.
            signal_value: Timeline value to signal; ignored for a binary semaphore.

        Returns:
            The timeline value that `Producer.progress` reaches when the device has finished this submission.

        Raises:
            TurnError: `signal_value` is not above the last signalled value. The recording stays open.
            ClosedError: An object of the recording was closed. The recording stays open.
            DriverError: The driver refused the submission. Nothing was submitted, and the recording is gone.

        Note:
            `vkQueueSubmit`.
        """
        ...

    def abandon(self) -> None:
        """Discard the open recording without submitting it."""

    def close(self) -> None:
        """Free the submission. The submitted work must have ended. Idempotent."""


@runtime_checkable
class Producer(Protocol[CommandsT_co]):
    """An opened device that owns memory, exports it, and works in turns."""

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        ...

    @property
    def progress(self) -> ProducerSemaphore:
        """The timeline semaphore that each submission advances. The producer owns it and never exports it."""
        ...

    def create_buffer(
        self, size: int, *, export: HandleTypeLike | None = None, host_visible: bool = False
    ) -> ProducerBuffer:
        """Allocate a storage buffer.

        Args:
            size: Bytes to allocate.
            export: Handle type by which the buffer can be exported; None for a private buffer.
            host_visible: Makes `ProducerBuffer.host_view` available.

        Returns:
            The buffer. The caller owns it and closes it.

        Raises:
            InvalidArgument: `size` is not a positive number, or `export` names no handle type.
            Unsupported: The driver cannot export such a buffer. Nothing was allocated.
            DriverError: The device is out of memory.

        Note:
            `vkCreateBuffer`, `vkAllocateMemory`, `vkBindBufferMemory`.
        """
        ...

    def create_semaphore(
        self, kind: SemaphoreKindLike, *, export: HandleTypeLike | None = None
    ) -> ProducerSemaphore:
        """Create a semaphore.

        Args:
            kind: `"binary"` or `"timeline"`.
            export: Handle type by which the semaphore can be exported; None for a private semaphore.

        Returns:
            The semaphore. The caller owns it and closes it.

        Raises:
            Unsupported: The driver cannot export this kind by this handle type.

        Note:
            `vkCreateSemaphore`.
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
        """Prepare a submission with its ownership transfers and semaphores.

        Args:
            acquire: Buffers to acquire from the consumer before the recorded commands.
            release: Buffers to release to the consumer after the recorded commands.
            wait: Semaphore to wait for before the acquires.
            signal: Semaphore to signal after the releases.
            timeout: Seconds that `Submission.begin` waits at most while too many recordings are in flight.

        Returns:
            The submission. It borrows the buffers and semaphores; the caller owns the submission and closes it.

        Note:
            Queue-family ownership transfers with `VK_QUEUE_FAMILY_EXTERNAL` (Vulkan 1.3, section 7.7.4).
        """
        ...

    def wait_idle(self, timeout: float) -> None:
        """Block until all submitted work has ended.

        Args:
            timeout: Longest wait in seconds.

        Raises:
            WaitTimeout: The work did not end in time.
        """

    def close(self) -> None:
        """Close the device and everything that it created. Submitted work must have ended. Idempotent."""


ProducerT = TypeVar("ProducerT", bound=Producer)
if TYPE_CHECKING:
    ProducerT_co = TypeVar("ProducerT_co", bound=Producer, covariant=True, default=Producer)
else:
    ProducerT_co = TypeVar("ProducerT_co", bound=Producer, covariant=True)
