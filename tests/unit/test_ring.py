"""Frame rings, with doubles that check every rule of semaphores and ownership."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import doubles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop import ClosedError, InvalidArgument, TurnError, Unsupported, WaitTimeout
from interop.device import MatchKey
from interop.link import Link
from interop.negotiation import negotiate

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.backend import Commands
    from interop.ring import FrameRing, Slot


def make_link(case: str, require: str | None = None, timeout: float = 1.0) -> tuple[Link, doubles.World]:
    sync, (left, right) = doubles.PAIRS[case]
    world = doubles.World()
    plan = negotiate(
        left, right, MatchKey.UUID, sync="auto" if require == "staged" else sync, require=require
    )
    return Link(plan, doubles.Producer(world, left), doubles.Consumer(world, right), timeout=timeout), world  # type: ignore[arg-type]


@pytest.fixture(params=doubles.PAIRS)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Frames:
    """Frames of four words: the producer fills in the frame's number, the kernel looks and adds a thousand."""

    def __init__(self, world: doubles.World) -> None:
        self.world = world
        self.seen: list[int] = []

    def launch(self, slot: Slot) -> None:
        """Enqueue the kernel on the double's stream."""
        self.world.consumer_queue.append(doubles.Step("kernel", lambda: True, lambda: self.look(slot)))

    def look(self, slot: Slot) -> None:
        data: memoryview = slot.view.data  # type: ignore[attr-defined]
        self.seen.append(int.from_bytes(data[:4], "little"))
        data[:4] = (self.seen[-1] + 1000).to_bytes(4, "little")

    def go_through(self, ring: FrameRing, count: int, first: int, between: Callable[[], object]) -> None:
        for batch in ring.batches(count):
            with batch.producer() as commands:
                for frame, slot in batch:
                    commands.fill(slot, first + frame)
            between()
            with batch.consumer() as views:
                assert len(views) == len(batch)
                for _, slot in batch:
                    self.launch(slot)
            between()


def nothing() -> None:
    return None


@pytest.mark.parametrize("slots", [1, 2, 6])
@pytest.mark.parametrize("count", [0, 1, 5, 24])
def test_the_consumer_sees_every_frame_once_and_in_order(case: str, slots: int, count: int) -> None:
    link, world = make_link(case)
    with link:
        ring, frames = link.ring(4, "uint32", slots=slots), Frames(world)
        frames.go_through(ring, count, 0, nothing)
        ring.synchronize()
        assert frames.seen == list(range(count))
    assert world.open_objects == 1  # the producer's own timeline, which the caller of Link owns


def test_slots_do_not_overlap(case: str) -> None:
    link, world = make_link(case)
    with link:
        ring, frames = link.ring(4, "uint32", slots=6, batch=3), Frames(world)
        frames.go_through(ring, 6, 0, nothing)
        ring.synchronize()
        words = [
            [int.from_bytes(slot.view.data[at : at + 4], "little") for at in range(0, 16, 4)]  # type: ignore[attr-defined]
            for slot in ring.slots
        ]
        assert words == [[frame + 1000, frame, frame, frame] for frame in range(6)]
        assert [slot.index for slot in ring.slots] == list(range(6))


def test_one_signal_and_one_wait_each_way_per_batch() -> None:
    for case in ("native timeline", "native binary"):
        link, world = make_link(case)
        with link:
            ring, frames = link.ring(4, "uint32", slots=8, batch=4), Frames(world)
            frames.go_through(ring, 8, 0, nothing)
            ring.synchronize()
            world.log.clear()
            frames.go_through(ring, 16, 0, nothing)
            ring.synchronize()
            counts = {name: world.log.count(name) for name in set(world.log)}
            assert counts == {
                "fill": 16,
                "kernel": 16,
                **dict.fromkeys(
                    [
                        f"{who} {does}"
                        for who in ("producer", "consumer")
                        for does in ("waits", "signals", "acquires", "releases")
                    ],
                    4,
                ),
                "producer done": 4,
            }


@pytest.mark.parametrize("ahead", ["native timeline", "native binary", "bridged"])
def test_the_producer_runs_ahead_of_the_consumer(ahead: str) -> None:
    link, world = make_link(ahead)
    with link:
        ring, frames = link.ring(4, "uint32", slots=8, batch=4), Frames(world)
        # The consumer's queue does nothing before the producer has filled every slot.
        world.consumer_queue.append(doubles.Step("slow", lambda: world.log.count("fill") == 8, nothing))
        frames.go_through(ring, 12, 0, nothing)
        ring.synchronize()
        assert frames.seen == list(range(12))


