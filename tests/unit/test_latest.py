"""Rings in which the newest frame wins, with doubles that check every rule of semaphores and ownership."""

from __future__ import annotations

import random
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import doubles
import pytest
from doubles import PAIRS as CASES
from doubles import make_link
from hypothesis import given, settings
from hypothesis import strategies as st

from interop import ClosedError, InvalidArgument, LatestRing, TurnError, Unsupported, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.links import Batch, Slot

Source = Literal["producer", "consumer"]
SOURCES: tuple[Source, ...] = get_args(Source)
pytestmark = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Frames:
    """Frames of four equal words, their number; the taker notes what it finds and spoils it."""

    def __init__(self, world: doubles.World, ring: LatestRing) -> None:
        self.world, self.ring = world, ring
        self.seen: list[int] = []
        self.torn = 0

    def make(self, count: int | None = None, *, error: bool = False) -> list[int]:
        """Make a batch of frames; return their numbers."""
        batch = self.ring.fresh(count)
        if self.ring.source == "producer":
            with batch.producer() as commands:
                for number, slot in batch:
                    commands.fill(slot, number)
                if error:
                    raise KeyError
        else:
            with batch.consumer():
                for number, slot in batch:
                    for word in range(4):  # one by one: they can be caught half done
                        self.enqueue(slot, word, number)
                if error:
                    raise KeyError
        return [number for number, _ in batch]

    def enqueue(self, slot: Slot, word: int, number: int) -> None:
        data = memory(slot)
        write = number.to_bytes(4, "little")
        at = slice(4 * word, 4 * word + 4)
        self.world.consumer_queue.append(
            doubles.Step("make", lambda: True, lambda: data.__setitem__(at, write))
        )

    def take(self, batch: Batch | None = None) -> list[int]:
        """Take the newest batch, if there is one; return its numbers."""
        found = batch or self.ring.newest(timeout=0)
        if found is None:
            return []
        if self.ring.source == "producer":
            with found.consumer():
                for _, slot in found:
                    look = partial(self.look, memory(slot))
                    self.world.consumer_queue.append(doubles.Step("kernel", lambda: True, look))
        else:
            with found.producer() as commands:
                for _, slot in found:
                    commands.actions.append(("look", partial(self.look, memory(slot))))  # type: ignore[attr-defined]
        return [number for number, _ in found]

    def look(self, data: memoryview) -> None:
        words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, 16, 4)]
        self.torn += len(set(words)) != 1
        self.seen.append(words[0])
        data[:] = b"\xee" * 16


def memory(slot: Slot) -> memoryview:
    found: memoryview = slot.view.data  # type: ignore[attr-defined]
    return found


def spread(ring: LatestRing) -> None:
    counts = ring.counts
    assert counts.produced == counts.consumed + counts.dropped + counts.waiting
    assert counts.dropped == ring.dropped


def test_the_newest_frame_wins(case: str, source: Source) -> None:
    link, world = make_link(case)
    with link:
        ring = link.ring(4, "uint32", mode="latency", source=source)
        frames = Frames(world, ring)
        assert frames.take() == []
        for _ in range(5):
            frames.make()
        assert ring.counts == (5, 0, 4, 1)
        assert frames.take() == [4]
        assert frames.take() == []
        frames.make()
        frames.make()
        assert frames.take() == [6]
        ring.synchronize()
        assert (frames.seen, frames.torn) == ([4, 6], 0)
        assert ring.counts == (7, 2, 5, 0)
        assert "newest of 3" in repr(ring)


def test_a_taker_that_keeps_up_loses_nothing(case: str, source: Source) -> None:
    link, world = make_link(case)
    with link:
        ring = link.ring(4, "uint32", mode="latency", source=source)
        frames = Frames(world, ring)
        for _ in range(20):
            frames.make()
            frames.take()
        ring.synchronize()
        assert frames.seen == list(range(20))
        assert ring.dropped == 0


def test_frames_come_and_go_by_the_batch(case: str, source: Source) -> None:
    link, world = make_link(case)
    with link:
        ring = link.ring(4, "uint32", mode="latency", source=source, batch=4)
        assert len(ring.slots) == 12
        frames = Frames(world, ring)
        assert frames.make() == [0, 1, 2, 3]
        assert frames.make(2) == [4, 5]  # ends in the middle of a batch
        assert frames.take() == [4, 5]
        assert frames.make(3) == [6, 7, 8]
        assert frames.take() == [6, 7, 8]
        ring.synchronize()
        assert (frames.seen, frames.torn) == ([4, 5, 6, 7, 8], 0)
        assert ring.counts == (9, 5, 4, 0)
        for count in (0, 5, -1):
            with pytest.raises(InvalidArgument, match="1 to 4"):
                ring.fresh(count)


def any_schedule(case: str, source: Source, choose: random.Random) -> None:
    """Make, take, fail, give up and look on, in any order, with the devices running in any order."""
    link, world = make_link(case)
    world.random = choose
    world.lagging = choose.choice([None, 0, 1])
    with link:
        blocks, batch = choose.choice([3, 4, 6]), choose.choice([1, 2])
        ring = link.ring(4, "uint32", mode="latency", source=source, slots=blocks * batch, batch=batch)
        buffer, frames = link.buffer(4, "uint32"), Frames(world, ring)
        taken: list[int] = []
        newest: Sequence[int] = ()
        offered: Sequence[int] = ()
        for _ in range(choose.randint(0, 40)):
            kind = choose.choice(["make", "make", "take", "take", "fail", "offer", "start", "settle", "turn"])
            if kind == "make":
                newest = frames.make(choose.randint(1, batch))
            elif kind == "take":
                got = frames.take()
                assert got == list(newest)
                newest = offered = ()
                taken += got
            elif kind == "fail":
                with pytest.raises(KeyError):
                    frames.make(error=True)
            elif kind == "offer":  # and is not used
                offered = newest
                assert [number for number, _ in ring.newest(timeout=0) or ()] == list(newest)
            elif kind == "start":  # and is not used either
                ring.fresh()
            elif kind == "settle":
                world.settle()
            else:  # turns of the link share the streams
                with link.producer_turn(buffer):
                    pass
                with link.consumer_turn(buffer):
                    pass
            spread(ring)
        ring.synchronize()
        assert not world.producer_queue
        assert not world.consumer_queue
        assert (frames.seen, frames.torn) == (taken, 0)
        stale = len(offered) if offered is not newest else 0  # offered, and could be used still
        assert ring.counts.waiting == len(newest) + stale
        ring.close()
        assert ring.counts == (ring.counts.produced, len(taken), ring.counts.produced - len(taken), 0)
    assert world.open_objects == 1  # the producer's own timeline


