"""The consumer's end of a session: buffers imported from another process, and turns on them."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, overload

from interop.ipc import _arrivals as arrivals
from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._wire import Kind
from interop.ipc.errors import ProtocolError
from interop.ipc.session import Session, SessionBuffer, following
from interop.negotiation import Strategy
from interop.protocols import ExternalSemaphore, SemaphoreDescriptor
from interop.toolkit import OwnershipState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from interop.ipc.channel import Arrival, Channel
    from interop.ipc.session import SharedTurn
    from interop.negotiation import Plan, SyncPlan
    from interop.protocols import Consumer, ExternalMemory, Handle, MappedBuffer
    from interop.toolkit import Ownership


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RemoteBuffer(SessionBuffer):
    """A buffer of the producer's process, imported into this one. The session owns the import and closes it."""

    memory: ExternalMemory
    """The import."""
    view: MappedBuffer
    """The view of the import that turns yield."""


class ConsumerSession(Session[RemoteBuffer, ExternalSemaphore]):
    """The consumer's end of a session. :func:`interop.ipc.join` returns it."""

    _ours = frozenset({OwnershipState.PRODUCED, OwnershipState.ACQUIRED, OwnershipState.LEFT})
    _kept = "imports"

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
        super().__init__(channel, plan, timeout, first=False, idle=consumer.stream.synchronize)
        self._consumer = consumer
        left = iter(handles)
        self._incoming = _take(consumer, plan, plan.to_consumer, left, owned)
        self._outgoing = _take(consumer, plan, plan.to_producer, left, owned)
        self._close = owned.pop_all()

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
    def consumer_turn(self, buffer: RemoteBuffer, /) -> SharedTurn[MappedBuffer]: ...
    @overload
    def consumer_turn(
        self, first: RemoteBuffer, second: RemoteBuffer, /, *more: RemoteBuffer
    ) -> SharedTurn[tuple[MappedBuffer, ...]]: ...
    def consumer_turn(
        self, *buffers: RemoteBuffer
    ) -> SharedTurn[MappedBuffer] | SharedTurn[tuple[MappedBuffer, ...]]:
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
        return self._turn(buffers)

    def _entering(self, buffers: tuple[RemoteBuffer, ...]) -> Callable[[], object]:
        views = tuple(buffer.view for buffer in buffers)
        return partial(self._enter, buffers, views[0] if len(views) == 1 else views)

    def _receive(self, record: Ownership, value: int) -> None:
        record.produced(value)

    def _other(self, arrival: Arrival) -> None:
        if arrival.message.kind is not Kind.BUFFER or self._plan.handle_type is None:
            super()._other(arrival)
            return
        offer = messages.read_offer(arrival.fields(Kind.BUFFER), self._plan.handle_type)
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
            self._close.push(undo.pop_all())
        self._buffers[offer.name] = RemoteBuffer(
            offer.name, offer.number, offer.shape, offer.dtype, offer.nbytes, memory, view
        )

    def _enter(self, buffers: tuple[RemoteBuffer, ...], views: object) -> object:
        self._begin(buffers)
        stream = self._consumer.stream
        if self._unclaimed:
            if self._incoming is not None:
                self._incoming.wait(stream, self._value or None)  # a binary semaphore takes no value
            self._unclaimed = False
        for buffer in buffers:
            if buffer.ownership.state is OwnershipState.PRODUCED:
                buffer.memory.acquire(stream)
            buffer.ownership.acquire()
        self._open = True
        return views

    def _leave(self, buffers: tuple[RemoteBuffer, ...], *, failed: bool) -> None:
        self._open = False
        for buffer in buffers:
            buffer.ownership.leave()
        if failed:
            return
        stream = self._consumer.stream
        for buffer in buffers:
            buffer.memory.release(stream)
        value = following(self._signalled, self._outgoing)
        if self._outgoing is None:
            stream.synchronize(self._timeout)
        else:
            self._outgoing.signal(stream, value or None)
            self._signalled = value
        stream.flush()
        for buffer in buffers:
            buffer.ownership.signalled(value)
        self._hand_over(buffers, value)

    def _signal_for_peer(self) -> bool:
        if self._incoming is None:
            return False
        with closing(self._consumer.create_stream()) as stream:  # the session's own waits for this signal
            self._incoming.signal(stream, self._value or None)
            stream.synchronize(self._timeout)
        return True


def _take(
    consumer: Consumer, plan: Plan, sync: SyncPlan, handles: Iterator[Handle], undo: ExitStack
) -> ExternalSemaphore | None:
    """Import the semaphore of a direction."""
    if sync.strategy is not Strategy.NATIVE or sync.kind is None or sync.handle_type is None:
        return None
    device = plan.producer.identity
    descriptor = SemaphoreDescriptor(kind=sync.kind, handle_type=sync.handle_type, device=device)
    semaphore = consumer.import_semaphore(next(handles), descriptor)
    undo.callback(semaphore.close)
    return semaphore
