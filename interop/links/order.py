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
from typing import TYPE_CHECKING, Protocol

from interop.protocols import ClosedError, TurnError, WaitTimeout
from interop.toolkit import OwnershipState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from interop.links.sync import BinaryPair, ToConsumer, ToProducer
    from interop.protocols import CommandList, Commands, ExternalMemory, Stream, Submission
    from interop.toolkit import Ownership

_FREE, _PRODUCING, _PRODUCED = OwnershipState.FREE, OwnershipState.PRODUCING, OwnershipState.PRODUCED
_ACQUIRED, _LEFT = OwnershipState.ACQUIRED, OwnershipState.LEFT
_SIGNALLED = OwnershipState.SIGNALLED
_TAKEN = frozenset({_ACQUIRED})
_HARMLESS = (TurnError, ClosedError, WaitTimeout)
"""Errors that are raised before anything reaches a queue."""


class Case(Protocol):
    """The prepared hand-over of a producer turn for one combination of states."""

    states: tuple[tuple[Ownership, OwnershipState], ...]
    changed: bool
    """Whether a buffer comes from the consumer."""
    leaving: Sequence[Callable[[Stream], object]]
    """What the consumer's stream enqueues to give the buffers up."""
    returning: Sequence[Callable[[Commands], object]]
    """What the producer records to take the bytes back."""
    eager: bool
    """Whether the submission itself signals a binary semaphore."""


class ConsumerHandOver(Protocol):
    """What the engine needs of a consumer turn."""

    records: tuple[Ownership, ...]
    acquires: tuple[tuple[Ownership, Callable[[Stream], object]], ...]
    shared: bool
    """Whether the consumer must acquire memory that nobody has used."""

    def name_of(self, record: Ownership) -> str:
        """Return the buffer of a record, for messages."""
        ...


class ProducerHandOver(Protocol):
    """What the engine needs of a producer turn."""

    records: tuple[Ownership, ...]
    case: Case
    submission: Submission | None
    signals: bool
    wait_value: int
    progress: int

    def name_of(self, record: Ownership) -> str:
        """Return the buffer of a record, for messages."""
        ...

    def choose(self) -> Case:
        """Return the case of the present states."""
        ...

    def prepare(self, case: Case, *, signals: bool) -> Submission:
        """Return the submission of a case."""
        ...


class BatchHandOver(Protocol):
    """What the engine needs of a block of a ring."""

    ownership: Ownership
    memory: ExternalMemory
    to_consumer: ToConsumer
    to_producer: ToProducer
    binary: BinaryPair | None
    producer_states: frozenset[OwnershipState]
    """From where the producer may take the batch."""
    consumer_states: frozenset[OwnershipState]
    late: bool
    """Whether the producer's signal is given when the consumer takes the batch."""
    eager: bool
    """Whether the consumer's signal is given as the batch is left."""
    blocking: bool
    """Whether the consumer's signal is a wait of the caller."""
    progress: int
    serial: int
    """:attr:`Order.given` when the batch was left without a signal."""


class BatchCalls(Protocol):
    """The consumer's prepared calls of a recorded batch."""

    commands: CommandList
    producer_first: bool
    waits: bool
    """Whether the list waits for the producer itself."""
    signals: bool
    """Whether the list signals the producer itself."""


