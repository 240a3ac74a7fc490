"""Cases over the stand-in driver; test_cuda_stand_in.py runs them in a process that has loaded it."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import struct
import threading
import time
import weakref
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import import_cost
import numpy as np
import pytest
from interop_cuda.backend import CudaBackend

from interop.protocols import (
    DTYPES,
    FORMATS,
    ArgumentError,
    ClosedError,
    CompileError,
    Consumer,
    ConsumerBackend,
    DriverError,
    ExternalMemory,
    ExternalSemaphore,
    Handle,
    HandleError,
    HandleType,
    ImageConsumer,
    ImageDescriptor,
    InvalidArgument,
    MappedBuffer,
    MappedImage,
    MemoryDescriptor,
    SemaphoreDescriptor,
    SemaphoreKind,
    Stream,
    Tiling,
    TurnError,
    Unsupported,
    WaitTimeout,
)
from interop.toolkit import Closable, HostPages, device_streams, dlpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop_cuda.consumer import CudaConsumer

    from interop.protocols import InteropError

SIZE = 8192
FD = HandleType.OPAQUE_FD
ADD = """
KERNEL void add(GLOBAL_MEM uint *data, uint amount, uint count)
{
    size_t i = GLOBAL_ID(0);
    if (i < count) data[i] += amount;
}
"""
Child = TypeVar("Child", bound=Closable)
library = ctypes.CDLL("libcuda.so.1")
peers: list[Handle | mmap.mmap] = []
"""What the tests made on the other side; the fixture closes it."""
library.fake_current.restype = ctypes.c_void_p
library.cuCtxSetCurrent.argtypes = [ctypes.c_void_p]


def kept(consumer: CudaConsumer) -> list[Closable]:
    """Have what the consumer makes kept alive, for the consumer to close it; return the list of it."""
    made: list[Closable] = [consumer.stream]
    add = consumer._children.add

    def keep(child: Child) -> Child:
        made.append(child)
        return add(child)

    consumer._children = Keeping(keep)  # type: ignore[assignment]
    return made


class Keeping(NamedTuple):
    """Stands for the consumer's children."""

    add: Any


@pytest.fixture(scope="module")
def backend() -> CudaBackend:
    return CudaBackend()


@pytest.fixture
def consumer(backend: CudaBackend) -> Iterator[CudaConsumer]:
    """A consumer that has given back everything at the end: objects, context, descriptors."""
    before = len(os.listdir("/proc/self/fd"))
    opened = backend.open_consumer(backend.devices()[0])
    made = kept(opened)
    yield opened
    opened.close()
    made.clear()
    while peers:
        peers.pop().close()
    gc.collect()
    assert (library.fake_live(), library.fake_retained(), library.fake_depth()) == (0, 0, 0)
    assert len(os.listdir("/proc/self/fd")) <= before


def memory_of(offset: int = 0) -> tuple[Handle, MemoryDescriptor, mmap.mmap]:
    fd = os.memfd_create("memory")
    os.ftruncate(fd, SIZE)
    peers.extend((handle := Handle.adopt(fd, FD), peer := mmap.mmap(fd, SIZE)))
    size = SIZE - offset
    return handle, MemoryDescriptor(allocation_size=SIZE, size=size, offset=offset, handle_type=FD), peer


def semaphore_of(kind: SemaphoreKind) -> tuple[Handle, SemaphoreDescriptor, mmap.mmap]:
    fd = os.memfd_create("semaphore")
    os.ftruncate(fd, 8)
    peers.extend((handle := Handle.adopt(fd, FD), peer := mmap.mmap(fd, 8)))
    return handle, SemaphoreDescriptor(kind=kind, handle_type=FD), peer


def payload(peer: mmap.mmap) -> int:
    return int(struct.unpack("Q", peer[:8])[0])


