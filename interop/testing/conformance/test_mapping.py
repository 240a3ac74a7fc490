"""Views of imported memory: bounds, both directions of data, and every order of closing."""

# ruff: noqa: D103 - the name of a case says what it proves
from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from interop.protocols import DTYPES, ClosedError, InvalidArgument
from interop.testing._bench import pattern, same

if TYPE_CHECKING:
    from interop.protocols import ExternalMemory, MappedBuffer, ProducerBuffer
    from interop.testing._bench import Bench

pytestmark = pytest.mark.interop_needs("zero-copy")

SIZE = 4096
FLOAT = DTYPES["float32"]


@pytest.fixture
def shared(bench: Bench) -> tuple[ProducerBuffer, ExternalMemory]:
    return bench.share(SIZE)


def whole(memory: ExternalMemory) -> MappedBuffer:
    """The bytes that were asked for; the allocation may be longer."""
    return memory.map_buffer(size=SIZE)


def test_default_view_is_bytes(shared: tuple[ProducerBuffer, ExternalMemory]) -> None:
    view = shared[1].map_buffer()
    assert view.dtype is DTYPES["uint8"]
    assert view.shape == (view.nbytes,)
    assert view.nbytes == shared[1].descriptor.size


def test_shape_and_type(shared: tuple[ProducerBuffer, ExternalMemory]) -> None:
    view = shared[1].map_buffer(size=SIZE, shape=(16, 64), dtype=FLOAT)
    assert (view.shape, view.dtype, view.nbytes) == ((16, 64), FLOAT, SIZE)
    part = view.view((3, 5), DTYPES["uint16"], offset=32)
    assert (part.shape, part.dtype, part.nbytes) == ((3, 5), DTYPES["uint16"], 30)


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (-1, 4),
        (0, 0),
        (0, -4),
        (0, 2**40),
        (2**40, 4),
        (2**63, 4),
        (4, 2**63 - 1),
        (2**64, 2**64),
        (2**64 - 4, 8),
    ],
)
def test_range_outside_the_memory(
    shared: tuple[ProducerBuffer, ExternalMemory], offset: int, size: int
) -> None:
    with pytest.raises(InvalidArgument):
        shared[1].map_buffer(offset=offset, size=size)
    whole(shared[1]).close()


def test_range_that_ends_one_byte_late(shared: tuple[ProducerBuffer, ExternalMemory]) -> None:
    memory = shared[1]
    last = memory.descriptor.size - 4
    memory.map_buffer(offset=last, size=4).close()
    with pytest.raises(InvalidArgument):
        memory.map_buffer(offset=last + 1, size=4)
    with pytest.raises(InvalidArgument):
        memory.map_buffer(offset=memory.descriptor.size)


@pytest.mark.parametrize(
    ("shape", "offset"),
    [
        ((SIZE,), 0),
        ((0,), 0),
        ((), 0),
        ((-1,), 0),
        ((4, 0), 0),
        ((2**62, 4), 0),
        ((1,), 2),
        ((1,), -4),
        ((1,), SIZE),
    ],
)
def test_view_that_cannot_be(
    shared: tuple[ProducerBuffer, ExternalMemory], shape: tuple[int, ...], offset: int
) -> None:
    view = whole(shared[1])
    with pytest.raises(InvalidArgument):
        view.view(shape, FLOAT, offset=offset)
    view.view((SIZE // 4,), FLOAT).close()


@pytest.mark.parametrize("shape", [(SIZE,), (0,), (-4,), (2**61, 2**61)])
def test_map_to_a_shape_that_cannot_be(
    shared: tuple[ProducerBuffer, ExternalMemory], shape: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidArgument):
        shared[1].map_buffer(size=SIZE, shape=shape, dtype=FLOAT)


@pytest.mark.parametrize("size", [4, 64, 4096, 65536, 65540, 3 * 1024 * 1024])
def test_producer_to_consumer(bench: Bench, size: int) -> None:
    buffer, memory = bench.share(size)
    bench.put(buffer, pattern(size))
    same(bench.read(memory, memory.map_buffer(size=size)), pattern(size))


@pytest.mark.parametrize("size", [4, 64, 4096, 65536, 65540, 3 * 1024 * 1024])
def test_consumer_to_producer(bench: Bench, size: int) -> None:
    buffer, memory = bench.share(size)
    bench.write(memory, memory.map_buffer(size=size), pattern(size))
    same(bench.get(buffer), pattern(size))


def test_data_is_never_stale(bench: Bench, shared: tuple[ProducerBuffer, ExternalMemory]) -> None:
    buffer, memory = shared
    view = whole(memory)
    for turn in range(8):
        bench.put(buffer, pattern(SIZE, turn))
        same(bench.read(memory, view), pattern(SIZE, turn))
        bench.write(memory, view, pattern(SIZE, -turn - 1))
        same(bench.get(buffer), pattern(SIZE, -turn - 1))


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 4), (4, 4), (252, 8), (256, 1024), (SIZE - 4, 4), (100, 300)]
)
def test_write_to_a_part_leaves_the_rest(
    bench: Bench, shared: tuple[ProducerBuffer, ExternalMemory], offset: int, size: int
) -> None:
    buffer, memory = shared
    before, part = pattern(SIZE), pattern(size, 1)
    bench.put(buffer, before)
    bench.write(memory, memory.map_buffer(offset=offset, size=size), part)
    same(bench.get(buffer), before[:offset] + part + before[offset + size :])


