"""The order engine of a link: its only writers, its one failure, its threads, and forgotten buffers."""

from __future__ import annotations

import ast
import asyncio
import gc
import itertools
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import doubles
import pytest
from doubles import make_link

from interop import ClosedError, DriverError, InvalidArgument, Owner, TurnError, WaitTimeout
from interop.links._turn_cache import MAX_TURNS
from interop.links.turns import MAX_CASES
from interop.toolkit import OwnershipState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop import Link

ROOT = Path(__file__).parents[2]
RECORD = "interop/toolkit/ownership.py"
ENGINE = {"interop/links/order.py", "interop/links/_batch_order.py"}
SESSIONS = {"interop/ipc/session.py", "interop/ipc/consuming.py", "interop/ipc/producing.py"}
STATE = {"state", "back", "reclaimed"}
TRANSITIONS = {"produce", "produced", "acquire", "leave", "signalled", "restore", "reclaim"}


@pytest.fixture(params=doubles.PAIRS)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("interop", "backends", "plugins"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            if "/tests/" not in name:
                yield name, ast.parse(file.read_text(encoding="utf-8"))


def _is_record(node: ast.expr) -> bool:
    """Whether an expression names an ownership record: ``record`` or ``.ownership``."""
    return (isinstance(node, ast.Name) and node.id == "record") or (
        isinstance(node, ast.Attribute) and node.attr == "ownership"
    )


def writes(name: str, module: ast.Module) -> list[str]:
    """List the places of a module that change an ownership record."""
    found: list[str] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if node.attr in STATE | {"value", "thread"} and _is_record(node.value):
                found.append(f"{name}:{node.lineno} assigns {ast.unparse(node)}")
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in TRANSITIONS
            and _is_record(node.func.value)
        ):
            found.append(f"{name}:{node.lineno} calls {ast.unparse(node.func)}")
    return found


def test_only_the_record_and_the_engine_change_an_owner() -> None:
    found = {name: writes(name, module) for name, module in _modules()}
    changing = {name for name, places in found.items() if places}
    assert changing <= ENGINE | SESSIONS | {RECORD}, found
    assert changing >= ENGINE  # the check sees something
    assigned = [place for name in SESSIONS for place in found[name] if " assigns " in place]
    assert assigned == []


def test_a_write_of_another_module_is_seen() -> None:
    sin = ast.parse("buffer.ownership.state = x\nrecord.value = 3\nblock.ownership.reclaim()\n")
    assert writes("sin.py", sin) == [
        "sin.py:1 assigns buffer.ownership.state",
        "sin.py:2 assigns record.value",
        "sin.py:3 calls block.ownership.reclaim",
    ]


# One failure flag.


def _refuse(*_: object, **__: object) -> int:
    raise DriverError("vkQueueSubmit", -4, "VK_ERROR_DEVICE_LOST")