def eventually(truth: object, seconds: float = 5.0) -> None:
    assert callable(truth)
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_protocols(backend: CudaBackend, consumer: CudaConsumer) -> None:
    handle, descriptor, _ = memory_of()
    signal, what, _ = semaphore_of(SemaphoreKind.BINARY)
    memory = consumer.import_memory(handle, descriptor)
    assert isinstance(backend, ConsumerBackend)
    assert isinstance(consumer, Consumer)
    assert isinstance(consumer.stream, Stream)
    assert isinstance(memory, ExternalMemory)
    assert isinstance(memory.map_buffer(), MappedBuffer)
    assert isinstance(consumer.import_semaphore(signal, what), ExternalSemaphore)


def test_import_read_and_write(consumer: CudaConsumer) -> None:
    handle, descriptor, peer = memory_of(offset=4096)
    memory = consumer.import_memory(handle, descriptor)
    assert handle.closed
    view = memory.map_buffer(offset=16, shape=(2, 4), dtype=DTYPES["float32"])
    peer[4112:4144] = np.arange(8, dtype=np.float32).tobytes()
    got = np.zeros((2, 4), np.float32)
    view.read(got.data)
    assert got.ravel().tolist() == list(range(8))
    row = view.view((4,), DTYPES["float32"], offset=16)
    assert row.native == view.native + 16
    row.write(np.full(4, 9, np.float32).data)
    assert np.frombuffer(peer[4128:4144], np.float32).tolist() == [9.0] * 4
    with pytest.raises(InvalidArgument):
        memory.map_buffer(offset=4096, size=1)
    memory.close()
    memory.close()
    with pytest.raises(ClosedError):
        view.read(got.data)
    with pytest.raises(ClosedError):
        memory.map_buffer()


def test_an_import_takes_little_of_python(consumer: CudaConsumer) -> None:
    """As tests/contract/test_import_cost.py has it for the others; without the export, which is a duplicate here."""
    handle, descriptor, _ = memory_of()

    def take() -> ExternalMemory:
        with handle.dup() as given:
            memory = consumer.import_memory(given, descriptor)
        memory.map_buffer()
        return memory

    bytecodes, calls = import_cost.spent(take, lambda memory: memory.close())
    assert bytecodes <= 1080, (bytecodes, calls)  # 1,013 on CPython 3.11, once 2,300
    assert calls <= 48, (bytecodes, calls)  # 43, once 128


def test_parts_of_one_allocation_are_one_import(consumer: CudaConsumer) -> None:
    handle, descriptor, peer = memory_of()
    descriptor = replace(descriptor, allocation=b"one")
    before = library.fake_live()
    parts = [consumer.import_memory(handle.dup(), replace(descriptor, size=16))]
    once = library.fake_live()
    for index in range(1, 100):
        mine = replace(descriptor, offset=index * 16, size=16)
        parts.append(consumer.import_memory(handle.dup(), mine))
    handle.close()
    assert library.fake_live() == once > before
    for index, part in enumerate(parts):
        part.map_buffer().write(bytes([index]) * 16)
    assert peer[:1600] == b"".join(bytes([index]) * 16 for index in range(100))
    for part in parts[1:]:
        part.close()
    assert library.fake_live() == once
    parts[0].close()
    assert library.fake_live() == before


def test_host_memory_is_pinned_once_and_kept(consumer: CudaConsumer, backend: CudaBackend) -> None:
    made = kept(consumer)
    pages = HostPages.allocate(SIZE)
    seen = pages.view()
    before = library.fake_live()
    what = HandleType.HOST_ALLOCATION
    descriptor = MemoryDescriptor(allocation_size=pages.size, size=SIZE, handle_type=what, allocation=b"two")
    memory = consumer.import_memory(Handle(pages.address, what, keep=pages), descriptor)
    with closing(backend.open_consumer(backend.devices()[0])) as other:
        theirs = other.import_memory(Handle(pages.address, what), descriptor)
        theirs.map_buffer().write(b"\x07" * SIZE)
        theirs.close()
    assert bytes(seen[:SIZE]) == b"\x07" * SIZE
    gone = weakref.ref(pages)
    del pages
    seen.release()
    del seen
    gc.collect()
    assert gone() is not None
    got = bytearray(SIZE)
    memory.map_buffer().read(got)
    assert got == b"\x07" * SIZE
    memory.close()
    assert library.fake_live() == before
    made.clear()
    del memory, theirs
    gc.collect()
    assert gone() is None


