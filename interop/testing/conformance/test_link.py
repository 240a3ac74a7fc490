"""Links: turns, once for each strategy that the pair offers."""

# ruff: noqa: D103 - the name of a case says what it proves
from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - kernels take their scalars as NumPy's
import pytest

from interop.negotiation import MemoryPath
from interop.protocols import ClosedError, InteropError, InvalidArgument, TurnError
from interop.testing import _sources as sources
from interop.testing._bench import pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.links import Buffer, Link, Slot
    from interop.protocols import Commands, Kernel
    from interop.testing.plugin import LinkFactory, Run

COUNT = 1024
SIZE = 4 * COUNT


def adder(link: Link) -> Kernel:
    """Compile the kernel that adds to every word."""
    return link.consumer.compile(sources.ADD).kernel("add")


def add(kernel: Kernel, link: Link, buffer: Buffer, amount: int) -> None:
    """Take a consumer turn that adds to every word."""
    with link.consumer_turn(buffer) as view:
        kernel(view, np.uint32(amount), np.uint32(COUNT), global_size=COUNT)


def fill(link: Link, buffer: Buffer, word: int) -> None:
    """Take a producer turn that sets every word."""
    with link.producer_turn(buffer) as commands:
        commands.fill(buffer, word)


def words(link: Link, buffer: Buffer) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    """Take a producer turn that copies the buffer to the host, and return what came."""
    staging = link.producer.create_buffer(buffer.nbytes, host_visible=True)
    with link.producer_turn(buffer) as commands:
        commands.copy(buffer, staging)
    link.producer.wait_idle(link.timeout)
    with staging.host_view() as view:
        found = np.frombuffer(bytes(view[: buffer.nbytes]), np.uint32)
    staging.close()
    return found


def test_strategy_and_explanation(link_factory: LinkFactory, sync: str) -> None:
    link = link_factory(sync=sync)
    assert {link.plan.to_consumer.strategy.value, link.plan.to_producer.strategy.value} == {sync}
    text = link.explain()
    for part in (sync, link.path.value, link.producer.device.name, link.consumer.device.name):
        assert part in text


def test_ping_pong(link_factory: LinkFactory, sync: str, interop_run: Run) -> None:
    """Producer sets, consumer adds, producer copies; every frame is compared, byte for byte."""
    link = link_factory(sync=sync)
    frames = interop_run.frames
    buffer = link.buffer((COUNT,), "uint32")
    results = [link.producer.create_buffer(SIZE, host_visible=True) for _ in range(frames)]
    kernel = adder(link)
    for frame, result in enumerate(results):
        fill(link, buffer, 1000 * frame)
        add(kernel, link, buffer, frame + 1)
        with link.producer_turn(buffer) as commands:
            commands.copy(buffer, result)
    link.synchronize()
    for frame, result in enumerate(results):
        with result.host_view() as view:
            assert bytes(view[:SIZE]) == np.full(COUNT, 1001 * frame + 1, np.uint32).tobytes()
        result.close()


def test_consumer_first(link_factory: LinkFactory, sync: str) -> None:
    link = link_factory(sync=sync)
    buffer = link.buffer((COUNT,), "uint32")
    with link.consumer_turn(buffer) as view:
        view.write(pattern(SIZE))
    add(adder(link), link, buffer, 1)
    assert np.array_equal(words(link, buffer), np.frombuffer(pattern(SIZE), np.uint32) + np.uint32(1))


def test_producer_first(link_factory: LinkFactory, sync: str) -> None:
    link = link_factory(sync=sync)
    buffer = link.buffer((COUNT,), "uint32")
    fill(link, buffer, 41)
    add(adder(link), link, buffer, 1)
    assert (words(link, buffer) == 42).all()  # noqa: PLR2004 - 41 + 1


def test_same_side_twice(link_factory: LinkFactory, sync: str) -> None:
    """Nothing is handed over then; binary semaphores stay balanced."""
    link = link_factory(sync=sync)
    buffer, kernel = link.buffer((COUNT,), "uint32"), adder(link)
    for rounds in range(1, 6):
        for _ in range(rounds):
            fill(link, buffer, rounds)
        for _ in range(rounds):
            add(kernel, link, buffer, 10)
        assert (words(link, buffer) == rounds + 10 * rounds).all()
        assert (words(link, buffer) == rounds + 10 * rounds).all()


def test_several_buffers_in_one_turn(link_factory: LinkFactory, sync: str) -> None:
    link = link_factory(sync=sync)
    kernel = adder(link)
    first, second, third = (link.buffer((COUNT,), "uint32") for _ in range(3))
    for frame in range(8):
        with link.producer_turn(first, second, third) as commands:
            for amount, buffer in enumerate((first, second, third)):
                commands.fill(buffer, frame + amount)
        with link.consumer_turn(first, third) as (one, three):
            for view in (one, three):
                kernel(view, np.uint32(100), np.uint32(COUNT), global_size=COUNT)
        add(kernel, link, second, 200)
        with link.producer_turn(second, third) as commands:
            commands.copy(second, third)
        assert (words(link, first) == frame + 100).all()
        assert (words(link, second) == frame + 201).all()
        assert (words(link, third) == frame + 201).all()


