"""The producer's end of a session: buffers offered to another process, and turns on them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._wire import Kind
from interop.ipc.errors import PeerLost
from interop.ipc.session import Session, SessionBuffer, following
from interop.negotiation import Strategy
from interop.protocols import (
    InvalidArgument,
    ProducerSemaphore,
    SemaphoreKind,
    Unsupported,
    WaitTimeout,
    as_dtype,
    check_shape,
)
from interop.toolkit import OwnershipState, part_offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interop.ipc.channel import Channel
    from interop.ipc.session import SharedTurn
    from interop.negotiation import Plan, SyncPlan
    from interop.protocols import BufferPart, Commands, Producer, Submission
    from interop.toolkit import Ownership

_GRACE = 0.5
"""Seconds that work submitted by a dead process gets to end."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SharedBuffer(SessionBuffer):
    """A buffer of this process that the consumer's process imports. The session owns the memory."""

    producer_buffer: BufferPart
    """The memory, as the producer's commands take it."""


class ProducerSession(Session[SharedBuffer, ProducerSemaphore]):
    """The producer's end of a session. :meth:`interop.ipc.Server.accept` returns it."""

    _ours = frozenset({OwnershipState.FREE, OwnershipState.SIGNALLED})
    _kept = "memory and semaphores"
    _submission: Submission
    """The recorder of the open turn."""

    def __init__(self, channel: Channel, plan: Plan, chosen: int, producer: Producer, timeout: float) -> None:
        """Create the semaphores and send them with the plan. On failure, every object created here is closed."""
        super().__init__(channel, plan, timeout, first=True, idle=producer.wait_idle)
        self._producer = producer
        with ExitStack() as undo, ExitStack() as handles:
            made = [_create(producer, sync, undo) for sync in (plan.to_consumer, plan.to_producer)]
            self._outgoing, self._incoming = made
            sent = [handles.enter_context(each.export_semaphore()[0]) for each in made if each is not None]
            channel.send(Kind.PLAN, wire.encode_fields(messages.plan_fields(plan, chosen)), sent)
            self._close = undo.pop_all()

    @property
    def producer(self) -> Producer:
        """The producer, which owns the memory."""
        return self._producer

    def buffer(self, shape: int | tuple[int, ...], dtype: object = "float32", *, name: str) -> SharedBuffer:
        """Allocate a buffer and offer it to the consumer's process. This process owns it first.

        Args:
            shape: Elements along each axis; an integer for one axis.
            dtype: Element type, as name or :class:`interop.protocols.DType`.
            name: Name by which the other process gets the buffer. Unique within the session.

        Returns:
            The buffer, with undefined contents. The session owns it.

        Raises:
            InvalidArgument: Shape, type or name is wrong, or the session has too many buffers.
            PeerError: The other process has gone.
        """
        (shared,) = self._share({name: (shape, dtype)})
        return shared

    def buffers(self, **layouts: tuple[int | tuple[int, ...], object]) -> tuple[SharedBuffer, ...]:
        """Allocate once for several buffers: ``buffers(height=((64, 64), "float32"), mask=(4096, "uint8"))``.

        The consumer's process imports the allocation once. Each buffer has turns of its own.

        Args:
            **layouts: Shape and element type of each buffer, by name.

        Returns:
            The buffers in the order of the arguments, with undefined contents. The session owns them.

        Raises:
            InvalidArgument: A shape, type or name is wrong, or the session has too many buffers. None is offered.
            PeerError: The other process has gone.
        """
        return self._share(layouts)

    def _share(self, layouts: Mapping[str, tuple[int | tuple[int, ...], object]]) -> tuple[SharedBuffer, ...]:
        """Allocate once, and offer the parts to the consumer's process."""
        typed = [(name, shape, as_dtype(dtype)) for name, (shape, dtype) in layouts.items()]
        rows = [(name, *check_shape(shape, dtype), dtype) for name, shape, dtype in typed]
        known = self._buffers.keys()
        if not layouts or known & layouts.keys() or len(known) + len(layouts) > wire.MAX_BUFFERS:
            raise InvalidArgument(
                f"a session takes up to {wire.MAX_BUFFERS} buffers with different names and has {len(known)}, "
                f"got names {', '.join(layouts) or 'none'}; choose names that are not in use"
            )
        sizes = [nbytes for _, _, nbytes, _ in rows]
        *offsets, _ = part_offsets(sizes, self._plan.consumer)
        whole = self._producer.create_buffer(offsets[-1] + sizes[-1], export=self._plan.handle_type)
        made: list[SharedBuffer] = []
        with ExitStack() as undo:
            undo.callback(whole.close)  # closes its parts too
            handle, allocation = whole.export_memory()
            with handle:
                for offset, (name, shape, nbytes, dtype) in zip(offsets, rows, strict=True):
                    part = whole.part(offset, nbytes)
                    made.append(SharedBuffer(name, len(known) + len(made), shape, dtype, nbytes, part))
                for offset, buffer in zip(offsets, made, strict=True):
                    memory = replace(allocation, offset=offset, size=buffer.nbytes)
                    body = wire.encode_fields(messages.offer_fields(buffer, memory))
                    self._channel.send(Kind.BUFFER, body, [handle])
                    self._buffers[buffer.name] = buffer
                    self._close.push(undo.pop_all())  # from the first offer on, the other process may use it
        return tuple(made)

    def producer_turn(self, *buffers: SharedBuffer) -> SharedTurn[Commands]:
        """Return the turn in which this process owns ``buffers``: a context manager that yields its recorder.

        Entering blocks until the consumer's process has passed its turn back. Leaving submits the recorded commands
        and passes the turn and the buffers on. After an exception inside, nothing is submitted and this process
        keeps the turn.

        Args:
            *buffers: Buffers of this session that the commands use.

        Returns:
            The turn. It can be entered again, one turn of the session at a time.

        Raises:
            InvalidArgument: A buffer belongs to another session.
        """
        return self._turn(buffers)

    def _entering(self, buffers: tuple[SharedBuffer, ...]) -> Callable[[], Commands]:
        return partial(self._enter, buffers, {})

    def _enter(
        self, buffers: tuple[SharedBuffer, ...], prepared: dict[tuple[int, bool], Submission]
    ) -> Commands:
        self._begin(buffers)
        used = sum(buffer.ownership.external << bit for bit, buffer in enumerate(buffers))
        waits = self._unclaimed and self._incoming is not None
        submission = prepared.get((used, waits))
        if submission is None:
            submission = prepared[used, waits] = self._producer.prepare(
                acquire=[buffer.producer_buffer for buffer in buffers if buffer.ownership.external],
                release=[buffer.producer_buffer for buffer in buffers],
                wait=self._incoming if waits else None,
                signal=self._outgoing,
                timeout=self._timeout,
            )
            self._close.callback(submission.close)
        self._submission = submission
        commands = submission.begin()
        self._open = True
        return commands

    def _leave(self, buffers: tuple[SharedBuffer, ...], *, failed: bool) -> int | None:
        self._open = False
        if failed:
            self._submission.abandon()
            return None
        value = following(self._signalled, self._outgoing)
        progress = self._submission.submit(self._value, value)
        self._signalled = value
        self._unclaimed = False
        for buffer in buffers:
            buffer.ownership.produced(value)
        if self._outgoing is None and not self._producer.progress.wait_host(progress, self._timeout):
            raise WaitTimeout(f"{self._producer.device.backend} to finish a submission", self._timeout)
        self._hand_over(buffers, value)
        return progress

    def _receive(self, record: Ownership, value: int) -> None:
        record.signalled(value)

    def _patience(self) -> float:
        failure = self._channel.failure
        alone = isinstance(failure, PeerLost) and not failure.orderly
        return min(_GRACE, self._timeout) if alone else self._timeout

    def _signal_for_peer(self) -> bool:
        back = self._incoming
        if back is None or back.kind is SemaphoreKind.BINARY or back.counter() >= self._value:
            return False
        back.signal_host(self._value)
        return True


def _create(producer: Producer, plan: SyncPlan, undo: ExitStack) -> ProducerSemaphore | None:
    """Create the semaphore of a direction, if it has one."""
    if plan.strategy is not Strategy.NATIVE:
        return None
    if plan.kind is None:
        raise Unsupported("native synchronisation", "the plan names no kind of semaphore")
    semaphore = producer.create_semaphore(plan.kind, export=plan.handle_type)
    undo.callback(semaphore.close)
    return semaphore
