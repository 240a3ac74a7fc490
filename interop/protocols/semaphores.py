"""External semaphores: they order the streams of two APIs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from interop.protocols.arguments import as_choice
from interop.protocols.handles import HandleType
from interop.protocols.identity import DeviceIdentity

if TYPE_CHECKING:
    from interop.protocols.handles import HandleTypeLike
    from interop.protocols.streams import PreparedCall, Stream


class SemaphoreKind(enum.StrEnum):
    """The two kinds of semaphores (`VkSemaphoreType`)."""

    BINARY = "binary"
    """Signalled or unsignalled. A wait consumes the signal."""
    TIMELINE = "timeline"
    """A 64-bit counter that only grows. A wait for a value ends when the counter reaches it."""


SemaphoreKindLike: TypeAlias = SemaphoreKind | Literal["binary", "timeline"]
"""A kind of semaphore, or its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemaphoreDescriptor:
    """Everything that an importer must know about an exported semaphore. A handle does not tell its kind.

    Raises:
        InvalidArgument: `kind` or `handle_type` names no member of its enumeration.
    """

    kind: SemaphoreKind
    """Binary or timeline, as a member or by its value: `"timeline"`."""
    handle_type: HandleType
    """Handle type of the export, as a member or by its value: `"opaque_fd"`."""
    device: DeviceIdentity = DeviceIdentity()  # noqa: RUF009 - frozen
    """The exporting device."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            kind: SemaphoreKindLike,
            handle_type: HandleTypeLike,
            device: DeviceIdentity = DeviceIdentity(),  # noqa: B008 - frozen
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", as_choice(SemaphoreKind, self.kind, "kind"))
        object.__setattr__(self, "handle_type", as_choice(HandleType, self.handle_type, "handle_type"))


@runtime_checkable
class ExternalSemaphore(Protocol):
    """A semaphore of another API, imported by a consumer."""

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        ...

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a wait for a signal of the other API. Returns immediately.

        Args:
            stream: Stream whose later work waits.
            value: Timeline value to wait for; None for a binary semaphore.

        Raises:
            TurnError: A timeline semaphore got no value, or a binary one got a value. The driver was not called.
            InvalidArgument: The stream belongs to another backend or device.
            DriverError: The driver refused the wait. Nothing was enqueued.

        Note:
            `hipWaitExternalSemaphoresAsync`, `cuWaitExternalSemaphoresAsync`, `clEnqueueWaitSemaphoresKHR`.
        """

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal behind all earlier work, and submit it to the device. Returns immediately.

        Args:
            stream: Stream whose earlier work must end before the signal.
            value: Timeline value to signal, above the last one; None for a binary semaphore.

        Raises:
            TurnError: The value does not fit the kind, or is not above the last one. The driver was not called.
            InvalidArgument: The stream belongs to another backend or device.
            DriverError: The driver refused the signal. Nothing was enqueued.

        Note:
            `hipSignalExternalSemaphoresAsync`, `cuSignalExternalSemaphoresAsync`, `clEnqueueSignalSemaphoresKHR`.
        """

    def prepare_wait(self, stream: Stream) -> PreparedCall:
        """Return the call that `wait` makes on a stream, with its arguments converted.

        Raises:
            ClosedError: The semaphore or the stream was closed.
            InvalidArgument: The stream belongs to another backend or device.
        """
        ...

    def prepare_signal(self, stream: Stream) -> PreparedCall:
        """Return the call that `signal` makes on a stream, without the submission to the device after it.

        Raises:
            ClosedError: The semaphore or the stream was closed.
            InvalidArgument: The stream belongs to another backend or device.
        """
        ...

    def close(self) -> None:
        """Release the import. Enqueued waits and signals must have ended. Idempotent.

        An import of a sync file serves a single wait, and no signal. It may be closed when that wait is enqueued.
        """
