"""The part of a link's order engine that hands over the batches of rings. See :mod:`interop.links.order`.

A batch is signalled as soon as the consumer leaves it, because the producer is known to follow. It stays LEFT only
where the signal would block the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import ClosedError, TurnError, WaitTimeout
from interop.toolkit import OwnershipState

if TYPE_CHECKING:
    from interop.links._hand_overs import BatchCalls, BatchHandOver
    from interop.links.order import Order
    from interop.protocols import Submission

_FREE, _PRODUCED, _ACQUIRED = OwnershipState.FREE, OwnershipState.PRODUCED, OwnershipState.ACQUIRED
_LEFT, _SIGNALLED = OwnershipState.LEFT, OwnershipState.SIGNALLED
_TAKEN = frozenset({_ACQUIRED})
_HARMLESS = (TurnError, ClosedError, WaitTimeout)
"""Errors that are raised before anything reaches a queue."""


class BatchOrder:
    """Hands over the batches of a link's rings, by the order of its turns."""

    __slots__ = ("_given", "_order", "_synchronized")

    def __init__(self, order: Order) -> None:
        self._order = order
        self._given = 0
        """Number of batches that the consumer has left without a signal."""
        self._synchronized = 0
        """How many of them the host has seen the end of."""

    def check(self, block: BatchHandOver, side: str, allowed: frozenset[OwnershipState]) -> None:
        """Raise what a hand-over of the batch would raise now. Waits for another thread's producer turn."""
        self._enter(block, side, allowed)
        self._order.lock.release()

    def submit(self, block: BatchHandOver, submission: Submission) -> None:
        """Submit the producer's work on a batch, after a wait for the consumer where it had the batch."""
        self._enter(block, "producer", block.producer_states)
        try:
            self._submit(block, submission)
        except BaseException as error:
            if not isinstance(error, _HARMLESS):
                self._order.fail(error)
            raise
        finally:
            self._order.lock.release()

    def take(self, block: BatchHandOver) -> None:
        """Acquire a batch for the consumer, after a wait for the producer where it had the batch."""
        self._enter(block, "consumer", block.consumer_states)
        record = block.ownership
        waited = False
        try:
            if record.state is _PRODUCED:
                block.to_consumer.wait(self._order.stream, record.value)
                waited = True
            block.memory.acquire(self._order.stream)
            record.acquire()
        except BaseException as error:
            if waited or not isinstance(error, _HARMLESS):
                self._order.fail(error)
            raise
        finally:
            self._order.lock.release()

    def give_back(self, block: BatchHandOver) -> None:
        """Release a batch and signal; where signals are late, only release it."""
        self._enter(block, "consumer", _TAKEN)
        try:
            block.memory.release(self._order.stream)
            self._leave(block)
        except BaseException as error:
            self._order.fail(error)
            raise
        finally:
            self._order.lock.release()

    def run(self, block: BatchHandOver, submission: Submission, calls: BatchCalls) -> None:
        """Hand a batch over to both sides in one go, with prepared calls.

        Raises:
            BaseException: The error of a launch, after the batch was released and signalled. The order is known then.
        """
        order, record = self._order, block.ownership
        if record.state is not _SIGNALLED or not calls.whole:
            self._run(block, submission, calls)
            return
        if not order.lock.acquire(False):  # noqa: FBT003 - the keyword is slower
            order.take_lock()
        try:
            barred = order.barred is not None
            failed: BaseException | None = None
            if not barred:
                if block.binary is None:
                    block.progress, value = block.to_consumer.submit(submission, record.back, signals=True)
                    record.value = value
                    record.back = back = block.to_producer.next_value()
                else:  # the batch uses up each signal of its pair
                    block.progress = submission.submit()
                    value = back = 0
                record.state = _ACQUIRED  # before the calls: an interrupt may come as any of them returns
                failed = calls.commands.submit(value, back)
                record.state = _SIGNALLED
        except BaseException as error:
            if record.state is _ACQUIRED or not isinstance(error, _HARMLESS):
                order.fail(error)
            raise
        finally:
            order.lock.release()
        if barred:
            self._run(block, submission, calls)
        elif failed is not None:
            raise failed

    def _run(self, block: BatchHandOver, submission: Submission, calls: BatchCalls) -> None:
        """Do what :meth:`run` does, for a batch in any state and a list of any kind."""
        first, record = block.producer_first, block.ownership
        self._enter(block, "batch", block.producer_states if first else block.consumer_states)
        try:
            if first:
                self._submit(block, submission)
            failed = self._consume(block, calls)
            if not first:
                self._submit(block, submission)
        except BaseException as error:
            if record.state is _ACQUIRED or not isinstance(error, _HARMLESS):
                self._order.fail(error)
            raise
        finally:
            self._order.lock.release()
        if failed is not None:
            raise failed

    def reclaim(self, block: BatchHandOver) -> None:
        """Return a batch to the side that handed it over: the other side was not told of it. Enqueues nothing.

        This is right only where no binary signal is out for the batch. A timeline value may pass unseen.
        """
        block.ownership.reclaim()

    def await_consumer(self, timeout: float) -> None:
        """Block until the consumer's stream has done all that it was given. Raises :class:`WaitTimeout`."""
        given = self._given
        self._order.stream.synchronize(timeout)
        self._synchronized = max(self._synchronized, given)

    def _enter(self, block: BatchHandOver, side: str, allowed: frozenset[OwnershipState]) -> None:
        """Take the lock for a hand-over of a batch, and check that the batch may be handed over."""
        order = self._order
        order.take_lock()
        try:
            if order.barred is None or order.passes(block, "batch"):
                if block.ownership.state not in allowed:
                    block.ownership.check(block, side, allowed)
                return
        except BaseException:
            order.lock.release()
            raise
        order.lock.release()
        order.await_turn()
        self._enter(block, side, allowed)

    def _submit(self, block: BatchHandOver, submission: Submission) -> None:
        record = block.ownership
        state, back = record.state, 0
        if state is not _FREE:
            if block.binary is not None:
                block.binary.before_return(self._order.stream)
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
            if not calls.waits:
                block.to_consumer.wait(self._order.stream, value)
            elif block.binary is not None:
                block.binary.waited(value)
        if calls.signals:
            back = block.to_producer.next_value()
        record.state = _ACQUIRED  # before the calls: an interrupt may come as any of them returns
        failed = calls.commands.submit(value, back)
        if calls.signals:
            record.back, record.state, record.reclaimed = back, _SIGNALLED, True
        else:
            self._leave(block)
        return failed

    def _leave(self, block: BatchHandOver) -> None:
        record = block.ownership
        if block.eager:
            record.signalled(block.to_producer.signal(self._order.stream))
        else:
            self._order.stream.flush()
            self._given += 1
            block.serial = self._given
            record.leave()
        record.reclaimed = True

    def _signal_late(self, block: BatchHandOver) -> None:
        """Signal for a batch that was only released. Blocking waits, unless it has waited since the release."""
        if block.blocking and block.serial <= self._synchronized:
            block.ownership.signalled(0)
            return
        given = self._given
        block.ownership.signalled(block.to_producer.signal(self._order.stream))
        self._synchronized = given
