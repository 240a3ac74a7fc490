"""Rings in which the newest frame wins: each side runs at its own speed, and what came too late is dropped.

The side that makes frames never waits for the one that takes them. There are three batches at least: one that
the taker has, the newest that is ready for it, and the one being made::

    ring = link.ring((256, 256), "float32", mode="latency")
    # in one thread                                # in another one
    batch = ring.fresh()                           batch = ring.newest(timeout=1.0)
    with batch.producer() as commands:             if batch is not None:
        commands.fill(batch.slots[0], frame)           with batch.consumer() as (view,):
                                                           kernel(view, global_size=(256, 256))

Frames are dropped *before* they are handed over, so no semaphore ever has a signal without its wait. A frame's
number on a timeline may pass unseen, so those are signalled with the work; a binary semaphore is signalled when
its frame is taken, by a submission of its own or by the consumer's stream. Memory that was made ready and not
taken is made anew by the same side, which has not lost it. No frame is torn: what the taker has is given out
again only after the host has seen its work end.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from interop.links.rings._batches import State
from interop.links.rings._handover import Handover
from interop.links.rings.layout import Counts, Layout, Tally
from interop.links.rings.slots import Batch, Slots
from interop.protocols import InvalidArgument, TurnError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from interop.links.order import Order
    from interop.links.rings._batches import Block
    from interop.links.rings.layout import Slot
    from interop.negotiation import Plan
    from interop.protocols import Commands, Consumer, MappedBuffer, Producer

PLACES = 3
"""Batches of a ring at least: taken, ready, and being made."""
_AHEAD = 2
"""Submissions of the producer that may be in flight: one that runs, and one behind it."""


class LatestRing(Slots):
    """A ring in which the newest frame wins. Made by :meth:`interop.links.Link.ring` with ``mode="latency"``.

    One thread may make frames while another one takes them; each side is for one thread at a time.
    """

    def __init__(
        self,
        plan: Plan,
        producer: Producer,
        consumer: Consumer,
        order: Order,
        drain: Callable[[float], None],
        layout: Layout,
    ) -> None:
        """See :class:`Slots`. Raises :class:`InvalidArgument` for fewer than three batches."""
        layout.check(plan)
        if layout.slots // layout.batch < PLACES:
            places = f"{PLACES} batches: one that is taken, one that is ready, one that is being made"
            got = f"{layout.slots} slots in batches of {layout.batch}"
            raise InvalidArgument(f"the newest frame wins in rings of at least {places}; got {got}")
        super().__init__(plan, producer, consumer, order, drain, layout)
        makes = self.source == "producer"
        self._handover = Handover(order, plan, producer, room=_AHEAD, late=not makes)
        for block in self._blocks:
            block.late = makes and block.to_consumer.single_use
        self._changed = threading.Condition()
        self._free = deque(self._blocks)
        self._held: list[Block] = []
        """What the taker has had, and may be working on."""
        self._making: _Made | None = None
        self._ready: Block | None = None
        self._taking: _Taken | None = None
        self._finished = False

    @staticmethod
    def sizes(slots: int | None, batch: int | None) -> tuple[int, int]:
        """Return slots and batch, those left open by default."""
        batch = 1 if batch is None else batch
        return PLACES * batch if slots is None else slots, batch

    def fresh(self, count: int | None = None) -> Batch:
        """Return a batch to make frames in: ``count`` of them, the whole batch by default.

        Never waits for the side that takes frames. Blocks while the maker's own work of two batches before is
        in flight, for the link's timeout at most. Use the batch's :meth:`~interop.links.Batch.producer`, or
        :meth:`~interop.links.Batch.consumer` where the consumer is the source; when that block ends the frames
        are ready, and those that were ready before and not taken are dropped. After an exception inside nothing
        is ready. A batch that was never used is void when the next one is asked for.

        Raises :class:`WaitTimeout`, :class:`TurnError` while the batch before is in use or after
        :meth:`finish`, and :class:`InvalidArgument` for a count that the batch does not hold.
        """
        count = self.batch if count is None else count
        if not 0 < count <= self.batch:
            raise InvalidArgument(f"a batch of this ring holds 1 to {self.batch} frames, got {count}")
        self._check_open()
        _check_left(self._making)
        if self.source == "consumer":
            self._handover.await_consumer(self._order.timeout)
        with self._changed:
            if self._finished:
                raise TurnError("no frames can be made after finish")
            unused = self._making
            if unused is not None:
                self._free.appendleft(unused.void())
            block = self._free.popleft()
            self._making = _Made(self, self._handover, block, self._tally.produced, count)
            return self._making

    def newest(self, timeout: float | None = None) -> Batch | None:
        """Return the newest frames that are ready, or None when none came within ``timeout`` seconds.

        The link's timeout by default; 0 only looks. First waits until the work on the batch before has ended, so
        that the taker has one batch at a time, and what is chosen now is the newest when that work begins (a
        ring of more than three batches allows it one more for each). What is returned stays as it is until it
        was used; when it has not been by the next call, it is dropped, or returned once more where nothing newer
        is ready. After :meth:`finish` nothing is waited for.

        Raises :class:`WaitTimeout` when the work before does not end in time, :class:`TurnError` while the batch
        before is in use, :class:`ClosedError` when the ring is closed meanwhile.
        """
        deadline = time.monotonic() + (self._order.timeout if timeout is None else timeout)
        self._check_open()
        unused = self._taking
        _check_left(unused)
        if len(self._held) >= len(self._blocks) - PLACES + 1:
            self._await_taker()
        with self._changed:
            while self._ready is None and unused is None and not self._finished:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
                self._check_open()
            if unused is not None and self._ready is None:
                return unused
            if unused is not None:
                self._give_up(unused.void())
            block, self._ready = self._ready, None
            if block is None:
                self._taking = None
                return None
            first = self._tally.produced - block.frames
            self._taking = _Taken(self, self._handover, block, first, block.frames)
            return self._taking

    def finish(self) -> None:
        """Say that no more frames come: :meth:`newest` returns what is ready, and then None at once."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether :meth:`finish` was called and nothing is left to take."""
        with self._changed:
            return self._finished and self._ready is None and self._taking is None

    @property
    def counts(self) -> Counts:
        """What became of the frames so far. Any thread. After :meth:`close` none is waiting."""
        with self._changed:
            return super().counts

    def _await_taker(self) -> None:
        """Wait for the work on what was taken, and let it be made anew."""
        if self.source == "producer":
            self._handover.await_consumer(self._order.timeout)
        else:
            for block in self._held:
                self._handover.await_producer(block, self._order.timeout)
        with self._changed:
            self._free.extend(self._held)
            self._held.clear()

    def _give_up(self, block: Block) -> None:
        """Drop the frames of a block that was not taken. The lock is held."""
        self._tally.dropped += block.frames
        self._handover.take_back(block)
        self._free.appendleft(block)  # nobody works on it: it is the best one to go on with

    def made(self, block: Block, frames: int) -> None:
        """Have what was made be the newest; with no frames, it was not made whole. For this module's batches."""
        with self._changed:
            self._making = None
            if not frames:
                if (block.state is State.PRODUCED) is (self.source == "producer"):
                    self._handover.take_back(block)
                self._free.appendleft(block)
                return
            block.frames = frames
            self._tally.produced += frames
            late, self._ready = self._ready, block
            if late is not None:
                self._give_up(late)
            self._changed.notify_all()

    def had(self, block: Block) -> None:
        """Count what the taker has got. For the batches of this module."""
        with self._changed:
            self._tally.consumed += block.frames
            block.frames = 0

    def left(self, block: Block) -> None:
        """Note that the taker has enqueued its work. For the batches of this module."""
        with self._changed:
            self._taking = None
            self._held.append(block)

    def cut(self, block: Block, count: int) -> Sequence[Slot]:
        """Return the first slots of a block. For the batches of this module."""
        return self._slots[block.number][:count]

    @property
    def producer(self) -> Producer:
        """The side that owns the memory."""
        return self._producer

    def release(self) -> None:
        """Free everything; work must have ended. For the link."""
        with self._changed:
            for block in self._blocks:
                self._tally.dropped += block.frames
                block.frames = 0
            self._finished = True
            self._closed = True
            self._changed.notify_all()
        super().release()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"the newest of {len(self._blocks)} batches of {self.batch}"
        return f"<LatestRing {self.shape} {self.dtype}, {state}>"


