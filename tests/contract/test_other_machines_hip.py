"""What HIP's runtime on Windows gets from the backend: the bytes of its structures, and whose the handles stay."""

from __future__ import annotations

import contextlib
import struct
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import recorded_hip as recorded
import windows

pytest.importorskip("rocm.bindings.hip", reason="hip-python is not installed")

from interop_hip.backend import HipBackend

from interop import DriverError, Handle, HandleType, Unsupported
from interop.protocols import MemoryDescriptor, SemaphoreDescriptor, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop_hip.consumer import HipConsumer

NT, KMT = HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT
SIZE = 8192
LUID = b"\x9a\x01\x00\x00\x00\x00\x00\x00"


class Rig:
    def __init__(self, consumer: HipConsumer, hip: recorded.Hip, kernel: windows.Kernel32) -> None:
        self.consumer = consumer
        self.hip = hip
        self.kernel = kernel

    def handle(self, kind: HandleType) -> tuple[Handle, int]:
        number = self.kernel.make("an object") if kind is NT else 0xC0000040
        return Handle.adopt(number, kind), number


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A consumer on AMD's runtime for Windows; every handle is closed at the end."""
    backend = HipBackend()
    hip = recorded.Hip(backend._driver, luid=LUID, nodes=4)
    with pytest.MonkeyPatch.context() as patch:
        kernel = windows.pretend(patch)
        consumer = backend.open_consumer(backend.devices()[0])
        with contextlib.closing(consumer):
            yield Rig(consumer, hip, kernel)
        assert kernel.open == {}


def described(kind: HandleType, **changes: Any) -> MemoryDescriptor:
    return replace(MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=kind), **changes)


def test_capabilities_and_identity(rig: Rig) -> None:
    device = rig.consumer.device
    assert {NT, KMT} <= device.capabilities.memory_import
    assert not any(kind.is_fd for kind in device.capabilities.memory_import)
    for kind in SemaphoreKind:
        assert device.capabilities.importable(kind) == {NT}
    assert (device.identity.luid, device.identity.node_mask) == (LUID, 4)


@pytest.mark.parametrize("dedicated", [False, True])
@pytest.mark.parametrize(("kind", "number_of_type"), [(NT, 2), (KMT, 3)])
def test_memory(rig: Rig, kind: HandleType, number_of_type: int, *, dedicated: bool) -> None:
    handle, number = rig.handle(kind)
    memory = rig.consumer.import_memory(handle, described(kind, dedicated=dedicated, offset=4096, size=4096))
    # type, the union as wide as a pointer with no name beside it, the whole size, the flag; the rest is reserved.
    head = struct.pack("<IxxxxQQQI", number_of_type, number, 0, SIZE, dedicated)
    assert rig.hip.memory == [head.ljust(104, b"\0")]
    assert handle.closed
    assert rig.kernel.closed == [number] * (kind is NT)
    view = memory.map_buffer()
    view.write(bytes(4096))
    memory.close()
    assert rig.hip.destroyed == ["memory"]


@pytest.mark.parametrize("kind", SemaphoreKind)
def test_semaphores(rig: Rig, kind: SemaphoreKind) -> None:
    handle, number = rig.handle(NT)
    descriptor = SemaphoreDescriptor(kind=kind, handle_type=NT)
    with closing(rig.consumer.import_semaphore(handle, descriptor)):
        # AMD takes a timeline under the plain type 2, and refuses 10.
        assert rig.hip.semaphores == [struct.pack("<IxxxxQQ", 2, number, 0).ljust(96, b"\0")]
        assert rig.kernel.closed == [number]
    assert rig.hip.destroyed == ["semaphore"]


@pytest.mark.parametrize("kind", [NT, KMT])
@pytest.mark.parametrize("function", ["hipImportExternalMemory", "hipExternalMemoryGetMappedBuffer"])
def test_memory_that_is_refused_stays_with_its_owner(rig: Rig, kind: HandleType, function: str) -> None:
    handle, number = rig.handle(kind)
    rig.hip.fails[function] = 2
    with handle:
        with pytest.raises(DriverError, match=function):
            rig.consumer.import_memory(handle, described(kind))
        assert handle.value == number
        assert rig.kernel.closed == []
        assert rig.hip.destroyed == ["memory"] * (function != "hipImportExternalMemory")
    assert rig.kernel.closed == [number] * (kind is NT)


def test_semaphores_that_are_refused_stay_with_their_owner(rig: Rig) -> None:
    handle, number = rig.handle(NT)
    rig.hip.fails["hipImportExternalSemaphore"] = 801
    with handle:
        with pytest.raises(Unsupported):
            rig.consumer.import_semaphore(
                handle, SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=NT)
            )
        assert handle.value == number
    assert rig.kernel.closed == [number]
