"""What is NumPy's own; everything that all backends share is proved by the conformance kit."""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from interop_numpy.backend import NumPyBackend, NumPyConsumer
from interop_numpy.plugin import interop_register_backends

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
    Handle,
    HandleError,
    HandleType,
    InvalidArgument,
    Kernel,
    MappedBuffer,
    MemoryDescriptor,
    Module,
    Role,
    SemaphoreDescriptor,
    SemaphoreKind,
    Stream,
    Unsupported,
    WaitTimeout,
)
from interop.toolkit import HostMemory, find_compiler, payload_range

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 64
SAXPY = """
KERNEL void saxpy(GLOBAL_MEM float *y, CONSTANT_MEM float *x, float a, int n)
{
    int i = GLOBAL_ID(0);
    if (i < n) y[i] += a * x[i];
}
"""


@pytest.fixture
def consumer() -> Iterator[NumPyConsumer]:
    backend = NumPyBackend()
    opened = backend.open_consumer(backend.devices()[0])
    yield opened
    opened.close()


def memfd(name: str, content: bytes, padding: int = 0) -> Handle:
    fd = os.memfd_create(name)
    os.write(fd, content + bytes(padding))
    return Handle.adopt(fd, HandleType.OPAQUE_FD)


def swiftshader(content: bytes = bytes(SIZE)) -> Handle:
    return memfd("SwiftShader.Memory.12", content, padding=15)


def lavapipe(content: bytes, *, stated: int | None = None) -> Handle:
    size = 4096 + len(content) + 40
    header = struct.pack("<QQ", size if stated is None else stated, 4096).ljust(4096, b"\0")
    return memfd("llvmpipe memory fd", header + content, padding=40)


def described(size: int = SIZE, *, offset: int = 0, allocation: int | None = None) -> MemoryDescriptor:
    return MemoryDescriptor(
        allocation_size=allocation or offset + size,
        size=size,
        offset=offset,
        handle_type=HandleType.OPAQUE_FD,
    )


