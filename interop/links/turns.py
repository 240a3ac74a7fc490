"""Turns: the time in which one side of a link owns some buffers.

A turn may be entered and left from any thread. While a producer turn is open, turns of other threads wait until it
ends. A turn object is created once for each combination of buffers and entered many times, so everything that can be
prepared is prepared when the turn or one of its cases first occurs. :mod:`interop.links.order` does the hand-over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from interop.protocols import CommandsT_co
from interop.toolkit import WITH_CONSUMER, OwnershipState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from interop.links.buffers import Buffer
    from interop.links.order import Order
    from interop.protocols import BufferPart, Producer, Stream, Submission
    from interop.toolkit import Ownership

Views = TypeVar("Views")
MAX_CASES = 16
"""Prepared cases of one turn; the oldest goes first."""


class TurnHome(Protocol):
    """The keeper of prepared submissions."""

    def keep(self, turn: ProducerTurn[Any]) -> None:
        """Note that ``turn`` is about to prepare a submission, which must be closed before its buffers are."""
        ...

    def discard(self, progress: int, submissions: Sequence[Submission[Any]]) -> None:
        """Close submissions as soon as the producer's progress reaches ``progress``."""
        ...


_AFTER = {OwnershipState.ACQUIRED: OwnershipState.LEFT, OwnershipState.PRODUCING: OwnershipState.PRODUCED}
"""The state after an open turn. A case never matches an open turn, which the engine must refuse."""


class TurnCase:
    """The prepared hand-over of a producer turn for one combination of states. See :class:`order.Case`."""

    __slots__ = ("acquired", "changed", "eager", "leaving", "returning", "signalling", "silent", "states")

    def __init__(self, buffers: tuple[Buffer, ...]) -> None:
        self.states: tuple[tuple[Ownership, OwnershipState], ...] = tuple(
            [(each.ownership, _AFTER.get(each.ownership.state, each.ownership.state)) for each in buffers]
        )
        taken = [
            each for each, (_, state) in zip(buffers, self.states, strict=True) if state in WITH_CONSUMER
        ]
        self.changed = bool(taken)
        self.leaving = tuple([buffer.transfer.leave_consumer for buffer in taken])
        self.returning = tuple([each.transfer.to_producer for each in taken if not each.transfer.shared])
        self.acquired = tuple(
            [each.producer_buffer for each in buffers if each.transfer.shared and each.ownership.external]
        )
        """The buffers that need a queue-family acquire from another API."""
        self.silent: Submission[Any] | None = None
        self.signalling: Submission[Any] | None = None
        self.eager = True
        """Whether the submission itself signals a binary semaphore. That is right if a consumer turn follows, as
        it mostly does. The engine corrects it by the turn that followed the last time."""

    def keep(self, submission: Submission[Any], *, signals: bool) -> None:
        """Keep a prepared submission."""
        if signals:
            self.signalling = submission
        else:
            self.silent = submission


class TurnBase:
    """The buffers of a turn, and how messages name them."""

    __slots__ = ("__weakref__", "_buffers", "_order", "records")

    _kind: ClassVar[str]
    """The turn in messages."""

    def __init__(self, order: Order, buffers: tuple[Buffer, ...]) -> None:
        self._order = order
        self._buffers = buffers
        self.records = tuple([buffer.ownership for buffer in buffers])
        """For the engine: the ownership of the buffers."""

    def name_of(self, record: Ownership) -> str:
        """Return the buffer of a record, for messages."""
        return next(repr(buffer) for buffer in self._buffers if buffer.ownership is record)

    def __repr__(self) -> str:
        return f"the {self._kind} turn on {', '.join(map(repr, self._buffers))}"


