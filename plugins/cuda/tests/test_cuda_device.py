"""On an NVIDIA GPU: what only the real driver can answer. The conformance kit covers what backends share."""

from __future__ import annotations

import gc
import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from interop_cuda.backend import CudaBackend

from interop.protocols import (
    DTYPES,
    BackendUnavailable,
    CompileError,
    DriverError,
    Handle,
    HandleType,
    MemoryDescriptor,
    SemaphoreDescriptor,
    SemaphoreKind,
    WaitTimeout,
)
from interop.toolkit import dlpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop_cuda.consumer import CudaConsumer

pytestmark = pytest.mark.device

ADD = """
KERNEL void add(GLOBAL_MEM uint *data, uint amount, uint count)
{
    size_t i = GLOBAL_ID(0);
    if (i < count) data[i] += amount;
}
"""


@pytest.fixture(scope="module")
def backend() -> CudaBackend:
    try:
        found = CudaBackend()
        found.devices()
    except BackendUnavailable as error:
        pytest.skip(str(error))
    return found


@pytest.fixture
def consumer(backend: CudaBackend) -> Iterator[CudaConsumer]:
    opened = backend.open_consumer(backend.devices()[0])
    yield opened
    opened.close()


def test_devices(backend: CudaBackend) -> None:
    for device in backend.devices():
        assert device.name
        assert device.identity.uuid
        assert any(device.identity.uuid)
        assert device.identity.pci is not None
        assert int(device.details["largest group"]) >= 256
        assert float(device.details["compute capability"]) >= 5
        assert HandleType.OPAQUE_FD in device.capabilities.memory_import
        assert device.capabilities.stream_hold
        assert device.capabilities.stream_notify
    assert all(backend.versions()[key] for key in ("cuda-bindings", "CUDA driver API", "NVRTC"))


def test_copies_and_kernel(consumer: CudaConsumer) -> None:
    own = consumer.allocate(4 * 1000)
    view = own.view((1000,), DTYPES["uint32"])
    view.write(np.arange(1000, dtype=np.uint32).data)
    module = consumer.compile(ADD)
    add = module.kernel("add")
    for _ in range(100):
        add(view, np.uint32(2), np.uint32(900), global_size=1000)
    got = np.zeros(1000, np.uint32)
    view.read(got.data)
    assert (got == np.arange(1000) + 200 * (np.arange(1000) < 900)).all()
    module.close()
    own.close()


def test_every_portable_name_loads(consumer: CudaConsumer) -> None:
    source = "KERNEL void f(GLOBAL_MEM half *x, half y, int64_t n) { int i = GLOBAL_ID(0); x[i] = y * n; }"
    own = consumer.allocate(64)
    view = own.view((32,), DTYPES["float16"])
    module = consumer.compile(source)
    module.kernel("f")(view, np.float16(1.5), np.int64(2), global_size=32)
    got = np.zeros(32, np.float16)
    view.read(got.data)
    assert (got == 3).all()
    module.close()
    own.close()


def test_compile_error(consumer: CudaConsumer) -> None:
    with pytest.raises(CompileError, match=r"kernel\(2\)"):
        consumer.compile("KERNEL void f(GLOBAL_MEM int *x) {\n  x[0] = nothing; }")


@pytest.mark.parametrize("kind", [None, *SemaphoreKind])
def test_files_that_the_driver_closes_stay_with_the_caller(
    consumer: CudaConsumer, kind: SemaphoreKind | None
) -> None:
    fd = HandleType.OPAQUE_FD
    memory = MemoryDescriptor(allocation_size=65536, size=65536, handle_type=fd)
    open_files = len(os.listdir("/proc/self/fd"))
    with Handle.adopt(os.open(os.devnull, os.O_RDWR), fd) as handle:
        before = os.fstat(handle.value)
        attempt: Callable[[], object] = (
            (lambda: consumer.import_memory(handle, memory))
            if kind is None
            else lambda: consumer.import_semaphore(handle, SemaphoreDescriptor(kind=kind, handle_type=fd))
        )
        for _ in range(3):
            with pytest.raises(DriverError):
                attempt()
            assert os.fstat(handle.value).st_rdev == before.st_rdev
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_hold_notify_and_release(consumer: CudaConsumer) -> None:
    stream, seen = consumer.stream, list[int]()
    stream.hold(1)
    stream.notify(seen.append, 1)
    stream.hold(2)
    stream.notify(seen.append, 2)
    with pytest.raises(WaitTimeout):
        stream.synchronize(0.1)
    assert seen == []
    stream.release(1)
    end = time.monotonic() + 5
    while seen != [1]:
        assert time.monotonic() < end
    stream.release(2)
    stream.synchronize(5)
    assert seen == [1, 2]


def test_tensor_outlives_memory_and_consumer(backend: CudaBackend) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    consumer = backend.open_consumer(backend.devices()[0])
    own = consumer.allocate(4 * 1000)
    view = own.view((10, 100), DTYPES["float32"])
    view.write(np.arange(1000, dtype=np.float32).data)
    tensor = torch.from_dlpack(view)
    second = torch.as_tensor(view, device="cuda")
    assert tensor.data_ptr() == second.data_ptr() == view.native
    del second
    own.close()
    consumer.close()
    assert dlpack.live_tensors() == 1
    assert float(tensor.sum()) == 999 * 500
    tensor += 1
    assert float(tensor.sum()) == 1001 * 500
    del tensor
    gc.collect()
    assert dlpack.live_tensors() == 0


def test_dlpack_is_ordered_behind_held_work(consumer: CudaConsumer) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    own = consumer.allocate(4)
    view = own.view((1,), DTYPES["uint32"])
    view.write(bytes(4))
    module = consumer.compile(ADD)
    # CUDA loads a kernel on first use, and that waits for every stream: PyTorch's must be loaded before the hold.
    _ = int((torch.ones(1, dtype=torch.int32, device="cuda") * 2).cpu())
    consumer.stream.hold(1)
    module.kernel("add")(view, np.uint32(7), np.uint32(1), global_size=1)
    tensor = torch.from_dlpack(view.view((1,), DTYPES["int32"]))
    doubled = tensor * 2  # on PyTorch's stream, behind the held kernel
    consumer.stream.release(1)
    assert int(doubled.cpu()) == 14
    del tensor
    module.close()
    own.close()


def test_many_consumers_leave_nothing(backend: CudaBackend) -> None:
    device = backend.devices()[0]
    backend.open_consumer(device).close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        consumer = backend.open_consumer(device)
        consumer.allocate(1 << 20).close()
        consumer.close()
    assert len(os.listdir("/proc/self/fd")) <= before
