"""The consumer's end of a session: buffers imported from another process, and turns on them."""

from __future__ import annotations

import contextlib
import warnings
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from interop.ipc import _arrivals as arrivals
from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._session import Session, check_value
from interop.ipc._wire import Kind
from interop.ipc.errors import ProtocolError
from interop.negotiation import Strategy
from interop.protocols import InteropError, InvalidArgument, SemaphoreDescriptor, SemaphoreKind
from interop.toolkit import Ownership, OwnershipState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from interop.ipc.channel import Arrival, Channel
    from interop.negotiation import Plan, SyncPlan
    from interop.protocols import Consumer, ExternalMemory, ExternalSemaphore, Handle, MappedBuffer

Views = TypeVar("Views")


class RemoteBuffer:
    """A buffer of the producer's process, imported into this one. Attributes are read-only.

    The session owns the import and closes it.
    """

    __slots__ = ("memory", "name", "number", "ownership", "view")

    def __init__(self, offer: messages.Offer, memory: ExternalMemory, view: MappedBuffer) -> None:
        self.name = offer.name
        self.number = offer.number
        self.memory = memory
        self.view = view
        self.ownership = Ownership()
        """Whether this process owns the buffer, and whether the consumer's driver has acquired it."""

    def __repr__(self) -> str:
        return f"<RemoteBuffer {self.name!r} {self.view.shape} {self.view.dtype}>"


