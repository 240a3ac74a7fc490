"""Turns: the time in which one side of a link owns some buffers.

Turns may be taken from any thread. A producer turn keeps other threads' turns of its link waiting until it
ends, since signals must go out in the order in which they were given.

A hand-over happens only when the owner changes. A turn object is made once for each set of buffers and
entered again and again: what can be prepared is prepared when it is made or when a case first occurs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from interop.links.buffers import Shared
from interop.links.order import Order, Owner, leave
from interop.protocols import CommandsT_co

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from interop.links.buffers import Buffer
    from interop.protocols import BufferPart, Producer, Submission

Views = TypeVar("Views")
_PRODUCER, _CONSUMER = Owner.PRODUCER, Owner.CONSUMER


# What follows runs every frame. A function call costs Python about as much as the driver needs for a short one,
# so conditions are looked at in place and what they lead to is called only where they hold.


class Case:
    """What a producer turn needs for one combination of owners, prepared once."""

    __slots__ = ("changed", "eager", "leaving", "owners", "returning", "signalling", "silent", "used")

    def __init__(self, buffers: tuple[Buffer, ...]) -> None:
        self.owners = tuple([(buffer, buffer.owner) for buffer in buffers])
        """Who has which buffer in this case."""
        taken = [buffer for buffer in buffers if buffer.owner is Owner.CONSUMER]
        self.changed = bool(taken)
        """Whether any of them changes owner."""
        self.leaving = tuple([buffer.transfer.leave_consumer for buffer in taken])
        self.returning = tuple(
            [buffer.transfer.to_producer for buffer in taken if not isinstance(buffer.transfer, Shared)]
        )
        self.used = tuple(
            [
                buffer.producer_buffer
                for buffer in buffers
                if buffer.external is not None and buffer.owner is not Owner.NOBODY
            ]
        )
        """What is taken over from outside the producer's API, be it from nobody else."""
        self.silent: Submission[Any] | None = None
        self.signalling: Submission[Any] | None = None
        self.eager = True
        """Whether to signal with the submission itself: right when a consumer turn follows, as it mostly does.

        Only single-use semaphores need the guess, since their signals must be used up; it is corrected by what
        really followed the last time."""


