"""What OpenCL drivers of Windows, and of Intel on Linux, get from the backend: recorded at the loader's functions."""

from __future__ import annotations

import contextlib
import os
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import recorded_opencl as recorded
import windows
from interop_opencl.backend import OpenCLBackend

from interop import DriverError, Handle, HandleError, HandleType
from interop.protocols import MemoryDescriptor, SemaphoreDescriptor, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop_opencl.consumer import OpenCLConsumer

NT, KMT, DMA_BUF = HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT, HandleType.DMA_BUF
SIZE = 4096
LUID = b"\x9a\x01\x00\x00\x00\x00\x00\x00"
WINDOWS = {
    0x204F: recorded.numbers(0x2061, 0x2062, 0x2069),  # and by name, which the backend has no use for
    0x204D: recorded.numbers(0x2056, 0x2057),
    0x106C: recorded.numbers(1),
    0x106D: LUID,
    0x106E: recorded.numbers(2),
}
INTEL = {0x204F: recorded.numbers(0x2067), 0x204D: b""}


class Rig:
    def __init__(self, consumer: OpenCLConsumer, opencl: recorded.OpenCL) -> None:
        self.consumer = consumer
        self.opencl = opencl


@pytest.fixture
def start() -> Iterator[Callable[[dict[int, bytes]], Rig]]:
    """Open a consumer on a machine; closed at the end."""
    with contextlib.ExitStack() as stack:

        def begin(answers: dict[int, bytes]) -> Rig:
            backend = OpenCLBackend()
            opencl = recorded.OpenCL(backend._driver, answers)
            rig = Rig(backend.open_consumer(backend.devices()[0]), opencl)
            stack.callback(rig.consumer.close)
            stack.callback(lambda: _nothing(opencl.raised))
            return rig

        yield begin


def _nothing(raised: list[Exception]) -> None:
    assert raised == []


def described(kind: HandleType, **changes: Any) -> MemoryDescriptor:
    return replace(MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=kind), **changes)


def test_capabilities_and_identity_of_windows(start: Callable[[dict[int, bytes]], Rig]) -> None:
    device = start(WINDOWS).consumer.device
    assert device.capabilities.memory_import == {NT, KMT, HandleType.HOST_ALLOCATION}
    assert device.capabilities.importable(SemaphoreKind.BINARY) == {NT, KMT}
    assert device.capabilities.importable(SemaphoreKind.TIMELINE) == frozenset()
    assert (device.identity.luid, device.identity.node_mask) == (LUID, 2)
    without = start({**WINDOWS, 0x106C: recorded.numbers(0)}).consumer.device
    assert (without.identity.luid, without.identity.node_mask) == (None, 0)


@pytest.mark.parametrize(("kind", "code"), [(NT, 0x2061), (KMT, 0x2062)])
def test_memory_of_windows(
    start: Callable[[dict[int, bytes]], Rig],
    monkeypatch: pytest.MonkeyPatch,
    kind: HandleType,
    code: int,
) -> None:
    rig = start(WINDOWS)
    kernel = windows.pretend(monkeypatch)
    number = kernel.make("memory") if kind is NT else 0xC0000040
    handle = Handle.adopt(number, kind)
    memory = rig.consumer.import_memory(handle, described(kind, size=64, offset=1024))
    # The whole allocation, the handle as wide as a pointer, no device list, no host pointer.
    assert rig.opencl.memory == [([code, number], 1, SIZE, None)]
    assert handle.closed
    assert kernel.closed == [number] * (kind is NT)
    memory.acquire(rig.consumer.stream)
    memory.map_buffer().write(bytes(range(64)))
    read = bytearray(64)
    memory.map_buffer().read(read)
    assert read == bytes(range(64))
    memory.release(rig.consumer.stream)
    assert rig.opencl.owned == ["acquired", "released"]
    memory.close()
    assert kernel.open == {}


@pytest.mark.parametrize(("kind", "code"), [(NT, 0x2056), (KMT, 0x2057)])
def test_semaphores_of_windows(
    start: Callable[[dict[int, bytes]], Rig],
    monkeypatch: pytest.MonkeyPatch,
    kind: HandleType,
    code: int,
) -> None:
    rig = start(WINDOWS)
    kernel = windows.pretend(monkeypatch)
    number = kernel.make("semaphore") if kind is NT else 0xC0000080
    handle = Handle.adopt(number, kind)
    descriptor = SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=kind)
    with closing(rig.consumer.import_semaphore(handle, descriptor)):
        assert rig.opencl.semaphores == [[0x203D, 1, code, number]]
        assert handle.closed
        assert kernel.closed == [number] * (kind is NT)
    assert rig.opencl.released == [0x5E3A]


@pytest.mark.parametrize("code", [-30, -38, -64, 999, -5])
@pytest.mark.parametrize("what", ["memory", "semaphore"])
@pytest.mark.parametrize("kind", [NT, KMT])
def test_what_windows_refuses_stays_with_its_owner(
    start: Callable[[dict[int, bytes]], Rig],
    monkeypatch: pytest.MonkeyPatch,
    kind: HandleType,
    what: str,
    code: int,
) -> None:
    rig = start(WINDOWS)
    kernel = windows.pretend(monkeypatch)
    number = kernel.make(what) if kind is NT else 0xC0000040
    rig.opencl.code = code
    rig.opencl.object_beside_failure = code == 999
    with Handle.adopt(number, kind) as handle:
        with pytest.raises(DriverError if code == -5 else HandleError):
            if what == "memory":
                rig.consumer.import_memory(handle, described(kind))
            else:
                rig.consumer.import_semaphore(
                    handle, SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=kind)
                )
        assert handle.value == number
        assert kernel.closed == []
    assert kernel.closed == [number] * (kind is NT)


def test_dma_buf_of_intel(start: Callable[[dict[int, bytes]], Rig]) -> None:
    rig = start(INTEL)
    assert rig.consumer.device.capabilities.memory_import == {DMA_BUF, HandleType.HOST_ALLOCATION}
    assert rig.consumer.device.capabilities.importable(SemaphoreKind.BINARY) == frozenset()
    fd = os.memfd_create("a dma-buf")
    os.truncate(fd, SIZE)
    inode = os.fstat(fd).st_ino
    handle = Handle.adopt(fd, DMA_BUF)
    with closing(rig.consumer.import_memory(handle, described(DMA_BUF))):
        [([code, lent], _, size, _)] = rig.opencl.memory
        assert (code, size) == (0x2067, SIZE)
        assert lent != fd
        assert os.fstat(lent).st_ino == inode  # the driver's own now, whatever it does with it
        assert handle.closed
    os.close(lent)


def test_a_refused_dma_buf_stays_open(start: Callable[[dict[int, bytes]], Rig]) -> None:
    rig = start(INTEL)
    rig.opencl.code = -38
    fd = os.memfd_create("a dma-buf")
    os.truncate(fd, SIZE)
    with Handle.adopt(fd, DMA_BUF) as handle:
        with pytest.raises(HandleError, match="CL_INVALID_MEM_OBJECT"):
            rig.consumer.import_memory(handle, described(DMA_BUF))
        os.fstat(fd)
        [([_, lent], _, _, _)] = rig.opencl.memory
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(lent)
