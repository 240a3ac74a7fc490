"""The consumer's end of a session: buffers imported from another process, and turns on them."""

# A session and its turns are one; they are two classes because they are two context managers.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import warnings
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from interop.ipc import _arrivals as arrivals
from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._session import Session, check_value
from interop.ipc._wire import Kind
from interop.ipc.errors import ProtocolError
from interop.negotiation import Strategy
from interop.protocols import InteropError, InvalidArgument, SemaphoreDescriptor, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from interop.ipc.channel import Arrival, Channel
    from interop.negotiation import Plan, SyncPlan
    from interop.protocols import Consumer, ExternalMemory, ExternalSemaphore, Handle, MappedBuffer

Views = TypeVar("Views")


class RemoteBuffer:
    """Memory of the producer's process, imported here. Attributes are for reading."""

    __slots__ = ("acquired", "memory", "name", "number", "view")

    def __init__(self, offer: messages.Offer, memory: ExternalMemory, view: MappedBuffer) -> None:
        self.name = offer.name
        self.number = offer.number
        self.memory = memory
        self.view = view
        self.acquired = False
        """Whether the consumer's driver was told that it owns the memory."""

    def __repr__(self) -> str:
        return f"<RemoteBuffer {self.name!r} {self.view.shape} {self.view.dtype}>"


class Remote(Session):
    """The consumer's end of a session. Made by :func:`interop.ipc.join`."""

    def __init__(
        self,
        channel: Channel,
        plan: Plan,
        consumer: Consumer,
        handles: Sequence[Handle],
        timeout: float,
        owned: ExitStack,
    ) -> None:
        """Import the semaphores. ``owned`` holds what closes with the session; taken over on success."""
        super().__init__(channel, plan, timeout, first=False)
        self._consumer = consumer
        self._buffers: dict[str, RemoteBuffer] = {}
        self._turns: dict[
            tuple[RemoteBuffer, ...], ConsumerTurn[MappedBuffer | tuple[MappedBuffer, ...]]
        ] = {}
        self._back = 0
        left = list(handles)
        with ExitStack() as undo:
            self._to_consumer = _take(consumer, plan, plan.to_consumer, left, undo)
            self._to_producer = _take(consumer, plan, plan.to_producer, left, undo)
            undo.push(owned.pop_all())
            self._close = undo.pop_all()
        self._imports = ExitStack()

    @property
    def consumer(self) -> Consumer:
        """The side that computes on the memory."""
        return self._consumer

    def buffer(self, name: str) -> RemoteBuffer:
        """Wait for the producer's process to offer the buffer ``name``, and return it imported."""
        while name not in self._buffers:
            self._pump(f"to offer a buffer {name!r}")
        return self._buffers[name]

    @overload
    def consumer_turn(self, buffer: RemoteBuffer, /) -> ConsumerTurn[MappedBuffer]: ...
    @overload
    def consumer_turn(
        self, first: RemoteBuffer, second: RemoteBuffer, /, *more: RemoteBuffer
    ) -> ConsumerTurn[tuple[MappedBuffer, ...]]: ...
    def consumer_turn(
        self, *buffers: RemoteBuffer
    ) -> ConsumerTurn[MappedBuffer] | ConsumerTurn[tuple[MappedBuffer, ...]]:
        """Return the turn in which this process owns ``buffers``: a context manager that yields their views.

        Entering waits for the producer's process to give the turn, then enqueues the wait for its work; leaving
        gives the turn and the buffers back. An exception inside keeps the turn.
        """
        turn = self._turns.get(buffers)
        if turn is None:
            if any(self._buffers.get(buffer.name) is not buffer for buffer in buffers):
                raise InvalidArgument("a buffer of another session")
            views = tuple(buffer.view for buffer in buffers)
            turn = self._turns[buffers] = ConsumerTurn(self, buffers, views[0] if len(views) == 1 else views)
        return turn  # type: ignore[return-value]  # the overloads tell which of the two it is

    def _known(self) -> set[int]:
        return {buffer.number for buffer in self._buffers.values()}

    def _check_value(self, value: int) -> None:
        timeline = self._plan.to_consumer.kind is SemaphoreKind.TIMELINE
        check_value(value, self._value, timeline=timeline)

    def _other(self, arrival: Arrival) -> None:
        if arrival.message.kind is not Kind.BUFFER or self._plan.handle_type is None:
            super()._other(arrival)
            return
        fields = wire.Fields.decode(arrival.message.body, "buffer")
        offer = messages.read_offer(fields, self._plan.handle_type)
        if offer.name in self._buffers or offer.number != len(self._buffers):
            raise ProtocolError(f"buffer {offer.number} {offer.name!r} after {len(self._buffers)} others")
        if offer.number >= wire.MAX_BUFFERS:
            raise ProtocolError(f"more than {wire.MAX_BUFFERS} buffers")
        if offer.descriptor.device != self._plan.producer.identity:
            raise ProtocolError(f"buffer {offer.name!r} of another device than the plan's")
        descriptor = offer.descriptor
        if descriptor.allocation is not None:
            # Under the session's name: no other process may name what this one has imported from elsewhere.
            descriptor = replace(descriptor, allocation=self._channel.session + descriptor.allocation)
        (handle,) = arrivals.adopt(arrival.fds(), [self._plan.handle_type])
        with handle, ExitStack() as undo:
            arrivals.check_memory(handle, descriptor)
            memory = self._consumer.import_memory(handle, descriptor)
            undo.callback(memory.close)
            view = memory.map_buffer(size=offer.nbytes, shape=offer.shape, dtype=offer.dtype)
            undo.callback(view.close)
            self._imports.push(undo.pop_all())
        self._buffers[offer.name] = RemoteBuffer(offer, memory, view)

    def _enter(self, buffers: tuple[RemoteBuffer, ...], numbers: Sequence[int]) -> None:
        self._begin(numbers)
        stream = self._consumer.stream
        if self._unclaimed:
            if self._to_consumer is not None:
                timeline = self._to_consumer.kind is SemaphoreKind.TIMELINE
                self._to_consumer.wait(stream, self._value if timeline else None)
            self._unclaimed = False
        for buffer in buffers:
            if not buffer.acquired:
                buffer.memory.acquire(stream)
                buffer.acquired = True
        self._open = True

    def _leave(self, buffers: tuple[RemoteBuffer, ...], numbers: Sequence[int]) -> None:
        stream = self._consumer.stream
        for buffer in buffers:
            buffer.memory.release(stream)
            buffer.acquired = False
        value = 0
        if self._to_producer is None:
            stream.synchronize(self._timeout)
        elif self._to_producer.kind is SemaphoreKind.TIMELINE:
            value = self._back + 1
            self._to_producer.signal(stream, value)
            self._back = value
        else:
            self._to_producer.signal(stream)
        stream.flush()
        self._hand_over(numbers, value)

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until the consumer's stream has done all that was enqueued. Raises :class:`WaitTimeout`."""
        self._consumer.stream.synchronize(self._timeout if timeout is None else timeout)

    def _settle(self) -> None:
        try:
            self.synchronize()
        except InteropError as error:
            with contextlib.suppress(InteropError):
                if self._to_consumer is not None:
                    self._let_go(self._to_consumer)
                    return
            warnings.warn(f"left behind, because work still runs: {error}", ResourceWarning, stacklevel=3)
            raise

    def _let_go(self, semaphore: ExternalSemaphore) -> None:
        """Give the signal that a producer's process has died without giving; from a stream of its own."""
        stream = self._consumer.create_stream()
        try:
            semaphore.signal(stream, self._value if semaphore.kind is SemaphoreKind.TIMELINE else None)
            stream.synchronize(self._timeout)
            self.synchronize()
        finally:
            stream.close()

    def _release(self) -> None:
        with self._close:  # the device and the semaphores; before them, what is imported
            self._close.push(self._imports.pop_all())
        self._buffers.clear()