def test_views_of_views_add_their_offsets(
    bench: Bench, shared: tuple[ProducerBuffer, ExternalMemory]
) -> None:
    buffer, memory = shared
    data = pattern(SIZE)
    bench.put(buffer, data)
    outer = memory.map_buffer(offset=256, size=2048)
    inner = outer.view((256,), FLOAT, offset=512).view((8,), DTYPES["uint32"], offset=16)
    start = 256 + 512 + 16
    same(bench.read(memory, inner), data[start : start + 32])
    with pytest.raises(InvalidArgument):
        outer.view((1,), FLOAT, offset=2048)


def test_overlapping_views_see_the_same_bytes(
    bench: Bench, shared: tuple[ProducerBuffer, ExternalMemory]
) -> None:
    memory = shared[1]
    first, second = memory.map_buffer(offset=0, size=512), memory.map_buffer(offset=256, size=512)
    bench.write(memory, first, bytes(512))
    bench.write(memory, second, pattern(512))
    same(bench.read(memory, first), bytes(256) + pattern(512)[:256])


def test_double_import_sees_the_same_bytes(
    bench: Bench, shared: tuple[ProducerBuffer, ExternalMemory]
) -> None:
    buffer, memory = shared
    again = bench.take(buffer)
    bench.write(memory, whole(memory), pattern(SIZE))
    same(bench.read(again, whole(again)), pattern(SIZE))
    memory.close()
    bench.write(again, whole(again), pattern(SIZE, 1))
    same(bench.get(buffer), pattern(SIZE, 1))


def test_offset_of_the_descriptor(bench: Bench) -> None:
    buffer, handle, descriptor = bench.export(SIZE)
    memory = bench.track(bench.consumer.import_memory(handle, replace(descriptor, offset=1024, size=2048)))
    bench.put(buffer, pattern(SIZE))
    same(bench.read(memory, memory.map_buffer()), pattern(SIZE)[1024:3072])
    same(bench.read(memory, memory.map_buffer(offset=512, size=8)), pattern(SIZE)[1536:1544])
    for offset, size in ((0, 2049), (2048, 4), (2044, 8)):
        with pytest.raises(InvalidArgument):
            memory.map_buffer(offset=offset, size=size)


@pytest.mark.parametrize("order", list(permutations(("view", "memory", "buffer"))), ids="-".join)
def test_closing_in_any_order(bench: Bench, order: tuple[str, ...]) -> None:
    buffer, memory = bench.share(SIZE)
    view = whole(memory)
    bench.put(buffer, pattern(SIZE))
    same(bench.read(memory, view), pattern(SIZE))
    things: dict[str, MappedBuffer | ExternalMemory | ProducerBuffer] = {
        "view": view,
        "memory": memory,
        "buffer": buffer,
    }
    for name in order:
        things[name].close()
    for name in order:
        things[name].close()


def test_import_outlives_the_producers_buffer(
    bench: Bench, shared: tuple[ProducerBuffer, ExternalMemory]
) -> None:
    buffer, memory = shared
    view = whole(memory)
    bench.put(buffer, pattern(SIZE))
    buffer.close()
    same(bench.read(memory, view), pattern(SIZE))
    bench.write(memory, view, pattern(SIZE, 1))
    same(bench.read(memory, view), pattern(SIZE, 1))


def test_producers_buffer_outlives_the_import(
    bench: Bench, shared: tuple[ProducerBuffer, ExternalMemory]
) -> None:
    buffer, memory = shared
    bench.write(memory, whole(memory), pattern(SIZE))
    memory.close()
    same(bench.get(buffer), pattern(SIZE))
    bench.put(buffer, pattern(SIZE, 1))
    same(bench.get(buffer), pattern(SIZE, 1))


def test_one_closed_view_leaves_the_others(
    bench: Bench, shared: tuple[ProducerBuffer, ExternalMemory]
) -> None:
    memory = shared[1]
    kept, gone = whole(memory), whole(memory)
    part = gone.view((4,), FLOAT)
    bench.write(memory, kept, pattern(SIZE))
    gone.close()
    same(bench.read(memory, kept), pattern(SIZE))
    with pytest.raises(ClosedError):
        gone.read(bytearray(SIZE))
    part.close()
    kept.close()
    same(bench.read(memory, whole(memory)), pattern(SIZE))


def test_use_after_close(shared: tuple[ProducerBuffer, ExternalMemory]) -> None:
    memory = shared[1]
    view = whole(memory)
    memory.close()
    with pytest.raises(ClosedError):
        memory.map_buffer()
    with pytest.raises(ClosedError):
        view.read(bytearray(SIZE))
    with pytest.raises(ClosedError):
        view.write(bytes(SIZE))
    with pytest.raises(ClosedError):
        _ = view.native


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
def test_copy_of_another_size(shared: tuple[ProducerBuffer, ExternalMemory], size: int) -> None:
    view = whole(shared[1])
    with pytest.raises(InvalidArgument):
        view.read(bytearray(size))
    with pytest.raises(InvalidArgument):
        view.write(bytes(size))


def test_read_into_bytes_that_cannot_be_written(shared: tuple[ProducerBuffer, ExternalMemory]) -> None:
    with pytest.raises(InvalidArgument):
        whole(shared[1]).read(bytes(SIZE))


def test_own_allocation(bench: Bench) -> None:
    own = bench.track(bench.consumer.allocate(SIZE))
    assert own.nbytes == SIZE
    own.write(pattern(SIZE))
    same(bench.peek(own), pattern(SIZE))
    same(bench.peek(own.view((2,), FLOAT, offset=8)), pattern(SIZE)[8:16])
    own.close()
    own.close()


@pytest.mark.parametrize("size", [0, -1, 2**63, 2**64])
def test_own_allocation_of_a_size_that_cannot_be(bench: Bench, size: int) -> None:
    with pytest.raises(InvalidArgument):
        bench.consumer.allocate(size)
