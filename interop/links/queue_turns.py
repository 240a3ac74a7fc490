"""Turns around work that the caller submits to the producer's queue by other means than a link's recorder.

A renderer, or a library that submits by itself, is ordered with the consumer by what is submitted to the same
queue before and after it: the taking over, with its wait, and the giving up, with its signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.links.order import Order, leave
from interop.links.turns import ProducerTurn
from interop.protocols import CommandsT_co

if TYPE_CHECKING:
    from interop.links.buffers import Buffer
    from interop.links.turns import Case
    from interop.protocols import Producer, Submission


class QueueTurn(ProducerTurn[CommandsT_co]):
    """``with`` this, whatever is submitted to the producer's queue owns the buffers.

    The first of two submissions waits for the consumer and takes the buffers over; it has gone out when the
    block begins. The second gives them up and signals; it goes out when the block ends, after an exception
    too. What the caller submits in between *to the same queue* is ordered by them; other queues are not. The
    block yields a recorder of the second submission, for commands that run after the caller's own. Threads and
    errors are those of :class:`interop.links.ProducerTurn`.

    A library that waits for the queue while it holds Python's interpreter lock hangs with the bridged strategy,
    whose threads need that lock: call :meth:`interop.protocols.Producer.wait_idle` before, inside the block.

    Turns of several links over one producer nest: the others' queue turns outside, one producer turn inside.
    """

    __slots__ = ("_openings", "_second")

    def __init__(self, order: Order, producer: Producer[CommandsT_co], buffers: tuple[Buffer, ...]) -> None:
        super().__init__(order, producer, buffers)
        self._openings: dict[Case, Submission[CommandsT_co]] = {}
        self._second: Submission[CommandsT_co] | None = None

    def __enter__(self) -> CommandsT_co:
        """Take the buffers over, and submit that; start recording what comes after the caller's own work."""
        super().__enter__()
        order = self._order
        opening, closing = self._submission, self._second
        try:
            assert opening is not None
            assert closing is not None
            opening.submit(self._wait_value)
            self._submission = closing
            return closing.begin()
        except BaseException as failure:
            order.failure = failure
            order.recording = False
            self._submission = None
            leave(self._buffers)
            order.lock.release()
            raise

    def _prepare(self, case: Case, prepared: Submission[Any] | None) -> Submission[Any]:
        """Return the first submission, and have the second ready, so that nothing fails in between."""
        self._second = prepared or self._closing(case, (), handed_over=False)
        opening = self._openings.get(case)
        if opening is None:
            wait = self._order.to_producer.semaphore if case.changed else None
            opening = self._producer.prepare(acquire=case.used, wait=wait)
            self._openings[case] = opening
        return opening

    def close(self) -> None:
        """Free what was prepared. Submitted work must have ended."""
        while self._openings:
            self._openings.popitem()[1].close()
        super().close()
