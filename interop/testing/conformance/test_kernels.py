"""Kernels: one source for every consumer, and errors before the driver is called."""

# ruff: noqa: D103 - the name of a case says what it proves
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - kernels take their scalars as NumPy's
import pytest

from interop.protocols import ArgumentError, ClosedError, CompileError, KernelError, as_dtype
from interop.testing import _sources as sources
from interop.testing._bench import pattern, same

if TYPE_CHECKING:
    from interop.protocols import Kernel, MappedBuffer
    from interop.testing._bench import Bench

COUNT = 1000


def compiled(bench: Bench, source: str, name: str) -> Kernel:
    """Compile a source and take one kernel of it."""
    return bench.track(bench.consumer.compile(source)).kernel(name)


def upload(bench: Bench, array: np.ndarray[Any, Any]) -> MappedBuffer:
    """Return the consumer's own memory, filled."""
    own = bench.track(bench.consumer.allocate(array.nbytes))
    view = own.view(array.shape, as_dtype(array.dtype))
    view.write(np.ascontiguousarray(array))
    return view


def download(bench: Bench, view: MappedBuffer) -> np.ndarray[Any, Any]:
    """Return a view's contents."""
    return np.frombuffer(bench.peek(view), np.dtype(view.dtype.name)).reshape(view.shape)


def test_saxpy(bench: Bench) -> None:
    # Whole numbers, so that a fused multiply-add rounds as two operations do.
    x = np.arange(COUNT, dtype=np.float32)
    y = np.arange(COUNT, dtype=np.float32)[::-1].copy()
    ys = upload(bench, y)
    saxpy = compiled(bench, sources.SAXPY, "saxpy")
    for _ in range(2):
        saxpy(ys, upload(bench, x), np.float32(3), np.int32(COUNT), global_size=1024, local_size=64)
    assert np.array_equal(download(bench, ys), y + 6 * x)


