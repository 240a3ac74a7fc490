"""Turns: the time in which one side of a link owns some buffers.

Turns may be taken from any thread. A producer turn keeps other threads' turns of its link waiting until it
ends, since signals must go out in the order in which they were given.

A hand-over happens only when the owner changes. A turn object is made once for each set of buffers and
entered again and again: what can be prepared is prepared when it is made or when a case first occurs.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from interop.buffers import Owner
from interop.errors import ClosedError, TurnError, WaitTimeout

if TYPE_CHECKING:
    from types import TracebackType

    from interop.backend import BufferPart, Commands, Producer, Submission
    from interop.buffers import Buffer
    from interop.semaphore import Stream
    from interop.sync import ToConsumer, ToProducer

Views = TypeVar("Views")


class Order:
    """What the turns of one link share: the two directions, and who has waited for whom."""

    __slots__ = (
        "closed",
        "failure",
        "last",
        "lock",
        "recording",
        "seen",
        "stream",
        "taken",
        "timeout",
        "to_consumer",
        "to_producer",
        "why",
    )

    def __init__(
        self, stream: Stream, to_consumer: ToConsumer, to_producer: ToProducer, timeout: float
    ) -> None:
        self.stream = stream
        self.timeout = timeout
        self.recording = False
        """Whether a producer turn is open. It has the lock: signals must go out in the order of submission."""
        self.to_consumer = to_consumer
        self.to_producer = to_producer
        self.lock = threading.RLock()
        self.closed = False
        self.why = "the link is closed"
        """What to say to a use after that."""
        self.failure: BaseException | None = None
        """What broke the order of the two streams; no turn can be taken after it."""
        self.seen = 0
        """Newest point that the consumer's stream has waited for."""
        self.taken = 0
        """Point of the submission that last waited for the consumer."""
        self.last: Case | None = None
        """The case of the last producer turn, as long as no other turn has shown what follows it."""

    def orphan(self, why: str) -> None:
        """Close it in a forked child, where the thread that may have had the lock does not exist."""
        self.lock = threading.RLock()
        self.closed, self.why = True, why

    def take_lock(self) -> None:
        """Wait for the turn of another thread to let go; bounded."""
        if not self.lock.acquire(timeout=self.timeout):
            raise WaitTimeout("another thread to end its producer turn", self.timeout)

    def claim(self, point: int) -> None:
        """Make the consumer's stream wait for ``point``."""
        if self.recording and (self.to_consumer.single_use or self.to_producer.single_use):
            msg = "end the open producer turn first: buffers cannot be handed over while it records"
            raise TurnError(msg)
        self.seen = self.to_consumer.wait(self.stream, point)
        if self.last is not None:
            self.last.eager = True
            self.last = None

    def enter(self, buffers: tuple[Buffer, ...], side: str) -> None:
        """Mark the buffers as being in a turn, or raise and mark none."""
        if self.closed:
            raise ClosedError(self.why)
        if self.recording and side == "producer":
            raise TurnError("another producer turn of this link is open; end it first")
        if self.failure is not None:
            msg = f"no turn can be taken after an earlier one failed: {self.failure}"
            raise TurnError(msg) from self.failure
        for buffer in buffers:
            if buffer.in_turn:
                msg = f"{buffer!r} is in an open turn; end that one before the {side} takes its turn"
                raise TurnError(msg)
            if buffer.closed:
                msg = f"{buffer!r} is closed"
                raise ClosedError(msg)
        for buffer in buffers:
            buffer.in_turn = True


def leave(buffers: tuple[Buffer, ...]) -> None:
    """Mark the buffers as being in no turn."""
    for buffer in buffers:
        buffer.in_turn = False


