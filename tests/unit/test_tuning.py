"""Choosing slots and batch by measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import doubles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import DriverError, InvalidArgument, Tuning, tune_ring
from interop.links.rings.tuning import MEMORY, Trial, choose, sizes

if TYPE_CHECKING:
    from interop import FrameRing
    from interop.links import Slot
    from interop.protocols import Commands


@pytest.fixture(params=doubles.PAIRS)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def trial(slots: int, seconds: float, latency: float = 1.0, batch: int = 1) -> Trial:
    return Trial(slots=slots, batch=batch, seconds=seconds, latency=latency)


times = st.floats(1e-7, 1e-2)


@given(
    st.lists(st.builds(trial, st.integers(1, 64), times, times, st.integers(1, 8)), min_size=1),
    st.none() | times,
)
def test_the_smallest_of_the_fast_ones_is_chosen(trials: list[Trial], bound: float | None) -> None:
    chosen = choose(trials, bound)
    assert chosen in trials
    allowed = [each for each in trials if bound is None or each.latency <= bound]
    if not allowed:
        assert chosen.latency == min(each.latency for each in trials)
        return
    assert chosen in allowed
    limit = 1.05 * min(each.seconds for each in allowed)
    assert chosen.seconds <= limit
    assert all(each.seconds > limit for each in allowed if each.slots < chosen.slots)


def test_examples() -> None:
    measured = [trial(1, 300e-6, 1e-3), trial(8, 26e-6, 2e-3), trial(32, 25e-6, 3e-3), trial(64, 20e-6, 5e-3)]
    assert choose(measured, None).slots == 64
    assert choose(measured, 4e-3).slots == 8
    assert choose(measured, 1e-4).slots == 1
    missed = Tuning(trials=tuple(measured), chosen=measured[0], bound=1e-4)
    assert not missed.met
    assert str(missed) == "chosen of 4: 300.0 µs per frame, 1.00 ms, missing 0.10 ms"
    assert Tuning(trials=tuple(measured), chosen=measured[0], bound=None).met


def test_what_is_tried() -> None:
    assert sizes(None, None) == [(1, 1), (2, 1), (4, 2), (8, 4), (16, 8), (32, 16), (64, 32)]
    assert sizes(12, None) == [(12, 1), (12, 2), (12, 3), (12, 4), (12, 6), (12, 12)]
    assert sizes(None, 8) == [(8, 8), (16, 8), (24, 8), (32, 8)]


class Clock:
    """Time that passes only in the producer's work: a millisecond for each submission, and some for each frame."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, per_frame: float = 0.0) -> None:
        self.now, self.per_frame = 0.0, per_frame
        monkeypatch.setattr("interop.links.rings.tuning.time", self)

    def perf_counter(self) -> float:
        return self.now

    def produce(self, commands: Commands, slot: Slot) -> None:
        first = not commands.actions  # type: ignore[attr-defined]
        commands.fill(slot, slot.index)
        spent = self.per_frame + (1e-3 if first else 0.0)
        commands.actions.append(("work", lambda: self.spend(spent)))  # type: ignore[attr-defined]

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(params=["native timeline", "native binary"])
def paced(request: pytest.FixtureRequest) -> str:
    """Links whose doubles run in the caller's thread alone, so that the clock shows the same in each run."""
    return str(request.param)


