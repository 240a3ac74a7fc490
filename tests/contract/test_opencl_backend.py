"""The OpenCL consumer on every device of this machine, with memory of the Vulkan device that it matches."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import taker

from interop.protocols import (
    DTYPES,
    ArgumentError,
    BackendUnavailable,
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
    InvalidArgument,
    MappedBuffer,
    MemoryDescriptor,
    SemaphoreDescriptor,
    SemaphoreKind,
    Stream,
    TurnError,
    Unsupported,
    WaitTimeout,
)
from interop.testing import leaks
from interop.toolkit import dlpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interop_opencl.consumer import OpenCLConsumer
    from interop_vulkan.producer import VulkanProducer as Producer

    from interop.protocols import DeviceInfo

pytest.importorskip("pyopencl")
from interop_opencl.backend import OpenCLBackend
from interop_opencl.memory import OpenCLBuffer
from interop_vulkan.backend import VulkanBackend

UINT32, UINT8 = DTYPES["uint32"], DTYPES["uint8"]
SIZE = 1 << 16
TIMEOUT = 20.0
OPAQUE_FD = HandleType.OPAQUE_FD
ADD = "KERNEL void add(GLOBAL_MEM uint *data, uint step) { data[GLOBAL_ID(0)] += step; }"
SPIN = """
KERNEL void spin(GLOBAL_MEM uint *data, uint rounds)
{
    uint seed = data[0];
    for (uint i = 0; i < rounds; ++i) seed = seed * 1664525u + 1013904223u;
    data[0] = seed;
}
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "info" in metafunc.fixturenames:
        try:
            found = OpenCLBackend().devices()
        except BackendUnavailable as error:
            metafunc.parametrize("info", [pytest.param(None, marks=pytest.mark.skip(str(error)))])
        else:
            metafunc.parametrize("info", found, ids=[f"{each.index}-{each.name}" for each in found])


@pytest.fixture
def consumer(info: DeviceInfo) -> Iterator[OpenCLConsumer]:
    opened = OpenCLBackend().open_consumer(info)
    yield opened
    opened.close()


@pytest.fixture
def producer(info: DeviceInfo) -> Iterator[Producer]:
    if OPAQUE_FD not in info.capabilities.memory_import:
        pytest.skip(f"{info.name} imports no opaque_fd memory")
    backend = VulkanBackend()
    device = next((each for each in backend.devices() if each.identity.match(info.identity)), None)
    if device is None:
        pytest.skip(f"{info.name} is no Vulkan device of this machine")
    opened = backend.open_producer(device)
    yield opened
    opened.close()


@pytest.fixture
def shared(producer: Producer, consumer: OpenCLConsumer) -> Iterator[tuple[ExternalMemory, memoryview]]:
    """An import, and the same bytes as the producer sees them."""
    buffer = producer.create_buffer(SIZE, export=OPAQUE_FD, host_visible=True)
    handle, descriptor = buffer.export_memory()
    memory = consumer.import_memory(handle, descriptor)
    view = buffer.host_view()
    yield memory, view
    view.release()
    memory.close()
    buffer.close()


def words(view: memoryview) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.frombuffer(view, np.uint32)


def zero(buffer: MappedBuffer) -> None:
    buffer.write(np.zeros(buffer.nbytes, np.uint8))