def test_a_failure_in_a_ring_refuses_turns(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link, _world = make_link(case)
    with link:
        buffer, ring = link.buffer(4), link.ring(4, slots=4, batch=2)
        with monkeypatch.context() as patch:
            patch.setattr(doubles.FakeSubmission, "submit", _refuse)
            for batch in ring.batches(2):
                with pytest.raises(DriverError), batch.producer():
                    pass
        for turn in (link.producer_turn(buffer), link.consumer_turn(buffer), link.queue_turn(buffer)):
            with pytest.raises(TurnError, match="VK_ERROR_DEVICE_LOST"), turn:
                pass


def test_a_failure_in_a_turn_refuses_rings(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link, _world = make_link(case)
    with link:
        buffer, ring = link.buffer(4), link.ring(4, slots=4, batch=2)
        latest = link.ring(4, mode="latency")
        with monkeypatch.context() as patch:
            patch.setattr(doubles.FakeSubmission, "submit", _refuse)
            with pytest.raises(DriverError), link.producer_turn(buffer):
                pass
        for batch in ring.batches(2):
            with pytest.raises(TurnError, match="VK_ERROR_DEVICE_LOST"), batch.producer():
                pass
        with pytest.raises(TurnError, match="VK_ERROR_DEVICE_LOST"):
            ring.run(4, produce=lambda *_: None, consume=lambda _: lambda: None)
        with pytest.raises(TurnError, match="VK_ERROR_DEVICE_LOST"), latest.fresh().producer():
            pass


def test_a_batch_inside_an_open_producer_turn_is_refused(case: str) -> None:
    link, _world = make_link(case)
    with link:
        buffer, ring = link.buffer(4), link.ring(4, slots=4, batch=2)
        with link.producer_turn(buffer):
            for batch in ring.batches(2):
                with pytest.raises(TurnError, match="leave it before batch 0"), batch.producer():
                    pytest.fail("the batch began")
        ring.run(4, produce=lambda *_: None, consume=lambda _: lambda: None)
        ring.synchronize()
        assert ring.counts == (4, 4, 0, 0)


# Threads.


def in_thread(function: Callable[[], object], name: str = "another") -> BaseException | None:
    """Run a function in a thread to its end. Return its exception, or None."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - returned
            caught.append(error)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "the thread hangs"
    return caught[0] if caught else None


@pytest.mark.parametrize("kind", ["producer_turn", "queue_turn", "consumer_turn"])
def test_a_turn_may_be_left_in_another_thread(case: str, kind: str) -> None:
    link, _world = make_link(case)
    with link:
        buffer = link.buffer(4)
        turn: Any = getattr(link, kind)(buffer)
        assert in_thread(turn.__enter__) is None
        assert buffer.in_turn
        turn.__exit__(None, None, None)
        for _ in range(2):
            with link.producer_turn(buffer):
                pass
            assert in_thread(lambda: link.consumer_turn(buffer).__enter__()) is None
            link.consumer_turn(buffer).__exit__(None, None, None)
        assert buffer.owner is Owner.CONSUMER


def test_another_thread_waits_for_an_open_turn_and_no_longer_than_the_timeout(case: str) -> None:
    link, _world = make_link(case, timeout=0.1)
    with link:
        first, second = link.buffer(4), link.buffer(4)
        loop = link.ring(4, slots=4, batch=2).batches(2)
        assert in_thread(link.producer_turn(first).__enter__, name="the holder") is None
        try:
            uses: list[Callable[[], object]] = [
                link.producer_turn(second).__enter__,
                link.consumer_turn(second).__enter__,
                link.queue_turn(second).__enter__,
                next(loop).producer().__enter__,
                second.close,
                link.close,
            ]
            for use in uses:
                start = time.monotonic()
                with pytest.raises(
                    WaitTimeout, match=r"the producer turn on <Buffer .* which thread .* entered"
                ):
                    use()
                assert time.monotonic() - start < 5
            assert not link.closed
            assert not second.closed
        finally:
            link.producer_turn(first).__exit__(None, None, None)
        with link.producer_turn(second):
            pass


def test_another_thread_goes_on_as_soon_as_the_turn_ends(case: str) -> None:
    link, _world = make_link(case, timeout=20)
    with link:
        first, second = link.buffer(4), link.buffer(4)
        entered: list[float] = []

        def other() -> None:
            with link.producer_turn(second):
                entered.append(time.monotonic())

        with link.producer_turn(first):
            thread = threading.Thread(target=other)
            thread.start()
            time.sleep(0.1)
            assert not entered
            left = time.monotonic()
        thread.join(10)
        assert entered
        assert entered[0] - left < 5


def test_closing_inside_the_own_turn_is_refused_at_once(case: str) -> None:
    link, world = make_link(case, timeout=20)
    buffer, other = link.buffer(4), link.buffer(4)
    ring = link.ring(4, slots=4)
    start = time.monotonic()
    with link.producer_turn(buffer):
        for close in (link.close, other.close, buffer.close, ring.close):
            with pytest.raises(TurnError, match="of this thread is open"):
                close()
    with link.consumer_turn(buffer), pytest.raises(TurnError, match="leave the turn before closing"):
        buffer.close()
    assert time.monotonic() - start < 5
    link.close()
    assert world.open_objects == 1


def test_a_link_closes_under_a_consumer_turn_of_another_thread(case: str) -> None:
    link, world = make_link(case)
    turn = link.consumer_turn(link.buffer(4))
    assert in_thread(turn.__enter__) is None
    link.close()
    turn.__exit__(None, None, None)
    with pytest.raises(ClosedError):
        turn.__enter__()
    assert world.open_objects == 1


def test_turns_that_are_held_over_an_await_are_refused_at_once() -> None:
    link, _world = make_link("native timeline", timeout=20)

    async def hold(buffer: Any) -> None:
        with link.producer_turn(buffer):
            await asyncio.sleep(0.01)

    async def both() -> list[BaseException | None]:
        return await asyncio.gather(*map(hold, buffers), return_exceptions=True)

    with link:
        buffers = [link.buffer(4), link.buffer(4)]
        start = time.monotonic()
        first, second = asyncio.run(both())
        assert time.monotonic() - start < 5
        assert first is None
        assert isinstance(second, TurnError)
        with link.producer_turn(*buffers):
            pass


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), WaitTimeout("the consumer's stream", 1.0)])
def test_ctrl_c_in_close_waits_for_no_second_timeout(
    ended: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C the work that still runs gets half a second; after a timeout as long again."""
    link, world = make_link("native timeline", timeout=2.0)
    buffer = link.buffer(4)
    with link.consumer_turn(buffer):
        world.consumer_queue.append(doubles.Step("stuck", lambda: False, lambda: None))
    rest = doubles.FakeStream.synchronize
    raised: list[bool] = []

    def synchronize(stream: doubles.FakeStream, timeout: float) -> None:
        if not raised:
            raised.append(True)
            raise ended
        rest(stream, timeout)

    monkeypatch.setattr(doubles.FakeStream, "synchronize", synchronize)
    start = time.monotonic()
    with pytest.warns(ResourceWarning, match="left behind"), pytest.raises((KeyboardInterrupt, WaitTimeout)):
        link.close()
    assert (time.monotonic() - start < 1.5) is isinstance(ended, KeyboardInterrupt)


# What is closed is forgotten.


def cycles(link: Link, world: doubles.World, count: int) -> None:
    """Make buffers and rings, use them in every kind of turn, and close them."""
    for number in range(count):
        with link.buffer((4 + number % 3,), "uint32") as buffer:
            for turn in (
                link.producer_turn(buffer),
                link.consumer_turn(buffer),
                link.producer_turn(buffer),
                link.queue_turn(buffer),
            ):
                with turn:
                    pass
        assert buffer.closed
        if number % 4 == 0:
            with link.ring(4, "uint32", slots=4, batch=2) as ring:
                ring.run(3, produce=lambda *_: None, consume=lambda _: lambda: None)
    world.log.clear()


def test_buffers_and_rings_that_were_closed_leave_nothing(case: str) -> None:
    link, world = make_link(case)
    with link:
        cycles(link, world, 20)
        gc.collect()
        before, objects = world.open_objects, len(gc.get_objects())
        cycles(link, world, 200)
        gc.collect()
        assert world.open_objects == before
        assert len(gc.get_objects()) - objects < 100
    assert world.open_objects == 1


def test_ever_new_combinations_of_buffers_keep_the_caches_small(case: str) -> None:
    link, world = make_link(case, timeout=20)
    with link:
        buffers = [link.buffer(4) for _ in range(30)]
        kept = link.producer_turn(buffers[0], buffers[1])
        with kept:
            pass
        link.synchronize()
        alone = world.open_objects
        for combination in itertools.islice(itertools.combinations(buffers, 3), 3 * MAX_TURNS):
            with link.producer_turn(*combination):
                pass
            with link.consumer_turn(*combination):
                pass
            with link.queue_turn(*combination):
                pass
            world.settle()
        link.synchronize()
        assert world.open_objects - alone < 8 * MAX_TURNS
        for _ in range(2):
            with kept:  # its submissions are gone: it prepares them anew
                pass
            with link.consumer_turn(buffers[0], buffers[1]):
                pass
        assert link.producer_turn(buffers[0], buffers[1]) is kept
        link.synchronize()
        buffers[1].close()
        with pytest.raises(ClosedError, match="is closed"), kept:
            pass
    assert world.open_objects == 1


def test_one_turn_keeps_a_bounded_number_of_cases() -> None:
    link, world = make_link("native timeline")
    with link:
        buffers = [link.buffer(4) for _ in range(6)]
        every = link.producer_turn(*buffers)
        for taken in itertools.chain.from_iterable(
            itertools.combinations(buffers, size) for size in range(1, 6)
        ):
            with link.consumer_turn(*taken):
                pass
            with every:
                pass
            link.synchronize()
        with every:
            pass
        assert world.open_objects < 60 + 2 * MAX_CASES + len(buffers)
        prepared = len(every.retire())
        assert prepared <= 2 * (MAX_CASES + 1)
    assert world.open_objects == 1 + prepared  # those were taken out by this test


def test_a_buffer_that_is_still_in_use_is_not_freed() -> None:
    link, world = make_link("native timeline", timeout=0.05)
    stuck = [True]
    with link:
        buffer = link.buffer(4)
        with link.consumer_turn(buffer):
            world.consumer_queue.append(doubles.Step("stuck", lambda: not stuck[0], lambda: None))
        with pytest.raises(WaitTimeout):
            buffer.close()
        assert buffer.ownership.state is OwnershipState.LEFT
        stuck[0] = False
        buffer.close()
        buffer.close()
        assert buffer.closed
        with pytest.raises(ClosedError, match="is closed"):
            link.producer_turn(buffer)
    assert world.open_objects == 1


# What callers pass.


def test_a_list_of_buffers_is_refused_with_the_right_spelling(case: str) -> None:
    link, _world = make_link(case)
    with link:
        buffer: Any = link.buffer(4)
        turns: list[Any] = [link.consumer_turn, link.producer_turn, link.queue_turn]
        for turn in turns:
            for wrong in ([buffer], (buffer,)):
                with pytest.raises(TurnError, match=r"write the turn with \*buffers"):
                    turn(wrong)
            with pytest.raises(TurnError, match=r"buffers of Link\.buffer, got 3"):
                turn(3)


def test_every_wait_has_the_timeout_of_its_link() -> None:
    for case in ("native timeline", "native binary", "one-shot", "bridged"):
        link, world = make_link(case, timeout=7.5)
        with link:
            buffer = link.buffer(4)
            for turn in (link.producer_turn(buffer), link.consumer_turn(buffer), link.queue_turn(buffer)):
                with turn:
                    pass
            link.ring(4, slots=2).run(3, produce=lambda *_: None, consume=lambda _: lambda: None)
            for _ in range(2):  # the second turn's signal is given late
                with link.producer_turn(buffer):
                    pass
            with link.consumer_turn(buffer):
                pass
        assert world.timeouts == {7.5}, case


@pytest.mark.parametrize("mode", ["fast", None, 3])
def test_modes_of_rings_are_checked(mode: Any) -> None:
    link, _world = make_link("native timeline")
    make: Any = link.ring
    with link, pytest.raises(InvalidArgument, match="throughput, latency"):
        make(4, mode=mode)


def test_a_forked_child_leaves_an_open_turn_without_a_driver(case: str) -> None:
    link, world = make_link(case)
    with link:
        buffer = link.buffer(4)
        turn = link.producer_turn(buffer)
        with turn:
            enqueued = len(world.producer_queue)
            link.orphan("it belongs to the parent")  # what the fork does in the child
        assert len(world.producer_queue) == enqueued
        with pytest.raises(ClosedError, match="belongs to the parent"), turn:
            pass