class ConsumerSession(Session):
    """The consumer's end of a session. :func:`interop.ipc.join` returns it."""

    _ours = frozenset({OwnershipState.PRODUCED, OwnershipState.ACQUIRED, OwnershipState.LEFT})

    def __init__(
        self,
        channel: Channel,
        plan: Plan,
        consumer: Consumer,
        handles: Sequence[Handle],
        timeout: float,
        owned: ExitStack,
    ) -> None:
        """Import the semaphores. On success the session takes ownership of ``owned`` and closes it at its end."""
        super().__init__(channel, plan, timeout, first=False)
        self._consumer = consumer
        self._buffers: dict[str, RemoteBuffer] = {}
        self._turns: dict[
            tuple[RemoteBuffer, ...], SharedConsumerTurn[MappedBuffer | tuple[MappedBuffer, ...]]
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
        """The consumer, which imports the memory and runs kernels on it."""
        return self._consumer

    def buffer(self, name: str) -> RemoteBuffer:
        """Block until the producer's process has offered the buffer ``name``, and import it.

        Args:
            name: Name that the producer's process gave the buffer.

        Returns:
            The imported buffer. The session owns it.

        Raises:
            WaitTimeout: The other process did not offer it within the session's timeout.
            PeerError: The other process has gone, or sent a message that is not accepted.
        """
        while name not in self._buffers:
            self._pump(f"to offer a buffer {name!r}")
        return self._buffers[name]

    @overload
    def consumer_turn(self, buffer: RemoteBuffer, /) -> SharedConsumerTurn[MappedBuffer]: ...
    @overload
    def consumer_turn(
        self, first: RemoteBuffer, second: RemoteBuffer, /, *more: RemoteBuffer
    ) -> SharedConsumerTurn[tuple[MappedBuffer, ...]]: ...
    def consumer_turn(
        self, *buffers: RemoteBuffer
    ) -> SharedConsumerTurn[MappedBuffer] | SharedConsumerTurn[tuple[MappedBuffer, ...]]:
        """Return the turn in which this process owns ``buffers``: a context manager that yields their views.

        Entering blocks until the producer's process passes its turn, then enqueues the wait for its work. Leaving
        signals, and passes the turn and the buffers back. After an exception inside, this process keeps the turn.

        Leaving raises nothing if the producer's process has closed its session in order. The next turn raises
        :class:`PeerLost` then, with ``orderly`` true.

        Args:
            *buffers: Imported buffers of this session.

        Returns:
            The turn. It yields one view, or a tuple of views for several buffers. It can be entered again.

        Raises:
            InvalidArgument: A buffer belongs to another session.
        """
        turn = self._turns.get(buffers)
        if turn is None:
            for buffer in buffers:
                if self._buffers.get(buffer.name) is not buffer:
                    raise InvalidArgument(
                        f"{buffer!r} is not a buffer of this session; pass one that it returned"
                    )
            views = tuple(buffer.view for buffer in buffers)
            turn = self._turns[buffers] = SharedConsumerTurn(
                partial(self._enter, buffers),
                partial(self._leave, buffers),
                views[0] if len(views) == 1 else views,
            )
        return turn  # type: ignore[return-value]  # the overloads say which of the two it is

    def _records(self) -> dict[int, Ownership]:
        return {buffer.number: buffer.ownership for buffer in self._buffers.values()}

    def _receive(self, record: Ownership, value: int) -> None:
        record.produced(value)

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
            raise ProtocolError(
                f"expected a new name and number {len(self._buffers)}, got buffer {offer.number} {offer.name!r}"
            )
        if offer.number >= wire.MAX_BUFFERS:
            raise ProtocolError(f"expected at most {wire.MAX_BUFFERS} buffers, got one more")
        if offer.descriptor.device != self._plan.producer.identity:
            raise ProtocolError(f"buffer {offer.name!r} is on another device than the plan names")
        descriptor = offer.descriptor
        if descriptor.allocation is not None:
            # The session's random name keeps one process from naming an allocation imported from another.
            descriptor = replace(descriptor, allocation=self._channel.session + descriptor.allocation)
        (handle,) = arrivals.adopt(arrival.fds(), [self._plan.handle_type])
        with handle, ExitStack() as undo:
            arrivals.check_memory(handle, descriptor)
            memory = self._consumer.import_memory(handle, descriptor)
            undo.callback(memory.close)
            view = memory.map_buffer(
                size=offer.nbytes, shape=offer.shape, dtype=offer.dtype, timeout=self._timeout
            )
            undo.callback(view.close)
            self._imports.push(undo.pop_all())
        self._buffers[offer.name] = RemoteBuffer(offer, memory, view)

    def _enter(self, buffers: tuple[RemoteBuffer, ...]) -> None:
        self._begin([buffer.number for buffer in buffers])
        stream = self._consumer.stream
        if self._unclaimed:
            if self._to_consumer is not None:
                timeline = self._to_consumer.kind is SemaphoreKind.TIMELINE
                self._to_consumer.wait(stream, self._value if timeline else None)
            self._unclaimed = False
        for buffer in buffers:
            if buffer.ownership.state is OwnershipState.PRODUCED:
                buffer.memory.acquire(stream)
            buffer.ownership.acquire()
        self._open = True

    def _leave(self, buffers: tuple[RemoteBuffer, ...], *, failed: bool) -> None:
        self._open = False
        for buffer in buffers:
            buffer.ownership.leave()
        if failed:
            return
        stream = self._consumer.stream
        for buffer in buffers:
            buffer.memory.release(stream)
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
        for buffer in buffers:
            buffer.ownership.signalled(value)
        self._hand_over([buffer.number for buffer in buffers], value)

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until the consumer's stream has ended all enqueued work.

        Args:
            timeout: Limit in seconds; the session's if None.

        Raises:
            WaitTimeout: The work did not end within the limit.
        """
        self._consumer.stream.synchronize(self._timeout if timeout is None else timeout)

    def _settle(self) -> None:
        try:
            self.synchronize()
        except InteropError as error:
            with contextlib.suppress(InteropError):
                if self._to_consumer is not None:
                    self._signal_for_producer(self._to_consumer)
                    return
            warnings.warn(
                f"the session's imports stay open, because work still runs: {error}",
                ResourceWarning,
                stacklevel=3,
            )
            raise

    def _signal_for_producer(self, semaphore: ExternalSemaphore) -> None:
        """Signal in place of a producer's process that has died, on a stream of its own."""
        stream = self._consumer.create_stream()
        try:
            semaphore.signal(stream, self._value if semaphore.kind is SemaphoreKind.TIMELINE else None)
            stream.synchronize(self._timeout)
            self.synchronize()
        finally:
            stream.close()

    def _release(self) -> None:
        with self._close:  # imports close before the semaphores and the device
            self._close.push(self._imports.pop_all())
        self._turns.clear()
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


class SharedConsumerTurn(Generic[Views]):
    """A turn of the consumer's process on imported buffers. Yields the view, or a tuple for several buffers."""

    __slots__ = ("_enter", "_leave", "_views")

    def __init__(self, enter: Callable[[], None], leave: Callable[..., None], views: Views) -> None:
        self._enter = enter
        self._leave = leave
        self._views = views

    def __enter__(self) -> Views:
        """Block until this process has the turn, and enqueue the wait for the producer's work."""
        self._enter()
        return self._views

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Pass the turn back; after an exception, keep it."""
        self._leave(failed=kind is not None)