@pytest.mark.parametrize("each", CASES)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_use_and_any_schedule_keeps_every_semaphore_legal(each: str, source: Source, seed: int) -> None:
    any_schedule(each, source, random.Random(seed))  # noqa: S311 - a schedule, not a secret


def test_the_maker_does_not_wait_for_a_taker_that_is_stuck(case: str, source: Source) -> None:
    link, world = make_link(case, timeout=0.2)
    free = threading.Event()
    with link:
        ring = link.ring(4, "uint32", mode="latency", source=source)
        frames = Frames(world, ring)
        frames.make()
        ring.synchronize()
        queue = world.consumer_queue if source == "producer" else world.producer_queue
        queue.append(doubles.Step("stuck", free.is_set, lambda: None))
        assert frames.take() == [0]
        for _ in range(30):
            frames.make()
        assert ring.counts == (31, 1, 29, 1)
        with pytest.raises(WaitTimeout):
            ring.newest(timeout=0)  # the work before has not ended
        free.set()
        assert frames.take() == [30]
        ring.synchronize()
        assert (frames.seen, frames.torn) == ([0, 30], 0)


def test_only_one_batch_of_each_side_is_open(case: str, source: Source) -> None:
    link, world = make_link(case)
    with link:
        ring = link.ring(4, "uint32", mode="latency", source=source)
        frames = Frames(world, ring)

        def use(batch: Batch, *, make: bool) -> Any:
            return batch.producer() if make == (source == "producer") else batch.consumer()

        made = ring.fresh()
        with pytest.raises(TurnError), use(made, make=False):
            pass
        with use(made, make=True):
            with pytest.raises(TurnError, match="still in use"):
                ring.fresh()
            with pytest.raises(TurnError), use(made, make=True):
                pass
        with pytest.raises(TurnError, match="is over"), use(made, make=True):
            pass
        taken = ring.newest(timeout=0)
        assert taken is not None
        with pytest.raises(TurnError), use(taken, make=True):
            pass
        with use(taken, make=False), pytest.raises(TurnError, match="still in use"):
            ring.newest(timeout=0)
        frames.make()
        void = ring.newest(timeout=0)
        frames.make()
        assert void is not None
        assert ring.newest(timeout=0) is not void
        with pytest.raises(TurnError, match="is over"), use(void, make=False):
            pass
        assert ring.counts == (3, 1, 1, 1)


def test_a_taker_waits_for_a_frame_and_no_longer(case: str, source: Source) -> None:
    link, world = make_link(case)
    with link:
        ring = link.ring(4, "uint32", mode="latency", source=source)
        frames = Frames(world, ring)
        start = time.monotonic()
        assert ring.newest(timeout=0.05) is None
        assert time.monotonic() - start >= 0.05
        later = threading.Timer(0.05, frames.make)
        later.start()
        batch = ring.newest(timeout=30)
        later.join()
        assert batch is not None
        frames.take(batch)
        frames.make()
        ring.finish()
        before = ring.finished
        assert frames.take() == [1]
        assert ring.newest(timeout=30) is None  # at once
        assert (before, ring.finished) == (False, True)
        with pytest.raises(TurnError, match="after finish"):
            ring.fresh()


def test_closing_ends_a_wait(case: str, source: Source) -> None:
    link, _world = make_link(case)
    caught: list[BaseException] = []

    def wait(ring: LatestRing) -> None:
        try:
            ring.newest(timeout=30)
        except ClosedError as error:
            caught.append(error)

    with link:
        ring = link.ring(4, "uint32", mode="latency", source=source)
        waiting = threading.Thread(target=wait, args=(ring,))
        waiting.start()
        time.sleep(0.05)
        ring.close()
        waiting.join(10)
        assert len(caught) == 1
        for use in (ring.fresh, ring.newest, ring.synchronize):
            with pytest.raises(ClosedError):
                use()
        assert "closed" in repr(ring)


def test_too_few_slots_and_unknown_modes_are_refused(case: str, source: Source) -> None:
    link, world = make_link(case)
    with link:
        before = world.open_objects
        for slots, batch in ((2, 1), (8, 4), (0, 1), (4, 3)):
            with pytest.raises(InvalidArgument):
                link.ring(4, mode="latency", source=source, slots=slots, batch=batch)
        with pytest.raises(InvalidArgument, match="throughput, latency"):
            link.ring(4, mode="newest", source=source)  # type: ignore[call-overload]
        with pytest.raises(InvalidArgument, match="'producer' or 'consumer'"):
            link.ring(4, mode="latency", source="vulkan")  # type: ignore[call-overload]
        assert world.open_objects == before
    staged, _world = make_link("blocking", require="staged")
    with staged, pytest.raises(Unsupported, match=r"link\.buffer"):
        staged.ring(4, mode="latency", source=source)