class ConsumerTurn(Generic[Views]):
    """``with`` this, the consumer owns the buffers; yields the view, or a tuple of views for several."""

    __slots__ = ("__weakref__", "_buffers", "_order", "_views")

    def __init__(self, order: Order, buffers: tuple[Buffer, ...], views: Views) -> None:
        self._order = order
        self._buffers = buffers
        self._views = views

    def __enter__(self) -> Views:
        """Take the buffers over: enqueue the wait for the producer where it had them.

        Does not block the caller except with the blocking strategy and on the staged path.
        """
        buffers = self._buffers
        order = self._order
        lock = order.lock
        if not lock.acquire(False):  # noqa: FBT003 - it has no name there that is as fast
            order.take_lock()
        try:
            usable, point = not order.closed and order.failure is None, 0
            for buffer in buffers:
                if buffer.in_turn or buffer.closed:
                    usable = False
                if buffer.owner is _PRODUCER and buffer.point > point:
                    point = buffer.point
            if not usable:
                order.refuse(buffers, "consumer")
            for buffer in buffers:
                buffer.in_turn = True
            try:
                if point > order.seen:
                    order.claim(point)
                for buffer in buffers:
                    if buffer.owner is not _CONSUMER:
                        if buffer.external is not None or buffer.owner is _PRODUCER:
                            buffer.transfer.to_consumer(order.stream)
                        buffer.owner = _CONSUMER
            except BaseException:
                leave(buffers)
                raise
        finally:
            lock.release()
        return self._views

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the turn. The consumer keeps the buffers until the producer asks for them."""
        for buffer in self._buffers:
            buffer.in_turn = False


class ProducerTurn(Generic[CommandsT_co]):
    """``with`` this, the producer owns the buffers; yields its recorder and submits at the end."""

    __slots__ = (
        "__weakref__",
        "_buffers",
        "_case",
        "_cases",
        "_order",
        "_producer",
        "_signals",
        "_submission",
        "_wait_value",
        "progress",
    )

    def __init__(self, order: Order, producer: Producer[CommandsT_co], buffers: tuple[Buffer, ...]) -> None:
        self._order = order
        self._producer = producer
        self._buffers = buffers
        self._case = Case(buffers)
        """The one of the last turn, which is the likeliest for the next."""
        self._cases = [self._case]
        self._submission: Submission[CommandsT_co] | None = None
        self._signals = False
        self._wait_value = 0
        self.progress = 0
        """Point on the producer's ``progress`` timeline at which the last turn's work is done."""

    def __enter__(self) -> CommandsT_co:
        """Take the buffers over: enqueue the consumer's signal where it had them, and start recording."""
        order = self._order
        to_consumer = order.to_consumer
        if not order.lock.acquire(False):  # noqa: FBT003 - it has no name there that is as fast
            order.take_lock()
        try:
            case, same = self._case, True
            usable = not order.closed and not order.recording and order.failure is None
            for buffer, owner in case.owners:
                if buffer.in_turn or buffer.closed:
                    usable = False
                if buffer.owner is not owner:
                    same = False
            if not usable:
                order.refuse(self._buffers, "producer")
            for buffer in self._buffers:
                buffer.in_turn = True
            submission = None
            try:
                if not same:
                    case = self._choose()
                changed = case.changed
                if changed:
                    if order.to_producer.single_use and order.seen < order.taken:
                        order.claim(order.taken)  # until then the consumer's last signal may be unused
                    if to_consumer.unclaimed:
                        order.claim(order.seen)  # use the signal up, so that the next one can be given
                    to_consumer.returned()
                elif order.last is not None:
                    order.last.eager = False
                order.last = None
                self._signals = signals = to_consumer.can_signal() and (
                    case.eager or not to_consumer.single_use
                )
                submission = self._prepare(case, case.signalling if signals else case.silent)
                commands: CommandsT_co = submission.begin()
                stream = order.stream
                for leave_consumer in case.leaving:
                    leave_consumer(stream)
                for to_producer in case.returning:
                    to_producer(commands)
                self._wait_value = order.to_producer.signal(stream) if changed else 0
            except BaseException:
                if submission is not None:
                    submission.abandon()
                leave(self._buffers)
                raise
        except BaseException:
            order.lock.release()
            raise
        order.recording = True
        self._submission = submission
        return commands

    def _choose(self) -> Case:
        """Return the case of the buffers' present owners, and keep it in mind."""
        present = tuple([(buffer, buffer.owner) for buffer in self._buffers])
        for case in self._cases:
            if case.owners == present:
                self._case = case
                return case
        self._case = case = Case(self._buffers)
        self._cases.append(case)
        return case

    def _prepare(self, case: Case, prepared: Submission[Any] | None) -> Submission[Any]:
        """Return the submission of a case: its barriers and semaphores. ``prepared`` is what there is already."""
        return prepared or self._closing(case, case.used, handed_over=case.changed)

    def _closing(self, case: Case, acquire: Sequence[BufferPart], *, handed_over: bool) -> Submission[Any]:
        """Prepare, for the case, the submission that gives the buffers up."""
        order = self._order
        submission = self._producer.prepare(
            acquire=acquire,
            release=[buffer.producer_buffer for buffer in self._buffers if buffer.external is not None],
            wait=order.to_producer.semaphore if handed_over else None,
            signal=order.to_consumer.semaphore if self._signals else None,
        )
        if self._signals:
            case.signalling = submission
        else:
            case.silent = submission
        return submission

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Submit what was recorded. After an exception nothing of it is submitted, only the hand-over itself."""
        order = self._order
        submission = self._submission
        self._submission = None
        case = self._case
        if submission is None:
            return
        to_consumer = order.to_consumer
        try:
            if kind is not None:
                submission.abandon()
            self.progress = progress = submission.submit(self._wait_value, to_consumer.next_value())
            point = to_consumer.submitted(progress, signalled=self._signals)
            if to_consumer.single_use:
                order.last = case
            if case.changed:
                order.taken = point
            for buffer in self._buffers:
                buffer.owner = _PRODUCER
                buffer.point = point
        except BaseException as failure:
            order.failure = failure
            raise
        finally:
            order.recording = False
            for buffer in self._buffers:
                buffer.in_turn = False
            order.lock.release()

    def close(self) -> None:
        """Free what was prepared. Submitted work must have ended."""
        while self._cases:
            case = self._cases.pop()
            for submission in (case.silent, case.signalling):
                if submission is not None:
                    submission.close()
