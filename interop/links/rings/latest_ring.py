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
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from interop.links.rings.slots import Batch, BatchHooks, RingBase
from interop.protocols import InvalidArgument, TurnError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from interop.links.rings._blocks import RingBlock, RingHome
    from interop.links.rings.layout import Counts, RingLayout, Slot
    from interop.protocols import Commands, MappedBuffer
    from interop.toolkit import OwnershipState

    Leave = Callable[["OnceBatch", RingBlock], object]

PLACES = 3
"""Batches of a ring at least: taken, ready, and being made."""
_AHEAD = 2
"""Submissions of the producer that may be in flight: one that runs, and one behind it."""


class OnceBatch(Batch):
    """A batch that one side of a :class:`LatestRing` uses once."""

    __slots__ = ("_leave", "busy")

    def __init__(
        self, hooks: BatchHooks, block: RingBlock, first: int, slots: Sequence[Slot], leave: Leave
    ) -> None:
        """``leave`` is called when the side has left the batch, after an exception too."""
        super().__init__(hooks, block, first, slots)
        self._leave = leave
        self.busy = False
        """Whether its ``with`` block is open."""

    @contextmanager
    def producer(self) -> Generator[Commands]:
        """See :meth:`interop.links.Batch.producer`."""
        with self._use("producer", self._block.producer_states), super().producer() as commands:
            yield commands

    @contextmanager
    def consumer(self) -> Generator[tuple[MappedBuffer, ...]]:
        """See :meth:`interop.links.Batch.consumer`."""
        with self._use("consumer", self._block.consumer_states), super().consumer() as views:
            yield views

    @contextmanager
    def _use(self, side: str, allowed: frozenset[OwnershipState]) -> Generator[None]:
        self._check()
        if self.busy:
            raise TurnError("the `with` block of this batch is open already")
        self._hooks.handover.batches.check(self._block, side, allowed)
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            self._leave(self, self._block)


class LatestRing(RingBase):
    """A ring in which the newest frame wins. Made by :meth:`interop.links.Link.ring` with ``mode="latency"``.

    One thread may make frames while another one takes them; each side is for one thread at a time.
    """

    def __init__(self, home: RingHome, layout: RingLayout) -> None:
        """Allocate the slots; nothing stays open on failure.

        Raises:
            InvalidArgument: The layout has fewer than three batches.
        """
        if layout.slots < PLACES * layout.batch:
            places = f"{PLACES} batches: one that is taken, one that is ready, one that is being made"
            got = f"{layout.slots} slots in batches of {layout.batch}"
            raise InvalidArgument(f"the newest frame wins in rings of at least {places}; got {got}")
        super().__init__(home, layout, _AHEAD)
        makes = self.source == "producer"
        for block in self._blocks:
            block.late = makes and block.binary is not None
            block.eager = block.eager and makes
        self._hooks = BatchHooks(self._handover, self._producer, self._made, self._had)
        self._changed = threading.Condition()
        self._free = deque(self._blocks)
        self._held: list[RingBlock] = []
        """Blocks on which the taker's work may still run."""
        self._making: OnceBatch | None = None
        self._ready: RingBlock | None = None
        self._taking: OnceBatch | None = None
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
                self._free.appendleft(unused.end())
            block = self._free.popleft()
            slots = self._slots[block.number][:count]
            first = self._tally.produced
            self._making = OnceBatch(self._hooks, block, first, slots, self._left_by_maker)
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
                self._give_up(unused.end())
            block, self._ready = self._ready, None
            if block is None:
                self._taking = None
                return None
            first = self._tally.produced - block.frames
            slots = self._slots[block.number][: block.frames]
            self._taking = OnceBatch(self._hooks, block, first, slots, self._left_by_taker)
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
        self._tally.lost(block)
        self._handover.batches.reclaim(block)
        self._free.appendleft(block)  # no device works on it: it is the best one to go on with

    def _made(self, block: RingBlock, frames: int) -> None:
        """Make a batch that its maker has handed over the newest."""
        with self._changed:
            self._making = None
            self._tally.made(block, frames)
            late, self._ready = self._ready, block
            if late is not None:
                self._give_up(late)
            self._changed.notify_all()

    def _left_by_maker(self, batch: OnceBatch, block: RingBlock) -> None:
        """Go on with the memory of a batch whose maker failed."""
        batch.end()
        with self._changed:
            if self._making is batch:
                self._making = None
                taken = block.consumer_states if block.producer_first else block.producer_states
                if block.ownership.state in taken:
                    self._handover.batches.reclaim(block)
                self._free.appendleft(block)

    def _had(self, block: RingBlock) -> None:
        """Count the frames that the taker has got."""
        with self._changed:
            self._tally.had(block)

    def _left_by_taker(self, batch: OnceBatch, block: RingBlock) -> None:
        """Note that the taker has enqueued its work. A batch that it failed to get can still be taken."""
        with self._changed:
            if not block.frames:
                self._taking = None
                self._held.append(batch.end())

    def release(self) -> None:
        """Free everything. The work that uses it must have ended. For the link."""
        with self._changed:
            for block in self._blocks:
                self._tally.lost(block)
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
