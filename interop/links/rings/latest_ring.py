"""Rings in which the newest frame wins: each side runs at its own speed, and late frames are dropped.

The side that makes frames never waits for the side that takes them. There are three batches at least: one that the
taker has, the newest that is ready for it, and the one being made::

    ring = link.ring((256, 256), "float32", mode="latency")
    # in one thread                                # in another one
    batch = ring.fresh()                           batch = ring.newest(timeout=1.0)
    with batch.producer() as commands:             if batch is not None:
        commands.fill(batch.slots[0], frame)           with batch.consumer() as (view,):
                                                           kernel(view, global_size=(256, 256))

Frames are dropped *before* they are handed over, so no semaphore ever has a signal without its wait. A timeline value
may pass unseen, so timelines are signalled with the work. A binary semaphore is signalled when its frame is taken, by a
submission of its own or by the consumer's stream. The side that made a dropped batch makes it anew. No frame is torn:
the ring gives a batch out again only after the host has seen the taker's work end.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from interop.links.rings.slots import Batch, RingBase
from interop.protocols import InvalidArgument, TurnError
from interop.toolkit import WITH_CONSUMER, OwnershipState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from interop.links.rings._blocks import RingBlock, RingHome
    from interop.links.rings._handover import Handover
    from interop.links.rings.layout import Counts, RingLayout, Slot
    from interop.protocols import Commands, MappedBuffer, Producer

PLACES = 3
"""Batches of a ring at least: taken, ready, and being made."""
_PRODUCED = frozenset({OwnershipState.PRODUCED})
_AHEAD = 2
"""Submissions of the producer that may be in flight: one that runs, and one behind it."""


class OnceBatch(Batch, ABC):
    """A batch that one side of a :class:`LatestRing` uses once."""

    __slots__ = ("_done", "_tell", "busy")

    def __init__(
        self,
        handover: Handover,
        producer: Producer,
        block: RingBlock,
        first: int,
        slots: Sequence[Slot],
        tell: Callable[[OnceBatch], object],
    ) -> None:
        """``tell`` is called when the side has left the batch."""
        super().__init__(handover, producer, block, first, slots)
        self._tell = tell
        self._done = False
        """Whether the side has come so far that the frames count."""
        self.busy = False
        """Whether its ``with`` block is open."""

    @property
    def done(self) -> bool:
        """Whether the side has come so far that the frames count."""
        return self._done

    @property
    def block(self) -> RingBlock:
        """The memory of the batch."""
        return self._block

    @contextmanager
    def producer(self) -> Generator[Commands]:
        """See :meth:`interop.links.Batch.producer`."""
        self._check_side("producer", self._block.producer_states)
        with self._use(), super().producer() as commands:
            yield commands

    @contextmanager
    def consumer(self) -> Generator[tuple[MappedBuffer, ...]]:
        """See :meth:`interop.links.Batch.consumer`."""
        self._check_side("consumer", self._block.consumer_states)
        with self._use(), super().consumer() as views:
            yield views

    def _check_side(self, side: str, allowed: frozenset[OwnershipState]) -> None:
        self._check()
        if not self.busy:
            self._handover.batches.check(self._block, side, allowed)

    @contextmanager
    def _use(self) -> Generator[None]:
        if self.busy:
            raise TurnError("the `with` block of this batch is open already")
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            self._leave()

    @abstractmethod
    def _leave(self) -> None:
        """Note that the side has left the batch."""

    def void(self) -> RingBlock:
        """Refuse further use; return the block."""
        self.end()
        return self._block


class MadeBatch(OnceBatch):
    """A batch of the side that makes frames."""

    __slots__ = ()

    def _produced(self) -> None:
        self._done = True

    def _given_back(self) -> None:
        self._done = True

    def _leave(self) -> None:
        self.end()
        self._tell(self)


class TakenBatch(OnceBatch):
    """A batch of the side that takes frames."""

    __slots__ = ("_count",)

    def __init__(
        self,
        handover: Handover,
        producer: Producer,
        block: RingBlock,
        first: int,
        slots: Sequence[Slot],
        tell: Callable[[OnceBatch], object],
        count: Callable[[RingBlock], object],
    ) -> None:
        """``count`` is called when the side has the frames."""
        super().__init__(handover, producer, block, first, slots, tell)
        self._count = count

    def _produced(self) -> None:
        self._done = True
        self._count(self._block)

    def _taken(self) -> None:
        self._done = True
        self._count(self._block)

    def _leave(self) -> None:
        if self._done:  # otherwise the batch can still be taken
            self.end()
            self._tell(self)


class LatestRing(RingBase):
    """A ring in which the newest frame wins. Made by :meth:`interop.links.Link.ring` with ``mode="latency"``.

    One thread may make frames while another one takes them; each side is for one thread at a time.
    """

    def __init__(self, home: RingHome, layout: RingLayout) -> None:
        """Allocate the slots; nothing stays open on failure.

        Raises:
            InvalidArgument: The layout has fewer than three batches.
        """
        layout.check(home.plan)
        if layout.slots // layout.batch < PLACES:
            places = f"{PLACES} batches: one that is taken, one that is ready, one that is being made"
            got = f"{layout.slots} slots in batches of {layout.batch}"
            raise InvalidArgument(f"the newest frame wins in rings of at least {places}; got {got}")
        super().__init__(home, layout, _AHEAD)
        makes = self.source == "producer"
        for block in self._blocks:
            block.late = makes and block.binary is not None
            block.eager = block.eager and makes
        self._changed = threading.Condition()
        self._free = deque(self._blocks)
        self._held: list[RingBlock] = []
        """Blocks on which the taker's work may still run."""
        self._making: MadeBatch | None = None
        self._ready: RingBlock | None = None
        self._taking: TakenBatch | None = None
        self._finished = False

    @staticmethod
    def sizes(slots: int | None, batch: int | None) -> tuple[int, int]:
        """Return slots and batch, those left open by default."""
        batch = 1 if batch is None else batch
        return PLACES * batch if slots is None else slots, batch

    def fresh(self, count: int | None = None) -> Batch:
        """Return a batch to make frames in.

        Never waits for the side that takes frames. Blocks while the maker's own work of two batches before is in
        flight. Use the batch's :meth:`~interop.links.Batch.producer`, or :meth:`~interop.links.Batch.consumer` where
        the consumer is the source. The frames are ready when that block ends, and frames that were ready before and
        not taken are dropped. After an exception inside nothing is ready. A batch that was never used is void when
        the next one is asked for.

        Args:
            count: Number of frames; the whole batch by default.

        Raises:
            WaitTimeout: The maker's own work did not end within the link's timeout.
            TurnError: The batch before is in use, or :meth:`finish` was called.
            InvalidArgument: The batch does not hold ``count`` frames.
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
            slots = self._slots[block.number][:count]
            self._making = MadeBatch(
                self._handover, self._producer, block, self._tally.produced, slots, self._made
            )
            return self._making

    def newest(self, timeout: float | None = None) -> Batch | None:
        """Return the newest frames that are ready, or None when none came in time.

        First waits until the work on the batch before has ended. So the taker has one batch at a time, and the choice
        is the newest when that work begins; a ring of more than three batches allows the taker one more for each. The
        returned batch stays as it is until it is used. If it is not used before the next call, that call drops it, or
        returns it once more where nothing newer is ready. After :meth:`finish` nothing is waited for.

        Args:
            timeout: Seconds to wait for frames; the link's timeout by default, and 0 only looks.

        Raises:
            WaitTimeout: The work before did not end within the link's timeout.
            TurnError: The batch before is in use.
            ClosedError: The ring was closed meanwhile.
        """
        deadline = time.monotonic() + (self._home.timeout if timeout is None else timeout)
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
            slots = self._slots[block.number][: block.frames]
            self._taking = TakenBatch(
                self._handover, self._producer, block, first, slots, self._left, self._had
            )
            return self._taking

    def finish(self) -> None:
        """Say that no more frames come: :meth:`newest` returns the ready batch, and then None at once."""
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
        """Numbers of the frames so far. Any thread. After :meth:`close` none is waiting."""
        with self._changed:
            return super().counts

    def _await_taker(self) -> None:
        """Wait until the taker's work on its batches has ended, and give the batches to the maker."""
        if self.source == "producer":
            self._handover.await_consumer(self._order.timeout)
        else:
            for block in self._held:
                self._handover.await_producer(block, self._order.timeout)
        with self._changed:
            self._free.extend(self._held)
            self._held.clear()

    def _give_up(self, block: RingBlock) -> None:
        """Drop the frames of a block that was not taken. The caller has the lock."""
        self._tally.dropped += block.frames
        block.frames = 0
        self._handover.batches.reclaim(block)
        self._free.appendleft(block)  # no device works on it: it is the best one to go on with

    def _made(self, batch: OnceBatch) -> None:
        """Make a batch that its maker has left the newest, unless the maker failed."""
        block = batch.block
        with self._changed:
            self._making = None
            if not batch.done:
                if block.ownership.state in self._handed_over:
                    self._handover.batches.reclaim(block)
                self._free.appendleft(block)
                return
            block.frames = len(batch)
            self._tally.produced += block.frames
            late, self._ready = self._ready, block
            if late is not None:
                self._give_up(late)
            self._changed.notify_all()

    @property
    def _handed_over(self) -> frozenset[OwnershipState]:
        """The states in which a batch is with the side that takes frames."""
        return _PRODUCED if self.source == "producer" else WITH_CONSUMER

    def _had(self, block: RingBlock) -> None:
        """Count the frames that the taker has got."""
        with self._changed:
            self._tally.consumed += block.frames
            block.frames = 0

    def _left(self, batch: OnceBatch) -> None:
        """Note that the taker has enqueued its work."""
        with self._changed:
            self._taking = None
            self._held.append(batch.block)

    def release(self) -> None:
        """Free everything. The work that uses it must have ended. For the link."""
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


def _check_left(batch: OnceBatch | None) -> None:
    if batch is not None and batch.busy:
        raise TurnError("the batch before is still in use; leave its `with` block first")
