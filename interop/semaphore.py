"""Streams, and semaphores that order the streams of two APIs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.device import DeviceIdentity
from interop.errors import HandleError, TurnError
from interop.handles import Handle, HandleType, check_fd

if TYPE_CHECKING:
    from collections.abc import Callable


class SemaphoreKind(enum.StrEnum):
    """Which of Vulkan's two semaphore types (``VkSemaphoreType``)."""

    BINARY = "binary"
    """Signalled or not; each wait takes the signal back."""
    TIMELINE = "timeline"
    """A 64-bit counter that only grows; a wait passes once it has reached the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemaphoreDescriptor:
    """What an importer has to know about an exported semaphore. Never inferred from the handle's value."""

    kind: SemaphoreKind
    handle_type: HandleType
    device: DeviceIdentity = DeviceIdentity()  # noqa: RUF009 - frozen


def check_import(handle: Handle, descriptor: SemaphoreDescriptor, supported: frozenset[HandleType]) -> None:
    """Check a semaphore handle against its descriptor before any driver sees it.

    ``supported`` holds the importable types *of the descriptor's kind*. Raises :class:`HandleError`, leaving
    the handle with the caller.
    """
    if handle.type is not descriptor.handle_type:
        msg = f"the handle is {handle.type.value}, the descriptor says {descriptor.handle_type.value}"
        raise HandleError(msg)
    if handle.type not in supported:
        names = ", ".join(sorted(supported)) or "none"
        msg = f"a {descriptor.kind.value} semaphore cannot be imported here as {handle.type.value}; importable: {names}"
        raise HandleError(msg)
    if handle.type.is_fd and not (handle.type is HandleType.SYNC_FD and handle.value == -1):
        check_fd(handle.value)


class ValueRule:
    """Keeps the values that are passed to ``wait`` and ``signal`` legal; drivers hang or misbehave instead.

    Binary semaphores take no value; a timeline needs one, and each signal must be greater than the last.
    """

    __slots__ = ("_kind", "_last")

    def __init__(self, kind: SemaphoreKind) -> None:
        self._kind = kind
        self._last = 0

    def check_wait(self, value: int | None) -> int:
        """Return the value to wait for (0 for binary), or raise :class:`TurnError`."""
        if self._kind is SemaphoreKind.BINARY:
            if value is not None:
                msg = f"a binary semaphore is waited on without a value, got {value}"
                raise TurnError(msg)
            return 0
        if value is None or not 0 <= value < 2**64:
            msg = f"waiting on a timeline semaphore needs a value from 0 to 2**64 - 1, got {value}"
            raise TurnError(msg)
        return value

    def check_signal(self, value: int | None) -> int:
        """Return the value to signal (0 for binary) and remember it, or raise :class:`TurnError`."""
        if self._kind is SemaphoreKind.BINARY:
            if value is not None:
                msg = f"a binary semaphore is signalled without a value, got {value}"
                raise TurnError(msg)
            return 0
        if value is None or not self._last < value < 2**64:
            msg = f"signalling a timeline semaphore needs a value above the last one ({self._last}), got {value}"
            raise TurnError(msg)
        self._last = value
        return value


@runtime_checkable
class Stream(Protocol):
    """An in-order queue of work: HIP or CUDA stream, OpenCL command queue, host worker.

    ``hold``, ``release`` and ``notify`` are what the bridged strategy is made of; a stream that lacks one
    says so in its device's :class:`interop.backend.Capabilities` and raises :class:`Unsupported`.
    """

    @property
    def native(self) -> object:
        """What the API takes: a stream address (int), a ``pyopencl.CommandQueue``."""
        ...

    def flush(self) -> None:
        """Hand enqueued work to the device without waiting (``clFlush``; nothing where submission is eager)."""
        ...

    def synchronize(self, timeout: float) -> None:
        """Block until all work enqueued so far has ended. Releases the GIL.

        ``timeout`` in seconds; raises :class:`WaitTimeout` when it passes and :class:`DriverError` when the
        work failed.
        """
        ...

    def hold(self, value: int) -> None:
        """Enqueue a wait that ends when :meth:`release` has been called with ``value`` or more. Never blocks.

        Values count up from 1 in order of enqueueing.
        """
        ...

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value``; any thread.

        ``failed`` says that what was waited for did not happen: the work behind the holds is dropped where the
        API can do that, and runs on garbage that nobody reads where it cannot.
        """
        ...

    def notify(self, callback: Callable[[int], None], value: int) -> None:
        """Enqueue a call of ``callback(value)`` on a thread of the driver, after all earlier work.

        The callback must be short, must not raise and must not call this API.
        """
        ...

    def close(self) -> None:
        """Give the stream up. Work must have ended. A second call does nothing."""
        ...


@runtime_checkable
class ExternalSemaphore(Protocol):
    """A semaphore of another API, imported by a consumer."""

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        ...

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue on ``stream`` a wait for the other side's signal. Does not block the caller.

        Raises :class:`TurnError` for a value where the kind takes none, or the reverse.
        """
        ...

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue on ``stream`` a signal after all earlier work, and hand it to the device.

        Raises :class:`TurnError` for an illegal value, before the driver is called.
        """
        ...

    def close(self) -> None:
        """Release the import. Enqueued waits and signals must have ended. A second call does nothing.

        An import of ``sync_fd`` (:mod:`interop.one_shot`) is waited for once and never signalled, and may be closed
        as soon as that wait is enqueued.
        """
        ...
