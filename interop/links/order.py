"""The one order of a link: it hands over every buffer and every batch of a ring, and nothing else changes an owner.

::

              submit                    wait, acquire             leave
      FREE ------------> PRODUCED ------------------> ACQUIRED ----------> LEFT
       |  (PRODUCING)       ^                             ^ ^                | |
       |                    |                             | '----- enter ----' | release, signal
       '------ acquire -----|-----------------------------'                    v
                            '------- submit (PRODUCING) <----------------- SIGNALLED

The record that moves through these states is :class:`interop.toolkit.Ownership`.

Leaving a consumer turn enqueues nothing. The engine enqueues the consumer's release and signal with the producer's
next turn, when the memory goes LEFT -> SIGNALLED -> PRODUCING. So any number of consumer turns in a row costs one
signal, and a last turn that nobody follows costs none. The batches of a ring are signalled as soon as the consumer
leaves them, because the producer is known to follow; a batch stays LEFT only where the signal would block the caller.

Threads: a lock guards the short moments in which turns are entered and batches are handed over. A producer turn does
not keep the lock while it records. It is the *open turn* of the engine instead, and other threads wait until it ends,
because submissions and signals must go out in one order. Each wait ends after the link's timeout.

Failures: :attr:`Order.failure` is the first error after which the order of the two streams is unknown. The link and
all its rings then refuse every later turn and batch.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any

from interop.protocols import ClosedError, TurnError, WaitTimeout
from interop.toolkit import OwnershipState

if TYPE_CHECKING:
    from collections.abc import Generator

    from interop.links._hand_overs import Case, ConsumerHandOver, ProducerHandOver, TurnHandOver
    from interop.links.sync import BinaryPair, ToConsumer, ToProducer
    from interop.protocols import Stream
    from interop.toolkit import Ownership

_FREE, _PRODUCING, _PRODUCED = OwnershipState.FREE, OwnershipState.PRODUCING, OwnershipState.PRODUCED
_ACQUIRED, _LEFT = OwnershipState.ACQUIRED, OwnershipState.LEFT
_OUTSIDE = (_FREE, _PRODUCED, _LEFT)
"""The states of buffers between turns."""


class Order:
    """The order engine of one link."""

    def __init__(
        self, stream: Stream, to_consumer: ToConsumer, to_producer: ToProducer, timeout: float
    ) -> None:
        self.stream = stream
        self.timeout = timeout
        self.to_consumer = to_consumer
        self.to_producer = to_producer
        self.binary: BinaryPair | None = to_consumer.binary
        """The pair of binary semaphores; None for every other strategy."""
        self.signals = to_consumer.ready is not None
        """Whether submissions of the producer signal a semaphore."""
        self.lock = threading.RLock()
        self.closed = False
        self.why = "the link is closed"
        """The text of the error that a use after the end raises."""
        self.failure: BaseException | None = None
        """The first error after which the order of the two streams is unknown. Every later turn is refused."""
        self.turn: ProducerHandOver | None = None
        """The open producer turn."""
        self.thread = 0
        """The thread that entered the open producer turn."""
        self.barred: object = None
        """Not None while a turn may not be entered at once: the open turn, the failure or the end of the link."""
        self.seen = 0
        """Newest timeline value that the consumer's stream waits for."""
        self.last: Case | None = None
        """The case of the last producer turn, until another turn follows it. Only for binary semaphores."""
        self._left = threading.Condition()
        self._waiting = 0

    # Turns of buffers run every frame. A function call costs Python about as much as a short driver call, so the
    # four methods below look at conditions in place and call another method only where one holds.

    def enter_consumer(self, turn: ConsumerHandOver) -> None:
        """Acquire the turn's buffers for the consumer: LEFT or FREE or PRODUCED -> ACQUIRED."""
        lock = self.lock
        if not lock.acquire(False):  # noqa: FBT003 - the keyword is slower
            self.take_lock()
        try:
            if self.barred is None or self.passes(turn, "consumer"):
                value = 0
                for record in turn.records:
                    if record.state is not _PRODUCED:
                        self._enter_mixed(turn)
                        return
                    value = max(value, record.value)
                try:
                    stream = self.stream
                    if value > self.seen:
                        if self.last is not None:
                            self.last.eager = True
                            self.last = None
                        if self.turn is not None:
                            self.check_nested()
                        self.seen = self.to_consumer.wait(stream, value)
                    for record, acquire in turn.acquires:
                        acquire(stream)
                        record.state = _ACQUIRED
                except BaseException:
                    self.leave_consumer(turn)
                    raise
                return
        finally:
            lock.release()
        self.await_turn()
        self.enter_consumer(turn)

    def _enter_mixed(self, turn: ConsumerHandOver) -> None:
        """Acquire buffers of which some do not come from the producer. The caller has the lock."""
        _check_states(turn, "consumer")
        produced = [record.value for record in turn.records if record.state is _PRODUCED]
        try:
            if produced and max(produced) > self.seen:
                self.wait(max(produced))
            for record, acquire in turn.acquires:
                if record.state is _PRODUCED or (record.state is _FREE and turn.shared):
                    acquire(self.stream)
                record.state = _ACQUIRED
        except BaseException:
            self.leave_consumer(turn)
            raise

    @staticmethod
    def leave_consumer(turn: ConsumerHandOver) -> None:
        """End a consumer turn: ACQUIRED -> LEFT. Enqueues nothing; see the module."""
        for record in turn.records:
            if record.state is _ACQUIRED:
                record.state = _LEFT

    def enter_producer(self, turn: ProducerHandOver) -> Any:
        """Acquire the turn's buffers for the producer and start to record: -> PRODUCING."""
        lock = self.lock
        if not lock.acquire(False):  # noqa: FBT003 - as above
            self.take_lock()
        try:
            if self.barred is None or self.passes(turn, "producer"):
                case = turn.case
                for record, state in case.states:
                    if record.state is not state:
                        _check_states(turn, "producer")
                        case = turn.choose()
                        break
                binary = self.binary
                stream = self.stream
                submission = None
                try:
                    if binary is None:
                        signals = self.signals
                    elif case.changed:
                        self.seen = binary.before_return(stream)
                        self.last = None
                        signals = case.eager
                    else:
                        if self.last is not None:
                            self.last.eager = False
                            self.last = None
                        signals = case.eager and binary.can_signal()
                    turn.signals = signals
                    submission = case.signalling if signals else case.silent
                    if submission is None:
                        submission = turn.prepare(case, signals=signals)
                    turn.submission = submission
                    commands = submission.begin()
                    if case.changed:
                        for release in case.leaving:
                            release(stream)
                        for take_back in case.returning:
                            take_back(commands)
                        turn.wait_value = self.to_producer.signal(stream)
                    else:
                        turn.wait_value = 0
                except BaseException:
                    turn.submission = None
                    if submission is not None:
                        submission.abandon()
                    raise
                for record in turn.records:
                    record.state = _PRODUCING
                self.thread = get_ident()
                self.turn = self.barred = turn
                return commands
        finally:
            lock.release()
        self.await_turn()
        return self.enter_producer(turn)

    def leave_producer(self, turn: ProducerHandOver, *, failed: bool) -> None:
        """Submit the turn: PRODUCING -> PRODUCED. Any thread. ``failed`` submits the hand-over alone."""
        submission = turn.submission
        if submission is None:
            return
        turn.submission = None
        try:
            if failed:
                submission.abandon()
            turn.progress, value = self.to_consumer.submit(submission, turn.wait_value, signals=turn.signals)
            if self.binary is not None:
                self.last = turn.case
            for record in turn.records:
                record.value = value
                record.state = _PRODUCED
        except BaseException as failure:
            self.fail(failure)
            self.give_up(turn)
            raise
        finally:
            self.turn = None
            self.barred = self.failure
            if self._waiting:
                self._tell()

    def give_up(self, turn: ProducerHandOver) -> None:
        """Close an open producer turn that could not be submitted. The order must have failed."""
        for record, state in turn.case.states:
            record.state = state
        turn.submission = None
        self.turn = None
        self.barred = self.failure
        self._tell()

    # The waits and refusals of all of them.

    def wait(self, value: int) -> None:
        """Make the consumer's stream wait for a timeline value, as :meth:`enter_consumer` does in place."""
        if self.last is not None:
            self.last.eager = True
            self.last = None
        if self.turn is not None:
            self.check_nested()
        self.seen = self.to_consumer.wait(self.stream, value)

    def check_nested(self) -> None:
        """Raise :class:`TurnError` if no buffer can be handed over while this thread's producer turn records."""
        if self.binary is not None:
            msg = f"end {self.turn} first: with binary semaphores no buffer is handed over while it records"
            raise TurnError(msg)

    def take_lock(self) -> None:
        """Take the lock that another thread has. Blocks for the link's timeout at most."""
        if not self.lock.acquire(timeout=self.timeout):
            raise WaitTimeout("another thread to end its hand-over on this link", self.timeout)

    def passes(self, what: object, side: str) -> bool:
        """Return True if a barred hand-over may go on, and False if it must wait for another thread's turn.

        Raises:
            ClosedError: The link is closed.
            TurnError: An earlier hand-over failed, or this thread itself has the producer turn open.
        """
        if self.closed:
            raise ClosedError(self.why)
        if self.failure is not None:
            msg = f"{what} is refused, because an earlier hand-over of this link failed: {self.failure}"
            raise TurnError(msg) from self.failure
        if self.turn is None:
            return True
        if self.thread != get_ident():
            return False
        if side == "consumer":
            return True
        raise TurnError(f"{self.turn} of this link is open; leave it before {what}")

    def await_turn(self) -> None:
        """Block until the open producer turn of another thread ends. The caller must not have the lock.

        Raises:
            WaitTimeout: It did not end within the link's timeout. The message names the turn and its thread.
        """
        deadline = time.monotonic() + self.timeout
        with self._left:
            self._waiting += 1
            try:
                while (turn := self.turn) is not None:
                    if not self._left.wait(max(deadline - time.monotonic(), 0)) and self.turn is turn:
                        names = {each.ident: repr(each.name) for each in threading.enumerate()}
                        thread = names.get(self.thread, f"{self.thread} (ended)")
                        raise WaitTimeout(f"{turn}, which thread {thread} entered, to end", self.timeout)
            finally:
                self._waiting -= 1

    def _tell(self) -> None:
        with self._left:
            self._left.notify_all()

    @contextmanager
    def exclusive(self, what: str) -> Generator[None]:
        """``with`` this, no producer turn is open and no other thread enters a turn.

        Raises:
            ClosedError: The link is closed.
            TurnError: This thread has a producer turn open.
            WaitTimeout: Another thread did not leave its turn within the link's timeout.
        """
        while True:
            self.take_lock()
            try:
                self.check_open()
                if self.turn is None:
                    yield
                    return
                if self.thread == get_ident():
                    raise TurnError(f"{self.turn} of this thread is open; leave it before {what}")
            finally:
                self.lock.release()
            self.await_turn()

    @contextmanager
    def open_link(self) -> Generator[None]:
        """``with`` this, the link is not closed by another thread. Raises :class:`ClosedError` if it is closed."""
        self.take_lock()
        try:
            self.check_open()
            yield
        finally:
            self.lock.release()

    def check_open(self) -> None:
        """Raise :class:`ClosedError` if the link is closed."""
        if self.closed:
            raise ClosedError(self.why)

    def forget(self, record: Ownership) -> None:
        """Close the record of a buffer that is in no open turn. The caller has the lock."""
        if self.last is not None and any(record is each for each, _ in self.last.states):
            self.last = None
        record.close()

    def fail(self, failure: BaseException) -> None:
        """Note an error after which the order is unknown. The first one stays."""
        if self.failure is None:
            self.failure = self.barred = failure

    def close(self, why: str = "the link is closed") -> None:
        """Refuse every later hand-over. The caller has the lock."""
        self.closed, self.why, self.barred = True, why, self

    def orphan(self, why: str) -> None:
        """Close the link in a forked child, where the thread that had the lock does not exist."""
        self.lock = threading.RLock()
        self._left = threading.Condition()
        if self.turn is not None:
            self.turn.submission = None  # leaving the turn in the child calls no driver
            self.turn = None
        self.close(why)


def _check_states(turn: TurnHandOver, side: str) -> None:
    """Raise an error if a buffer of a turn is closed or in an open turn."""
    for record in turn.records:
        if record.state not in _OUTSIDE:
            record.check(turn.name_of(record), side, _OUTSIDE)