class Model:
    """What the consumer should have seen, for a ring whose batches take the blocks of slots in turn."""

    def __init__(self, blocks: int, batch: int) -> None:
        self.blocks, self.batch, self.block = blocks, batch, 0
        self.expected: list[int] = []

    def batches(self, count: int) -> list[list[int]]:
        """Return the slots of each batch, and move on."""
        found: list[list[int]] = []
        for first in range(0, count, self.batch):
            start = self.block * self.batch
            found.append(list(range(start, start + min(self.batch, count - first))))
            self.block = (self.block + 1) % self.blocks
        return found


def check_any_schedule(case: str, choose: random.Random) -> None:
    """Run loops of any length, dynamic and recorded, left early, failing and skipping, on any schedule."""
    link, world = make_link(case)
    world.random = choose
    world.lagging = choose.choice([None, 0, 1])
    model = Model(choose.choice([1, 2, 3]), choose.choice([1, 2, 3]))
    with link:
        ring = link.ring(4, "uint32", slots=model.batch * model.blocks, batch=model.batch)
        buffer, frames = link.buffer(4, "uint32"), Frames(world)

        def between() -> None:
            if choose.random() < 0.3:
                world.settle()
            if choose.random() < 0.1:  # turns of the link share the streams
                with link.producer_turn(buffer):
                    pass
                with link.consumer_turn(buffer):
                    pass

        recorded = ring.record(
            produce=lambda commands, slot: commands.fill(slot, 500 + slot.index),
            consume=lambda slot: lambda: frames.launch(slot),
        )
        for first in range(0, choose.randint(1, 5) * 100, 100):
            count = choose.randint(0, 9)
            kind = choose.choice(["all", "recorded", "left", "producer fails", "consumer fails"])
            if kind == "all":
                frames.go_through(ring, count, first, between)
                model.batches(count)
                model.expected += range(first, first + count)
            elif kind == "recorded":
                recorded.run(count)
                model.expected += [500 + slot for slots in model.batches(count) for slot in slots]
            elif count:
                model.expected += fail_in_one_batch(kind, ring, frames, first, len(model.batches(1)))
            between()
        link.synchronize()
        assert not world.producer_queue
        assert not world.consumer_queue
        assert frames.seen == model.expected
    assert world.open_objects == 1


def fail_in_one_batch(kind: str, ring: FrameRing, frames: Frames, first: int, expected: int) -> list[int]:
    """Leave a loop in its first batch, in the way that ``kind`` says; return what the consumer saw of it."""
    try:
        for batch in ring.batches(5):
            with batch.producer() as commands:
                for frame, slot in batch:
                    commands.fill(slot, first + frame)
                if kind == "producer fails":
                    raise KeyError  # noqa: TRY301 - the point of the test
            if kind == "left":
                break
            with batch.consumer():
                frames.launch(batch.slots[0])
                raise KeyError  # noqa: TRY301 - as above
    except KeyError:
        pass
    return [first][: expected if kind == "consumer fails" else 0]


@pytest.mark.parametrize("case", doubles.PAIRS)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_use_and_any_schedule_keeps_every_semaphore_legal(case: str, seed: int) -> None:
    check_any_schedule(case, random.Random(seed))  # noqa: S311 - a schedule, not a secret


def test_recorded_work_is_recorded_once_and_run_again(case: str) -> None:
    link, world = make_link(case)
    with link:
        ring, frames = link.ring(4, "uint32", slots=4, batch=2), Frames(world)
        calls: list[int] = []

        def produce(commands: Commands, slot: Slot) -> None:
            calls.append(slot.index)
            commands.fill(slot, slot.index)

        recorded = ring.record(produce=produce, consume=lambda slot: lambda: frames.launch(slot))
        recorded.run(8)
        before = len(calls)
        recorded.run(100)
        recorded.run(100)
        ring.synchronize()
        assert len(calls) == before
        assert frames.seen == [0, 1, 2, 3] * 52
        recorded.close()
        with pytest.raises(ClosedError):
            recorded.run(1)


def test_run_ends_in_the_middle_of_a_batch(case: str) -> None:
    link, world = make_link(case)
    with link:
        ring, frames = link.ring(4, "uint32", slots=8, batch=4), Frames(world)
        for _ in range(3):
            ring.run(
                6,
                produce=lambda commands, slot: commands.fill(slot, slot.index),
                consume=lambda slot: lambda: frames.launch(slot),
            )
        ring.synchronize()
        assert frames.seen == [0, 1, 2, 3, 4, 5] * 3