def test_declaring_the_backend_imports_no_numpy() -> None:
    program = """if True:
        import sys, interop_numpy.plugin
        interop_numpy.plugin.interop_register_backends()
        assert "numpy" not in sys.modules
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environment)


def test_plugin_declares_one_consumer_that_fulfils_the_protocols(consumer: NumPyConsumer) -> None:
    (info,) = interop_register_backends()
    assert info.name == "numpy"
    assert info.roles == {Role.CONSUMER}
    backend = info.load()
    assert isinstance(backend, ConsumerBackend)
    assert backend.devices()[0].identity.host is not None
    module = consumer.compile(SAXPY)
    buffer = consumer.allocate(4)
    with swiftshader() as handle:
        memory = consumer.import_memory(handle, described())
    for value, protocol in (
        (consumer, Consumer),
        (consumer.stream, Stream),
        (module, Module),
        (module.kernel("saxpy"), Kernel),
        (buffer, MappedBuffer),
        (memory, ExternalMemory),
    ):
        assert isinstance(value, protocol)
    memory.close()
    buffer.close()


def test_both_drivers_data_is_found_and_shared(consumer: NumPyConsumer) -> None:
    content = bytes(range(SIZE))
    for handle in (swiftshader(content), lavapipe(content)):
        with handle.dup() as producer:
            start, size = payload_range(producer.value)
            assert size >= SIZE
            memory = consumer.import_memory(handle, described())
            assert handle.closed
            view = memory.map_buffer(dtype=DTYPES["uint8"])
            assert view.native.tobytes() == content
            view.native[3] = 200
            assert os.pread(producer.value, 1, start + 3) == bytes([200])
            os.pwrite(producer.value, b"\x07", start + 5)
            assert view.native[5] == 7
            memory.close()


@pytest.mark.parametrize(
    "name", ["stranger", "SwiftShader.Semaphore", "SwiftShader.Memory.x", "llvmpipe", "a SwiftShader.Memory"]
)
def test_a_file_of_no_known_driver_is_refused_and_stays_the_callers(
    consumer: NumPyConsumer, name: str
) -> None:
    with memfd(name, bytes(2 * SIZE)) as handle:
        with pytest.raises(HandleError, match="no memory of a software Vulkan driver"):
            consumer.import_memory(handle, described())
        assert not handle.closed
        os.fstat(handle.value)


@pytest.mark.parametrize("stated", [0, 1, 4096, 2**63])
def test_a_lavapipe_header_that_does_not_state_the_files_size_is_refused(
    consumer: NumPyConsumer, stated: int
) -> None:
    with lavapipe(bytes(SIZE), stated=stated) as handle:
        with pytest.raises(HandleError):
            consumer.import_memory(handle, described())
        assert not handle.closed


def test_an_allocation_that_only_the_padding_makes_room_for_is_refused(consumer: NumPyConsumer) -> None:
    with swiftshader() as handle:
        with pytest.raises(HandleError, match="holds 64 bytes, the descriptor promises 65"):
            consumer.import_memory(handle, described(SIZE + 1))
        assert not handle.closed


def test_arrays_stay_valid_after_close_and_views_do_not(consumer: NumPyConsumer) -> None:
    memory = consumer.import_memory(swiftshader(bytes(range(SIZE))), described())
    view = memory.map_buffer()
    array = np.from_dlpack(view)
    aliased = np.asarray(view)
    memory.close()
    memory.close()
    assert memory.closed
    assert array[7] == aliased[7] == 7
    with pytest.raises(ClosedError):
        _ = view.native
    with pytest.raises(ClosedError):
        memory.map_buffer()


def test_close_without_arrays_gives_the_descriptor_back(consumer: NumPyConsumer) -> None:
    before = set(os.listdir("/proc/self/fd"))
    memory = consumer.import_memory(swiftshader(), described())
    memory.map_buffer().write(bytes(SIZE))
    memory.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_descriptor_offset_and_alignment(consumer: NumPyConsumer) -> None:
    memory = consumer.import_memory(swiftshader(bytes(range(SIZE))), described(32, offset=2, allocation=SIZE))
    assert memory.map_buffer().native[0] == 2
    assert memory.map_buffer(offset=2, dtype=DTYPES["uint32"], shape=(2,)).native[0] == 0x07060504
    with pytest.raises(InvalidArgument, match="must be a multiple of 4"):
        memory.map_buffer(dtype=DTYPES["uint32"], shape=(2,))
    memory.close()


def test_semaphores_are_unsupported_and_the_handle_stays_the_callers(consumer: NumPyConsumer) -> None:
    fd = os.eventfd(0)
    descriptor = SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=HandleType.OPAQUE_FD)
    with Handle.adopt(fd, HandleType.OPAQUE_FD) as handle:
        with pytest.raises(Unsupported):
            consumer.import_semaphore(handle, descriptor)
        assert not handle.closed


def test_failed_work_is_reported_once_and_later_work_is_dropped(consumer: NumPyConsumer) -> None:
    done: list[int] = []
    told: list[int] = []
    consumer.stream.enqueue(lambda: (_ for _ in ()).throw(KeyError("lost")))
    consumer.stream.enqueue(lambda: done.append(1))
    consumer.stream.notify(told.append, 5)
    with pytest.raises(DriverError, match="KeyError"):
        consumer.stream.synchronize(5)
    assert (done, told) == ([], [5])
    consumer.stream.enqueue(lambda: done.append(2))
    consumer.stream.synchronize(5)
    assert done == [2]


def test_a_hold_that_fails_drops_the_work_behind_it_alone(consumer: NumPyConsumer) -> None:
    done: list[int] = []
    for value in (1, 2):
        consumer.stream.hold(value)
        consumer.stream.enqueue(functools.partial(done.append, value))
    consumer.stream.release(1)
    consumer.stream.release(2, failed=True)
    with pytest.raises(DriverError, match="hold 2"):
        consumer.stream.synchronize(5)
    assert done == [1]


def test_closing_a_held_stream_ends_its_thread() -> None:
    backend = NumPyBackend()
    consumer = backend.open_consumer(backend.devices()[0])
    stream = consumer.create_stream()
    stream.hold(1)
    with pytest.raises(WaitTimeout):
        stream.synchronize(0.01)
    consumer.close()
    consumer.close()
    assert not stream.native.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name == "interop-numpy"]
    for use in (lambda: stream.hold(2), consumer.create_stream, lambda: consumer.allocate(1)):
        with pytest.raises(ClosedError):
            use()


def test_kernels_agree_with_numpy_bit_for_bit(consumer: NumPyConsumer) -> None:
    x = np.linspace(-3, 3, 1001, dtype=np.float32)
    y = np.linspace(5, -5, 1001, dtype=np.float32)
    expected = y + np.float32(0.1) * x
    consumer.compile(SAXPY).kernel("saxpy")(
        y, x, np.float32(0.1), np.int32(1001), global_size=1024, local_size=64
    )
    consumer.stream.synchronize(10)
    assert np.array_equal(y, expected)


def test_ids_follow_the_group(consumer: NumPyConsumer) -> None:
    source = """
    KERNEL void ids(GLOBAL_MEM uint *out)
    {
        size_t at = (GLOBAL_ID(2) * GLOBAL_SIZE(1) + GLOBAL_ID(1)) * GLOBAL_SIZE(0) + GLOBAL_ID(0);
        out[at * 4] = LOCAL_ID(0);
        out[at * 4 + 1] = GROUP_ID(1);
        out[at * 4 + 2] = NUM_GROUPS(0) * 100 + LOCAL_SIZE(1);
        out[at * 4 + 3] = GLOBAL_ID(2);
    }
    """
    out = np.zeros((3, 4, 5, 4), np.uint32)
    consumer.compile(source).kernel("ids")(out, global_size=(5, 4, 3), local_size=(2, 3, 1))
    consumer.stream.synchronize(10)
    z, y, x = np.indices((3, 4, 5))
    expected = np.stack([x % 2, y // 3, np.full_like(x, 303), z], axis=-1)
    assert np.array_equal(out, expected)


def test_a_module_can_be_closed_while_its_kernel_waits_to_run(consumer: NumPyConsumer) -> None:
    y, x = np.zeros(4, np.float32), np.ones(4, np.float32)
    module = consumer.compile(SAXPY)
    kernel = module.kernel("saxpy")
    consumer.stream.hold(1)
    kernel(y, x, np.float32(2), np.int32(4), global_size=4)
    module.close()
    with pytest.raises(ClosedError):
        kernel(y, x, np.float32(2), np.int32(4), global_size=4)
    del module, kernel
    gc.collect()
    consumer.stream.release(1)
    consumer.stream.synchronize(5)
    assert y.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("word", ["LOCAL_BARRIER;", "LOCAL_MEM float a[4];"])
def test_work_groups_are_unsupported_unless_in_a_comment(consumer: NumPyConsumer, word: str) -> None:
    with pytest.raises(Unsupported, match=word.split(maxsplit=1)[0].strip(";")):
        consumer.compile(f"KERNEL void k(GLOBAL_MEM float *p) {{ {word} p[0] = 1; }}")
    consumer.compile(f"KERNEL void k(GLOBAL_MEM float *p) {{ /* {word} */ p[0] = 1; // {word}\n }}")


def test_compile_errors_carry_the_callers_lines(consumer: NumPyConsumer) -> None:
    with pytest.raises(CompileError, match=r"kernel:3:.*nope"):
        consumer.compile("KERNEL void k(GLOBAL_MEM float *p)\n{\n    p[0] = nope;\n}\n")


def test_arrays_with_gaps_and_foreign_memory_are_refused(consumer: NumPyConsumer) -> None:
    kernel = consumer.compile(SAXPY).kernel("saxpy")
    x = np.zeros(8, np.float32)
    for wrong in (x[::2], 4096, None, ctypes.c_void_p(1)):
        with pytest.raises(ArgumentError, match="argument 1"):
            kernel(wrong, x, np.float32(1), np.int32(4), global_size=4)


def test_compiler_is_taken_from_the_environment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "other --flag 'a b'")
    monkeypatch.delenv("SOFTGPU_CXX", raising=False)
    assert find_compiler() == ["other", "--flag", "a b"]
    monkeypatch.setenv("SOFTGPU_CXX", "first")
    assert find_compiler() == ["first"]


def test_no_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch, consumer: NumPyConsumer) -> None:
    monkeypatch.setenv("CC", "")
    monkeypatch.setenv("SOFTGPU_CXX", "")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BackendUnavailable, match="ziglang"):
        consumer.compile(SAXPY)


def test_read_does_not_touch_the_target_after_a_timeout(consumer: NumPyConsumer) -> None:
    buffer = consumer.allocate(4)
    buffer.write(b"abcd")
    consumer.stream.hold(1)
    target = bytearray(4)
    with pytest.raises(WaitTimeout):
        buffer.read(target, timeout=0.01)
    consumer.stream.release(1)
    consumer.stream.synchronize(5)
    assert target == bytes(4)
    for wrong in (bytearray(3), b"1234"):
        with pytest.raises(InvalidArgument):
            buffer.read(wrong)
    buffer.close()


def test_allocation_is_freed_with_its_buffer(consumer: NumPyConsumer) -> None:
    buffer = consumer.allocate(16)
    floats = buffer.view((4,), DTYPES["float32"])
    assert floats.native.tolist() == [0, 0, 0, 0]
    buffer.close()
    with pytest.raises(ClosedError):
        _ = floats.native
    for size in (0, -1, 2**63):
        with pytest.raises(InvalidArgument):
            consumer.allocate(size)


def test_what_is_imported_is_mapped_host_memory(consumer: NumPyConsumer) -> None:
    with closing(consumer.import_memory(swiftshader(), described())) as memory:
        assert isinstance(memory.whole, HostMemory)
