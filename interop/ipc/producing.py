"""The producer's end of a session: buffers offered to another process, and turns on them."""

from __future__ import annotations

import contextlib
import warnings
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._session import Session, check_value
from interop.ipc._wire import Kind
from interop.ipc.errors import PeerLost
from interop.negotiation import Strategy
from interop.protocols import (
    DType,
    InteropError,
    InvalidArgument,
    SemaphoreKind,
    Unsupported,
    WaitTimeout,
    as_dtype,
    check_shape,
)
from interop.toolkit import Ownership, OwnershipState, part_offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from interop.ipc.channel import Channel
    from interop.negotiation import Plan, SyncPlan
    from interop.protocols import (
        BufferPart,
        Commands,
        Handle,
        MemoryDescriptor,
        Producer,
        ProducerSemaphore,
        Submission,
    )

    Cases: TypeAlias = dict[tuple[int, bool], Submission]


_GRACE = 0.5
"""Seconds that work submitted by a dead process gets to end."""


class SharedBuffer:
    """A buffer of this process that the consumer's process imports. Attributes are read-only.

    The session owns the memory and frees it on close.
    """

    __slots__ = ("dtype", "name", "nbytes", "number", "ownership", "producer_buffer", "shape")

    def __init__(self, offer: messages.Offer, buffer: BufferPart) -> None:
        self.name = offer.name
        self.number = offer.number
        self.shape: tuple[int, ...] = offer.shape
        self.dtype: DType = offer.dtype
        self.nbytes = offer.nbytes
        self.producer_buffer = buffer
        self.ownership = Ownership()
        """Whether this process owns the buffer, and whether it must acquire the buffer from the other API."""

    def __repr__(self) -> str:
        return f"<SharedBuffer {self.name!r} {self.shape} {self.dtype}>"