@pytest.mark.parametrize("after", [0, 1])
def test_exception_inside_a_consumer_turn(link_factory: LinkFactory, sync: str, after: int) -> None:
    link = link_factory(sync=sync)
    buffer, kernel = link.buffer((COUNT,), "uint32"), adder(link)
    fill(link, buffer, 5)
    with pytest.raises(ZeroDivisionError), link.consumer_turn(buffer) as view:
        for _ in range(after):
            kernel(view, np.uint32(1), np.uint32(COUNT), global_size=COUNT)
        raise ZeroDivisionError
    assert (words(link, buffer) == 5 + after).all()
    add(kernel, link, buffer, 1)
    assert (words(link, buffer) == 6 + after).all()


def test_exception_inside_a_producer_turn(link_factory: LinkFactory, sync: str) -> None:
    """Nothing of what was recorded is submitted, and the order of the two sides is kept."""
    link = link_factory(sync=sync)
    buffer, kernel = link.buffer((COUNT,), "uint32"), adder(link)
    fill(link, buffer, 5)
    for frame in range(4):
        add(kernel, link, buffer, 1)
        with pytest.raises(ZeroDivisionError), link.producer_turn(buffer) as commands:
            commands.fill(buffer, 77)
            raise ZeroDivisionError
        assert (words(link, buffer) == 6 + frame).all()


def test_wrong_turns(link_factory: LinkFactory, sync: str) -> None:
    link, other = link_factory(sync=sync), link_factory(sync=sync)
    buffer, second, foreign = link.buffer((COUNT,), "uint32"), link.buffer(8), other.buffer(8)
    for take in (link.consumer_turn, link.producer_turn):
        for wrong in ((), (buffer, buffer), (foreign,), (buffer, foreign)):
            with pytest.raises(TurnError):
                take(*wrong)
    with link.consumer_turn(buffer):
        for nested in (link.producer_turn(buffer), link.producer_turn(second, buffer)):
            with pytest.raises(TurnError), nested:
                pass
        with pytest.raises(TurnError), link.consumer_turn(buffer, second):
            pass
        with link.consumer_turn(second):
            pass
    fill(link, buffer, 3)
    assert (words(link, buffer) == 3).all()  # noqa: PLR2004 - as filled


def test_turn_objects_may_be_kept(link_factory: LinkFactory, sync: str) -> None:
    link = link_factory(sync=sync)
    buffer, kernel = link.buffer((COUNT,), "uint32"), adder(link)
    mine, theirs = link.consumer_turn(buffer), link.producer_turn(buffer)
    for frame in range(20):
        with theirs as commands:
            commands.fill(buffer, frame)
        with mine as view:
            kernel(view, np.uint32(1), np.uint32(COUNT), global_size=COUNT)
    assert (words(link, buffer) == 20).all()  # noqa: PLR2004 - 19 + 1


@pytest.mark.parametrize("last", ["producer", "consumer"])
def test_close_with_work_in_flight(link_factory: LinkFactory, sync: str, last: str) -> None:
    link = link_factory(sync=sync)
    buffer, kernel = link.buffer((COUNT,), "uint32"), adder(link)
    for frame in range(10):
        fill(link, buffer, frame)
        add(kernel, link, buffer, 1)
    if last == "producer":
        fill(link, buffer, 0)
    start = time.monotonic()
    link.close()
    link.close()
    assert time.monotonic() - start < link.timeout
    assert link.closed


def test_use_after_close(link_factory: LinkFactory, sync: str) -> None:
    link = link_factory(sync=sync)
    buffer = link.buffer((COUNT,), "uint32")
    mine, theirs = link.consumer_turn(buffer), link.producer_turn(buffer)
    link.close()
    for turn in (mine, theirs):
        with pytest.raises(ClosedError), turn:
            pass
    for use in (lambda: link.buffer(8), lambda: link.synchronize()):  # noqa: PLW0108 - the result is of no interest
        with pytest.raises(ClosedError):
            use()


def test_recorded_frames_of_a_ring(link_factory: LinkFactory, sync: str) -> None:
    """Frames that are run again and again: in bare calls, where the backend offers them."""
    link = link_factory(sync=sync)
    ring, kernel = link.ring((COUNT,), "uint32", slots=4, batch=2), adder(link)

    def produce(commands: Commands, slot: Slot) -> None:
        commands.fill(slot, 10 * slot.index)

    def consume(slot: Slot) -> Callable[[], object]:
        return kernel.prepare(slot.view, np.uint32(1), np.uint32(COUNT), global_size=COUNT)

    ring.run(6 * len(ring.slots), produce=produce, consume=consume)
    found = np.zeros(COUNT, np.uint32)
    for batch in ring.batches(len(ring.slots)):  # handed over once more as they are
        with batch.producer():
            pass
        with batch.consumer():
            for _, slot in batch:
                slot.view.read(found.view(np.uint8), timeout=link.timeout)
                assert (found == 10 * slot.index + 1).all()