def test_refused_import_leaves_the_handle(consumer: CudaConsumer) -> None:
    descriptor = MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=FD)
    with Handle.adopt(os.open(os.devnull, os.O_RDWR), FD) as handle:
        before = os.fstat(handle.value)
        with pytest.raises(DriverError, match="not memory of this GPU") as caught:
            consumer.import_memory(handle, descriptor)
        assert (caught.value.code, caught.value.name) == (999, "CUDA_ERROR_UNKNOWN")
        assert os.fstat(handle.value).st_rdev == before.st_rdev
        with pytest.raises(DriverError, match="no semaphore"):
            consumer.import_semaphore(handle, SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=FD))
        assert not handle.closed


KINDS: dict[str, dict[str, Any]] = {
    "2D": {"extent": (5, 7, 1)},
    "2D array": {"extent": (5, 7, 1), "array_layers": 3},
    "3D": {"extent": (5, 7, 4), "mip_levels": 3},
    "mips": {"extent": (9, 4, 1), "mip_levels": 4},
    "rows": {"extent": (5, 7, 1), "tiling": Tiling.LINEAR, "offset": 256},
}


@pytest.mark.parametrize("made", ["r8unorm", "rg16sint", "rgba16float", "rgba32uint"])
@pytest.mark.parametrize("kind", KINDS)
def test_image(consumer: CudaConsumer, made: str, kind: str) -> None:
    fields: dict[str, Any] = {**KINDS[kind], "row_pitch": 96} if kind == "rows" else KINDS[kind]
    image = ImageDescriptor(format=FORMATS[made], **fields)
    handle, memory, peer = memory_of()
    mapped = consumer.import_image(handle, memory, image)
    assert handle.closed
    assert isinstance(consumer, ImageConsumer)
    assert isinstance(mapped, MappedImage)
    assert (mapped.shape, mapped.format, mapped.descriptor) == (image.shape, FORMATS[made], image)
    sent = {
        (level, layer): os.urandom(image.part_nbytes(level, layer))
        for level in range(image.mip_levels)
        for layer in range(image.array_layers)
    }
    mapped.acquire(consumer.stream)
    for (level, layer), texels in sent.items():
        mapped.write(texels, level=level, layer=layer)
    for (level, layer), texels in sent.items():
        seen = bytearray(len(texels))
        mapped.read(seen, level=level, layer=layer)
        assert seen == texels
    mapped.release(consumer.stream)
    if kind == "rows":
        size = 5 * image.format.texel_size
        rows = [peer[256 + 96 * row : 256 + 96 * row + size] for row in range(7)]
        assert b"".join(rows) == sent[0, 0]
        assert not any(peer[256 + size : 256 + 96])
    else:
        assert peer[: sum(map(len, sent.values()))] == b"".join(sent.values())
    mapped.close()
    mapped.close()
    uses: list[Any] = [lambda: mapped.native, lambda: mapped.read(bytearray(len(sent[0, 0])))]
    for use in uses:
        with pytest.raises(ClosedError):
            use()


def test_image_copies_are_checked_and_bounded(consumer: CudaConsumer) -> None:
    image = ImageDescriptor(extent=(8, 4, 1), format=FORMATS["rgba8unorm"], mip_levels=2)
    handle, memory, _ = memory_of()
    mapped = consumer.import_image(handle, memory, image)
    for wrong in (bytearray(127), bytearray(129), bytes(128)):
        with pytest.raises(InvalidArgument):
            mapped.read(wrong)
    for level, layer in ((2, 0), (-1, 0), (0, 1)):
        with pytest.raises(InvalidArgument):
            mapped.write(bytes(128), level=level, layer=layer)
    consumer.stream.hold(1)
    with pytest.raises(WaitTimeout):
        mapped.read(bytearray(128), timeout=0.05)
    consumer.stream.release(1)
    mapped.read(bytearray(128))


