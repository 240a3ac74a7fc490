"""The turns of a link, found by their buffers, and the submissions that they prepared.

A program may keep a turn and enter it again, or ask the link for it each time. It may also ask for ever new
combinations of buffers, so the cache is bounded. A turn that falls out of it gives its prepared submissions up and
prepares them anew if the program still enters it.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any

from interop.links.queue_turns import QueueTurn
from interop.links.turns import ConsumerTurn, ProducerTurn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.links.buffers import Buffer
    from interop.links.order import Order
    from interop.protocols import MappedBuffer, Producer, Submission

    AnyConsumerTurn = ConsumerTurn[MappedBuffer | tuple[MappedBuffer, ...]]

MAX_TURNS = 256
"""Turns of each kind that the cache keeps; the oldest goes first."""


class TurnCache:
    """The turns of one link."""

    def __init__(self, order: Order, producer: Producer) -> None:
        self._order = order
        self._producer = producer
        self.consumer: dict[tuple[Buffer, ...], AnyConsumerTurn] = {}
        self.producer: dict[tuple[Buffer, ...], ProducerTurn[Any]] = {}
        self.queue: dict[tuple[Buffer, ...], ProducerTurn[Any]] = {}
        self._discarded: deque[tuple[int, Submission[Any]]] = deque()

    def add_consumer(self, buffers: tuple[Buffer, ...]) -> AnyConsumerTurn:
        """Create the consumer turn of some buffers."""
        views = tuple([buffer.consumer_view for buffer in buffers])
        turn: AnyConsumerTurn = ConsumerTurn(self._order, buffers, views[0] if len(views) == 1 else views)
        self.consumer[buffers] = turn
        while len(self.consumer) > MAX_TURNS:
            del self.consumer[next(iter(self.consumer))]
        return turn

    def add_producer(self, buffers: tuple[Buffer, ...]) -> ProducerTurn[Any]:
        """Create the producer turn of some buffers."""
        turn = ProducerTurn(self._order, self._producer, buffers, self)
        self.keep(turn)
        return turn

    def add_queue(self, buffers: tuple[Buffer, ...]) -> QueueTurn[Any]:
        """Create the queue turn of some buffers."""
        turn = QueueTurn(self._order, self._producer, buffers, self)
        self.keep(turn)
        return turn

    def keep(self, turn: ProducerTurn[Any]) -> None:
        """Have a turn that prepares submissions in the cache."""
        turns = self.queue if isinstance(turn, QueueTurn) else self.producer
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