def read(buffer: MappedBuffer) -> np.ndarray[Any, np.dtype[np.uint32]]:
    target = np.empty(buffer.nbytes // 4, np.uint32)
    buffer.read(target, timeout=TIMEOUT)
    return target


def row(buffer: MappedBuffer) -> MappedBuffer:
    return buffer.view((buffer.nbytes // 4,), UINT32)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.001)


# Devices


def test_fulfils_the_protocols(info: DeviceInfo, consumer: OpenCLConsumer) -> None:
    assert isinstance(OpenCLBackend(), ConsumerBackend)
    assert isinstance(consumer, Consumer)
    assert isinstance(consumer.stream, Stream)
    buffer = consumer.allocate(256)
    assert isinstance(buffer, MappedBuffer)
    buffer.close()
    assert info.capabilities.stream_hold
    assert SemaphoreKind.TIMELINE not in info.capabilities.semaphore_import
    assert OpenCLBackend().versions()["pyopencl"]


def test_no_platform_is_unavailable_and_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "from interop.protocols.errors import BackendUnavailable\n"
        "from interop_opencl.backend import OpenCLBackend\n"
        "try:\n    OpenCLBackend().devices()\n"
        "except BackendUnavailable as error:\n    print(error)\n"
    )
    environment = os.environ | {"OCL_ICD_VENDORS": str(tmp_path / "none"), "OPENCL_LAYERS": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert "no OpenCL platform" in done.stdout
    assert "pip install" in done.stdout


def test_device_of_another_backend_is_refused(info: DeviceInfo) -> None:
    import dataclasses

    for wrong in ({"backend": "hip"}, {"index": 99}):
        with pytest.raises(InvalidArgument):
            OpenCLBackend().open_consumer(dataclasses.replace(info, **wrong))


# Memory


def test_kernel_on_imported_memory_is_seen_by_vulkan(
    consumer: OpenCLConsumer, shared: tuple[ExternalMemory, memoryview]
) -> None:
    memory, host = shared
    words(host)[:] = np.arange(SIZE // 4)
    view = memory.map_buffer(shape=(SIZE // 4,), dtype=UINT32)
    memory.acquire(consumer.stream)
    consumer.compile(ADD).kernel("add")(view, np.uint32(7), global_size=SIZE // 4)
    memory.release(consumer.stream)
    consumer.stream.synchronize(TIMEOUT)
    assert (words(host) == np.arange(SIZE // 4) + 7).all()


def test_views_at_offsets_reach_their_own_bytes(
    consumer: OpenCLConsumer, shared: tuple[ExternalMemory, memoryview]
) -> None:
    memory, host = shared
    words(host)[:] = 0
    step = consumer.device.capabilities.view_alignment
    add = consumer.compile(ADD).kernel("add")
    memory.acquire(consumer.stream)
    outer = memory.map_buffer(offset=step, size=4 * step)
    inner = outer.view((step // 4,), UINT32, offset=step)
    add(inner, np.uint32(5), global_size=step // 4)
    add(outer.view((1,), UINT32, offset=0), np.uint32(2), global_size=1)
    memory.release(consumer.stream)
    consumer.stream.synchronize(TIMEOUT)
    expected = np.zeros(SIZE // 4, np.uint32)
    expected[step // 4] = 2
    expected[2 * step // 4 : 3 * step // 4] = 5
    assert (words(host) == expected).all()


def test_kernel_refuses_a_view_between_two_alignments(
    consumer: OpenCLConsumer, shared: tuple[ExternalMemory, memoryview]
) -> None:
    memory, host = shared
    words(host)[:] = np.arange(SIZE // 4)
    step = consumer.device.capabilities.view_alignment
    view = memory.map_buffer(offset=4, shape=(1,), dtype=UINT32)
    with pytest.raises(InvalidArgument, match=f"multiple of {step}"):
        consumer.compile(ADD).kernel("add")(view, np.uint32(1), global_size=1)
    assert read(view)[0] == 1  # host copies take any offset


def test_new_sub_buffer_at_an_old_address_is_a_new_argument(consumer: OpenCLConsumer) -> None:
    add = consumer.compile(ADD).kernel("add")
    step = consumer.device.capabilities.view_alignment
    for _ in range(50):  # the driver is likely to use an address again
        buffer = consumer.allocate(4 * step)
        zero(buffer)
        part = buffer.view((step // 4,), UINT32, offset=step)
        add(part, np.uint32(1), global_size=step // 4)
        assert int(read(row(buffer)).sum()) == step // 4
        buffer.close()


def test_import_and_close_keep_descriptors_flat(producer: Producer, consumer: OpenCLConsumer) -> None:
    buffer = producer.create_buffer(SIZE, export=OPAQUE_FD)
    semaphore = producer.create_semaphore(SemaphoreKind.BINARY, export=OPAQUE_FD)
    step = consumer.device.capabilities.view_alignment
    descriptors = []
    for _ in range(50):
        handle, descriptor = buffer.export_memory()
        memory = consumer.import_memory(handle, descriptor)
        assert handle.closed
        assert memory.map_buffer(offset=step, size=step).native.size == step
        memory.close()
        handle, kind = semaphore.export_semaphore()
        consumer.import_semaphore(handle, kind).close()
        descriptors.append(len(os.listdir("/proc/self/fd")))
    assert descriptors[-1] == descriptors[0], descriptors
    semaphore.close()
    buffer.close()


@pytest.mark.parametrize("path", ["/dev/null", "memfd"])
def test_refused_memory_stays_with_the_caller(
    producer: Producer, consumer: OpenCLConsumer, path: str
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    fd = os.memfd_create("plain") if path == "memfd" else os.open(path, os.O_RDWR)
    if path == "memfd":
        os.truncate(fd, 2 * SIZE)
    with Handle.adopt(fd, OPAQUE_FD) as handle:
        descriptor = MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=OPAQUE_FD)
        with pytest.raises((HandleError, DriverError)):
            consumer.import_memory(handle, descriptor)
        with pytest.raises((HandleError, DriverError)):
            consumer.import_semaphore(
                handle, SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=OPAQUE_FD)
            )
        assert not handle.closed
        os.fstat(fd)
    assert len(os.listdir("/proc/self/fd")) == before


def test_closed_memory_refuses_use(
    consumer: OpenCLConsumer, shared: tuple[ExternalMemory, memoryview]
) -> None:
    memory, _ = shared
    view = memory.map_buffer()
    part = memory.map_buffer(offset=consumer.device.capabilities.view_alignment, size=4)
    assert part.native is not None
    memory.close()
    memory.close()
    uses: tuple[Callable[[], object], ...] = (
        memory.map_buffer,
        lambda: memory.acquire(consumer.stream),
        lambda: view.native,
        lambda: part.native,
        lambda: view.read(bytearray(view.nbytes)),
    )
    for use in uses:
        with pytest.raises(ClosedError):
            use()


def test_host_copies_are_checked_and_bounded(consumer: OpenCLConsumer) -> None:
    buffer = consumer.allocate(256)
    strided: Any = np.zeros((16, 32), np.uint8)[:, ::2]
    for host in (bytearray(255), strided):
        with pytest.raises(InvalidArgument):
            buffer.write(host)
    with pytest.raises(InvalidArgument):
        buffer.read(bytes(256))
    buffer.write(bytes(range(256)))
    consumer.stream.hold(1)
    target = bytearray(256)
    with pytest.raises(WaitTimeout):
        buffer.read(target, timeout=0.05)
    assert target == bytes(256)
    consumer.stream.release(1)
    buffer.read(target)
    assert target == bytes(range(256))
    buffer.close()


# Semaphores


def test_timelines_are_refused_with_the_reason(producer: Producer, consumer: OpenCLConsumer) -> None:
    semaphore = producer.create_semaphore(SemaphoreKind.BINARY, export=OPAQUE_FD)
    handle, _ = semaphore.export_semaphore()
    with handle:
        descriptor = SemaphoreDescriptor(kind=SemaphoreKind.TIMELINE, handle_type=OPAQUE_FD)
        with pytest.raises(Unsupported, match="binary semaphores only"):
            consumer.import_semaphore(handle, descriptor)
        assert not handle.closed
    semaphore.close()


def test_semaphores_order_both_ways(producer: Producer, consumer: OpenCLConsumer) -> None:
    with ExitStack() as undo:
        buffer = producer.create_buffer(4, export=OPAQUE_FD, host_visible=True)
        undo.callback(buffer.close)
        memory = consumer.import_memory(*buffer.export_memory())
        undo.callback(memory.close)
        ours, theirs = (producer.create_semaphore(SemaphoreKind.BINARY, export=OPAQUE_FD) for _ in range(2))
        undo.callback(ours.close)
        undo.callback(theirs.close)
        wait, signal = (consumer.import_semaphore(*each.export_semaphore()) for each in (ours, theirs))
        undo.callback(wait.close)
        undo.callback(signal.close)
        assert isinstance(wait, ExternalSemaphore)
        for misuse in (wait.wait, wait.signal):
            with pytest.raises(TurnError):
                misuse(consumer.stream, 1)
        first = producer.prepare(release=[buffer], signal=ours)
        undo.callback(first.close)
        later = producer.prepare(acquire=[buffer], release=[buffer], wait=theirs, signal=ours)
        undo.callback(later.close)
        add = consumer.compile(ADD).kernel("add")
        view = memory.map_buffer(shape=(1,), dtype=UINT32)
        words(buffer.host_view())[0] = 1
        for frame in range(100):
            wait.wait(consumer.stream)  # before the signal is submitted
            memory.acquire(consumer.stream)
            add(view, np.uint32(1), global_size=1)
            memory.release(consumer.stream)
            signal.signal(consumer.stream)
            (first if frame == 0 else later).submit()
        consumer.stream.synchronize(TIMEOUT)
        producer.wait_idle(TIMEOUT)
        assert words(buffer.host_view())[0] == 101


# Streams


def test_hold_keeps_back_what_follows_until_release(consumer: OpenCLConsumer) -> None:
    buffer = consumer.allocate(4)
    zero(buffer)
    seen: list[int] = []
    stream = consumer.create_stream()
    stream.notify(seen.append, 1)
    stream.hold(1)
    stream.notify(seen.append, 2)
    stream.hold(2)
    consumer.compile(ADD).kernel("add")(row(buffer), np.uint32(1), global_size=1, stream=stream)
    stream.notify(seen.append, 3)
    wait_for(lambda: seen == [1])
    with pytest.raises(WaitTimeout):
        stream.synchronize(0.05)
    assert seen == [1]
    stream.release(1)
    wait_for(lambda: seen == [1, 2])
    assert read(buffer)[0] == 0
    threading.Thread(target=stream.release, args=(2,)).start()
    stream.synchronize(TIMEOUT)
    wait_for(lambda: seen == [1, 2, 3])
    assert read(buffer)[0] == 1
    stream.close()
    buffer.close()


def test_release_before_hold_is_remembered(consumer: OpenCLConsumer) -> None:
    consumer.stream.release(3)
    for value in (1, 2, 3):
        consumer.stream.hold(value)
    consumer.stream.synchronize(TIMEOUT)


def test_failed_hold_is_told_and_the_stream_stays_usable(consumer: OpenCLConsumer) -> None:
    buffer = consumer.allocate(4)
    zero(buffer)
    add = consumer.compile(ADD).kernel("add")
    consumer.stream.hold(1)
    add(row(buffer), np.uint32(1), global_size=1)
    consumer.stream.release(1, failed=True)
    with pytest.raises(DriverError, match="hold"):
        consumer.stream.synchronize(TIMEOUT)
    zero(buffer)
    add(row(buffer), np.uint32(1), global_size=1)
    assert read(buffer)[0] == 1
    buffer.close()


def test_close_ends_what_was_held(info: DeviceInfo) -> None:
    before = leaks.snapshot()
    consumer = OpenCLBackend().open_consumer(info)
    stream = consumer.create_stream()
    seen: list[int] = []
    stream.hold(1)
    stream.notify(seen.append, 1)
    stream.close()
    wait_for(lambda: seen == [1])
    for use in (stream.flush, partial(stream.hold, 2), partial(stream.synchronize, 1.0)):
        with pytest.raises(ClosedError):
            use()
    with pytest.raises(ClosedError):
        _ = stream.native
    consumer.close()
    del use, stream, consumer
    gc.collect()
    left = [line for line in leaks.leaked_since(before) if line.startswith("descriptor")]
    assert not left


def test_ten_thousand_notifications_come_in_order_and_leave_nothing(consumer: OpenCLConsumer) -> None:
    from interop_opencl import _events

    seen: list[int] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads that call back overtake each other where they can
    try:
        for value in range(10_000):
            consumer.stream.notify(seen.append, value)
        consumer.stream.synchronize(TIMEOUT)
        wait_for(lambda: len(seen) == 10_000)
    finally:
        sys.setswitchinterval(interval)
    assert seen == sorted(seen)
    wait_for(lambda: not _events._waiting)


def test_exception_in_a_callback_goes_no_further(
    consumer: OpenCLConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    seen: list[int] = []
    monkeypatch.setattr(threading, "excepthook", lambda report: told.append(report.exc_type))

    def fails(value: int) -> None:
        raise ValueError(value)

    consumer.stream.notify(fails, 1)
    consumer.stream.notify(seen.append, 2)
    consumer.stream.synchronize(TIMEOUT)
    wait_for(lambda: seen == [2])
    assert told == [ValueError]


def test_synchronize_lets_other_threads_run(consumer: OpenCLConsumer) -> None:
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.005):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    consumer.stream.hold(1)
    threading.Timer(0.3, consumer.stream.release, (1,)).start()
    consumer.stream.synchronize(TIMEOUT)
    stop.set()
    thread.join()
    assert ticks > 10


def test_stream_of_another_consumer_is_refused(info: DeviceInfo, consumer: OpenCLConsumer) -> None:
    other = OpenCLBackend().open_consumer(info)
    buffer = consumer.allocate(4)
    with pytest.raises(InvalidArgument):
        consumer.compile(ADD).kernel("add")(row(buffer), np.uint32(1), global_size=1, stream=other.stream)
    buffer.close()
    other.close()


# Kernels


def test_compile_error_has_the_callers_line(consumer: OpenCLConsumer) -> None:
    source = "\n" * 5 + "KERNEL void bad(GLOBAL_MEM uint *data)\n{ data[0] = undeclared; }\n"
    with pytest.raises(CompileError) as caught:
        consumer.compile(source)
    assert "kernel:7:" in caught.value.log or "<kernel>:7:" in caught.value.log, caught.value.log
    assert "undeclared" in caught.value.log


def test_compiler_warnings_are_no_errors(consumer: OpenCLConsumer) -> None:
    consumer.compile('#warning "careful"\n' + ADD).close()


def test_wrong_arguments_are_refused_before_the_driver(consumer: OpenCLConsumer) -> None:
    add = consumer.compile(ADD).kernel("add")
    block = consumer.allocate(64)
    buffer = row(block)
    add(buffer, np.uint32(0), global_size=1)
    for arguments in (
        (buffer,),
        (buffer, 1),
        (buffer, np.int32(1)),
        (buffer, np.float32(1)),
        (buffer, np.array(1, np.uint64)),
        (np.zeros(4, np.uint32), np.uint32(1)),
        (np.uint32(1), np.uint32(1)),
    ):
        with pytest.raises(ArgumentError):
            add(*arguments, global_size=1)
    add(buffer, np.array(1, np.uint32), global_size=1)
    with pytest.raises(ArgumentError):  # the check of one 0-d array says nothing about the next
        add(buffer, np.array(1, np.float32), global_size=1)
    for grid in (0, (1, 0), (1, 1, 1, 1)):
        with pytest.raises(ArgumentError):
            add(buffer, np.uint32(1), global_size=grid)
    with pytest.raises(ArgumentError):
        add(buffer, np.uint32(1), global_size=1 << 20, local_size=1 << 20)
    block.close()


def test_one_kernel_from_several_threads_and_streams(consumer: OpenCLConsumer) -> None:
    add = consumer.compile(ADD).kernel("add")
    buffers = [consumer.allocate(4) for _ in range(4)]
    streams = [consumer.create_stream() for _ in buffers]
    for buffer in buffers:
        zero(buffer)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(200):
                add(row(buffers[number]), np.uint32(number + 1), global_size=1, stream=streams[number])
            streams[number].synchronize(TIMEOUT)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(buffers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [int(read(buffer)[0]) for buffer in buffers] == [200, 400, 600, 800]
    for stream, buffer in zip(streams, buffers, strict=True):
        stream.close()
        buffer.close()


def test_pyopencl_objects_work_beside_ours(consumer: OpenCLConsumer) -> None:
    import pyopencl as cl

    plain = cl.Buffer(consumer.native, cl.mem_flags.READ_WRITE, 64)
    cl.enqueue_fill_buffer(consumer.stream.native, plain, np.full(1, 40, np.uint32), 0, 64)
    consumer.compile(ADD).kernel("add")(plain, np.uint32(2), global_size=16)
    target = np.empty(16, np.uint32)
    cl.enqueue_copy(consumer.stream.native, target, plain)
    assert (target == 42).all()


def test_closed_module_and_consumer_refuse_use(info: DeviceInfo) -> None:
    consumer = OpenCLBackend().open_consumer(info)
    module = consumer.compile(ADD)
    kernel = module.kernel("add")
    buffer = consumer.allocate(4)
    module.close()
    module.close()
    with pytest.raises(ClosedError):
        kernel(row(buffer), np.uint32(1), global_size=1)
    with pytest.raises(ClosedError):
        module.kernel("add")
    consumer.close()
    consumer.close()
    for use in (
        consumer.create_stream,
        lambda: consumer.allocate(4),
        lambda: consumer.compile(ADD),
        lambda: buffer.native,
        lambda: consumer.stream,
    ):
        with pytest.raises(ClosedError):
            use()


def test_dropping_unclosed_is_a_warning_and_no_crash(info: DeviceInfo) -> None:
    consumer = OpenCLBackend().open_consumer(info)
    kept = [consumer.allocate(4)]
    with pytest.warns(ResourceWarning, match="unclosed OpenCL memory"):
        kept.clear()
    consumer.close()


def test_an_interrupted_copy_keeps_its_memory_until_the_queue_is_through(consumer: OpenCLConsumer) -> None:
    stream = consumer.stream
    hosts = [np.zeros(4)]
    kept = weakref.ref(hosts[0])

    def enqueue() -> None:
        stream.hold(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream.copy(enqueue, lambda: hosts[0], TIMEOUT)
    hosts.clear()
    gc.collect()
    assert kept() is not None, "the device would still copy into it"
    stream.release(1)
    stream.synchronize(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    while kept() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert kept() is None


def test_long_kernel_times_out_then_ends(consumer: OpenCLConsumer) -> None:
    spin = consumer.compile(SPIN).kernel("spin")
    buffer = consumer.allocate(4)
    zero(buffer)
    rounds = 1 << 16
    while True:  # a machine's speed is not known beforehand
        start = time.monotonic()
        spin(row(buffer), np.uint32(rounds), global_size=1)
        consumer.stream.synchronize(TIMEOUT)
        if time.monotonic() - start > 0.3 or rounds >= 1 << 31:
            break
        rounds *= 4
    spin(row(buffer), np.uint32(rounds), global_size=1)
    with pytest.raises(WaitTimeout):
        consumer.stream.synchronize(0.01)
    consumer.stream.synchronize(TIMEOUT)
    buffer.close()


# Array libraries


def part(memory: ExternalMemory, offset: int, shape: tuple[int, ...], dtype: str = "uint8") -> OpenCLBuffer:
    view = memory.map_buffer(offset=offset, shape=shape, dtype=DTYPES[dtype])
    assert isinstance(view, OpenCLBuffer)
    return view


def exported(view: OpenCLBuffer, **arguments: Any) -> taker.Taken:
    return taker.Taken(view.__dlpack__(dl_device=view.__dlpack_device__(), **arguments))


@pytest.mark.parametrize("version", [None, (1, 0)])
@pytest.mark.parametrize(("offset", "shape", "dtype"), [(0, (16, 4), "uint32"), (20, (3, 5), "float32")])
def test_dlpack_passes_the_cl_mem_and_says_where_the_view_begins(
    info: DeviceInfo,
    shared: tuple[ExternalMemory, memoryview],
    version: tuple[int, int] | None,
    offset: int,
    shape: tuple[int, ...],
    dtype: str,
) -> None:
    memory, host = shared
    words(host)[:] = np.arange(SIZE // 4)
    view = part(memory, offset, shape, dtype).view(shape[1:], DTYPES[dtype], offset=4)
    start = offset + 4
    with exported(view, max_version=version) as taken:
        tensor = taken.tensor
        whole = part(memory, 0, (SIZE,)).native
        assert tensor.data == whole.int_ptr
        assert tensor.byte_offset == start
        assert (tensor.device_type, tensor.device_id) == view.__dlpack_device__() == (4, info.index)
        assert tensor.shape[: tensor.ndim] == list(shape[1:])
        assert taken.read() == bytes(host[start : start + view.nbytes])
        assert whole.reference_count > 1
    gc.collect()


def test_dlpack_keeps_the_memory_and_its_context(info: DeviceInfo, producer: Producer) -> None:
    before = dlpack.live_tensors()
    consumer = OpenCLBackend().open_consumer(info)
    buffer = producer.create_buffer(SIZE, export=OPAQUE_FD, host_visible=True)
    with buffer.host_view() as host:
        words(host)[:] = np.arange(SIZE // 4)
    handle, descriptor = buffer.export_memory()
    memory = consumer.import_memory(handle, descriptor)
    view = part(memory, 256, (100,))
    taken = exported(view)
    view.close()
    memory.close()
    consumer.close()
    buffer.close()
    del view, memory, consumer, buffer
    gc.collect()
    assert dlpack.live_tensors() == before + 1
    assert taken.read() == np.arange(64, 89, dtype=np.uint32).tobytes()
    taken.close()
    assert dlpack.live_tensors() == before


def test_dlpack_of_own_memory(consumer: OpenCLConsumer) -> None:
    buffer = consumer.allocate(256)
    buffer.write(bytes(range(256)))
    taken = exported(buffer.view((100,), UINT8, offset=7))
    buffer.close()
    assert taken.read() == bytes(range(7, 107))
    taken.close()


def test_dlpack_is_ordered_behind_held_work(consumer: OpenCLConsumer) -> None:
    buffer = consumer.allocate(256)
    zero(buffer)
    module = consumer.compile(ADD)
    theirs = consumer.create_stream()
    consumer.stream.hold(1)
    module.kernel("add")(row(buffer), np.uint32(7), global_size=64)
    with pytest.raises(WaitTimeout):
        consumer.stream.synchronize(0.05)
    taken = exported(buffer, stream=theirs.address)
    with pytest.raises(WaitTimeout):
        theirs.synchronize(0.05)
    unordered = exported(buffer, stream=-1)
    later = threading.Timer(0.1, consumer.stream.release, (1,))
    later.start()
    waited = exported(buffer)  # names no queue, so the call returns when the work is done
    assert taken.read() == (7).to_bytes(4, "little") * 64
    theirs.synchronize(TIMEOUT)
    later.join()
    for each in (taken, unordered, waited):
        each.close()
    theirs.close()
    module.close()
    buffer.close()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_libraries_that_do_not_know_a_cl_mem_are_refused(consumer: OpenCLConsumer, library: str) -> None:
    taking = pytest.importorskip(library, reason=f"{library} is not installed").from_dlpack
    before = dlpack.live_tensors()
    buffer = consumer.allocate(256)
    with pytest.raises(BufferError, match=r"cl_mem.*view\.read"):
        taking(buffer)
    buffer.close()
    assert dlpack.live_tensors() == before


def test_dlpack_refuses_what_it_cannot_serve(consumer: OpenCLConsumer) -> None:
    before = dlpack.live_tensors()
    buffer = consumer.allocate(256)
    kind, index = buffer.__dlpack_device__()
    for wrong in ({"dl_device": (1, 0)}, {"dl_device": (kind, index + 1)}, {}, {"copy": True}):
        asked = {"dl_device": (kind, index), **wrong} if wrong else {}
        with pytest.raises(BufferError):
            buffer.__dlpack__(**asked)  # type: ignore[arg-type]
    with pytest.raises(DriverError, match="CL_INVALID_COMMAND_QUEUE"):
        buffer.__dlpack__(dl_device=(kind, index), stream=0)
    buffer.close()
    with pytest.raises(ClosedError):
        buffer.__dlpack__(dl_device=(kind, index))
    assert dlpack.live_tensors() == before
