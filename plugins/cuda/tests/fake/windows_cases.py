"""What CUDA's driver on Windows gets: recorded at the functions of the stand-in, which imports a file instead.

test_cuda_stand_in.py runs these in a process that has loaded it.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import ctypes
import os
import struct
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import windows
from interop_cuda import _driver
from interop_cuda.backend import CudaBackend

from interop.protocols import (
    DriverError,
    Handle,
    HandleError,
    HandleType,
    MemoryDescriptor,
    SemaphoreDescriptor,
    SemaphoreKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop_cuda.consumer import CudaConsumer

NT, KMT = HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT
SIZE = 8192
LUID = b"\x9a\x01\x00\x00\x00\x00\x00\x00"
library = ctypes.CDLL("libcuda.so.1")
_TWO = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_LUID_OF = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_char), ctypes.POINTER(ctypes.c_uint), ctypes.c_int
)


class Library:
    """Stands for the driver's library: records imports, and has the stand-in import a file in their place."""

    def __init__(self) -> None:
        self.memory: list[bytes] = []
        """``CUDA_EXTERNAL_MEMORY_HANDLE_DESC`` of each import."""
        self.semaphores: list[bytes] = []
        """``CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC`` of each import."""
        self.fails: dict[str, int] = {}
        self._own = {
            "cuImportExternalMemory": _TWO(self._memory),
            "cuImportExternalSemaphore": _TWO(self._semaphore),
            "cuDeviceGetLuid": _LUID_OF(self._luid),
        }

    def __getitem__(self, name: str) -> Any:
        return self._own.get(name) or library[name]

    def __getattr__(self, name: str) -> Any:
        return getattr(library, name)

    def _luid(self, out: Any, nodes: Any, _device: int) -> int:
        for at, byte in enumerate(LUID):
            out[at] = bytes([byte])
        nodes[0] = 2
        return 0

    def _memory(self, out: int, wanted: int) -> int:
        self.memory.append(ctypes.string_at(wanted, 104))
        return self._instead("cuImportExternalMemory", out, wanted, SIZE, 1)

    def _semaphore(self, out: int, wanted: int) -> int:
        self.semaphores.append(ctypes.string_at(wanted, 96))
        kind = 9 if self.semaphores[-1][0] == 10 else 1
        return self._instead("cuImportExternalSemaphore", out, wanted, 8, kind)

    def _instead(self, name: str, out: int, wanted: int, size: int, kind: int) -> int:
        if code := self.fails.get(name, 0):
            return code
        fd = os.memfd_create("instead")
        os.truncate(fd, size)
        other = ctypes.create_string_buffer(ctypes.string_at(wanted, 96 + 8 * (size == SIZE)))
        struct.pack_into("<I", other, 0, kind)
        struct.pack_into("<i", other, 8, fd)
        real = _TWO(ctypes.cast(library[name], ctypes.c_void_p).value or 0)
        return int(real(out, ctypes.addressof(other)))  # and the stand-in closes the file


class Rig:
    def __init__(self, consumer: CudaConsumer, cuda: Library, kernel: windows.Kernel32) -> None:
        self.consumer = consumer
        self.cuda = cuda
        self.kernel = kernel

    def handle(self, kind: HandleType) -> tuple[Handle, int]:
        number = self.kernel.make("an object") if kind is NT else 0xC0000040
        return Handle.adopt(number, kind), number


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A consumer on Windows; at the end nothing is left of it, in the driver or open."""
    backend = CudaBackend()
    cuda = Library()
    backend._driver.library = cuda
    backend._driver._functions.clear()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.MonkeyPatch.context() as patch:
        kernel = windows.pretend(patch)
        with closing(backend.open_consumer(backend.devices()[0])) as consumer:
            yield Rig(consumer, cuda, kernel)
        assert kernel.open == {}
    assert (library.fake_live(), library.fake_retained(), library.fake_depth()) == (0, 0, 0)
    assert len(os.listdir("/proc/self/fd")) == before


def described(kind: HandleType, **changes: Any) -> MemoryDescriptor:
    return replace(MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=kind), **changes)


def test_capabilities_and_identity(rig: Rig) -> None:
    device = rig.consumer.device
    assert {NT, KMT} <= device.capabilities.memory_import
    assert not any(kind.is_fd for kind in device.capabilities.memory_import)
    assert device.capabilities.importable(SemaphoreKind.BINARY) == {NT, KMT}
    assert device.capabilities.importable(SemaphoreKind.TIMELINE) == {NT}
    assert (device.identity.luid, device.identity.node_mask) == (LUID, 2)


@pytest.mark.parametrize("dedicated", [False, True])
@pytest.mark.parametrize(("kind", "number_of_type"), [(NT, 2), (KMT, 3)])
def test_memory(rig: Rig, kind: HandleType, number_of_type: int, dedicated: bool) -> None:
    handle, number = rig.handle(kind)
    memory = rig.consumer.import_memory(handle, described(kind, dedicated=dedicated, offset=4096, size=4096))
    # type, the union as wide as a pointer with no name beside it, the whole size, the flag; the rest is reserved.
    head = struct.pack("<IxxxxQQQI", number_of_type, number, 0, SIZE, dedicated)
    assert rig.cuda.memory == [head.ljust(104, b"\0")]
    assert handle.closed
    assert rig.kernel.closed == [number] * (kind is NT)
    view = memory.map_buffer()
    view.write(bytes(range(256)) * 16)
    read = bytearray(4096)
    view.read(read)
    assert read == bytes(range(256)) * 16
    memory.close()


@pytest.mark.parametrize(
    ("kind", "what", "number_of_type"),
    [(NT, SemaphoreKind.BINARY, 2), (KMT, SemaphoreKind.BINARY, 3), (NT, SemaphoreKind.TIMELINE, 10)],
)
def test_semaphores(rig: Rig, kind: HandleType, what: SemaphoreKind, number_of_type: int) -> None:
    handle, number = rig.handle(kind)
    with closing(rig.consumer.import_semaphore(handle, SemaphoreDescriptor(kind=what, handle_type=kind))):
        assert rig.cuda.semaphores == [struct.pack("<IxxxxQQ", number_of_type, number, 0).ljust(96, b"\0")]
        assert handle.closed
        assert rig.kernel.closed == [number] * (kind is NT)


def test_a_timeline_by_a_global_handle_reaches_no_driver(rig: Rig) -> None:
    handle, number = rig.handle(KMT)
    with handle, pytest.raises(HandleError, match="opaque_win32_kmt"):
        rig.consumer.import_semaphore(
            handle, SemaphoreDescriptor(kind=SemaphoreKind.TIMELINE, handle_type=KMT)
        )
    assert rig.cuda.semaphores == []
    assert number not in rig.kernel.closed


@pytest.mark.parametrize("kind", [NT, KMT])
@pytest.mark.parametrize("function", ["cuImportExternalMemory", "cuImportExternalSemaphore"])
def test_what_is_refused_stays_with_its_owner(rig: Rig, kind: HandleType, function: str) -> None:
    handle, number = rig.handle(kind)
    rig.cuda.fails[function] = 999
    with handle:
        with pytest.raises(DriverError, match=function):
            if function.endswith("Memory"):
                rig.consumer.import_memory(handle, described(kind))
            else:
                rig.consumer.import_semaphore(
                    handle, SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=kind)
                )
        assert handle.value == number
        assert rig.kernel.closed == []
    assert rig.kernel.closed == [number] * (kind is NT)


def test_the_library_of_windows_is_nvcuda(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", asked.append, raising=False)
    _driver._open_library()
    assert asked == ["nvcuda.dll"]
