"""The HIP consumer on the first HIP device, and by AMD's rules where the runtime can imitate them."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from interop_hip import _runtime
from interop_hip.backend import HipBackend, radv_uuid

from interop.protocols import (
    DTYPES,
    BackendUnavailable,
    ClosedError,
    CompileError,
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
    WaitTimeout,
)
from interop.protocols import Consumer as ConsumerProtocol
from interop.toolkit import DeviceMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop_hip.consumer import HipConsumer
    from interop_vulkan.producer import VulkanProducer as Producer

    from interop.protocols import DeviceInfo

SIZE = 4096
TIMEOUT = 10.0
FD = HandleType.OPAQUE_FD
ADD = """
KERNEL void add(GLOBAL_MEM uint *data, uint amount, uint count)
{
    if (GLOBAL_ID(0) < count) data[GLOBAL_ID(0)] += amount;
}
"""


@pytest.fixture(scope="module")
def backend() -> HipBackend:
    try:
        made = HipBackend()
        made.devices()
    except BackendUnavailable as error:
        pytest.skip(str(error))
    return made


@pytest.fixture
def info(backend: HipBackend) -> DeviceInfo:
    return backend.devices()[0]


@pytest.fixture
def consumer(backend: HipBackend, info: DeviceInfo) -> Iterator[HipConsumer]:
    opened = backend.open_consumer(info)
    yield opened
    opened.close()


@pytest.fixture
def producer(info: DeviceInfo) -> Iterator[Producer]:
    """The Vulkan device that is the same as the HIP device."""
    from interop_vulkan.backend import VulkanBackend

    vulkan = VulkanBackend()
    same = [each for each in vulkan.devices() if each.identity.match(info.identity)]
    assert same, f"no Vulkan device is {info}"
    with vulkan.open_producer(same[0]) as opened:
        yield opened


class Switches:
    """The software runtime's switches and counters."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._changed: set[bytes] = set()

    def set(self, key: str, value: str) -> None:
        self._changed.add(key.encode())
        self._library.softgpu_control(key.encode(), value.encode())

    def live(self, kind: str) -> int:
        self._library.softgpu_live.restype = ctypes.c_long
        return int(self._library.softgpu_live(kind.encode()))

    def reset(self) -> None:
        for key in self._changed:
            self._library.softgpu_control(key, None)


@pytest.fixture
def switches(backend: HipBackend) -> Iterator[Switches]:
    library = backend._driver.library
    if not hasattr(library, "softgpu_control"):
        pytest.skip("the HIP runtime has no switches for faults")
    made = Switches(library)
    yield made
    made.reset()


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def memfd(size: int) -> Handle:
    fd = os.memfd_create("stranger")
    os.ftruncate(fd, size)
    return Handle.adopt(fd, FD)


def descriptor(size: int = SIZE, **changes: Any) -> MemoryDescriptor:
    return MemoryDescriptor(**{"allocation_size": size, "size": size, "handle_type": FD, **changes})


