"""Protocols of a backend: `Backend` lists devices, `Producer` owns memory, `Consumer` imports it.

A backend inherits from none of these classes. A plugin registers a `BackendInfo`. `BackendInfo.load` imports the
binding and returns a `Backend`, which opens devices as `Producer` or `Consumer`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.protocols.devices import DeviceInfo
    from interop.protocols.handles import Handle, HandleType
    from interop.protocols.kernels import Module
    from interop.protocols.memory import ExternalMemory, MappedBuffer, MemoryDescriptor
    from interop.protocols.semaphores import ExternalSemaphore, SemaphoreDescriptor, SemaphoreKind
    from interop.protocols.streams import Stream

API_VERSION = 1
"""Version of these protocols. Each plugin states the version for which it was written."""


class Role(enum.StrEnum):
    """The side of a link that a backend can take."""

    PRODUCER = "producer"
    """Owns the memory and exports it."""
    CONSUMER = "consumer"
    """Imports the memory and computes on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """The declaration by which a plugin registers a backend. Creating one calls no driver."""

    name: str
    """Name by which users select the backend, for instance `"vulkan"`."""
    roles: frozenset[Role]
    """Sides of a link that the backend can take."""
    load: Callable[[], Backend]
    """Imports the binding and returns the backend. The registry calls it at most once, on first use.

    It raises `ImportError` or `BackendUnavailable` if the binding cannot be imported."""
    api_version: int = API_VERSION
    """Value of `API_VERSION` for which the backend was written."""
    install_hint: str = ""
    """The command or package that makes the backend available."""
    summary: str = ""
    """One line for listings."""


@runtime_checkable
class Backend(Protocol):
    """One API on this machine. It owns the loaded libraries and nothing else."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the binding and of the driver libraries, for reports."""
        ...

    def devices(self) -> Sequence[DeviceInfo]:
        """List the devices with their identities and capabilities. No device stays open.

        Raises:
            BackendUnavailable: The machine has no driver or no device for this API.
        """
        ...


@runtime_checkable
class ProducerBackend(Backend, Protocol):
    """A backend whose devices own memory and export it."""

    def open_producer(self, device: DeviceInfo) -> Producer:
        """Open a device as a producer.

        Args:
            device: An entry of `Backend.devices`.

        Returns:
            The opened device. The caller owns it and closes it.

        Raises:
            Unsupported: The device lacks a feature that the backend needs.
            DriverError: The driver refused to open the device.
        """
        ...


@runtime_checkable
class ConsumerBackend(Backend, Protocol):
    """A backend whose devices import memory and compute on it."""

    def open_consumer(self, device: DeviceInfo) -> Consumer:
        """Open a device as a consumer.

        Args:
            device: An entry of `Backend.devices`.

        Returns:
            The opened device. The caller owns it and closes it.

        Raises:
            Unsupported: The device lacks a feature that the backend needs.
            DriverError: The driver refused to open the device.
        """
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
        """The default stream: calls without a `stream` argument enqueue here. The consumer owns it."""
        ...

    def create_stream(self) -> Stream:
        """Create another stream. The caller owns it and closes it."""
        ...

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> ExternalMemory:
        """Import an allocation of another API.

        Args:
            handle: Handle of the allocation. A successful import consumes it; on failure the caller keeps it, open.
            descriptor: Size, offset and origin of the allocation.

        Returns:
            The imported memory. The caller owns it and closes it.

        Raises:
            HandleError: The handle is closed or contradicts the descriptor.
            Unsupported: The device does not import this handle type.
            DriverError: The driver refused the import.

        Note:
            `hipImportExternalMemory`, `cuImportExternalMemory`, `clCreateBufferWithProperties`.
        """
        ...

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> ExternalSemaphore:
        """Import a semaphore of another API.

        Args:
            handle: Handle of the semaphore. A successful import consumes it; on failure the caller keeps it, open.
            descriptor: Kind and origin of the semaphore.

        Returns:
            The imported semaphore. The caller owns it and closes it.

        Raises:
            HandleError: The handle is closed or contradicts the descriptor.
            Unsupported: The device does not import this kind by this handle type.
            DriverError: The driver refused the import.

        Note:
            `hipImportExternalSemaphore`, `cuImportExternalSemaphore`, `clCreateSemaphoreWithPropertiesKHR`.
        """
        ...

    def allocate(self, size: int) -> MappedBuffer:
        """Allocate memory of the consumer's own, for the staged path.

        Args:
            size: Bytes to allocate.

        Returns:
            The memory as one row of bytes. The caller owns it and closes it.

        Raises:
            InvalidArgument: `size` is not a positive number.
            DriverError: The device is out of memory.
        """
        ...

    def compile(self, source: str | Mapping[str, str]) -> Module:
        """Compile portable kernel source for this device.

        Args:
            source: Source in the vocabulary of `interop.protocols.kernels`. A mapping may hold an entry with the
                name of this backend, in the API's own language.

        Returns:
            The compiled module. The caller owns it and closes it.

        Raises:
            CompileError: The compiler refused the source.

        Note:
            `hiprtcCompileProgram`, `nvrtcCompileProgram`, `clBuildProgram`.
        """
        ...

    def close(self) -> None:
        """Close the device and everything that it created. Enqueued work must have ended. Idempotent."""
        ...


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
        ...

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
        ...


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
        ...

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
        ...

    def counter(self) -> int:
        """Return the present value of a timeline semaphore (`vkGetSemaphoreCounterValue`).

        Raises:
            TurnError: The semaphore is binary.
        """
        ...

    def close(self) -> None:
        """Destroy the semaphore. Work that uses it must have ended. Idempotent."""
        ...