def test_a_launch_that_fails_leaves_the_ring_usable(case: str) -> None:
    link, world = make_link(case)
    with link:
        ring, frames = link.ring(4, "uint32", slots=4, batch=2), Frames(world)
        with pytest.raises(KeyError):
            ring.run(
                4,
                produce=lambda commands, slot: commands.fill(slot, 1),
                consume=lambda _: dict[str, int]().popitem,
            )
        frames.go_through(ring, 6, 0, nothing)
        ring.synchronize()
        assert frames.seen == list(range(6))


def test_the_caller_waits_when_too_many_batches_are_in_flight() -> None:
    for case in ("native timeline", "native binary"):
        link, world = make_link(case, timeout=0.05)
        stuck = [True]
        with link:
            ring, frames = link.ring(4, "uint32", slots=4, batch=2), Frames(world)
            world.producer_queue.append(doubles.Step("stuck", lambda s=stuck: not s[0], nothing))  # type: ignore[misc]
            with pytest.raises(WaitTimeout, match="oldest of 4 batches in flight"):
                frames.go_through(ring, 100, 0, nothing)
            assert len([step for step in world.producer_queue if step.name == "producer done"]) == 4
            stuck[0] = False
            frames.go_through(ring, 6, 100, nothing)  # nothing was lost
            ring.synchronize()
            assert frames.seen == [*range(8), *range(100, 106)]


def test_the_parts_of_a_batch_come_in_order(case: str) -> None:
    link, world = make_link(case)
    with link:
        ring, _frames = link.ring(4, "uint32", slots=2, batch=1), Frames(world)
        kept = None
        for batch in ring.batches(1):
            kept = batch
            with pytest.raises(TurnError, match="must be produced"), batch.consumer():
                pass
            with batch.producer():
                pass
            with pytest.raises(TurnError, match="must be idle"), batch.producer():
                pass
            with pytest.raises(TurnError, match="another loop"):
                next(ring.batches(1))
            with batch.consumer(), pytest.raises(TurnError), batch.consumer():
                pass
        assert kept is not None
        with pytest.raises(TurnError, match="is over"), kept.producer():
            pass
        with pytest.raises(InvalidArgument, match="-1"):
            next(ring.batches(-1))


@pytest.mark.parametrize(("slots", "batch"), [(0, None), (-2, 1), (4, 3), (2, 4), (4, 0), (4, -1)])
def test_slots_that_make_no_batches_are_refused(case: str, slots: int, batch: int | None) -> None:
    link, world = make_link(case)
    with link:
        before = world.open_objects
        with pytest.raises(InvalidArgument, match="multiple of the batch"):
            link.ring(4, slots=slots, batch=batch)
        assert world.open_objects == before


def test_a_pair_that_shares_no_memory_has_no_ring() -> None:
    link, _world = make_link("blocking", require="staged")
    with link, pytest.raises(Unsupported, match=r"link\.buffer"):
        link.ring(4)


def test_a_failed_import_leaves_nothing_behind(case: str) -> None:
    link, world = make_link(case)
    with link:
        before = world.open_objects
        link.consumer.fail_import = True  # type: ignore[attr-defined]
        with pytest.raises(MemoryError):
            link.ring(4)
        assert world.open_objects == before


def test_closing_gives_everything_back(case: str) -> None:
    link, world = make_link(case)
    with link:
        before = world.open_objects
        with link.ring(4, "uint32", slots=4) as ring:
            frames = Frames(world)
            frames.go_through(ring, 5, 0, nothing)
            ring.record(produce=lambda *_: None, consume=lambda _: nothing).run(3)
        assert world.open_objects == before
        assert frames.seen == list(range(5))
        ring.close()
        assert ring.closed
        for use in (lambda: next(ring.batches(1)), ring.synchronize):
            with pytest.raises(ClosedError):
                use()
        assert "closed" in repr(ring)
    later, world = make_link(case)
    with later:
        ring = later.ring(4, "uint32", slots=4)
    assert ring.closed
    assert world.open_objects == 1
    ring.close()


def test_a_batch_that_could_not_be_taken_is_handed_through_later() -> None:
    link, world = make_link("blocking", timeout=0.05)
    stuck = True
    with link:
        ring, frames = link.ring(4, "uint32", slots=4, batch=2), Frames(world)
        world.producer_queue.append(doubles.Step("stuck", lambda: not stuck, nothing))
        with pytest.raises(WaitTimeout, match="vulkan to finish a submission"):
            frames.go_through(ring, 2, 0, nothing)
        stuck = False
        frames.go_through(ring, 8, 100, nothing)
        ring.synchronize()
        assert frames.seen == list(range(100, 108))