@pytest.mark.parametrize(
    ("tiling", "variable", "value", "error"),
    [
        (Tiling.OPTIMAL, "FAKE_CUDA_MAP_ARRAY", "1", Unsupported),
        (Tiling.OPTIMAL, "FAKE_CUDA_MAP_ARRAY", "801", Unsupported),
        (Tiling.OPTIMAL, "FAKE_CUDA_MAP_ARRAY", "999", Unsupported),
        (Tiling.OPTIMAL, "FAKE_CUDA_MAP_ARRAY", "2", DriverError),
        (Tiling.LINEAR, "FAKE_CUDA_NO_MAP", "1", DriverError),
    ],
)
def test_image_that_is_not_mapped(
    consumer: CudaConsumer,
    monkeypatch: pytest.MonkeyPatch,
    tiling: Tiling,
    variable: str,
    value: str,
    error: type[Exception],
) -> None:
    pitch = 32 if tiling is Tiling.LINEAR else 0
    image = ImageDescriptor(extent=(8, 4, 1), format=FORMATS["rgba8unorm"], tiling=tiling, row_pitch=pitch)
    handle, memory, _ = memory_of()
    live = library.fake_live()
    monkeypatch.setenv(variable, value)
    with pytest.raises(error, match="returned"):
        consumer.import_image(handle, memory, image)
    assert library.fake_live() == live
    assert not handle.closed
    monkeypatch.undo()
    consumer.import_image(handle, memory, image).close()
    assert handle.closed


def test_image_that_cannot_lie_in_its_memory(consumer: CudaConsumer) -> None:
    handle, memory, _ = memory_of()
    image = ImageDescriptor(extent=(64, 33, 1), format=FORMATS["rgba8unorm"])
    with pytest.raises(InvalidArgument, match="at least 8448 bytes"):
        consumer.import_image(handle, memory, image)
    assert not handle.closed


def test_refused_mapping_undoes_the_import(consumer: CudaConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    handle, descriptor, peer = memory_of()
    live = library.fake_live()
    library_environment(monkeypatch, "FAKE_CUDA_NO_MAP")
    with pytest.raises(DriverError, match="no room"):
        consumer.import_memory(handle, descriptor)
    assert library.fake_live() == live
    assert not handle.closed
    monkeypatch.undo()
    memory = consumer.import_memory(handle, descriptor)
    memory.map_buffer(size=1).write(b"x")
    assert peer[:1] == b"x"


def library_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")  # os.environ calls putenv, which the library sees


def test_types_that_are_not_imported(consumer: CudaConsumer) -> None:
    handle, descriptor, _ = memory_of()
    with handle, pytest.raises(HandleError):
        consumer.import_memory(
            handle, MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=HandleType.DMA_BUF)
        )
    with Handle.adopt(os.memfd_create("x"), HandleType.DMA_BUF) as other, pytest.raises(HandleError):
        consumer.import_memory(
            other, MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=HandleType.DMA_BUF)
        )
    assert descriptor.handle_type is FD


def test_allocate(consumer: CudaConsumer) -> None:
    own = consumer.allocate(64)
    own.write(bytes(range(64)))
    got = bytearray(64)
    own.read(got)
    assert bytes(got) == bytes(range(64))
    own.close()
    with pytest.raises(ClosedError):
        own.read(got)
    with pytest.raises(InvalidArgument):
        consumer.allocate(0)
    with pytest.raises(DriverError):
        consumer.allocate(1 << 50)


def test_array_interface(consumer: CudaConsumer) -> None:
    own = consumer.allocate(64)
    interface = own.view((4, 4), DTYPES["int32"]).__cuda_array_interface__
    assert interface == {
        "shape": (4, 4), "typestr": "<i4", "data": (own.native, False), "strides": None,
        "stream": consumer.stream.native, "version": 3,
    }  # fmt: skip


