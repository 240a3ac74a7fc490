"""Turns around work that the caller submits to the producer's queue by other means than a link's recorder.

Two submissions to the same queue order a renderer, or a library that submits by itself, with the consumer. The one
before waits for the consumer and acquires the buffers. The one after releases them and signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.links.turns import ProducerTurn, TurnCase
from interop.protocols import CommandsT_co

if TYPE_CHECKING:
    from interop.links.buffers import Buffer
    from interop.links.order import Order
    from interop.links.turns import TurnHome
    from interop.protocols import Producer, Submission


class QueueTurn(ProducerTurn[CommandsT_co]):
    """``with`` this, the caller's own submissions to the producer's queue own the buffers.

    The first of two submissions waits for the consumer and acquires the buffers; it is submitted before the block
    begins. The second releases them and signals; it is submitted when the block ends, after an exception too. Both
    order what the caller submits in between *to the same queue*; they do not order other queues. The block yields a
    recorder of the second submission, for commands that run after the caller's own. Threads and errors are those of
    :class:`interop.links.ProducerTurn`.

    A library that waits for the queue while it holds Python's interpreter lock hangs with the bridged strategy, whose
    threads need that lock: call :meth:`interop.protocols.Producer.wait_idle` before, inside the block.

    Turns of several links over one producer nest: the others' queue turns outside, one producer turn inside.
    """

    __slots__ = ("_closings",)

    _kind = "queue"

    def __init__(
        self, order: Order, producer: Producer[CommandsT_co], buffers: tuple[Buffer, ...], home: TurnHome
    ) -> None:
        super().__init__(order, producer, buffers, home)
        self._closings: dict[tuple[TurnCase, bool], Submission[Any]] = {}

    def __enter__(self) -> CommandsT_co:
        """Acquire the buffers and submit that; start to record what comes after the caller's own work."""
        super().__enter__()
        opening, closing = self.submission, self._closings[self.case, self.signals]
        try:
            assert opening is not None  # the engine has just begun it
            opening.submit(self.wait_value)
            self.submission = closing
            commands: CommandsT_co = closing.begin()
        except BaseException as failure:
            self._order.fail(failure)
            self._order.give_up(self)
            raise
        self.wait_value = 0
        return commands

    def prepare(self, case: TurnCase, *, signals: bool) -> Submission[Any]:
        """Prepare the first submission, and have the second ready, so that nothing fails in between."""
        self._closings[case, signals] = self._closing((), signals=signals, waits=False)
        wait = self._order.to_producer.done if case.changed else None
        opening = self._producer.prepare(acquire=case.acquired, wait=wait, timeout=self._order.timeout)
        case.keep(opening, signals=signals)
        return opening

    def _strip(self, case: TurnCase) -> list[Submission[Any]]:
        found = super()._strip(case)
        closings = [self._closings.pop((case, signals), None) for signals in (False, True)]
        return [*found, *(each for each in closings if each is not None)]