class _Once(Batch, ABC):
    """A batch that one side of the ring uses once."""

    __slots__ = ("_done", "_ring", "busy")

    def __init__(self, ring: LatestRing, handover: Handover, block: Block, first: int, count: int) -> None:
        super().__init__(handover, ring.producer, block, first, ring.cut(block, count), Tally(), ring.source)
        self._ring = ring
        self._done = False
        """Whether its side has got as far as it has to, for the frames to count."""
        self.busy = False
        """Whether its block is open."""

    @contextmanager
    def producer(self) -> Generator[Commands]:
        """See :meth:`interop.links.Batch.producer`."""
        self._check(State.IDLE)
        with self._use(), super().producer() as commands:
            yield commands

    @contextmanager
    def consumer(self) -> Generator[tuple[MappedBuffer, ...]]:
        """See :meth:`interop.links.Batch.consumer`."""
        self._check(State.PRODUCED)
        with self._use(), super().consumer() as views:
            yield views

    @contextmanager
    def _use(self) -> Generator[None]:
        if self.busy:
            raise TurnError("the block of this batch is open already")
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            self._leave()

    @abstractmethod
    def _leave(self) -> None:
        """Note that the side that used it is done."""

    def void(self) -> Block:
        """Refuse further use; return the block."""
        self.end()
        return self._block


class _Made(_Once):
    """A batch in the hands of the side that makes frames."""

    __slots__ = ()

    def _made(self) -> None:
        self._done = True

    def _leave(self) -> None:
        self._ring.made(self.void(), len(self.slots) if self._done else 0)


class _Taken(_Once):
    """A batch in the hands of the side that takes frames."""

    __slots__ = ()

    def _had(self) -> None:
        self._done = True
        self._ring.had(self._block)

    def _leave(self) -> None:
        if self._done:  # otherwise it is still there to be taken
            self._ring.left(self.void())


def _check_left(batch: _Once | None) -> None:
    if batch is not None and batch.busy:
        raise TurnError("the batch before is in use still; leave its block first")