@pytest.mark.parametrize("stream", [None, 1, 2, -1])
def test_dlpack_orders_the_callers_stream(consumer: CudaConsumer, stream: int | None) -> None:
    own = consumer.allocate(64)
    assert own.__dlpack_device__() == (2, 0)
    consumer.stream.hold(1)
    timer = threading.Timer(1.0, consumer.stream.release, (1,))
    start = time.monotonic()
    timer.start()
    capsule = own.__dlpack__(stream=stream)
    if stream != -1:
        library.fake_synchronize(ctypes.c_void_p(stream or 1))
    waited = time.monotonic() - start
    timer.join()
    assert (waited < 0.9) == (stream == -1)
    del capsule


def test_dlpack_refuses(consumer: CudaConsumer) -> None:
    own = consumer.allocate(64)
    with pytest.raises(BufferError):
        own.__dlpack__(stream=0)
    with pytest.raises(BufferError):
        own.__dlpack__(copy=True)
    with pytest.raises(BufferError):
        own.__dlpack__(dl_device=(1, 0))
    assert dlpack.live_tensors() == 0
    own.close()
    with pytest.raises(ClosedError):
        own.__dlpack__()


def test_tensors_outlive_memory_and_consumer(backend: CudaBackend) -> None:
    consumer = backend.open_consumer(backend.devices()[0])
    handle, descriptor, peer = memory_of()
    memory = consumer.import_memory(handle, descriptor)
    view = memory.map_buffer()
    address = view.native
    first, second = view.__dlpack__(), view.__dlpack__(max_version=(1, 0))
    memory.close()
    consumer.close()
    consumer.close()
    with pytest.raises(ClosedError):
        _ = view.native
    assert (library.fake_live(), library.fake_retained()) == (2, 1)  # the import and its mapping
    del first
    peer[:1] = b"x"
    assert ctypes.string_at(address, 1) == b"x"
    del second
    gc.collect()
    assert (library.fake_live(), library.fake_retained()) == (0, 0)


def test_dropped_unclosed_warns_and_releases(backend: CudaBackend) -> None:
    consumer = backend.open_consumer(backend.devices()[0])
    with pytest.warns(ResourceWarning, match="unclosed (consumer|CUDA)"):  # noqa: PT031 - all of it warns
        consumer.allocate(64)
        del consumer
        gc.collect()
    assert (library.fake_live(), library.fake_retained(), library.fake_depth()) == (0, 0, 0)


def test_callers_context_is_left_alone(consumer: CudaConsumer) -> None:
    seen: list[object] = []

    def work() -> None:
        own = consumer.allocate(64)
        module = consumer.compile(ADD)
        module.kernel("add")
        seen.append(library.fake_current())
        own.write(bytes(64))
        seen.append(library.fake_current())
        library.cuCtxSetCurrent(None)  # as another library would
        module.kernel("add")(own, np.uint32(1), np.uint32(1), global_size=1)
        consumer.stream.synchronize(5)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0] is None
    assert seen[1] is not None


def test_binary_semaphore(consumer: CudaConsumer) -> None:
    handle, descriptor, peer = semaphore_of(SemaphoreKind.BINARY)
    semaphore = consumer.import_semaphore(handle, descriptor)
    assert handle.closed
    semaphore.signal(consumer.stream)
    consumer.stream.synchronize(5)
    assert payload(peer) == 1
    semaphore.wait(consumer.stream)
    consumer.stream.synchronize(5)
    assert payload(peer) == 0
    semaphore.wait(consumer.stream)
    with pytest.raises(WaitTimeout):
        consumer.stream.synchronize(0.05)
    peer[:8] = struct.pack("Q", 1)
    consumer.stream.synchronize(5)
    with pytest.raises(TurnError):
        semaphore.wait(consumer.stream, 1)
    semaphore.close()
    semaphore.close()
    with pytest.raises(ClosedError):
        semaphore.signal(consumer.stream)


def test_timeline_semaphore(consumer: CudaConsumer) -> None:
    handle, descriptor, peer = semaphore_of(SemaphoreKind.TIMELINE)
    semaphore = consumer.import_semaphore(handle, descriptor)
    semaphore.signal(consumer.stream, 2**40)
    consumer.stream.synchronize(5)
    assert payload(peer) == 2**40
    semaphore.wait(consumer.stream, 2**40 + 1)
    with pytest.raises(WaitTimeout):
        consumer.stream.synchronize(0.05)
    peer[:8] = struct.pack("Q", 2**40 + 1)
    consumer.stream.synchronize(5)
    with pytest.raises(TurnError):
        semaphore.signal(consumer.stream, 5)
    with pytest.raises(TurnError):
        semaphore.wait(consumer.stream)