class ProducerSession(Session):
    """The producer's end of a session. :meth:`interop.ipc.Server.accept` returns it."""

    _ours = frozenset({OwnershipState.FREE, OwnershipState.SIGNALLED})

    def __init__(self, channel: Channel, plan: Plan, chosen: int, producer: Producer, timeout: float) -> None:
        """Create the semaphores and send them with the plan. On failure, every object created here is closed."""
        super().__init__(channel, plan, timeout, first=True)
        self._producer = producer
        self._buffers: list[SharedBuffer] = []
        self._turns: dict[tuple[SharedBuffer, ...], SharedProducerTurn] = {}
        self._cases: dict[tuple[SharedBuffer, ...], Cases] = {}
        self._native = plan.to_consumer.strategy is Strategy.NATIVE
        self._sent = 0
        self._back = 0
        with ExitStack() as undo, ExitStack() as handles:
            travelling: list[Handle] = []
            self._to_consumer = _share(producer, plan.to_consumer, undo, handles, travelling)
            self._to_producer = _share(producer, plan.to_producer, undo, handles, travelling)
            body = wire.encode_fields(messages.plan_fields(plan, chosen))
            channel.send(Kind.PLAN, body, travelling)
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
        element = as_dtype(dtype)
        extents, nbytes = check_shape(shape, element)
        self._check_names([name])
        buffer = self._producer.create_buffer(nbytes, export=self._plan.handle_type)
        with ExitStack() as undo:
            undo.callback(buffer.close)
            handle, descriptor = buffer.export_memory()
            with handle:
                shared = self._offer(name, (extents, element, nbytes), buffer, handle, descriptor)
            self._close.push(undo.pop_all())
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
        found = [(as_dtype(dtype), shape) for shape, dtype in layouts.values()]
        shapes = [(*check_shape(shape, element), element) for element, shape in found]
        self._check_names(list(layouts))
        offsets = part_offsets([nbytes for _, nbytes, _ in shapes], self._plan.consumer)
        whole = self._producer.create_buffer(offsets[-1], export=self._plan.handle_type)
        made: list[SharedBuffer] = []
        with ExitStack() as undo:
            undo.callback(whole.close)  # closes its parts too
            handle, allocation = whole.export_memory()
            with handle:
                parts = [
                    (offset, whole.part(offset, nbytes))
                    for offset, (_, nbytes, _) in zip(offsets, shapes, strict=False)
                ]
                # The session keeps the allocation even if sending an offer fails: such a failure ends the session.
                self._close.push(undo.pop_all())
                for name, (offset, part), (extents, nbytes, element) in zip(
                    layouts, parts, shapes, strict=True
                ):
                    descriptor = replace(allocation, offset=offset, size=nbytes)
                    made.append(self._offer(name, (extents, element, nbytes), part, handle, descriptor))
        return tuple(made)

    def _check_names(self, names: Sequence[str]) -> None:
        known = {buffer.name for buffer in self._buffers}
        if not names or known.intersection(names) or len(known) + len(names) > wire.MAX_BUFFERS:
            msg = (
                f"a session takes up to {wire.MAX_BUFFERS} buffers with different names and has {len(known)}, "
                f"got names {', '.join(names) or 'none'}; choose names that are not in use"
            )
            raise InvalidArgument(msg)

    def _offer(
        self,
        name: str,
        layout: tuple[tuple[int, ...], DType, int],
        buffer: BufferPart,
        handle: Handle,
        descriptor: MemoryDescriptor,
    ) -> SharedBuffer:
        """Offer a buffer to the consumer's process. The caller keeps ownership of ``handle``."""
        shape, dtype, nbytes = layout
        number = len(self._buffers)
        offer = messages.Offer(
            number=number, name=name, shape=shape, dtype=dtype, nbytes=nbytes, descriptor=descriptor
        )
        self._channel.send(Kind.BUFFER, wire.encode_fields(messages.offer_fields(offer)), [handle])
        shared = SharedBuffer(offer, buffer)
        self._buffers.append(shared)
        return shared

    def producer_turn(self, *buffers: SharedBuffer) -> SharedProducerTurn:
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
        turn = self._turns.get(buffers)
        if turn is None:
            for buffer in buffers:
                if buffer not in self._buffers:
                    raise InvalidArgument(
                        f"{buffer!r} is not a buffer of this session; pass one that it created"
                    )
            cases = self._cases.setdefault(buffers, {})
            turn = SharedProducerTurn(partial(self._enter, buffers, cases), partial(self._leave, buffers))
            self._turns[buffers] = turn
        return turn

    def _enter(self, buffers: tuple[SharedBuffer, ...], cases: Cases) -> tuple[Submission, Commands]:
        self._begin([buffer.number for buffer in buffers])
        submission = self._prepare(buffers, cases)
        commands = submission.begin()
        self._open = True
        return submission, commands

    def _leave(self, buffers: tuple[SharedBuffer, ...], submission: Submission, *, failed: bool) -> int:
        """Return the point of the submission on the progress timeline; 0 after a failure in the turn."""
        self._open = False
        if failed:
            submission.abandon()
            return 0
        return self._submit(submission, buffers)

    def _records(self) -> dict[int, Ownership]:
        return {buffer.number: buffer.ownership for buffer in self._buffers}

    def _receive(self, record: Ownership, value: int) -> None:
        record.signalled(value)

    def _check_value(self, value: int) -> None:
        back = self._to_producer
        timeline = back is not None and back.kind is SemaphoreKind.TIMELINE
        check_value(value, self._back, timeline=timeline)
        self._back = value

    def _prepare(self, buffers: tuple[SharedBuffer, ...], cases: Cases) -> Submission:
        used = sum(buffer.ownership.external << bit for bit, buffer in enumerate(buffers))
        waits = self._unclaimed and self._to_producer is not None
        submission = cases.get((used, waits))
        if submission is None:
            submission = cases[used, waits] = self._producer.prepare(
                acquire=[buffer.producer_buffer for buffer in buffers if buffer.ownership.external],
                release=[buffer.producer_buffer for buffer in buffers],
                wait=self._to_producer if waits else None,
                signal=self._to_consumer,
                timeout=self._timeout,
            )
        return submission

    def _submit(self, submission: Submission, buffers: tuple[SharedBuffer, ...]) -> int:
        timeline = self._to_consumer is not None and self._to_consumer.kind is SemaphoreKind.TIMELINE
        value = self._sent + 1 if timeline else 0
        progress = submission.submit(self._value, value)
        self._sent = value
        self._unclaimed = False
        for buffer in buffers:
            buffer.ownership.produced(value)
        if self._to_consumer is None and not self._producer.progress.wait_host(progress, self._timeout):
            raise WaitTimeout(f"{self._producer.device.backend} to finish a submission", self._timeout)
        self._hand_over([buffer.number for buffer in buffers], value)
        return progress

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until the producer has ended all submitted work.

        Args:
            timeout: Limit in seconds; the session's if None.

        Raises:
            WaitTimeout: The work did not end within the limit.
        """
        self._producer.wait_idle(self._timeout if timeout is None else timeout)

    def _settle(self) -> None:
        failure = self._channel.failure
        alone = isinstance(failure, PeerLost) and not failure.orderly
        try:
            self.synchronize(min(_GRACE, self._timeout) if alone else None)
        except InteropError as error:
            back = self._to_producer
            with contextlib.suppress(InteropError):
                if back is not None and back.kind is SemaphoreKind.TIMELINE and back.counter() < self._back:
                    back.signal_host(self._back)  # the process that was to signal has died
                    self.synchronize()
                    return
            warnings.warn(
                f"the session's memory and semaphores stay open, because work still runs: {error}",
                ResourceWarning,
                stacklevel=3,
            )
            raise

    def _release(self) -> None:
        with self._close:
            for cases in self._cases.values():
                for submission in cases.values():
                    self._close.callback(submission.close)
        self._turns.clear()
        self._cases.clear()
        self._buffers.clear()


def _share(
    producer: Producer, plan: SyncPlan, undo: ExitStack, handles: ExitStack, travelling: list[Handle]
) -> ProducerSemaphore | None:
    """Create the semaphore of a direction, and add its handle to those for the other process."""
    if plan.strategy is not Strategy.NATIVE:
        return None
    if plan.kind is None:
        raise Unsupported("native synchronisation", "the plan names no kind of semaphore")
    semaphore = producer.create_semaphore(plan.kind, export=plan.handle_type)
    undo.callback(semaphore.close)
    handle, _ = semaphore.export_semaphore()
    handles.callback(handle.close)
    travelling.append(handle)
    return semaphore


class SharedProducerTurn:
    """A turn of the producer's process on shared buffers. Yields the recorder and submits at the end."""

    __slots__ = ("_enter", "_leave", "_submission", "progress")

    def __init__(self, enter: Callable[[], tuple[Submission, Commands]], leave: Callable[..., int]) -> None:
        self._enter = enter
        self._leave = leave
        self._submission: Submission | None = None
        self.progress = 0
        """Value of the producer's ``progress`` timeline at which the last turn's work has ended."""

    def __enter__(self) -> Commands:
        """Block until this process has the turn, and start recording."""
        self._submission, commands = self._enter()
        return commands

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Submit the recorded commands and pass the turn on; after an exception, do neither."""
        submission, self._submission = self._submission, None
        if submission is not None:
            self.progress = self._leave(submission, failed=kind is not None) or self.progress
