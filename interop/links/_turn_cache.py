"""The turns of a link, found by their buffers, and the submissions that they prepared.

A program may keep a turn and enter it again, or ask the link for it each time. It may also ask for ever new
combinations of buffers, so the cache is bounded. A turn that falls out of it gives its prepared submissions up and
prepares them anew if the program still enters it.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from interop.links.buffers import Buffer
from interop.links.queue_turns import QueueTurn
from interop.links.turns import ConsumerTurn, ProducerTurn
from interop.protocols import ClosedError, TurnError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from interop.links.order import Order
    from interop.protocols import MappedBuffer, Producer, Submission

    AnyConsumerTurn = ConsumerTurn[MappedBuffer | tuple[MappedBuffer, ...]]

TurnT = TypeVar("TurnT")
_Kept = TypeVar("_Kept", bound=ProducerTurn[Any])
MAX_TURNS = 256
"""Turns of each kind that the cache keeps; the oldest goes first."""


class Turns(dict[tuple[Buffer, ...], TurnT]):
    """The turns of one kind, each created when it is first asked for."""

    def __init__(self, check: Callable[[tuple[object, ...]], None], make: Callable[..., TurnT]) -> None:
        super().__init__()
        self._check = check
        self._make = make

    def of(self, buffers: tuple[Buffer, ...]) -> TurnT:
        """Return the turn of some buffers; see :meth:`interop.links.Link.producer_turn`."""
        try:
            return self[buffers]
        except TypeError:  # a list cannot be a key, and the check names it
            self._check(buffers)
            raise

    def __missing__(self, buffers: tuple[Buffer, ...]) -> TurnT:
        self._check(buffers)
        return self._make(buffers)


class TurnCache:
    """The turns of one link."""

    def __init__(self, order: Order, producer: Producer, buffers: Collection[Buffer]) -> None:
        """``buffers`` are those of the link."""
        self._order = order
        self._producer = producer
        self._buffers = buffers
        self.consumer: Turns[AnyConsumerTurn] = Turns(self._check, self._consumer_turn)
        self.producer: Turns[ProducerTurn[Any]] = Turns(self._check, partial(self._new, ProducerTurn))
        self.queue: Turns[QueueTurn[Any]] = Turns(self._check, partial(self._new, QueueTurn))
        self._discarded: deque[tuple[int, Submission[Any]]] = deque()

    def _check(self, buffers: tuple[object, ...]) -> None:
        self._order.check_open()
        for buffer in buffers:
            if isinstance(buffer, (list, tuple)):
                raise TurnError(f"a turn takes buffers, got {buffer!r}; write the turn with *buffers instead")
            if not isinstance(buffer, Buffer):
                raise TurnError(f"a turn takes buffers of Link.buffer, got {buffer!r}")
        if not buffers or len(set(buffers)) != len(buffers):
            raise TurnError(f"a turn takes one or more different buffers, got {len(buffers)}: {buffers!r}")
        for buffer in buffers:
            if buffer not in self._buffers:
                if isinstance(buffer, Buffer) and buffer.closed:
                    raise ClosedError(f"{buffer!r} is closed")
                raise TurnError(f"{buffer!r} does not belong to this link")

    def _consumer_turn(self, buffers: tuple[Buffer, ...]) -> AnyConsumerTurn:
        views = tuple([buffer.consumer_view for buffer in buffers])
        turn: AnyConsumerTurn = ConsumerTurn(self._order, buffers, views[0] if len(views) == 1 else views)
        self.consumer[buffers] = turn
        while len(self.consumer) > MAX_TURNS:
            del self.consumer[next(iter(self.consumer))]
        return turn

    def _new(self, kind: type[_Kept], buffers: tuple[Buffer, ...]) -> _Kept:
        turn = kind(self._order, self._producer, buffers, self)
        self.keep(turn)
        return turn

    def keep(self, turn: ProducerTurn[Any]) -> None:
        """Have a turn that prepares submissions in the cache."""
        turns: Turns[Any] = self.queue if isinstance(turn, QueueTurn) else self.producer
        present = turns.get(turn.buffers)
        if present is turn:
            return
        if present is not None:
            self._retire(present)
        turns[turn.buffers] = turn
        if len(turns) > MAX_TURNS:
            oldest = next(
                each for each in turns if turns[each] is not turn and turns[each].submission is None
            )
            self._retire(turns.pop(oldest))

    def _retire(self, turn: ProducerTurn[Any]) -> None:
        self.discard(turn.progress, turn.retire())

    def discard(self, progress: int, submissions: Sequence[Submission[Any]]) -> None:
        """Close submissions as soon as the producer has reached ``progress``, and those discarded before."""
        self._discarded.extend([(progress, each) for each in submissions])
        reached = self._producer.progress.counter()
        for _ in range(len(self._discarded)):
            due, submission = self._discarded.popleft()
            if due <= reached:
                submission.close()
            else:
                self._discarded.append((due, submission))

    def forget(self, buffer: Buffer) -> None:
        """Remove every turn with ``buffer`` and close its submissions. Work with the buffer must have ended."""
        for consumer_turn in [each for each in self.consumer if buffer in each]:
            del self.consumer[consumer_turn]
        for turns in (self.producer, self.queue):
            for buffers in [each for each in turns if buffer in each]:
                for submission in turns.pop(buffers).retire():
                    submission.close()

    def close(self) -> None:
        """Close every prepared submission. Submitted work must have ended."""
        for turn in chain(self.producer.values(), self.queue.values()):
            for submission in turn.retire():
                submission.close()
        while self._discarded:
            self._discarded.popleft()[1].close()
        for turns in (self.consumer, self.producer, self.queue):
            turns.clear()
