"""Frame rings, with doubles that check every rule of semaphores and ownership."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import doubles
import pytest
from doubles import PAIRS as CASES
from doubles import make_link
from hypothesis import given, settings
from hypothesis import strategies as st

from interop import ClosedError, DriverError, InvalidArgument, TurnError, Unsupported, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.links import Batch, FrameRing, Slot
    from interop.protocols import Commands, PreparedCall


@pytest.fixture(params=CASES)
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

    def enqueue(self, slot: Slot) -> Callable[[], object]:
        """Return a call of the program, which is no launch of a kernel."""
        return lambda: self.launch(slot)

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


class Launch:
    """A prepared launch of a kernel."""

    def __init__(self, frames: Frames, slot: Slot) -> None:
        self.frames, self.slot = frames, slot
        self.closed, self.status = False, 0
        self.ordinary = self.begun = 0

    def __call__(self) -> None:
        self.check_open()
        self.ordinary += 1
        self.frames.launch(self.slot)

    def check_open(self) -> None:
        if self.closed:
            raise ClosedError("the module was used after close()")

    def begin(self) -> None:
        self.begun += 1

    def prepare_call(self) -> PreparedCall:
        made = doubles.prepared_call(partial(self.frames.launch, self.slot))
        return made._replace(call=lambda: self.status or made.call(), begin=self.begin)


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


def from_the_consumer(batch: Batch, world: doubles.World, seen: list[int], first: int) -> None:
    """Have the consumer make frames by its stream, and the producer look at them."""
    with batch.consumer():
        for frame, slot in batch:
            word = (first + frame).to_bytes(4, "little")
            data: memoryview = slot.view.data  # type: ignore[attr-defined]
            write = partial(data.__setitem__, slice(0, 4), word)
            world.consumer_queue.append(doubles.Step("make", lambda: True, write))
    if first + batch.first == 106:  # made, and not taken
        return
    with batch.producer() as commands:
        for _, slot in batch:
            data = slot.producer_buffer.data  # type: ignore[attr-defined]
            look = partial(lambda found: seen.append(int.from_bytes(found[:4], "little")), data)
            commands.actions.append(("look", look))  # type: ignore[attr-defined]


@pytest.mark.parametrize("lagging", [None, 0, 1])
def test_the_consumer_may_make_the_frames(case: str, lagging: int | None) -> None:
    link, world = make_link(case)
    world.lagging = lagging
    seen: list[int] = []
    with link:
        ring = link.ring(4, "uint32", source="consumer", slots=6, batch=2)
        for first in (0, 100, 200):
            for batch in ring.batches(9):  # ends in the middle of a batch
                from_the_consumer(batch, world, seen, first)
        ring.synchronize()
        made = [first + frame for first in (0, 100, 200) for frame in range(9)]
        assert seen == [number for number in made if number not in (106, 107)]
        assert ring.counts == (27, 25, 2, 0)
    assert world.open_objects == 1


def test_frames_of_the_consumer_can_be_recorded(case: str) -> None:
    link, world = make_link(case)
    seen: list[bytes] = []
    with link:
        ring = link.ring(4, "uint32", source="consumer", slots=4, batch=2)

        def produce(commands: Commands, slot: Slot) -> None:
            data = slot.producer_buffer.data  # type: ignore[attr-defined]
            commands.actions.append(("look", lambda: seen.append(bytes(data[:1]))))  # type: ignore[attr-defined]

        def consume(slot: Slot) -> Callable[[], object]:
            data: memoryview = slot.view.data  # type: ignore[attr-defined]

            def launch() -> None:
                step = partial(data.__setitem__, 0, 10 + slot.index)
                world.consumer_queue.append(doubles.Step("make", lambda: True, step))

            return launch

        recorded = ring.record(produce=produce, consume=consume)
        recorded.run(11)
        ring.synchronize()
        assert seen == [bytes([10 + frame % 4]) for frame in range(11)]
        assert ring.counts == (11, 11, 0, 0)


def test_frames_are_counted(case: str) -> None:
    link, world = make_link(case)
    with link:
        ring, frames = link.ring(4, "uint32", slots=6, batch=2), Frames(world)
        frames.go_through(ring, 5, 0, nothing)
        for batch in ring.batches(3):
            with batch.producer():
                pass
            if batch.first:
                break  # with one frame made and not taken
        assert ring.counts == (8, 5, 2, 1)
        frames.go_through(ring, 2, 0, nothing)
        assert ring.counts == (10, 7, 3, 0)
        assert ring.dropped == 3


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

        launched: Callable[[Slot], Callable[[], object]] = partial(Launch, frames)
        if choose.random() < 0.5:
            launched = frames.enqueue
        recorded = ring.record(
            produce=lambda commands, slot: commands.fill(slot, 500 + slot.index), consume=launched
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


@pytest.mark.parametrize("case", CASES)
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


class Recording:
    """A ring with recorded launches that has run two rounds."""

    def __init__(self, case: str, batches: int = 2) -> None:
        self.link, self.world = make_link(case)
        self.ring, self.frames = self.link.ring(4, "uint32", slots=2 * batches, batch=2), Frames(self.world)
        self.launches: list[Launch] = []
        self.recorded = self.ring.record(
            produce=lambda commands, slot: commands.fill(slot, slot.index), consume=self.consume
        )
        self.recorded.run(2 * 2 * batches)

    def consume(self, slot: Slot) -> Launch:
        self.launches.append(Launch(self.frames, slot))
        return self.launches[-1]

    @property
    def flushes(self) -> int:
        """How often the stream was flushed."""
        found: int = self.link.consumer.stream.flushes  # type: ignore[attr-defined]
        return found


def test_recorded_launches_are_prepared_calls(case: str) -> None:
    recording = Recording(case, batches=12)
    with recording.link:
        before = recording.flushes
        recording.recorded.run(24 * 4)
        recording.ring.synchronize()
        assert [each.ordinary for each in recording.launches] == [0] * 24
        assert [each.begun for each in recording.launches] == [6] * 24
        assert recording.frames.seen == [*range(24)] * 6
        if case.startswith("native"):  # the other cases flush with their signals
            assert recording.flushes - before == 4 * 12 / 3, "one for a quarter of the ring's batches"


def test_launches_of_a_closed_module_are_refused_before_anything_is_submitted(case: str) -> None:
    recording = Recording(case)
    with recording.link:
        recording.launches[1].closed = True
        with pytest.raises(ClosedError, match="module"):
            recording.recorded.run(4)
        recording.launches[1].closed = False
        recording.recorded.run(4)
        recording.ring.synchronize()
        assert recording.frames.seen == [0, 1, 2, 3] * 2 + [2, 3, 0, 1]


def test_a_launch_that_a_driver_refuses_leaves_the_ring_usable(case: str) -> None:
    recording = Recording(case)
    with recording.link:
        recording.launches[1].status = -5
        with pytest.raises(DriverError, match="-5"):
            recording.recorded.run(4)
        recording.launches[1].status = 0
        recording.recorded.run(4)
        recording.ring.synchronize()
        assert recording.frames.seen == [0, 1, 2, 3] * 2 + [0, 2, 3, 0, 1]


@pytest.mark.parametrize("case", ["native timeline", "native binary"])
@pytest.mark.parametrize("call", ["prepare_wait", "prepare_signal"])
def test_a_hand_over_that_a_driver_refuses_ends_the_ring_and_its_link(
    case: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right: Callable[..., PreparedCall] = getattr(doubles.External, call)
    failing: list[bool] = []

    def prepare(semaphore: doubles.External, stream: doubles.FakeStream) -> PreparedCall:
        made = right(semaphore, stream)
        return made._replace(call=lambda: -5 if failing else made.call())

    monkeypatch.setattr(doubles.External, call, prepare)
    recording = Recording(case)
    buffer = recording.link.buffer(4)
    failing.append(True)
    with pytest.raises(DriverError, match="-5"):
        recording.recorded.run(4)
    with pytest.raises(TurnError, match="-5"):
        recording.recorded.run(2)
    with pytest.raises(TurnError, match="-5"), recording.link.producer_turn(buffer):
        pass
    with suppress(WaitTimeout):  # for the signal that was not given
        recording.link.close()


def test_an_open_producer_turn_refuses_batches(case: str) -> None:
    recording = Recording(case)
    with recording.link:
        buffer = recording.link.buffer(4)
        seen = [0, 1, 2, 3] * 2
        for batch in recording.ring.batches(1):
            with (
                recording.link.producer_turn(buffer),
                pytest.raises(TurnError, match="is open; leave it before"),
                batch.producer(),
            ):
                pass
        with recording.link.producer_turn(buffer), pytest.raises(TurnError, match="is open; leave it before"):
            recording.recorded.run(2)
        recording.ring.synchronize()
        assert recording.frames.seen == seen, "a refused batch reaches no queue"


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
            with pytest.raises(TurnError, match="only when it is produced"), batch.consumer():
                pass
            with batch.producer():
                pass
            with pytest.raises(TurnError, match="only when it is free or"), batch.producer():
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