def test_the_size_is_chosen_for_a_ring(paced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    link, world = doubles.make_link(paced)
    with link:
        before = world.open_objects
        tuning = tune_ring(link, 4, "uint32", produce=clock.produce)
        assert world.open_objects == before, "the rings that were measured are closed"
        assert (tuning.slots, tuning.batch) == (tuning.chosen.slots, tuning.chosen.batch) == (64, 32)
        assert [each.slots for each in tuning.trials] == [1, 2, 4, 8, 16, 32, 64]
        assert tuning.chosen.seconds == pytest.approx(1e-3 / 32)
        assert tuning.chosen.latency == pytest.approx(4e-3)  # four batches may be in flight
        with link.ring(4, "uint32", slots=tuning.slots, batch=tuning.batch) as ring:
            assert ring.counts == (0, 0, 0, 0)  # the measurement is not counted
        assert world.open_objects == before


def test_the_work_of_each_frame_keeps_the_ring_small(paced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, per_frame=100e-3)
    link, _world = doubles.make_link(paced)
    with link:
        tuning = tune_ring(link, 4, "uint32", produce=clock.produce)
        assert [each.slots for each in tuning.trials] == [1, 2, 4, 8]  # three gained nothing
        assert tuning.slots == 1


def test_a_latency_keeps_the_ring_small(paced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, per_frame=1e-4)
    link, _world = doubles.make_link(paced)
    with link:
        tuning = tune_ring(link, 4, "uint32", latency=8e-3, produce=clock.produce)
        assert (tuning.bound, tuning.met) == (8e-3, True)
        assert tuning.batch == 8  # 4 batches of 1.8 ms; of twice as many frames they take 10.4
        assert "within 8.00 ms" in str(tuning)
        least = tune_ring(link, 4, "uint32", latency=1e-9, produce=clock.produce)
        assert (least.met, least.batch) == (False, 1)


def test_one_of_the_two_may_be_given(case: str) -> None:
    link, _world = doubles.make_link(case)
    with link:
        assert tune_ring(link, 4, "uint32", slots=6, source="consumer").slots == 6
        assert tune_ring(link, 4, "uint32", batch=3).batch == 3


def test_wrong_settings_are_refused_and_nothing_stays(case: str) -> None:
    link, world = doubles.make_link(case)
    with link:
        before = world.open_objects
        wrong: list[dict[str, Any]] = [
            {"latency": 0.0},
            {"latency": -1.0},
            {"slots": 0},
            {"batch": -1},
        ]
        for options in wrong:
            with pytest.raises(InvalidArgument):
                tune_ring(link, 4, "uint32", **options)
        not_sizes: list[dict[str, Any]] = [{"slots": "auto"}, {"batch": "auto"}, {"slots": True}]
        for options in not_sizes:
            with pytest.raises(InvalidArgument, match="tune_ring"):
                link.ring(4, "uint32", **options)
        with pytest.raises(KeyError):
            tune_ring(link, 4, "uint32", consume=lambda _: dict[str, int]().popitem)
        assert world.open_objects == before
        link.ring(4, "uint32").close()


def test_a_size_that_does_not_fit_ends_the_series() -> None:
    link, _world = doubles.make_link("bridged")
    asked: list[int] = []

    class Small:
        """A link whose driver has memory for few slots."""

        def __init__(self, limit: int) -> None:
            self.limit = limit

        def ring(
            self, shape: Any, dtype: object = "float32", *, slots: int | None = None, **options: Any
        ) -> FrameRing:
            assert slots is not None
            asked.append(slots)
            if slots > self.limit:
                raise DriverError("vkAllocateMemory", -2, "VK_ERROR_OUT_OF_DEVICE_MEMORY", "no memory")
            made: FrameRing = link.ring(shape, dtype, slots=slots, **options)
            return made

    with link:
        found = tune_ring(Small(2), 4, "uint32")
        assert [each.slots for each in found.trials] == [1, 2]
        assert asked[:3] == [1, 2, 4]
        with pytest.raises(DriverError):
            tune_ring(Small(0), 4, "uint32")


def test_rings_that_take_too_much_memory_are_not_tried() -> None:
    assert sizes(None, None)[2] == (4, 2)

    class Huge:
        """A link that allocates small rings for frames said to be huge."""

        def ring(self, shape: Any, dtype: object = "float32", **options: Any) -> FrameRing:
            del shape, dtype
            made: FrameRing = link.ring(4, "uint32", **options)
            return made

    link, _world = doubles.make_link("bridged")
    with link:
        large = tune_ring(Huge(), MEMORY // 2, "uint8")
        assert [each.slots for each in large.trials] == [1, 2]