class Order:
    """The order engine of one link."""

    __slots__ = (
        "_left",
        "_waiting",
        "barred",
        "binary",
        "closed",
        "failure",
        "given",
        "last",
        "lock",
        "seen",
        "signals",
        "stream",
        "synchronized",
        "thread",
        "timeout",
        "to_consumer",
        "to_producer",
        "turn",
        "why",
    )

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
        self.given = 0
        """Number of batches that the consumer has left without a signal."""
        self.synchronized = 0
        """How many of them the host has seen the end of."""
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
                    if record.value > value:
                        value = record.value
                try:
                    if value > self.seen:
                        self.wait(value)
                    stream = self.stream
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
        for record in turn.records:
            if record.state is not _LEFT and record.state is not _FREE and record.state is not _PRODUCED:
                record.check(turn.name_of(record), "consumer", (_FREE, _PRODUCED, _LEFT))
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

    def enter_producer(self, turn: ProducerHandOver) -> Commands:
        """Acquire the turn's buffers for the producer and start to record: -> PRODUCING."""
        lock = self.lock
        if not lock.acquire(False):  # noqa: FBT003 - as above
            self.take_lock()
        try:
            if self.barred is None or self.passes(turn, "producer"):
                case = turn.case
                for record, state in case.states:
                    if record.state is not state:
                        case = self._choose(turn)
                        break
                binary = self.binary
                stream = self.stream
                submission = None
                try:
                    if binary is None:
                        signals = self.signals
                    else:
                        signals = self._before_producer(binary, case)
                    turn.signals = signals
                    turn.submission = submission = turn.prepare(case, signals=signals)
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

    def _choose(self, turn: ProducerHandOver) -> Case:
        for record in turn.records:
            if record.state is not _LEFT and record.state is not _FREE and record.state is not _PRODUCED:
                record.check(turn.name_of(record), "producer", (_FREE, _PRODUCED, _LEFT))
        return turn.choose()

    def _before_producer(self, binary: BinaryPair, case: Case) -> bool:
        """Bring a pair of binary semaphores to where the turn may signal; return whether its submission does."""
        if case.changed:
            self.seen = binary.before_return(self.stream)
        elif self.last is not None:
            self.last.eager = False
        self.last = None
        return case.eager and binary.can_signal()

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
        """Make the consumer's stream wait for a timeline value."""
        if self.binary is not None:
            if self.turn is not None:
                msg = f"end {self.turn} first: with binary semaphores no buffer is handed over while it records"
                raise TurnError(msg)
            if self.last is not None:
                self.last.eager = True
                self.last = None
        self.seen = self.to_consumer.wait(self.stream, value)

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

    def await_turn(self, what: str = "to end") -> None:
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
                        who = f"{turn}, which thread {thread_name(self.thread)} entered, {what}"
                        raise WaitTimeout(who, self.timeout)
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
                    raise TurnError(f"{what} is refused while {self.turn} of this thread is open; leave it first")
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
        """Close the record of a buffer. The caller has the lock.

        Raises:
            TurnError: A turn with the buffer is open.
        """
        if self.last is not None and any(record is each for each, _ in self.last.states):
            self.last = None
        record.close()

    def fail(self, failure: BaseException) -> None:
        """Note an error after which the order is unknown. The first one stays."""
        if self.failure is None:
            self.failure = self.barred = failure

    def close(self, why: str = "the link is closed") -> None:
        """Refuse every later hand-over. The caller has the lock."""
        self.closed, self.why = True, why
        self.barred = self

    def orphan(self, why: str) -> None:
        """Close the link in a forked child, where the thread that had the lock does not exist."""
        self.lock = threading.RLock()
        self._left = threading.Condition()
        self.turn = None
        self.close(why)

    # Batches of rings.

    def check_batch(self, block: BatchHandOver, side: str, allowed: frozenset[OwnershipState]) -> None:
        """Raise what a hand-over of the batch would raise now. Waits for another thread's producer turn."""
        self._enter_batch(block, side, allowed)
        self.lock.release()

    def submit(self, block: BatchHandOver, submission: Submission) -> None:
        """Submit the producer's work on a batch, after a wait for the consumer where it had the batch."""
        self._enter_batch(block, "producer", block.producer_states)
        try:
            self._submit(block, submission)
        except BaseException as error:
            if not isinstance(error, _HARMLESS):
                self.fail(error)
            raise
        finally:
            self.lock.release()

    def take(self, block: BatchHandOver) -> None:
        """Acquire a batch for the consumer, after a wait for the producer where it had the batch."""
        self._enter_batch(block, "consumer", block.consumer_states)
        record = block.ownership
        waited = False
        try:
            if record.state is _PRODUCED:
                block.to_consumer.wait(self.stream, record.value)
                waited = True
            block.memory.acquire(self.stream)
            record.acquire(get_ident())
        except BaseException as error:
            if waited or not isinstance(error, _HARMLESS):
                self.fail(error)
            raise
        finally:
            self.lock.release()

    def give_back(self, block: BatchHandOver) -> None:
        """Release a batch and signal; where signals are late, only release it."""
        self._enter_batch(block, "consumer", _TAKEN)
        try:
            block.memory.release(self.stream)
            self._leave(block)
        except BaseException as error:
            self.fail(error)
            raise
        finally:
            self.lock.release()

    def run(self, block: BatchHandOver, submission: Submission, calls: BatchCalls) -> None:
        """Hand a batch over to both sides in one go, with prepared calls.

        Raises:
            BaseException: The error of a launch, after the batch was released and signalled. The order is known then.
        """
        first = calls.producer_first
        self._enter_batch(block, "batch", block.producer_states if first else block.consumer_states)
        record = block.ownership
        try:
            if first:
                self._submit(block, submission)
                failed = self._consume(block, calls)
            else:
                failed = self._consume(block, calls)
                self._submit(block, submission)
        except BaseException as error:
            if record.state is _ACQUIRED or not isinstance(error, _HARMLESS):
                self.fail(error)
            raise
        finally:
            self.lock.release()
        if failed is not None:
            raise failed

    def reclaim(self, block: BatchHandOver) -> None:
        """Return a batch to the side that handed it over: the other side was not told of it. Enqueues nothing.

        This is right only where no binary signal is out for the batch. A timeline value may pass unseen.
        """
        block.ownership.reclaim()

    def await_consumer(self, timeout: float) -> None:
        """Block until the consumer's stream has done all that it was given. Raises :class:`WaitTimeout`."""
        given = self.given
        self.stream.synchronize(timeout)
        self.synchronized = max(self.synchronized, given)

    def _enter_batch(self, block: BatchHandOver, side: str, allowed: frozenset[OwnershipState]) -> None:
        """Take the lock for a hand-over of a batch, and check that the batch may be handed over."""
        if not self.lock.acquire(False):  # noqa: FBT003 - as above
            self.take_lock()
        try:
            if self.barred is None or self.passes(block, "batch"):
                if block.ownership.state not in allowed:
                    block.ownership.check(block, side, allowed)
                return
        except BaseException:
            self.lock.release()
            raise
        self.lock.release()
        self.await_turn()
        self._enter_batch(block, side, allowed)

    def _submit(self, block: BatchHandOver, submission: Submission) -> None:
        record = block.ownership
        state, back = record.state, 0
        if state is not _FREE:
            if block.binary is not None:
                block.binary.before_return(self.stream)
            if state is _LEFT:
                self._signal_late(block)
            back = record.back
        block.progress, record.value = block.to_consumer.submit(submission, back, signals=not block.late)
        record.state, record.reclaimed = _PRODUCED, True

    def _consume(self, block: BatchHandOver, calls: BatchCalls) -> BaseException | None:
        """Enqueue wait, acquire, launches, release and signal; return the error of a failed launch."""
        record, value, back = block.ownership, 0, 0
        if record.state is _PRODUCED:
            value = record.value
            if calls.waits:
                block.to_consumer.waited(value)
            else:
                block.to_consumer.wait(self.stream, value)
        if calls.signals:
            back = block.to_producer.next_value()
        record.state = _ACQUIRED  # before the calls: an interrupt may come as any of them returns
        failed = calls.commands.submit(value, back)
        if calls.signals:
            block.to_producer.signalled(back)
            record.back, record.state, record.reclaimed = back, _SIGNALLED, True
        else:
            self._leave(block)
        return failed

    def _leave(self, block: BatchHandOver) -> None:
        record = block.ownership
        if block.eager:
            record.signalled(block.to_producer.signal(self.stream))
        else:
            self.stream.flush()
            self.given += 1
            block.serial = self.given
            record.leave()
        record.reclaimed = True

    def _signal_late(self, block: BatchHandOver) -> None:
        """Signal for a batch that was only released. Blocking waits, unless it has waited since the release."""
        if block.blocking and block.serial <= self.synchronized:
            block.ownership.signalled(0)
            return
        given = self.given
        block.ownership.signalled(block.to_producer.signal(self.stream))
        self.synchronized = given


def thread_name(ident: int) -> str:
    """Return the name of a thread, for messages."""
    return next((repr(each.name) for each in threading.enumerate() if each.ident == ident), f"{ident} (ended)")
