"""The checker names each misuse before the driver sees it, and says nothing of what is right."""

from __future__ import annotations

import gc
import random
from typing import TYPE_CHECKING, Any

import doubles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.links import Link
from interop.links.checking import CheckedLink
from interop.links.checking._model import MODEL
from interop.links.checking._state import Scope
from interop.links.checking._watch import Records, watch
from interop.links.connect import _link_type
from interop.negotiation import negotiate
from interop.protocols import (
    ClosedError,
    ClosedMisuse,
    HandleType,
    MatchKey,
    Misuse,
    SemaphoreKind,
    TurnError,
    Unsupported,
    WaitTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BINARY, TIMELINE = SemaphoreKind.BINARY, SemaphoreKind.TIMELINE


def make_link(case: str, *, staged: bool = False, world: doubles.World | None = None) -> CheckedLink:
    sync, (left, right) = doubles.PAIRS[case]
    world = world or doubles.World()
    require = "staged" if staged else None
    plan = negotiate(left, right, MatchKey.UUID, sync="auto" if staged else sync, path=require)
    return CheckedLink(plan, doubles.Producer(world, left), doubles.Consumer(world, right), timeout=0.2)  # type: ignore[arg-type]


@pytest.fixture(params=doubles.PAIRS)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def link() -> Iterator[Any]:
    made = make_link("native timeline")
    yield made
    if not made.closed:
        made.close()


def exported(link: Any, kind: SemaphoreKind) -> tuple[Any, Any]:
    """Return a semaphore of the producer and its import."""
    semaphore = link.producer.create_semaphore(kind)
    return semaphore, link.consumer.import_semaphore(*semaphore.export_semaphore())


def imported(link: Any) -> tuple[Any, Any]:
    """Return a buffer of the producer and its import, outside the turns of the link."""
    buffer = link.producer.create_buffer(16)
    return buffer, link.consumer.import_memory(*buffer.export_memory())


def test_any_right_order_of_turns_is_silent(case: str) -> None:
    for staged in (False, True):
        link: Any = make_link(case, staged=staged)
        with link:
            buffers = [link.buffer(4, "uint32") for _ in range(2)]
            for number in range(6):
                with link.producer_turn(*buffers) as commands:
                    commands.fill(buffers[number % 2], number)
                with link.consumer_turn(*buffers) as views:
                    views[0].write(bytes(16))
                with link.consumer_turn(buffers[0]) as view:
                    view.read(bytearray(16))


@pytest.mark.parametrize("case", doubles.PAIRS)
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_turns_in_any_schedule_are_silent(case: str, seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    world = doubles.World(random=choose, lagging=choose.choice([None, 0, 1]))
    link: Any = make_link(case, world=world)
    with link:
        buffers = [link.buffer(4, "uint32") for _ in range(2)]
        for _ in range(choose.randint(1, 12)):
            chosen = choose.sample(buffers, choose.choice([1, 2]))
            if choose.random() < 0.5:
                with link.producer_turn(*chosen) as commands:
                    commands.fill(chosen[0], 1)
            else:
                with link.consumer_turn(*chosen):
                    pass
            if choose.random() < 0.2:
                world.settle()
        link.synchronize()
        buffers[0].close()


class AdoptableBuffer(doubles.FakeBuffer):
    """A whole buffer that two links may release, each to its own consumer."""

    offset = 0
    external = property(lambda _self: False, lambda _self, _value: None)


class AdoptableProducer(doubles.Producer):
    """A producer of such buffers."""

    def create_buffer(self, size: int, *, export: object = None, host_visible: bool = False) -> Any:  # noqa: ARG002 - as the double
        return AdoptableBuffer(self.world, size)


def two_links() -> tuple[Any, Any]:
    """Return two checked links over one producer."""
    _, (left, right) = doubles.PAIRS["native timeline"]
    world = doubles.World()
    plan = negotiate(left, right, MatchKey.UUID)
    producer: Any = AdoptableProducer(world, left)
    consumers: list[Any] = [doubles.Consumer(world, right) for _ in range(2)]
    first, second = (CheckedLink(plan, producer, each, timeout=0.2) for each in consumers)
    return first, second


def test_a_buffer_adopted_by_a_second_link_has_turns_of_both() -> None:
    first, second = two_links()
    with first, second:
        words = first.buffer(4, "uint32")
        again = second.adopt(words.producer_buffer, 4, "uint32")
        for frame in range(4):
            with second.queue_turn(again), first.producer_turn(words) as commands:
                commands.fill(words, frame)
            with first.consumer_turn(words) as view:
                view.write(bytes(16))
            with second.consumer_turn(again) as view:
                view.write(bytes(16))
                with pytest.raises(Misuse, match="recorded by the producer in the consumer's turn"):  # noqa: SIM117 - the turn itself is right
                    with first.producer_turn(words) as commands:
                        commands.fill(words, 9)
        with second.consumer_turn(again) as view:
            pass
        with pytest.raises(Misuse, match="outside a turn"):
            view.read(bytearray(16))


def test_the_producers_memory_outlives_the_link_that_was_last_used() -> None:
    first, second = two_links()
    with first:
        with second:
            words = second.buffer(4, "uint32")
            mine = second.producer.create_buffer(16)
        with first.producer_turn(first.buffer(4, "uint32")) as commands:
            commands.fill(mine, 1)
            with pytest.raises(ClosedMisuse, match="recorded after the link was closed"):
                commands.fill(words.producer_buffer, 1)


def test_a_view_outside_its_turn_is_named(link: Any) -> None:
    buffer = link.buffer(4, "uint32")
    with link.consumer_turn(buffer) as view:
        view.read(bytearray(16))
    with pytest.raises(Misuse, match="outside a turn") as caught:
        view.read(bytearray(16))
    error = caught.value
    assert isinstance(error, TurnError)
    assert error.thing == "buffer 1"
    assert "vulkan to double" in error.link
    assert "link.consumer_turn" in error.expected
    with link.producer_turn(buffer), pytest.raises(Misuse, match="in the producer's turn"):
        view.write(bytes(16))


def test_commands_on_a_buffer_that_the_turn_does_not_name_are_refused(link: Any) -> None:
    first, second = link.buffer(4, "uint32"), link.buffer(4, "uint32")
    with link.producer_turn(first) as commands:
        commands.fill(first, 1)
        with pytest.raises(Misuse, match=r"buffer 2.*outside a turn of its own"):
            commands.fill(second, 1)


def test_a_view_used_after_its_link_was_closed_is_named(link: Any) -> None:
    buffer = link.buffer(4, "uint32")
    with link.consumer_turn(buffer) as view:
        pass
    link.synchronize()
    link.close()
    with pytest.raises(ClosedMisuse, match="after the link was closed") as caught:
        view.read(bytearray(16))
    assert isinstance(caught.value, ClosedError)


def test_a_link_is_not_closed_in_an_open_turn(link: Any) -> None:
    buffer = link.buffer(4, "uint32")
    with link.consumer_turn(buffer), pytest.raises(Misuse, match="open turn while the link is closed"):
        link.close()
    assert not link.closed


def test_a_buffer_with_work_pending_is_not_closed(case: str) -> None:
    with make_link(case) as made:
        link: Any = made
        buffer = link.buffer(4, "uint32")
        with link.producer_turn(buffer) as commands:
            commands.fill(buffer, 1)
        with link.consumer_turn(buffer):
            pass
        with link.producer_turn(buffer), pytest.raises(Misuse, match="in the producer's turn"):
            buffer.close()
        with pytest.raises(Misuse, match=r"work of .* on it may be pending"):
            buffer.close()
        assert not buffer.closed
        link.synchronize()
        buffer.close()
        assert buffer.closed


def test_acquire_and_release_alternate(link: Any) -> None:
    _, memory = imported(link)
    stream = link.consumer.stream
    with pytest.raises(Misuse, match="has not acquired it"):
        memory.release(stream)
    view = memory.map_buffer(size=16, shape=(4,), dtype=None)
    with pytest.raises(Misuse, match="has not acquired it"):
        view.read(bytearray(16))
    memory.acquire(stream)
    view.read(bytearray(16))
    with pytest.raises(Misuse, match="has acquired it already"):
        memory.acquire(stream)
    memory.release(stream)


def test_the_producer_may_not_use_what_the_consumer_has(link: Any) -> None:
    buffer, memory = imported(link)
    memory.acquire(link.consumer.stream)
    with pytest.raises(Misuse, match="while the consumer has it acquired"):
        link.producer.prepare(acquire=[buffer]).submit()
    memory.release(link.consumer.stream)
    link.consumer.stream.synchronize(1.0)
    link.producer.prepare(acquire=[buffer]).submit()


def test_work_without_a_wait_for_the_other_side_is_named(link: Any) -> None:
    buffer, memory = imported(link)
    done, external = exported(link, TIMELINE)
    link.producer.prepare(release=[buffer], signal=done).submit(0, 1)
    memory.acquire(link.consumer.stream)
    view = memory.map_buffer(size=16, shape=(4,), dtype=None)
    with pytest.raises(Misuse, match="has not waited for the work of the queue of vulkan"):
        view.read(bytearray(16))
    external.wait(link.consumer.stream, 1)
    view.read(bytearray(16))
    memory.release(link.consumer.stream)


@pytest.mark.parametrize("host", [False, True])
def test_having_waited_on_the_host_is_enough(link: Any, host: bool) -> None:
    buffer, memory = imported(link)
    point = link.producer.prepare(release=[buffer]).submit()
    assert link.producer.progress.wait_host(point, 1.0) if host else link.synchronize() is None
    memory.acquire(link.consumer.stream)
    memory.map_buffer(size=16, shape=(4,), dtype=None).read(bytearray(16))
    memory.release(link.consumer.stream)


def test_a_binary_semaphore_is_signalled_once_and_waited_for_once(link: Any) -> None:
    semaphore, external = exported(link, BINARY)
    stream = link.consumer.stream
    with pytest.raises(Misuse, match="nobody has signalled it"):
        external.wait(stream)
    signal = link.producer.prepare(signal=semaphore)
    signal.submit()
    with pytest.raises(Misuse, match="signalled twice"):
        signal.submit()
    with pytest.raises(Misuse, match="signalled twice"):
        external.signal(stream)
    external.wait(stream)
    with pytest.raises(Misuse, match="waited for twice"):
        external.wait(stream)
    link.synchronize()


def test_a_binary_signal_that_may_overtake_the_last_wait_is_named(link: Any) -> None:
    semaphore, external = exported(link, BINARY)
    signal = link.producer.prepare(signal=semaphore)
    signal.submit()
    external.wait(link.consumer.stream)
    with pytest.raises(Misuse, match="may run before the wait"):
        signal.submit()
    link.synchronize()
    signal.submit()
    external.wait(link.consumer.stream)
    link.synchronize()


def test_a_wait_for_an_earlier_sync_file_covers_no_later_work() -> None:
    with make_link("one-shot") as made:
        link: Any = made
        stream = link.consumer.stream
        semaphore = link.producer.create_semaphore(BINARY, export=HandleType.SYNC_FD)
        buffer, memory = imported(link)
        view = memory.map_buffer(size=16, shape=(4,), dtype=None)
        submission = link.producer.prepare(release=[buffer], signal=semaphore)
        submission.submit()
        first = link.consumer.import_semaphore(*semaphore.export_semaphore())
        submission = link.producer.prepare(acquire=[buffer], release=[buffer], signal=semaphore)
        submission.submit()
        second = link.consumer.import_semaphore(*semaphore.export_semaphore())
        first.wait(stream)
        first.close()  # at once: the driver keeps it for the wait
        memory.acquire(stream)
        with pytest.raises(Misuse, match="has not waited for the work of"):
            view.read(bytearray(16))
        second.wait(stream)
        second.close()
        view.read(bytearray(16))
        memory.release(stream)


def test_a_timeline_grows_whoever_signals(link: Any) -> None:
    semaphore, external = exported(link, TIMELINE)
    signal = link.producer.prepare(signal=semaphore)
    signal.submit(0, 5)
    link.synchronize()
    stream = link.consumer.stream
    for wrong, *values in ((signal.submit, 0, 5), (external.signal, stream, 4), (semaphore.signal_host, 3)):
        with pytest.raises(Misuse, match="at or on its way to 5"):
            wrong(*values)
    external.signal(link.consumer.stream, 6)
    link.synchronize()
    semaphore.signal_host(7)


def test_two_queues_that_wait_for_each_other_are_a_deadlock(link: Any) -> None:
    first, external_first = exported(link, TIMELINE)
    second, external_second = exported(link, TIMELINE)
    stream = link.consumer.stream
    link.producer.prepare(wait=first, signal=second).submit(1, 1)
    with pytest.raises(Misuse, match="deadlock") as caught:
        external_second.wait(stream, 1)
        external_first.signal(stream, 1)
    assert "the queue of vulkan" in caught.value.found
    assert "the stream of double" in caught.value.found
    first.signal_host(1)
    link.synchronize()


def test_a_deadlock_across_two_links_is_found() -> None:
    world = doubles.World()
    left, right = doubles.producer_info((TIMELINE,)), doubles.consumer_info((TIMELINE,))
    plan = negotiate(left, right, MatchKey.UUID, sync="native", path=None)
    producer: Any = doubles.Producer(world, left)
    others: list[Any] = [doubles.Consumer(doubles.World(), right) for _ in range(2)]
    one, two = (CheckedLink(plan, producer, other, timeout=0.2) for other in others)
    a, a_one = exported(one, TIMELINE)
    a_two = two.consumer.import_semaphore(*a.export_semaphore())
    b, b_one = exported(one, TIMELINE)
    b_two = two.consumer.import_semaphore(*b.export_semaphore())
    a_one.wait(one.consumer.stream, 1)
    b_one.signal(one.consumer.stream, 1)
    b_two.wait(two.consumer.stream, 1)
    with pytest.raises(Misuse, match="deadlock") as caught:
        a_two.signal(two.consumer.stream, 1)
    assert one._scope.name in caught.value.link
    assert two._scope.name in caught.value.link
    a.signal_host(1)
    for _ in range(2):  # each of these doubles runs its own stream alone
        for other in others:
            other.world.settle()
    two.close()
    one.close()


def test_a_wait_that_is_signalled_later_is_right(link: Any) -> None:
    semaphore, external = exported(link, TIMELINE)
    external.wait(link.consumer.stream, 3)
    link.producer.prepare(signal=semaphore).submit(0, 3)
    link.synchronize()


def test_a_timeout_says_what_nobody_signals(link: Any) -> None:
    semaphore, external = exported(link, TIMELINE)
    external.wait(link.consumer.stream, 2)
    with pytest.raises(WaitTimeout) as caught:
        link.consumer.stream.synchronize(0.05)
    assert any(
        "timeline semaphore" in note and "nobody has signalled" in note for note in caught.value.__notes__
    )
    semaphore.signal_host(2)
    link.synchronize()


def test_an_imported_semaphore_is_not_closed_under_its_work(link: Any) -> None:
    semaphore, external = exported(link, TIMELINE)
    external.wait(link.consumer.stream, 1)
    for each in (external, semaphore):
        with pytest.raises(Misuse, match="may be pending"):
            each.close()
    semaphore.signal_host(1)
    link.synchronize()
    external.close()
    semaphore.close()


def test_closed_links_leave_nothing_in_the_model() -> None:
    gc.collect()
    before = len(MODEL._queues)
    for _ in range(3):
        link: Any = make_link("native timeline")
        buffer = link.buffer(4, "uint32")
        with link.producer_turn(buffer), pytest.raises(Misuse):
            buffer.close()
        link.close()
        del link, buffer
    gc.collect()
    assert len(MODEL._queues) <= before


def test_checks_are_chosen_by_argument_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTEROP_CHECK", raising=False)
    assert _link_type(None) is Link
    for value, wanted in (("1", CheckedLink), ("0", Link), ("", Link)):
        monkeypatch.setenv("INTEROP_CHECK", value)
        assert _link_type(None) is wanted
    assert _link_type(check=False) is Link
    assert _link_type(check=True) is CheckedLink


def test_an_unchecked_link_keeps_its_classes() -> None:
    world = doubles.World()
    left, right = doubles.producer_info(), doubles.consumer_info()
    plan = negotiate(left, right, MatchKey.UUID, sync="native", path=None)
    producer: Any = doubles.Producer(world, left)
    consumer: Any = doubles.Consumer(world, right)
    with Link(plan, producer, consumer, timeout=1.0) as link:
        buffer: Any = link.buffer(4)
        assert type(producer) is doubles.Producer
        assert type(consumer.stream) is doubles.FakeStream
        assert type(buffer.producer_buffer) is doubles.FakeBuffer


def test_watching_keeps_the_class_and_spares_other_objects() -> None:
    class Thing:
        __slots__ = ("__weakref__", "calls")

        def __init__(self) -> None:
            self.calls = 0

        def use(self) -> int:
            self.calls += 1
            return self.calls

        def use_twice(self) -> int:
            return self.use() + self.use()

    seen: list[str] = []

    def around(_thing: object, original: Callable[[], Any]) -> Any:
        seen.append(original.__name__)
        return original()

    class Checks:
        use = use_twice = missing = around

    one, other = Thing(), Thing()
    for _ in range(2):
        watch(one, Checks)
    assert isinstance(one, Thing)
    assert (one.use(), other.use()) == (1, 1)
    assert one.use_twice() == 5
    assert seen == ["use", "use_twice"]
    assert not hasattr(one, "missing")


def test_an_object_that_cannot_be_watched_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="checking the use of int"):
        watch(5, Scope)


def test_records_end_with_their_objects() -> None:
    records: Records[str] = Records()
    thing = Scope("a thing")
    records.put(thing, "known")
    assert records.get(thing) == "known"
    assert records.get(Scope("another")) is None
    del thing
    gc.collect()
    assert not records._found