@runtime_checkable
class Mesh(Protocol):
    """A grid of heights that the producer draws into a picture. The mesh owns the picture."""

    def image(self, timeout: float) -> memoryview:
        """Block until the last drawing has ended, and return its picture.

        Args:
            timeout: Longest wait in seconds.

        Returns:
            Bytes of shape (rows, columns, 4): RGBA, 8 bits each.

        Raises:
            WaitTimeout: The drawing did not end in time.
        """
        ...

    def close(self) -> None:
        """Free the pipeline, the picture and the vertices. Idempotent."""
        ...


@runtime_checkable
class Commands(Protocol):
    """Records the producer's work of one turn. Valid until the turn ends."""

    @property
    def native(self) -> object:
        """The API's own recorder (a `VkCommandBuffer` in the recording state)."""
        ...

    def fill(self, buffer: object, word: int) -> None:
        """Record a fill of a buffer.

        Args:
            buffer: A buffer or a part of one.
            word: The 32-bit value of every word.

        Note:
            `vkCmdFillBuffer`.
        """
        ...

    def copy(self, source: object, target: object) -> None:
        """Record a copy of all bytes of one buffer.

        Args:
            source: The buffer or part to read.
            target: The buffer or part to write, at least as large as `source`.

        Note:
            `vkCmdCopyBuffer`.
        """
        ...

    def draw(self, mesh: Mesh, heights: object) -> None:
        """Record a drawing of a mesh.

        Args:
            mesh: A mesh of the same producer.
            heights: A buffer with one float32 height for each point of the mesh, row-major.
        """
        ...


@runtime_checkable
class Submission(Protocol):
    """A prepared queue submission: its ownership transfers and its semaphores.

    The backend builds everything that is the same in each turn when the submission is prepared. One thread at
    a time may use a submission.
    """

    def begin(self, *, repeat: bool = False) -> Commands:
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
        ...

    def close(self) -> None:
        """Free the submission. The submitted work must have ended. Idempotent."""
        ...


@runtime_checkable
class Producer(Protocol):
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
        self, size: int, *, export: HandleType | None = None, host_visible: bool = False
    ) -> ProducerBuffer:
        """Allocate a storage buffer.

        Args:
            size: Bytes to allocate.
            export: Handle type by which the buffer can be exported; None for a private buffer.
            host_visible: Makes `ProducerBuffer.host_view` available.

        Returns:
            The buffer. The caller owns it and closes it.

        Raises:
            InvalidArgument: `size` is not a positive number.
            Unsupported: The driver cannot export such a buffer. Nothing was allocated.
            DriverError: The device is out of memory.

        Note:
            `vkCreateBuffer`, `vkAllocateMemory`, `vkBindBufferMemory`.
        """
        ...

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType | None = None) -> ProducerSemaphore:
        """Create a semaphore.

        Args:
            kind: Binary or timeline.
            export: Handle type by which the semaphore can be exported; None for a private semaphore.

        Returns:
            The semaphore. The caller owns it and closes it.

        Raises:
            Unsupported: The driver cannot export this kind by this handle type.

        Note:
            `vkCreateSemaphore`.
        """
        ...

    def create_mesh(self, rows: int, columns: int, *, width: int, height: int) -> Mesh:
        """Create a grid of heights and the picture into which it is drawn.

        Args:
            rows: Points of the grid from top to bottom.
            columns: Points of the grid from left to right.
            width: Width of the picture in pixels.
            height: Height of the picture in pixels.

        Returns:
            The mesh. The caller owns it and closes it.

        Raises:
            InvalidArgument: A number is out of range.
            Unsupported: The device has no graphics queue.
        """
        ...

    def prepare(
        self,
        *,
        acquire: Sequence[BufferPart] = (),
        release: Sequence[BufferPart] = (),
        wait: ProducerSemaphore | None = None,
        signal: ProducerSemaphore | None = None,
    ) -> Submission:
        """Prepare a submission with its ownership transfers and semaphores.

        Args:
            acquire: Buffers to acquire from the consumer before the recorded commands.
            release: Buffers to release to the consumer after the recorded commands.
            wait: Semaphore to wait for before the acquires.
            signal: Semaphore to signal after the releases.

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
        ...

    def close(self) -> None:
        """Close the device and everything that it created. Submitted work must have ended. Idempotent."""
        ...