def _take(
    consumer: Consumer, plan: Plan, sync: SyncPlan, handles: list[Handle], undo: ExitStack
) -> ExternalSemaphore | None:
    """Import the semaphore of a direction."""
    if sync.strategy is not Strategy.NATIVE or sync.kind is None or sync.handle_type is None:
        return None
    handle = handles.pop(0)
    device = plan.producer.identity
    descriptor = SemaphoreDescriptor(kind=sync.kind, handle_type=sync.handle_type, device=device)
    semaphore = consumer.import_semaphore(handle, descriptor)
    undo.callback(semaphore.close)
    return semaphore


class ConsumerTurn(Generic[Views]):
    """``with`` this, the consumer's process owns the buffers; yields the view, or a tuple for several."""

    __slots__ = ("_buffers", "_numbers", "_remote", "_views")

    def __init__(self, remote: Remote, buffers: tuple[RemoteBuffer, ...], views: Views) -> None:
        self._remote = remote
        self._buffers = buffers
        self._numbers = [buffer.number for buffer in buffers]
        self._views = views

    def __enter__(self) -> Views:
        """Wait for the turn; enqueue the wait for the producer's work."""
        self._remote._enter(self._buffers, self._numbers)  # noqa: SLF001 - the two are one
        return self._views

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the turn back; after an exception keep it."""
        self._remote._open = False  # noqa: SLF001 - as above
        if kind is None:
            self._remote._leave(self._buffers, self._numbers)  # noqa: SLF001 - as above