def eventually(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_protocols(backend: HipBackend, consumer: HipConsumer) -> None:
    assert isinstance(backend, ConsumerBackend)
    assert isinstance(consumer, ConsumerProtocol)
    assert isinstance(consumer.stream, Stream)
    with_view = consumer.allocate(SIZE)
    assert isinstance(with_view, MappedBuffer)
    with_view.close()
    assert Path(backend.versions()["library"]).name.startswith("libamdhip64")


def test_one_library(backend: HipBackend) -> None:
    """The functions called directly belong to the library that hip-python opened."""
    found = backend.versions()
    assert "other HIP runtimes in this process" not in found
    assert Path(found["library"]).is_file()


def test_identity(info: DeviceInfo) -> None:
    identity = info.identity
    if info.details["architecture"].startswith("gfx"):
        assert identity.uuid is None
        gpu = identity.pci is not None and not info.software
        assert identity.alternate_uuids == ((radv_uuid(identity.pci),) if gpu and identity.pci else ())
        assert not info.capabilities.semaphore_import
        assert HandleType.DMA_BUF in info.capabilities.memory_import
        assert any("semaphores" in note for note in info.capabilities.semaphore_notes)
    else:
        assert identity.uuid is not None
        assert any(identity.uuid)
        assert not identity.alternate_uuids
        assert info.capabilities.memory_import == {FD, HandleType.HOST_ALLOCATION}
    assert info.software == ("software" in info.name.lower()) == (identity.host is not None)


def test_imports_consume_the_handle_and_nothing_is_left(consumer: HipConsumer, producer: Producer) -> None:
    def cycle() -> None:
        buffer = producer.create_buffer(SIZE, export=FD)
        handle, described = buffer.export_memory()
        memory = consumer.import_memory(handle, described)
        assert isinstance(memory, ExternalMemory)
        assert handle.closed
        memory.close()
        memory.close()
        buffer.close()

    cycle()
    before = open_fds()
    for _ in range(20):
        cycle()
    assert open_fds() == before


@pytest.mark.parametrize("dedicated", [False, True])
def test_kernel_on_imported_memory(consumer: HipConsumer, producer: Producer, *, dedicated: bool) -> None:
    buffer = producer.create_buffer(SIZE, export=FD)
    target = producer.create_buffer(SIZE, host_visible=True)
    step = producer.prepare(release=[buffer])
    step.begin().fill(buffer, 40)
    step.submit()
    producer.wait_idle(TIMEOUT)
    handle, described = buffer.export_memory()
    described = MemoryDescriptor(
        allocation_size=described.allocation_size, size=described.size, handle_type=FD, dedicated=dedicated
    )
    memory = consumer.import_memory(handle, described)
    view = memory.map_buffer(size=SIZE, dtype=DTYPES["uint32"])
    part = view.view((100,), DTYPES["uint32"], offset=400)
    assert part.native == view.native + 400
    module = consumer.compile(ADD)
    module.kernel("add")(part, np.uint32(2), np.uint32(100), global_size=100)
    consumer.stream.synchronize(TIMEOUT)
    back = producer.prepare(acquire=[buffer])
    back.begin().copy(buffer, target)
    back.submit()
    producer.wait_idle(TIMEOUT)
    expected = np.full(SIZE // 4, 40, np.uint32)
    expected[100:200] = 42
    assert (np.frombuffer(target.host_view()[:SIZE], np.uint32) == expected).all()
    for thing in (module, memory, back, step, buffer, target):
        thing.close()


@pytest.mark.parametrize("stranger", ["memfd", "null"])
def test_refused_memory_stays_with_its_owner(consumer: HipConsumer, stranger: str) -> None:
    handle = memfd(4 * SIZE) if stranger == "memfd" else Handle.adopt(os.open(os.devnull, os.O_RDWR), FD)
    before = os.fstat(handle.value)
    count = open_fds()
    with handle:
        for _ in range(3):
            with pytest.raises(DriverError, match="not memory of this GPU") as caught:
                consumer.import_memory(handle, descriptor())
            assert (caught.value.function, caught.value.code) == ("hipImportExternalMemory", 2)
        assert os.fstat(handle.value).st_ino == before.st_ino
        assert open_fds() == count


def test_a_mapping_that_fails_leaves_no_import(
    consumer: HipConsumer, producer: Producer, switches: Switches
) -> None:
    buffer = producer.create_buffer(SIZE, export=FD)
    handle, described = buffer.export_memory()
    count, live, mapped = open_fds(), switches.live("memory"), switches.live("mapping")
    switches.set("FAIL", "hipExternalMemoryGetMappedBuffer:1:1")
    with pytest.raises(DriverError, match="GetMappedBuffer"):
        consumer.import_memory(handle, described)
    assert not handle.closed
    assert (open_fds(), switches.live("memory")) == (count, live)
    switches.reset()
    memory = consumer.import_memory(handle, described)
    assert switches.live("mapping") == mapped + 1
    memory.close()
    assert (switches.live("memory"), switches.live("mapping")) == (live, mapped)
    buffer.close()


@pytest.mark.parametrize("function", ["hipStreamCreateWithFlags", "hipHostMalloc", "hipSetDevice"])
def test_streams_that_cannot_be_made_leave_nothing(
    consumer: HipConsumer, switches: Switches, function: str
) -> None:
    live = switches.live("*")
    known = dict(consumer.runtime.streams)
    switches.set("FAIL", f"{function}:1:2")
    with pytest.raises(DriverError, match=function):
        consumer.create_stream()
    switches.reset()
    assert switches.live("*") == live
    assert consumer.runtime.streams == known


def test_work_behind_a_hold_that_failed_is_reported_once(consumer: HipConsumer) -> None:
    made = consumer.create_stream()
    made.hold(1)
    made.release(1, failed=True)
    with pytest.raises(DriverError, match="data that was not ready"):
        made.synchronize(5.0)
    made.synchronize(5.0)
    made.close()


def held(consumer: HipConsumer, first: int) -> None:
    """Hold, release and callbacks in order, for values from ``first`` on."""
    made = consumer.create_stream()
    log: list[object] = []
    made.notify(log.append, 0)
    eventually(lambda: log == [0])
    made.hold(first)
    made.notify(log.append, 1)
    made.hold(first + 1)
    made.notify(log.append, 2)
    made.release(first - 1) if first > 1 else None
    time.sleep(0.02)
    assert log == [0]
    with pytest.raises(WaitTimeout):
        made.synchronize(0.02)
    made.release(first)
    eventually(lambda: log == [0, 1])
    made.release(first - 1) if first > 1 else None  # takes nothing back
    time.sleep(0.02)
    assert log == [0, 1]
    threading.Timer(0.02, made.release, (first + 1,)).start()
    made.synchronize(TIMEOUT)
    assert log == [0, 1, 2]
    made.hold(first + 1)  # released already
    made.synchronize(TIMEOUT)
    made.close()
    made.close()
    with pytest.raises(ClosedError):
        made.hold(1)


@pytest.mark.parametrize(
    "first", [1, 77, _runtime.SPAN - 1, _runtime.SPAN, _runtime.SPAN + 1, 2 * _runtime.SPAN]
)
def test_hold_release_and_notify(consumer: HipConsumer, first: int) -> None:
    held(consumer, first)


def test_holds_without_wait_value(backend: HipBackend, switches: Switches) -> None:
    switches.set("HIP_WAIT_VALUE", "0")
    info = backend.devices()[0]
    assert info.capabilities.stream_hold == "hipLaunchHostFunc"
    assert any("hipStreamWaitValue32" in note for note in info.capabilities.semaphore_notes)
    opened = backend.open_consumer(info)
    held(opened, 1)
    opened.close()


def test_what_callbacks_raise_goes_no_further(consumer: HipConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: seen.append(arguments.exc_value))
    log: list[int] = []

    def broken(value: int) -> None:
        raise LookupError(value)

    consumer.stream.notify(broken, 1)
    consumer.stream.notify(log.append, 2)
    consumer.stream.synchronize(TIMEOUT)
    assert log == [2]
    assert [str(each) for each in seen] == ["1"]


def test_notify_is_in_order_from_many_threads(consumer: HipConsumer) -> None:
    log: list[int] = []

    def work(number: int) -> None:
        for step in range(100):
            consumer.stream.notify(log.append, 1000 * number + step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    consumer.stream.synchronize(TIMEOUT)
    assert len(log) == 400
    for number in range(4):
        mine = [value for value in log if value // 1000 == number]
        assert mine == sorted(mine)


def test_reads_and_writes_are_bounded(consumer: HipConsumer) -> None:
    memory = consumer.allocate(SIZE)
    data = bytes(range(256)) * 16
    memory.write(data)
    consumer.stream.hold(1)
    target = bytearray(SIZE)
    copies: list[Callable[[], None]] = [
        lambda: memory.read(target, timeout=0.02),
        lambda: memory.write(bytes(SIZE), timeout=0.02),
    ]
    for copy in copies:
        start = time.monotonic()
        with pytest.raises(WaitTimeout):
            copy()
        assert time.monotonic() - start < 5
    assert target == bytes(SIZE)
    consumer.stream.release(1)
    memory.read(target)
    assert target == data
    for bad in (bytearray(SIZE - 1), bytes(SIZE), memoryview(bytearray(2 * SIZE))[::2]):
        with pytest.raises(InvalidArgument):
            memory.read(bad)
    assert target == data
    memory.close()


def test_close_leaks_rather_than_hangs(
    consumer: HipConsumer, monkeypatch: pytest.MonkeyPatch, switches: Switches
) -> None:
    monkeypatch.setattr(_runtime.HipRuntime, "patience", 0.05)
    held_up = consumer.create_stream()
    memory = consumer.allocate(SIZE)
    live = switches.live("*")
    held_up.hold(1)
    with pytest.raises(WaitTimeout, match="leaked"):
        memory.close()
    assert switches.live("*") == live
    memory.close()
    held_up.release(1)
    held_up.synchronize(TIMEOUT)
    held_up.close()


def test_array_interface(consumer: HipConsumer) -> None:
    memory = consumer.allocate(SIZE)
    view = memory.view((4, 8), DTYPES["float32"], offset=64)
    interface = view.__cuda_array_interface__
    assert interface == {
        "shape": (4, 8),
        "typestr": "<f4",
        "data": (memory.native + 64, False),
        "strides": None,
        "stream": consumer.stream.native,
        "version": 3,
    }
    module = consumer.compile(ADD)

    class Foreign:
        __cuda_array_interface__ = interface

    memory.write(bytes(SIZE))
    module.kernel("add")(Foreign(), np.uint32(7), np.uint32(32), global_size=32)
    result: Any = np.zeros(SIZE // 4, np.uint32)
    memory.read(result)
    assert (result[16:48] == 7).all()
    assert result.sum() == 7 * 32
    memory.close()
    target = bytearray(view.nbytes)
    for use in (lambda: view.native, lambda: view.__cuda_array_interface__, lambda: view.read(target)):
        with pytest.raises(ClosedError):
            use()


def test_dlpack_keeps_the_memory(consumer: HipConsumer) -> None:
    memory = consumer.allocate(SIZE)
    block = memory.memory
    other = consumer.create_stream()
    capsule = memory.view((16,), DTYPES["float32"]).__dlpack__(stream=other.native)
    assert memory.__dlpack_device__() in {(10, 0), (2, 0)}
    with pytest.raises(BufferError):
        memory.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError):
        memory.__dlpack__(copy=True)
    memory.close()
    with pytest.raises(ClosedError):
        memory.__dlpack__()
    memory_of_view: Any = block
    held = [memory_of_view.alive]  # as the capsule needs it
    del capsule
    gc.collect()
    held.append(memory_of_view.alive)
    assert held == [True, False]
    other.close()


@pytest.mark.parametrize("stream", [None, 0])
def test_dlpack_without_a_stream_orders_the_null_stream(consumer: HipConsumer, stream: int | None) -> None:
    memory = consumer.allocate(SIZE)
    query = consumer.runtime.raw("hipStreamQuery")
    consumer.stream.hold(1)
    assert query(0) == 0
    unordered = memory.__dlpack__(stream=-1)
    assert query(0) == 0
    capsule = memory.__dlpack__(stream=stream)
    assert query(0) == 600  # hipErrorNotReady
    consumer.stream.release(1)
    consumer.stream.synchronize(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    while query(0) != 0:
        assert time.monotonic() < deadline
    with pytest.raises(DriverError):
        memory.__dlpack__(stream=0x1234560)  # a stream of another runtime
    del capsule, unordered
    memory.close()


def test_compile_errors_have_the_callers_lines(consumer: HipConsumer) -> None:
    with pytest.raises(CompileError) as caught:
        consumer.compile("KERNEL void f(GLOBAL_MEM float *a)\n{\n    a[0] = nowhere;\n}\n")
    assert "kernel:3" in caught.value.log
    assert "nowhere" in caught.value.log


def test_native_source_and_dimensions_known_at_run_time(consumer: HipConsumer) -> None:
    source = """
    KERNEL void sizes(GLOBAL_MEM unsigned int *out, int n)
    {
        if (GLOBAL_ID(0) + GLOBAL_ID(1) + GLOBAL_ID(2) != 0) return;
        for (int d = 0; d < n; ++d) {
            out[4 * d] = GLOBAL_SIZE(d); out[4 * d + 1] = LOCAL_SIZE(d);
            out[4 * d + 2] = NUM_GROUPS(d); out[4 * d + 3] = GLOBAL_ID(d) + LOCAL_ID(d) + GROUP_ID(d);
        }
    }
    """
    module = consumer.compile({"hip": source, "portable": "not looked at"})
    memory = consumer.allocate(64)
    memory.write(bytes(64))
    module.kernel("sizes")(memory, np.int32(4), global_size=(5, 3, 2), local_size=(2, 2, 1))
    result: Any = np.zeros((4, 4), np.uint32)
    memory.read(result)
    assert result.tolist() == [[6, 2, 3, 0], [4, 2, 2, 0], [2, 1, 2, 0], [1, 1, 1, 0]]
    memory.close()


def test_semaphores(consumer: HipConsumer, producer: Producer) -> None:
    """Where both drivers offer binary semaphores they order both ways; elsewhere the import says no."""
    offered = consumer.device.capabilities.importable(SemaphoreKind.BINARY)
    if FD not in producer.device.capabilities.exportable(SemaphoreKind.BINARY) & offered:
        with memfd(SIZE) as handle:
            for kind in SemaphoreKind:
                if not consumer.device.capabilities.importable(kind):
                    with pytest.raises(HandleError):
                        consumer.import_semaphore(handle, SemaphoreDescriptor(kind=kind, handle_type=FD))
            assert not handle.closed
        return
    theirs = [producer.create_semaphore(SemaphoreKind.BINARY, export=FD) for _ in range(2)]
    for each in theirs:
        each.export_semaphore()[0].close()  # SwiftShader opens a file of its own at the first export
    before = open_fds()
    mine = [consumer.import_semaphore(*each.export_semaphore()) for each in theirs]
    assert open_fds() == before
    assert isinstance(mine[0], ExternalSemaphore)
    with pytest.raises(TurnError):
        mine[0].signal(consumer.stream, 1)
    log: list[int] = []
    submission = producer.prepare(wait=theirs[1], signal=theirs[0])
    for turn in range(5):
        mine[1].signal(consumer.stream)
        submission.begin()
        submission.submit()
        mine[0].wait(consumer.stream)
        consumer.stream.notify(log.append, turn)
    consumer.stream.synchronize(TIMEOUT)
    assert log == list(range(5))
    producer.wait_idle(TIMEOUT)
    other = consumer.create_stream()
    other.close()
    with pytest.raises(ClosedError):
        mine[0].wait(other)
    things: tuple[Any, ...] = (submission, *mine, *theirs)
    for thing in things:
        thing.close()
        thing.close()
    with pytest.raises(ClosedError):
        mine[0].wait(consumer.stream)


def test_close_takes_everything_along(backend: HipBackend, info: DeviceInfo, switches: Switches) -> None:
    live = switches.live("*")
    opened = backend.open_consumer(info)
    memory, module, extra = opened.allocate(SIZE), opened.compile(ADD), opened.create_stream()
    kernel = module.kernel("add")
    opened.close()
    opened.close()
    assert switches.live("*") == live
    for use in (
        lambda: memory.native,
        lambda: module.kernel("add"),
        lambda: kernel(1, np.uint32(1), np.uint32(1), global_size=1),
        lambda: extra.synchronize(1),
        lambda: opened.stream,
        lambda: opened.allocate(1),
    ):
        with pytest.raises(ClosedError):
            use()


def test_what_is_dropped_unclosed_is_released_with_a_warning(
    backend: HipBackend, info: DeviceInfo, switches: Switches
) -> None:
    opened = backend.open_consumer(info)
    live = switches.live("*")
    memory = opened.allocate(SIZE)
    assert isinstance(memory.memory, DeviceMemory)
    with pytest.warns(ResourceWarning, match="unclosed HIP memory"):
        del memory
    made = opened.create_stream()
    with pytest.warns(ResourceWarning, match="unclosed HIP stream"):
        del made
    assert switches.live("*") == live
    opened.close()


@pytest.mark.parametrize(
    "environment",
    [{"SOFTGPU_HIP_MODE": "amd"}, {"SOFTGPU_HIP_MODE": "amd", "SOFTGPU_HIP_SEMAPHORES": "abort"}],
    ids=["refuses", "aborts"],
)
def test_all_of_this_by_amds_rules(switches: Switches, environment: dict[str, str]) -> None:
    """No semaphores, a serial number for uuid, the fd never touched; asking for a semaphore may abort."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "not amds_rules"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("policy", ["consume", "consume-always"])
def test_runtimes_that_take_the_fd(
    consumer: HipConsumer, producer: Producer, switches: Switches, policy: str
) -> None:
    """As CUDA's does, on success or always; nothing is closed twice, and the caller's handle is its own."""
    if consumer.device.details["architecture"].startswith("gfx"):
        return  # AMD's runtime never does
    switches.set("HIP_FD", policy)
    buffer = producer.create_buffer(SIZE, export=FD)
    before = open_fds()
    for _ in range(3):
        handle, described = buffer.export_memory()
        strangers = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
        consumer.import_memory(handle, described).close()
        with memfd(4 * SIZE) as foreign:
            with pytest.raises(DriverError):
                consumer.import_memory(foreign, descriptor())
            assert not foreign.closed
            os.fstat(foreign.value)
        for number in strangers:
            os.close(number)
    assert open_fds() == before
    buffer.close()