@pytest.mark.interop_needs("asynchronous")
def test_turns_do_not_block_the_caller(link_factory: LinkFactory, sync: str) -> None:
    """While a long kernel runs, the turns that follow it are only enqueued."""
    link = link_factory(sync=sync)
    buffer = link.buffer((COUNT,), "uint32")
    kernel, spin = adder(link), link.consumer.compile(sources.SPIN).kernel("spin")
    rounds, long = 1 << 20, 0.0
    while long < 1.0 and rounds < 1 << 31:  # until a kernel takes a second here
        rounds *= 2
        start = time.monotonic()
        with link.consumer_turn(buffer) as view:
            spin(view, np.uint32(rounds), global_size=1)
        link.synchronize()
        long = time.monotonic() - start
    taken = long
    for _ in range(3):  # a busy machine may take its time once; a driver that blocks does so each time
        with link.consumer_turn(buffer) as view:
            spin(view, np.uint32(rounds), global_size=1)
        start = time.monotonic()
        for frame in range(3):
            fill(link, buffer, frame)
            add(kernel, link, buffer, 1)
        taken = min(taken, time.monotonic() - start)
        link.synchronize()
        assert (words(link, buffer) == 3).all()  # noqa: PLR2004 - 2 + 1; right whether or not the turns blocked
        if taken < long / 2:
            break
    assert taken < long / 2, f"the turns blocked their caller for {taken:.2f} s, the kernel runs {long:.2f} s"


def test_turns_from_several_threads(link_factory: LinkFactory, sync: str) -> None:
    link = link_factory(sync=sync)
    kernel = adder(link)
    buffers = [link.buffer((COUNT,), "uint32") for _ in range(4)]
    errors: list[BaseException] = []

    def work(buffer: Buffer, base: int) -> None:
        try:
            for frame in range(20):
                fill(link, buffer, base + frame)
                add(kernel, link, buffer, 1)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(buffer, 100 * n)) for n, buffer in enumerate(buffers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for base, buffer in enumerate(buffers):
        assert (words(link, buffer) == 100 * base + 20).all()


def test_two_links_at_once(link_factory: LinkFactory, sync: str) -> None:
    links = [link_factory(sync=sync) for _ in range(2)]
    buffers, kernels = [link.buffer((COUNT,), "uint32") for link in links], [adder(link) for link in links]
    for frame in range(10):
        for link, buffer, kernel in zip(links, buffers, kernels, strict=True):
            fill(link, buffer, frame)
            add(kernel, link, buffer, 1)
    for link, buffer in zip(links, buffers, strict=True):
        assert (words(link, buffer) == 10).all()  # noqa: PLR2004 - 9 + 1


@pytest.mark.parametrize(
    ("shape", "dtype"), [((37, 53), "float32"), ((12,), "uint8"), ((3, 5, 7), "int64"), (1, "uint32")]
)
def test_shapes_and_types(
    link_factory: LinkFactory, sync: str, shape: int | tuple[int, ...], dtype: str
) -> None:
    link = link_factory(sync=sync)
    buffer = link.buffer(shape, dtype)
    expected = np.zeros(shape, dtype)
    assert (buffer.shape, buffer.dtype.name, buffer.nbytes) == (
        np.zeros(shape).shape or (1,),
        dtype,
        expected.nbytes,
    )
    with link.consumer_turn(buffer) as view:
        assert (view.shape, view.dtype, view.nbytes) == (buffer.shape, buffer.dtype, buffer.nbytes)
        view.write(pattern(buffer.nbytes))
    assert words(link, buffer).tobytes() == pattern(buffer.nbytes)


@pytest.mark.parametrize("shape", [0, (), (4, 0), -1, (2**60, 2**60), "4", 1.5, None], ids=repr)
def test_shape_that_cannot_be(link_factory: LinkFactory, shape: object) -> None:
    with pytest.raises(InvalidArgument):
        link_factory().buffer(shape)  # type: ignore[arg-type]


def test_buffer_that_no_device_has_memory_for(link_factory: LinkFactory) -> None:
    link = link_factory()
    with pytest.raises(InteropError):
        link.buffer((2**45,), "uint8")
    buffer = link.buffer((COUNT,), "uint32")
    fill(link, buffer, 1)
    assert (words(link, buffer) == 1).all()


def test_staged_path(link_factory: LinkFactory) -> None:
    """Copies through host memory give the same results, on every pair of devices."""
    link = link_factory(path="staged")
    assert link.path is MemoryPath.STAGED
    buffer, kernel = link.buffer((COUNT,), "uint32"), adder(link)
    for frame in range(5):
        fill(link, buffer, frame)
        add(kernel, link, buffer, 10)
        add(kernel, link, buffer, 10)
        assert (words(link, buffer) == frame + 20).all()


@pytest.mark.parametrize(
    "wrong", [{"sync": "none"}, {"path": "fast"}, {"timeout": -1.0}], ids=lambda wrong: next(iter(wrong))
)
def test_wrong_choices(link_factory: LinkFactory, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        link_factory(**wrong)  # type: ignore[arg-type]