def test_holds_end_in_order(consumer: CudaConsumer) -> None:
    stream, seen = consumer.stream, list[int]()
    for value in (1, 2, 3):
        stream.hold(value)
        stream.notify(seen.append, value)
    with pytest.raises(WaitTimeout):
        stream.synchronize(0.05)
    stream.release(2)
    stream.release(1)
    eventually(lambda: seen == [1, 2])
    with pytest.raises(WaitTimeout):
        stream.synchronize(0.05)
    stream.release(3)
    stream.synchronize(5)
    assert seen == [1, 2, 3]
    with pytest.raises(InvalidArgument):
        stream.hold(0)


def test_notify_runs_elsewhere_and_in_order(consumer: CudaConsumer) -> None:
    seen: list[tuple[int, int]] = []
    for value in range(200):
        consumer.stream.notify(lambda value: seen.append((value, threading.get_ident())), value)
    consumer.stream.synchronize(5)
    assert [value for value, _ in seen] == list(range(200))
    assert threading.get_ident() not in {thread for _, thread in seen}


def test_notify_is_told_of_a_hold_that_failed_and_of_the_end(consumer: CudaConsumer) -> None:
    stream, seen = consumer.create_stream(), list[tuple[int, str]]()

    def good(value: int) -> None:
        seen.append((value, ""))

    def bad(value: int, failure: InteropError) -> None:
        seen.append((value, type(failure).__name__))

    stream.notify(good, 1, failed=bad)
    stream.hold(1)
    stream.notify(good, 2, failed=bad)
    stream.release(1, failed=True)
    eventually(lambda: seen == [(1, ""), (2, "DriverError")])
    with pytest.raises(DriverError):
        stream.synchronize(5)
    stream.hold(2)
    stream.notify(good, 3, failed=bad)
    stream.close()
    eventually(lambda: seen[2:] == [(3, "DriverError")])


def test_synchronize_waits_for_earlier_work_only(consumer: CudaConsumer) -> None:
    stream = consumer.stream
    stream.hold(1)
    ended = threading.Event()

    def wait() -> None:
        stream.synchronize(5)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    stream.hold(2)
    stream.release(1)
    assert ended.wait(5)
    stream.release(2)
    thread.join()
    stream.synchronize(5)


def test_streams_are_told_apart(consumer: CudaConsumer) -> None:
    other = consumer.create_stream()
    assert other.native != consumer.stream.native
    consumer.stream.hold(1)
    consumer.stream.precede(other.native)
    with pytest.raises(WaitTimeout):
        other.synchronize(0.05)
    consumer.stream.release(1)
    other.synchronize(5)
    other.close()
    with pytest.raises(ClosedError):
        other.synchronize(1)
    with pytest.raises(InvalidArgument):
        device_streams.stream_address(object(), consumer.runtime)  # type: ignore[arg-type]


def test_stream_closed_while_held_is_let_go(consumer: CudaConsumer) -> None:
    seen: list[int] = []
    other = consumer.create_stream()
    other.hold(1)
    other.notify(seen.append, 1)
    other.close()
    eventually(lambda: seen == [1])


def test_stream_closed_with_a_peer_that_never_signals(consumer: CudaConsumer) -> None:
    handle, descriptor, peer = semaphore_of(SemaphoreKind.BINARY)
    semaphore = consumer.import_semaphore(handle, descriptor)
    other = consumer.create_stream()
    semaphore.wait(other)
    start = time.monotonic()
    other.close()
    assert time.monotonic() - start < 2
    assert len(device_streams.LEAKED) == 1
    peer[:8] = struct.pack("Q", 1)
    eventually(lambda: payload(peer) == 0)
    gate: Any = device_streams.LEAKED.pop()
    with consumer.runtime.current:
        gate[0].close()