class ConsumerTurn(TurnBase, Generic[Views]):
    """``with`` this, the consumer owns the buffers; yields the view, or a tuple of views for several."""

    __slots__ = ("_views", "acquires", "shared")

    _kind = "consumer"

    def __init__(self, order: Order, buffers: tuple[Buffer, ...], views: Views) -> None:
        super().__init__(order, buffers)
        self._views = views
        self.acquires: tuple[tuple[Ownership, Callable[[Stream], None]], ...] = tuple(
            [(buffer.ownership, buffer.transfer.to_consumer) for buffer in buffers]
        )
        """For the engine: the calls that acquire the buffers."""
        self.shared = buffers[0].transfer.shared
        """For the engine: whether memory that nobody has used must be acquired too."""

    def __enter__(self) -> Views:
        """Acquire the buffers: enqueue the wait for the producer where it had them.

        Does not block the caller except with the blocking strategy and on the staged path.

        Raises:
            TurnError: A buffer is in an open turn, or an earlier hand-over of the link failed.
            ClosedError: A buffer or the link is closed.
            WaitTimeout: The producer or another thread's producer turn did not end within the link's timeout.
        """
        self._order.enter_consumer(self)
        return self._views

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the turn. Enqueues nothing: the consumer keeps the buffers until the producer's next turn."""
        self._order.leave_consumer(self)


class ProducerTurn(TurnBase, Generic[CommandsT_co]):
    """``with`` this, the producer owns the buffers; yields its recorder and submits at the end."""

    __slots__ = ("_cases", "_home", "_producer", "case", "progress", "signals", "submission", "wait_value")

    _kind = "producer"

    def __init__(
        self, order: Order, producer: Producer[CommandsT_co], buffers: tuple[Buffer, ...], home: TurnHome
    ) -> None:
        super().__init__(order, buffers)
        self._producer = producer
        self._home = home
        self.case = TurnCase(buffers)
        """For the engine: the case of the last turn, which is the likeliest for the next."""
        self._cases = [self.case]
        self.submission: Submission[Any] | None = None
        """For the engine: the submission of the open turn."""
        self.signals = False
        """For the engine: whether that submission signals."""
        self.wait_value = 0
        """For the engine: the timeline value that it waits for."""
        self.progress = 0
        """Timeline value of the producer's ``progress`` at which the last turn's work is done."""

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """The buffers of the turn."""
        return self._buffers

    def __enter__(self) -> CommandsT_co:
        """Acquire the buffers: enqueue the consumer's release and signal where it had them, and start to record.

        Raises:
            TurnError: A buffer is in an open turn, another producer turn of this thread is open, or an earlier
                hand-over of the link failed.
            ClosedError: A buffer or the link is closed.
            WaitTimeout: Another thread's producer turn did not end within the link's timeout.
        """
        commands: CommandsT_co = self._order.enter_producer(self)
        return commands

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Submit the recorded commands. After an exception only the hand-over itself is submitted."""
        self._order.leave_producer(self, failed=kind is not None)

    def choose(self) -> TurnCase:
        """Return the case of the buffers' present states, for the engine."""
        present = tuple([(record, record.state) for record in self.records])
        for case in self._cases:
            if case.states == present:
                self.case = case
                return case
        self.case = case = TurnCase(self._buffers)
        self._cases.append(case)
        if len(self._cases) > MAX_CASES:
            self._home.discard(self.progress, self._strip(self._cases.pop(0)))
        return case

    def prepare(self, case: TurnCase, *, signals: bool) -> Submission[Any]:
        """Prepare the submission of a case, its barriers and semaphores, for the engine."""
        submission = self._closing(case.acquired, signals=signals, waits=case.changed)
        case.keep(submission, signals=signals)
        return submission

    def _closing(self, acquire: Sequence[BufferPart], *, signals: bool, waits: bool) -> Submission[Any]:
        """Prepare a submission that releases the buffers."""
        self._home.keep(self)
        order = self._order
        return self._producer.prepare(
            acquire=acquire,
            release=[buffer.producer_buffer for buffer in self._buffers if buffer.transfer.shared],
            wait=order.to_producer.done if waits else None,
            signal=order.to_consumer.ready if signals else None,
            timeout=order.timeout,
        )

    def retire(self) -> list[Submission[Any]]:
        """Forget every prepared submission and return them, to be closed when the last turn's work has ended."""
        return [each for case in self._cases for each in self._strip(case)]

    def _strip(self, case: TurnCase) -> list[Submission[Any]]:
        """Take the submissions out of a case."""
        found = [each for each in (case.silent, case.signalling) if each is not None]
        case.silent = case.signalling = None
        return found