def test_prepared_launch(bench: Bench) -> None:
    """Arguments are those of when it was prepared; other launches of the kernel do not change them."""
    data = upload(bench, np.zeros(COUNT, np.uint32))
    other = upload(bench, np.zeros(COUNT, np.uint32))
    module = bench.track(bench.consumer.compile(sources.ADD))
    add = module.kernel("add")
    small = add.prepare(data, np.uint32(1), np.uint32(COUNT), global_size=COUNT)
    large = add.prepare(data, np.uint32(1000), np.uint32(COUNT // 2), global_size=1024, local_size=64)
    for _ in range(3):
        small()
        add(other, np.uint32(7), np.uint32(COUNT), global_size=COUNT)
        large()
    assert (download(bench, data) == np.where(np.arange(COUNT) < COUNT // 2, 3003, 3)).all()
    assert np.array_equal(download(bench, other), np.full(COUNT, 21, np.uint32))
    with pytest.raises(ArgumentError):
        add.prepare(data, np.uint32(1), global_size=COUNT)
    other.close()
    closed = add.prepare(data, np.uint32(1), np.uint32(COUNT), global_size=COUNT)
    data.close()
    with pytest.raises(ClosedError):
        closed()
    module.close()
    with pytest.raises(ClosedError):
        small()


@pytest.mark.interop_needs("zero-copy")
def test_kernel_on_imported_memory(bench: Bench) -> None:
    buffer, memory = bench.share(4 * COUNT)
    view = memory.map_buffer(size=4 * COUNT, shape=(COUNT,), dtype=as_dtype("uint32"))
    add = compiled(bench, sources.ADD, "add")
    data = np.frombuffer(pattern(4 * COUNT), np.uint32)
    bench.put(buffer, data.tobytes())
    memory.acquire(bench.consumer.stream)
    add(view, np.uint32(5), np.uint32(COUNT), global_size=COUNT)
    memory.release(bench.consumer.stream)
    bench.consumer.stream.synchronize(bench.timeout)
    same(bench.get(buffer), (data + np.uint32(5)).tobytes())


@pytest.mark.interop_needs("zero-copy")
def test_kernel_on_a_part_of_imported_memory(bench: Bench) -> None:
    buffer, memory = bench.share(4096)
    data = np.frombuffer(pattern(4096), np.uint32)
    bench.put(buffer, data.tobytes())
    part = memory.map_buffer(offset=1024, size=2048).view((16,), as_dtype("uint32"), offset=512)
    memory.acquire(bench.consumer.stream)
    compiled(bench, sources.ADD, "add")(part, np.uint32(1), np.uint32(16), global_size=16)
    memory.release(bench.consumer.stream)
    bench.consumer.stream.synchronize(bench.timeout)
    expected = data.copy()
    expected[384:400] += np.uint32(1)
    same(bench.get(buffer), expected.tobytes())


@pytest.mark.parametrize(
    ("grid", "group"),
    [
        ((64,), (16,)),
        ((1,), None),
        ((1000,), (64,)),
        ((37,), (8,)),
        ((5, 7), None),
        ((32, 8), (8, 4)),
        ((33, 9), (8, 4)),
        ((3, 4, 5), None),
        ((8, 4, 2), (4, 2, 2)),
        ((9, 5, 3), (4, 2, 2)),
    ],
    ids=str,
)
def test_ids(bench: Bench, grid: tuple[int, ...], group: tuple[int, ...] | None) -> None:
    """Every work item runs once and knows its place, also where the grid is no whole number of groups."""
    width, height, depth = (*grid, 1, 1)[:3]
    guard = 64
    out = upload(bench, np.full((width * height * depth * 4 + guard,), 0xDEADBEEF, np.uint32))
    extents = (np.uint32(width), np.uint32(height), np.uint32(depth))
    compiled(bench, sources.IDS, "ids")(out, *extents, global_size=grid, local_size=group)
    found = download(bench, out)
    items = found[:-guard].reshape(depth, height, width, 4)
    z, y, x = np.indices((depth, height, width))
    assert np.array_equal(items[..., 0], x + 1000 * y + 1000000 * z)
    assert (items[..., 1:] == 1).all()
    assert (found[-guard:] == 0xDEADBEEF).all()  # noqa: PLR2004 - as filled


def test_scalars_of_every_size(bench: Bench) -> None:
    out = upload(bench, np.zeros(9, np.int64))
    compiled(bench, sources.SCALARS, "scalars")(
        out,
        np.int8(-5),
        np.uint8(250),
        np.int16(-30000),
        np.int64(-(2**40)),
        np.uint16(60000),
        np.int32(-(2**31)),
        np.uint64(2**62),
        np.uint32(2**32 - 1),
        np.float32(-2.75),
        global_size=1,
    )
    assert download(bench, out).tolist() == [
        -5,
        250,
        -30000,
        -(2**40),
        60000,
        -(2**31),
        2**62,
        2**32 - 1,
        -11,
    ]


def test_mathematics(bench: Bench) -> None:
    x = np.linspace(-4, 4, 101, dtype=np.float32)
    out = upload(bench, np.zeros((3, 101), np.float32))
    compiled(bench, sources.MATHS, "maths")(out, upload(bench, x), np.int32(101), global_size=101)
    expected = np.stack([np.sin(x), np.sqrt(np.abs(x)), np.exp(-x * x) + np.floor(x)])
    assert np.allclose(download(bench, out), expected, rtol=1e-5, atol=1e-6)


def test_local_memory_and_barrier(bench: Bench) -> None:
    data = np.arange(64, dtype=np.int32)
    view = upload(bench, data)
    compiled(bench, sources.REVERSE, "reverse")(view, global_size=64, local_size=16)
    assert np.array_equal(download(bench, view), data.reshape(4, 16)[:, ::-1].ravel())


def test_launches_run_in_order(bench: Bench) -> None:
    view = upload(bench, np.zeros(COUNT, np.uint32))
    add = compiled(bench, sources.ADD, "add")
    for amount in range(100):
        add(view, np.uint32(amount), np.uint32(COUNT), global_size=COUNT)
    assert (download(bench, view) == sum(range(100))).all()


def test_launch_on_another_stream(bench: Bench) -> None:
    stream = bench.track(bench.consumer.create_stream())
    view = upload(bench, np.zeros(COUNT, np.uint32))
    compiled(bench, sources.ADD, "add")(
        view, np.uint32(1), np.uint32(COUNT), global_size=COUNT, stream=stream
    )
    stream.synchronize(bench.timeout)
    assert (download(bench, view) == 1).all()


def test_native_object_as_argument(bench: Bench) -> None:
    view = upload(bench, np.zeros(COUNT, np.uint32))
    compiled(bench, sources.ADD, "add")(view.native, np.uint32(2), np.uint32(COUNT), global_size=COUNT)
    assert (download(bench, view) == 2).all()  # noqa: PLR2004 - as added


def test_two_modules_keep_their_kernels_apart(bench: Bench) -> None:
    first = compiled(bench, sources.ADD, "add")
    second = compiled(bench, sources.ADD_TENFOLD, "add")
    view = upload(bench, np.zeros(COUNT, np.uint32))
    for kernel in (first, second, first):
        kernel(view, np.uint32(1), np.uint32(COUNT), global_size=COUNT)
    assert (download(bench, view) == 12).all()  # noqa: PLR2004 - 1 + 10 + 1


def test_signature(bench: Bench) -> None:
    signature = compiled(bench, sources.SAXPY, "saxpy").signature
    assert [parameter.name for parameter in signature.parameters] == ["y", "x", "a", "n"]
    assert [parameter.pointer for parameter in signature.parameters] == [True, True, False, False]


def test_source_for_this_consumer(bench: Bench) -> None:
    name = bench.consumer.device.backend
    other = "KERNEL void add(GLOBAL_MEM uint *data, uint amount, uint count) { this is no C; }"
    for mapping in ({"portable": sources.ADD}, {name: sources.ADD, "portable": other}):
        view = upload(bench, np.zeros(COUNT, np.uint32))
        kernel = bench.track(bench.consumer.compile(mapping)).kernel("add")
        kernel(view, np.uint32(4), np.uint32(COUNT), global_size=COUNT)
        assert (download(bench, view) == 4).all()  # noqa: PLR2004 - as added
    with pytest.raises(KernelError, match=name):
        bench.consumer.compile({"no such consumer": sources.ADD})


def test_compile_error_names_the_callers_line(bench: Bench) -> None:
    source = "KERNEL void broken(GLOBAL_MEM float *p)\n{\n    p[0] = 1.0f;\n    p[1] = no_such_name;\n}\n"
    with pytest.raises(CompileError) as caught:
        bench.consumer.compile(source)
    assert "no_such_name" in caught.value.log
    assert re.search(r"\b4\b[:),]|line 4\b", caught.value.log)


@pytest.mark.parametrize("source", ["", "int nothing;", "KERNEL void", "void plain(int x) {}"])
def test_source_without_kernels(bench: Bench, source: str) -> None:
    with pytest.raises(KernelError):
        bench.consumer.compile(source)


def test_unknown_kernel(bench: Bench) -> None:
    module = bench.track(bench.consumer.compile(sources.ADD))
    with pytest.raises(ArgumentError, match="add"):
        module.kernel("subtract")


ONE = np.uint32(1)


@pytest.mark.parametrize(
    ("arguments", "grid"),
    [
        ((ONE,), {"global_size": 1}),
        ((ONE, ONE, ONE), {"global_size": 1}),
        ((1, ONE), {"global_size": 1}),
        ((1.5, ONE), {"global_size": 1}),
        ((np.int32(1), ONE), {"global_size": 1}),
        ((np.uint64(1), ONE), {"global_size": 1}),
        ((np.float32(1), ONE), {"global_size": 1}),
        ((None, ONE), {"global_size": 1}),
        (("1", ONE), {"global_size": 1}),
        ((ONE, ONE), {}),
        ((ONE, ONE), {"global_size": 0}),
        ((ONE, ONE), {"global_size": -1}),
        ((ONE, ONE), {"global_size": ()}),
        ((ONE, ONE), {"global_size": (1, 0)}),
        ((ONE, ONE), {"global_size": (1, 1, 1, 1)}),
        ((ONE, ONE), {"global_size": (8, 8), "local_size": 8}),
        ((ONE, ONE), {"global_size": 8, "local_size": 0}),
        ((ONE, ONE), {"global_size": 2**24, "local_size": 2**24}),
    ],
    ids=str,
)
def test_wrong_arguments(bench: Bench, arguments: tuple[object, ...], grid: dict[str, Any]) -> None:
    view = upload(bench, np.zeros(16, np.uint32))
    add = compiled(bench, sources.ADD, "add")
    with pytest.raises(TypeError):  # ArgumentError is one; so is a missing keyword
        add(view, *arguments, **grid)
    add(view, np.uint32(1), np.uint32(16), global_size=16)
    assert (download(bench, view) == 1).all()


@pytest.mark.parametrize("wrong", [np.uint32(1), 1.5, "memory", b"memory"], ids=repr)
def test_something_else_for_memory(bench: Bench, wrong: object) -> None:
    with pytest.raises(ArgumentError):
        compiled(bench, sources.ADD, "add")(wrong, np.uint32(1), np.uint32(1), global_size=1)


def test_memory_for_a_scalar(bench: Bench) -> None:
    view = upload(bench, np.zeros(16, np.uint32))
    with pytest.raises(ArgumentError):
        compiled(bench, sources.ADD, "add")(view, view, np.uint32(1), global_size=1)


def test_closed_view_as_argument(bench: Bench) -> None:
    view = upload(bench, np.zeros(16, np.uint32))
    view.close()
    with pytest.raises(ClosedError):
        compiled(bench, sources.ADD, "add")(view, np.uint32(1), np.uint32(1), global_size=1)


def test_module_is_closed_twice(bench: Bench) -> None:
    module = bench.consumer.compile(sources.ADD)
    module.kernel("add")
    module.close()
    module.close()
    with pytest.raises(ClosedError):
        module.kernel("add")
