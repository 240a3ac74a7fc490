"""The producer's process: it waits for consumers' processes and shares buffers with them."""

# A session and its turns are one; they are two classes because they are two context managers.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import warnings
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._session import Session, check_value
from interop.ipc._wire import Kind
from interop.ipc.errors import PeerLost, ProtocolError
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
from interop.toolkit import part_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from interop.ipc.channel import Arrival, Channel
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
"""Seconds in which what a process submitted before it died may still end."""


class SharedBuffer:
    """Memory that this process owns and shares. Attributes are for reading; closed with its session."""

    __slots__ = ("dtype", "name", "nbytes", "number", "producer_buffer", "shape", "used")

    def __init__(self, offer: messages.Offer, buffer: BufferPart) -> None:
        self.name = offer.name
        self.number = offer.number
        self.shape: tuple[int, ...] = offer.shape
        self.dtype: DType = offer.dtype
        self.nbytes = offer.nbytes
        self.producer_buffer = buffer
        self.used = False
        """Whether it was handed over once."""

    def __repr__(self) -> str:
        return f"<SharedBuffer {self.name!r} {self.shape} {self.dtype}>"


class Shared(Session):
    """The producer's end of a session. Made by :meth:`interop.ipc.Server.accept`."""

    def __init__(self, channel: Channel, plan: Plan, chosen: int, producer: Producer, timeout: float) -> None:
        """Make the semaphores and send them with the plan; nothing stays behind on failure."""
        super().__init__(channel, plan, timeout, first=True)
        self._producer = producer
        self._buffers: list[SharedBuffer] = []
        self._turns: dict[tuple[SharedBuffer, ...], ProducerTurn] = {}
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
        """The side that owns the memory."""
        return self._producer

    def buffer(self, shape: int | tuple[int, ...], dtype: object = "float32", *, name: str) -> SharedBuffer:
        """Allocate memory and offer it to the consumer's process under ``name``; this side has it first.

        Contents are undefined. Raises :class:`InvalidArgument` for what cannot be, :class:`PeerError` when the
        other process has gone.
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

        Each is offered under its name and is handed over in turns of its own; the consumer's process imports the
        allocation once. Contents are undefined. Raises as :meth:`buffer`; nothing is offered of what cannot be.
        """
        found = [(as_dtype(dtype), shape) for shape, dtype in layouts.values()]
        shapes = [(*check_shape(shape, element), element) for element, shape in found]
        self._check_names(list(layouts))
        offsets = part_offsets([nbytes for _, nbytes, _ in shapes], self._plan.consumer)
        whole = self._producer.create_buffer(offsets[-1], export=self._plan.handle_type)
        made: list[SharedBuffer] = []
        with ExitStack() as undo:
            undo.callback(whole.close)  # and with it its parts
            handle, allocation = whole.export_memory()
            with handle:
                parts = [
                    (offset, whole.part(offset, nbytes))
                    for offset, (_, nbytes, _) in zip(offsets, shapes, strict=False)
                ]
                # What was offered stays the session's, even where sending the rest fails: that ends the session.
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
            msg = f"a session has up to {wire.MAX_BUFFERS} buffers of different names, got {', '.join(names) or 'none'}"
            raise InvalidArgument(msg)

    def _offer(
        self,
        name: str,
        layout: tuple[tuple[int, ...], DType, int],
        buffer: BufferPart,
        handle: Handle,
        descriptor: MemoryDescriptor,
    ) -> SharedBuffer:
        """Tell the consumer's process of a buffer; ``handle`` is lent."""
        shape, dtype, nbytes = layout
        number = len(self._buffers)
        offer = messages.Offer(
            number=number, name=name, shape=shape, dtype=dtype, nbytes=nbytes, descriptor=descriptor
        )
        self._channel.send(Kind.BUFFER, wire.encode_fields(messages.offer_fields(offer)), [handle])
        shared = SharedBuffer(offer, buffer)
        self._buffers.append(shared)
        self._mine.add(number)
        return shared

    def producer_turn(self, *buffers: SharedBuffer) -> ProducerTurn:
        """Return the turn in which this process owns ``buffers``: a context manager that yields its recorder.

        Entering waits for the consumer's process to give its turn back; leaving submits what was recorded and
        gives the turn and the buffers away. An exception inside submits nothing and keeps the turn.
        """
        turn = self._turns.get(buffers)
        if turn is None:
            if any(buffer not in self._buffers for buffer in buffers):
                raise InvalidArgument("a buffer of another session")
            turn = self._turns[buffers] = ProducerTurn(self, buffers)
        return turn

    def _known(self) -> set[int]:
        return {buffer.number for buffer in self._buffers}

    def _check_value(self, value: int) -> None:
        back = self._to_producer
        timeline = back is not None and back.kind is SemaphoreKind.TIMELINE
        check_value(value, self._back, timeline=timeline)
        self._back = value

    def _prepare(self, buffers: tuple[SharedBuffer, ...], cases: Cases) -> Submission:
        used = sum(buffer.used << bit for bit, buffer in enumerate(buffers))
        waits = self._unclaimed and self._to_producer is not None
        submission = cases.get((used, waits))
        if submission is None:
            submission = cases[used, waits] = self._producer.prepare(
                acquire=[buffer.producer_buffer for buffer in buffers if buffer.used],
                release=[buffer.producer_buffer for buffer in buffers],
                wait=self._to_producer if waits else None,
                signal=self._to_consumer,
            )
        return submission

    def _submit(self, submission: Submission, buffers: tuple[SharedBuffer, ...]) -> int:
        timeline = self._to_consumer is not None and self._to_consumer.kind is SemaphoreKind.TIMELINE
        value = self._sent + 1 if timeline else 0
        progress = submission.submit(self._value, value)
        self._sent = value
        self._unclaimed = False
        for buffer in buffers:
            buffer.used = True
        if self._to_consumer is None and not self._producer.progress.wait_host(progress, self._timeout):
            raise WaitTimeout(f"{self._producer.device.backend} to finish a submission", self._timeout)
        self._hand_over([buffer.number for buffer in buffers], value)
        return progress

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until the producer has done all that was submitted. Raises :class:`WaitTimeout`."""
        self._producer.wait_idle(self._timeout if timeout is None else timeout)

    def _settle(self) -> None:
        alone = isinstance(self._channel.failure, PeerLost)
        try:
            self.synchronize(min(_GRACE, self._timeout) if alone else None)
        except InteropError as error:
            back = self._to_producer
            with contextlib.suppress(InteropError):
                if back is not None and back.kind is SemaphoreKind.TIMELINE and back.counter() < self._back:
                    back.signal_host(self._back)  # its signaller has died
                    self.synchronize()
                    return
            warnings.warn(f"left behind, because work still runs: {error}", ResourceWarning, stacklevel=3)
            raise

    def _release(self) -> None:
        with self._close:
            for turn in self._turns.values():
                self._close.callback(turn.close)
        self._buffers.clear()

    def _other(self, arrival: Arrival) -> None:
        raise ProtocolError(f"{arrival.message.kind.name} where a turn was due")


def _share(
    producer: Producer, plan: SyncPlan, undo: ExitStack, handles: ExitStack, travelling: list[Handle]
) -> ProducerSemaphore | None:
    """Make the semaphore of a direction, and its handle for the other process."""
    if plan.strategy is not Strategy.NATIVE:
        return None
    if plan.kind is None:
        raise Unsupported("a native direction without a kind of semaphore")
    semaphore = producer.create_semaphore(plan.kind, export=plan.handle_type)
    undo.callback(semaphore.close)
    handle, _ = semaphore.export_semaphore()
    handles.callback(handle.close)
    travelling.append(handle)
    return semaphore


class ProducerTurn:
    """``with`` this, the producer's process owns the buffers; yields its recorder, submits at the end."""

    __slots__ = ("_buffers", "_cases", "_numbers", "_shared", "_submission", "progress")

    def __init__(self, shared: Shared, buffers: tuple[SharedBuffer, ...]) -> None:
        self._shared = shared
        self._buffers = buffers
        self._numbers = [buffer.number for buffer in buffers]
        self._cases: Cases = {}
        self._submission: Submission | None = None
        self.progress = 0
        """Point on the producer's ``progress`` timeline at which the last turn's work is done."""

    def __enter__(self) -> Commands:
        """Wait for the turn and start recording. Blocks until the consumer's process gives it back."""
        shared = self._shared
        shared._begin(self._numbers)  # noqa: SLF001 - the two are one
        submission = shared._prepare(self._buffers, self._cases)  # noqa: SLF001 - as above
        commands = submission.begin()
        self._submission = submission
        shared._open = True  # noqa: SLF001 - as above
        return commands

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Submit what was recorded and give the turn away; after an exception do neither."""
        submission, self._submission = self._submission, None
        self._shared._open = False  # noqa: SLF001 - as above
        if submission is None:
            return
        if kind is not None:
            submission.abandon()
            return
        self.progress = self._shared._submit(submission, self._buffers)  # noqa: SLF001 - as above

    def close(self) -> None:
        """Free what was prepared. Submitted work must have ended."""
        while self._cases:
            self._cases.popitem()[1].close()