class Case:
    """What a producer turn needs for one combination of owners, prepared once."""

    __slots__ = ("eager", "signalling", "silent")

    def __init__(self) -> None:
        self.silent: Submission | None = None
        self.signalling: Submission | None = None
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
        order.take_lock()
        try:
            order.enter(buffers, "consumer")
            try:
                point = max([buffer.point for buffer in buffers if buffer.owner is Owner.PRODUCER], default=0)
                if point > order.seen:
                    order.claim(point)
                for buffer in buffers:
                    if buffer.owner is not Owner.CONSUMER:
                        if buffer.external is not None or buffer.owner is Owner.PRODUCER:
                            buffer.transfer.to_consumer(order.stream)
                        buffer.owner = Owner.CONSUMER
            except BaseException:
                leave(buffers)
                raise
        finally:
            order.lock.release()
        return self._views

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the turn. The consumer keeps the buffers until the producer asks for them."""
        leave(self._buffers)


class ProducerTurn:
    """``with`` this, the producer owns the buffers; yields its recorder and submits at the end."""

    __slots__ = (
        "__weakref__",
        "_buffers",
        "_case",
        "_cases",
        "_handed_over",
        "_order",
        "_producer",
        "_signals",
        "_submission",
        "_wait_value",
        "progress",
    )

    def __init__(self, order: Order, producer: Producer, buffers: tuple[Buffer, ...]) -> None:
        self._order = order
        self._producer = producer
        self._buffers = buffers
        self._cases: dict[tuple[int, bool], Case] = {}
        self._case: Case | None = None
        self._submission: Submission | None = None
        self._handed_over = False
        self._signals = False
        self._wait_value = 0
        self.progress = 0
        """Point on the producer's ``progress`` timeline at which the last turn's work is done."""

    def __enter__(self) -> Commands:
        """Take the buffers over: enqueue the consumer's signal where it had them, and start recording."""
        buffers = self._buffers
        order = self._order
        to_consumer = order.to_consumer
        order.take_lock()
        try:
            order.enter(buffers, "producer")
            submission = None
            try:
                changed = [buffer for buffer in buffers if buffer.owner is Owner.CONSUMER]
                if changed:
                    if order.to_producer.single_use and order.seen < order.taken:
                        order.claim(order.taken)  # until then the consumer's last signal may be unused
                    if to_consumer.unclaimed:
                        order.claim(order.seen)  # use the signal up, so that the next one can be given
                    to_consumer.returned()
                elif order.last is not None:
                    order.last.eager = False
                order.last = None
                self._handed_over = bool(changed)
                submission = self._prepare(handed_over=self._handed_over)
                commands = submission.begin()
                for buffer in changed:
                    buffer.transfer.leave_consumer(order.stream)
                    buffer.transfer.to_producer(commands)
                self._wait_value = order.to_producer.signal(order.stream) if changed else 0
            except BaseException:
                if submission is not None:
                    submission.abandon()
                leave(buffers)
                raise
        except BaseException:
            order.lock.release()
            raise
        order.recording = True
        self._submission = submission
        return commands

    def _choose(self, *, handed_over: bool) -> tuple[Case, int]:
        """Return the case of the buffers' present owners, and which of them change owner, a bit for each."""
        order = self._order
        used = 0
        for position, buffer in enumerate(self._buffers):
            if buffer.external is not None and buffer.owner is not Owner.NOBODY:
                used |= 1 << position
        case = self._cases.get((used, handed_over))
        if case is None:
            case = self._cases[used, handed_over] = Case()
        self._case = case
        self._signals = order.to_consumer.can_signal() and (case.eager or not order.to_consumer.single_use)
        return case, used

    def _prepare(self, *, handed_over: bool) -> Submission:
        """Return the submission for the buffers' present owners: its barriers and semaphores."""
        case, used = self._choose(handed_over=handed_over)
        submission = case.signalling if self._signals else case.silent
        return submission or self._closing(case, self._taken(used), handed_over=handed_over)

    def _taken(self, used: int) -> list[BufferPart]:
        return [buffer.producer_buffer for bit, buffer in enumerate(self._buffers) if used >> bit & 1]

    def _closing(self, case: Case, acquire: list[BufferPart], *, handed_over: bool) -> Submission:
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
        if submission is None:
            return
        to_consumer = order.to_consumer
        try:
            if kind is not None:
                submission.abandon()
            self.progress = submission.submit(self._wait_value, to_consumer.next_value())
            point = to_consumer.submitted(self.progress, signalled=self._signals)
            if to_consumer.single_use:
                order.last = self._case
            if self._handed_over:
                order.taken = point
            for buffer in self._buffers:
                buffer.owner = Owner.PRODUCER
                buffer.point = point
        except BaseException as failure:
            order.failure = failure
            raise
        finally:
            order.recording = False
            leave(self._buffers)
            order.lock.release()

    def close(self) -> None:
        """Free what was prepared. Submitted work must have ended."""
        while self._cases:
            case = self._cases.popitem()[1]
            for submission in (case.silent, case.signalling):
                if submission is not None:
                    submission.close()