def test_reads_are_bounded(consumer: CudaConsumer) -> None:
    own = consumer.allocate(64)
    consumer.stream.hold(1)
    with pytest.raises(WaitTimeout):
        own.read(bytearray(64), timeout=0.05)
    consumer.stream.release(1)
    own.read(bytearray(64))
    with pytest.raises(InvalidArgument):
        own.read(bytearray(63))
    with pytest.raises(InvalidArgument):
        own.read(bytes(64))


def test_kernel(consumer: CudaConsumer) -> None:
    own = consumer.allocate(400)
    view = own.view((100,), DTYPES["uint32"])
    view.write(np.arange(100, dtype=np.uint32).data)
    add = consumer.compile(ADD).kernel("add")
    add(view, np.uint32(5), np.uint32(90), global_size=100)
    add(view.native, np.uint32(1), np.uint32(90), global_size=(100,), local_size=(32,))
    got = np.zeros(100, np.uint32)
    view.read(got.data)
    assert got.tolist() == [i + 6 * (i < 90) for i in range(100)]
    for wrong in ((view, np.int32(5), np.uint32(1)), (view, 5, np.uint32(1)), (view, np.uint32(5))):
        with pytest.raises(ArgumentError):
            add(*wrong, global_size=1)
    with pytest.raises(ArgumentError):
        add(object(), np.uint32(5), np.uint32(1), global_size=1)
    with pytest.raises(ArgumentError):
        add(view, np.uint32(5), np.uint32(1), global_size=2048, local_size=2048)
    view.close()
    with pytest.raises(ClosedError):
        add(view, np.uint32(5), np.uint32(1), global_size=1)


def test_kernel_names(consumer: CudaConsumer) -> None:
    module = consumer.compile(ADD)
    with pytest.raises(ArgumentError, match="add"):
        module.kernel("sub")
    module.close()
    with pytest.raises(ClosedError):
        module.kernel("add")


def test_compile_error_names_the_line(consumer: CudaConsumer) -> None:
    with pytest.raises(CompileError) as caught:
        consumer.compile("\n\nKERNEL void f(GLOBAL_MEM int *x)\n{\n    x[0] = nothing;\n}\n")
    assert 'kernel(5): error: identifier "nothing" is undefined' in caught.value.log


@pytest.mark.parametrize("source", ["EVERY", "types", "half", "own"])
def test_vocabulary_compiles(consumer: CudaConsumer, source: str) -> None:
    if source == "EVERY":
        from interop.testing.conformance._sources import EVERY

        for one in EVERY:
            consumer.compile(one).close()
    elif source == "types":
        names = [f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)]
        names += ["uchar", "ushort", "uint", "ulong", "size_t", "bool", "double"]
        arguments = ", ".join(
            f"GLOBAL_MEM {name} *restrict p{i}, {name} v{i}" for i, name in enumerate(names)
        )
        body = " ".join(f"p{i}[0] = v{i};" for i in range(len(names)))
        consumer.compile(f"KERNEL void f({arguments}) {{ {body} }}").close()
    elif source == "half":
        text = (
            "KERNEL void f(GLOBAL_MEM half *x, half y, float z) { x[0] = x[1] + y * z; x[2] = z; *x = x[4]; }"
        )
        consumer.compile(text).close()
    else:
        text = 'KERNEL void f(int *x) { asm("mov.u32 %0, %laneid;" : "=r"(*x)); }'
        consumer.compile({"cuda": text, "opencl": "nothing"}).close()


def test_closed_consumer(backend: CudaBackend) -> None:
    consumer = backend.open_consumer(backend.devices()[0])
    consumer.close()
    handle, descriptor, _ = memory_of()
    with handle, contextlib.ExitStack() as every:
        for use in (
            lambda: consumer.stream,
            consumer.create_stream,
            lambda: consumer.import_memory(handle, descriptor),
            lambda: consumer.allocate(1),
            lambda: consumer.compile(ADD),
        ):
            with pytest.raises(ClosedError):
                use()
        assert not handle.closed
        every.close()
    assert (library.fake_live(), library.fake_retained()) == (0, 0)
