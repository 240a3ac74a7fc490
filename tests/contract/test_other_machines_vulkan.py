"""What Vulkan drivers of Windows, and of Mesa with dma-bufs, get from the backend: recorded below its pointers."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import recorded_vulkan as recorded
import windows
from interop_vulkan import _driver
from interop_vulkan.backend import VulkanBackend

from interop import DriverError, Handle, HandleError, HandleType, InvalidArgument, Unsupported
from interop.protocols import MemoryDescriptor, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop_vulkan.producer import VulkanProducer

NT, KMT, DMA_BUF = HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT, HandleType.DMA_BUF
EXPORT_AND_IMPORT, DEDICATED_ONLY = 2 | 4, 1
SIZE = 4096
WIN32 = recorded.Machine(
    extensions=("VK_KHR_external_memory_win32", "VK_KHR_external_semaphore_win32"),
    memory={0x2: EXPORT_AND_IMPORT, 0x4: EXPORT_AND_IMPORT},
    semaphores={(0x2, 0): 3, (0x2, 1): 3, (0x4, 0): 3},
    luid=b"\x9a\x01\x00\x00\x00\x00\x00\x00",
    nodes=2,
)
MESA = recorded.Machine(
    extensions=("VK_EXT_external_memory_dma_buf",),
    memory={0x1: EXPORT_AND_IMPORT, 0x200: EXPORT_AND_IMPORT},
)
# sType, by vulkan_core.h and vulkan_win32.h
EXPORT, EXPORT_WIN32, GET_WIN32 = 1000072002, 1000073001, 1000073003
EXPORT_SEMAPHORE, EXPORT_SEMAPHORE_WIN32, GET_SEMAPHORE_WIN32 = 1000077000, 1000078001, 1000078003
IMPORT_FD, GET_FD, FD_PROPERTIES, IMPORT_WIN32, DEDICATED = (
    1000074000,
    1000074002,
    1000074001,
    1000073000,
    1000127001,
)


class Rig:
    """A producer over a recorded driver."""

    def __init__(self, producer: VulkanProducer, vulkan: recorded.Vulkan) -> None:
        self.producer = producer
        self.vulkan = vulkan

    @property
    def kernel(self) -> windows.Kernel32:
        assert self.vulkan.kernel is not None
        return self.vulkan.kernel

    def chain(self, function: str) -> list[recorded.Link]:
        found: list[recorded.Link] = self.vulkan.of(function)[-1]
        return found


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[recorded.Machine], Rig]]:
    """Open a producer on a machine; at the end nothing may be left of it: object, handle, descriptor."""
    rigs: list[Rig] = []
    before = len(os.listdir("/proc/self/fd"))

    def begin(machine: recorded.Machine) -> Rig:
        # The driver below keeps files of its own for as long as an instance lives.
        kernel = windows.pretend(monkeypatch) if machine is not MESA and machine.luid else None
        vulkan = recorded.Vulkan(machine, kernel).install(monkeypatch)
        backend = VulkanBackend()
        rigs.append(Rig(backend.open_producer(backend.devices()[0]), vulkan))
        return rigs[-1]

    yield begin
    for rig in rigs:
        rig.producer.close()
    monkeypatch.undo()
    for rig in rigs:
        assert rig.vulkan.raised == []
        assert rig.vulkan.live == []
        assert rig.vulkan.kernel is None or rig.vulkan.kernel.open == {}
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the instance that stays


def names(chain: list[recorded.Link]) -> list[str]:
    return [link.name for link in chain]


def test_identity_and_extensions_are_those_of_windows(start: Callable[[recorded.Machine], Rig]) -> None:
    rig = start(WIN32)
    device = rig.producer.device
    assert (device.identity.luid, device.identity.node_mask) == (WIN32.luid, 2)
    assert device.capabilities.memory_export == {NT, KMT}
    assert device.capabilities.exportable(SemaphoreKind.TIMELINE) == {NT}
    assert device.capabilities.exportable(SemaphoreKind.BINARY) == {NT, KMT}
    (enabled,) = rig.vulkan.of("vkCreateDevice")
    assert set(WIN32.extensions) <= set(enabled)


@pytest.mark.parametrize("dedicated", [False, True])
def test_nt_memory(start: Callable[[recorded.Machine], Rig], *, dedicated: bool) -> None:
    features = EXPORT_AND_IMPORT | (DEDICATED_ONLY if dedicated else 0)
    rig = start(replace(WIN32, memory={0x2: features}))
    buffer = rig.producer.create_buffer(SIZE, export=NT)
    created = rig.chain("vkCreateBuffer")
    assert names(created) == ["VkBufferCreateInfo", "VkExternalMemoryBufferCreateInfo"]
    assert created[1].fields["handleTypes"] == 0x2
    chain = rig.chain("vkAllocateMemory")
    described = ["VkExportMemoryAllocateInfo", "VkExportMemoryWin32HandleInfoKHR"]
    owner = ["VkMemoryDedicatedAllocateInfo"] if dedicated else []
    assert names(chain) == ["VkMemoryAllocateInfo", *described, *owner]
    assert [link.fields["sType"] for link in chain[1:3]] == [EXPORT, EXPORT_WIN32]
    assert chain[1].fields["handleTypes"] == 0x2
    assert (chain[2].fields["dwAccess"], chain[2].fields["name"]) == (0x80000001, 0)
    # SECURITY_ATTRIBUTES: its own size, the default descriptor, not inherited.
    attributes = _driver.ffi.from_buffer("SECURITY_ATTRIBUTES *", chain[2].fields["pAttributes"])
    assert attributes.nLength == _driver.ffi.sizeof("SECURITY_ATTRIBUTES")
    assert (attributes.lpSecurityDescriptor, attributes.bInheritHandle) == (_driver.NULL, 0)
    handle, descriptor = buffer.export_memory()
    assert rig.vulkan.of("vkGetMemoryWin32HandleKHR") == [(GET_WIN32, True, 0x2)]
    assert (handle.type, handle.value > 2**32) == (NT, True)
    assert (descriptor.handle_type, descriptor.dedicated) == (NT, dedicated)
    assert descriptor.device.luid == WIN32.luid
    handle.close()
    buffer.close()


@pytest.mark.parametrize("asked", [(True, False), (True, True)])
def test_an_allocation_of_its_own_where_the_driver_prefers_or_requires_it(
    start: Callable[[recorded.Machine], Rig], asked: tuple[bool, bool]
) -> None:
    rig = start(replace(WIN32, dedicated=asked))
    with closing(rig.producer.create_buffer(SIZE, export=NT)) as buffer:
        assert "VkMemoryDedicatedAllocateInfo" in names(rig.chain("vkAllocateMemory"))
        handle, descriptor = buffer.export_memory()
        handle.close()
        assert descriptor.dedicated, "the importer must be told"


def test_an_nt_handle_is_asked_for_once_and_duplicated(start: Callable[[recorded.Machine], Rig]) -> None:
    rig = start(WIN32)
    buffer = rig.producer.create_buffer(SIZE, export=NT)
    handles = [buffer.export_memory()[0] for _ in range(3)]
    assert len(rig.vulkan.of("vkGetMemoryWin32HandleKHR")) == 1
    assert len({handle.value for handle in handles}) == 3
    assert rig.kernel.inherited == [False] * 3
    buffer.close()
    assert (
        len(rig.kernel.open) == 3
    )  # those that were taken outlive the buffer; the one that it kept has gone
    for handle in handles:
        handle.close()
    assert len(rig.kernel.closed) == 4


def test_adopted_memory_is_asked_for_once_too(start: Callable[[recorded.Machine], Rig]) -> None:
    rig = start(WIN32)
    theirs = rig.producer.create_buffer(SIZE, export=NT)
    (memory,) = [number for name, number in rig.vulkan.live if name == "vkAllocateMemory"]
    adopted = rig.producer.adopt_buffer(theirs.native, memory, size=SIZE)
    for _ in range(2):
        handle, descriptor = adopted.export_memory()
        assert descriptor.handle_type is NT
        handle.close()
    assert rig.vulkan.of("vkGetMemoryWin32HandleKHR") == [(GET_WIN32, True, 0x2)]
    adopted.close()
    assert len(rig.kernel.closed) == 3
    by_handle = Handle.adopt(rig.kernel.make("memory"), NT)
    with by_handle, closing(rig.producer.adopt_buffer(theirs.native, by_handle, size=SIZE)) as other:
        other.export_memory()[0].close()
        assert not by_handle.closed
    theirs.close()


def test_global_memory_handles_are_not_described_nor_closed(start: Callable[[recorded.Machine], Rig]) -> None:
    rig = start(WIN32)
    rig.vulkan.returns = [0xC0000040, 0xC0000040]
    with closing(rig.producer.create_buffer(SIZE, export=KMT)) as buffer:
        chain = rig.chain("vkAllocateMemory")
        assert names(chain) == ["VkMemoryAllocateInfo", "VkExportMemoryAllocateInfo"]
        assert chain[1].fields["handleTypes"] == 0x4
        for _ in range(2):
            with buffer.export_memory()[0] as handle:
                assert handle.value == 0xC0000040
    assert rig.vulkan.of("vkGetMemoryWin32HandleKHR") == [(GET_WIN32, True, 0x4)] * 2
    assert rig.kernel.closed == []


@pytest.mark.parametrize("kind", SemaphoreKind)
def test_nt_semaphores(start: Callable[[recorded.Machine], Rig], kind: SemaphoreKind) -> None:
    rig = start(WIN32)
    with closing(rig.producer.create_semaphore(kind, export=NT)) as semaphore:
        chain = rig.chain("vkCreateSemaphore")
        described = ["VkExportSemaphoreCreateInfo", "VkExportSemaphoreWin32HandleInfoKHR"]
        assert names(chain) == ["VkSemaphoreCreateInfo", *described, "VkSemaphoreTypeCreateInfo"]
        assert [link.fields["sType"] for link in chain[1:3]] == [EXPORT_SEMAPHORE, EXPORT_SEMAPHORE_WIN32]
        assert chain[1].fields["handleTypes"] == 0x2
        assert chain[2].fields["dwAccess"] == 0x80000001
        assert chain[3].fields["semaphoreType"] == (kind is SemaphoreKind.TIMELINE)
        handles = [semaphore.export_semaphore()[0] for _ in range(2)]
        assert rig.vulkan.of("vkGetSemaphoreWin32HandleKHR") == [(GET_SEMAPHORE_WIN32, True, 0x2)]
        for handle in handles:
            handle.close()
    assert len(rig.kernel.closed) == 3


def test_global_semaphore_handles(start: Callable[[recorded.Machine], Rig]) -> None:
    rig = start(WIN32)
    rig.vulkan.returns = [0xC0000080]
    with closing(rig.producer.create_semaphore(SemaphoreKind.BINARY, export=KMT)) as semaphore:
        names_ = names(rig.chain("vkCreateSemaphore"))
        assert "VkExportSemaphoreWin32HandleInfoKHR" not in names_
        handle, descriptor = semaphore.export_semaphore()
        assert (handle.value, descriptor.handle_type) == (0xC0000080, KMT)
        handle.close()
    assert rig.kernel.closed == []
    with pytest.raises(Unsupported, match="exporting a timeline semaphore as opaque_win32_kmt"):
        rig.producer.create_semaphore(SemaphoreKind.TIMELINE, export=KMT)


@pytest.mark.parametrize("number", [0, 2**64 - 1])
@pytest.mark.parametrize("kind", [NT, KMT])
def test_a_driver_that_returns_no_handle(
    start: Callable[[recorded.Machine], Rig], kind: HandleType, number: int
) -> None:
    rig = start(WIN32)
    with closing(rig.producer.create_buffer(SIZE, export=kind)) as buffer:
        rig.vulkan.returns = [number]
        with pytest.raises(DriverError, match=r"vkGetMemoryWin32HandleKHR .*no handle"):
            buffer.export_memory()
    assert rig.kernel.closed == []


def test_an_export_that_the_driver_refuses_may_be_tried_again(
    start: Callable[[recorded.Machine], Rig],
) -> None:
    rig = start(WIN32)
    with closing(rig.producer.create_buffer(SIZE, export=NT)) as buffer:
        rig.vulkan.fails = {"vkGetMemoryWin32HandleKHR": -10}
        with pytest.raises(DriverError, match="VK_ERROR_TOO_MANY_OBJECTS"):
            buffer.export_memory()
        rig.vulkan.fails = {}
        buffer.export_memory()[0].close()
    assert len(rig.kernel.closed) == 2


def test_dma_buf_export(start: Callable[[recorded.Machine], Rig]) -> None:
    rig = start(MESA)
    (enabled,) = rig.vulkan.of("vkCreateDevice")
    assert {"VK_KHR_external_memory_fd", "VK_EXT_external_memory_dma_buf"} <= set(enabled)
    with closing(rig.producer.create_buffer(SIZE, export=DMA_BUF)) as buffer:
        assert rig.chain("vkCreateBuffer")[1].fields["handleTypes"] == 0x200
        chain = rig.chain("vkAllocateMemory")
        assert names(chain) == ["VkMemoryAllocateInfo", "VkExportMemoryAllocateInfo"]
        assert chain[1].fields["handleTypes"] == 0x200
        handle, descriptor = buffer.export_memory()
        assert rig.vulkan.of("vkGetMemoryFdKHR") == [(GET_FD, True, 0x200)]
        assert (handle.type, descriptor.handle_type) == (DMA_BUF, DMA_BUF)
        assert not os.get_inheritable(handle.value)
        handle.close()


def dma_buf(size: int = 4 * SIZE) -> Handle:
    fd = os.memfd_create("a camera's")
    os.truncate(fd, size)
    return Handle.adopt(fd, DMA_BUF)


FRAME = MemoryDescriptor(allocation_size=4 * SIZE, size=SIZE, offset=SIZE, handle_type=DMA_BUF)


@pytest.mark.parametrize("dedicated", [False, True])
def test_dma_buf_import(start: Callable[[recorded.Machine], Rig], *, dedicated: bool) -> None:
    rig = start(MESA)
    handle = dma_buf()
    number = handle.value
    identity = os.fstat(number)
    buffer = rig.producer.import_memory(handle, replace(FRAME, dedicated=dedicated))
    assert handle.closed
    # What may come from anywhere is asked about, by the number that stays ours, before it is imported.
    assert rig.vulkan.of("vkGetMemoryFdPropertiesKHR") == [(0x200, number, FD_PROPERTIES)]
    order = [name for name, _ in rig.vulkan.calls]
    assert order.index("vkGetMemoryFdPropertiesKHR") < order.index("vkAllocateMemory")
    chain = rig.chain("vkAllocateMemory")
    owner = ["VkMemoryDedicatedAllocateInfo"] if dedicated else []
    assert names(chain) == ["VkMemoryAllocateInfo", "VkImportMemoryFdInfoKHR", *owner]
    assert chain[0].fields["allocationSize"] == 4 * SIZE
    assert (chain[1].fields["sType"], chain[1].fields["handleType"]) == (IMPORT_FD, 0x200)
    lent = chain[1].fields["fd"]
    assert lent != number
    assert os.fstat(lent).st_ino == identity.st_ino
    if dedicated:
        assert (chain[2].fields["sType"], chain[2].fields["buffer"] != 0) == (DEDICATED, True)
    assert rig.vulkan.of("vkBindBufferMemory") == [SIZE]
    onward, described = buffer.export_memory()
    assert (described.offset, described.size, onward.type) == (SIZE, SIZE, DMA_BUF)
    assert os.fstat(onward.value).st_ino == identity.st_ino
    buffer.close()
    onward.close()


def test_a_dma_buf_that_fits_no_memory_type(start: Callable[[recorded.Machine], Rig]) -> None:
    rig = start(replace(MESA, fd_memory_types=0))
    with dma_buf() as handle:
        with pytest.raises(Unsupported, match="no memory type for both"):
            rig.producer.import_memory(handle, FRAME)
        os.fstat(handle.value)
    assert rig.vulkan.of("vkAllocateMemory") == []


@pytest.mark.parametrize(
    "function", ["vkCreateBuffer", "vkGetMemoryFdPropertiesKHR", "vkAllocateMemory", "vkBindBufferMemory"]
)
def test_a_failed_dma_buf_import_leaves_the_handle(
    start: Callable[[recorded.Machine], Rig], function: str
) -> None:
    rig = start(MESA)
    before = len(os.listdir("/proc/self/fd"))
    with dma_buf() as handle:
        rig.vulkan.fails = {function: -1000072003}
        with pytest.raises(DriverError, match=f"{function} .*VK_ERROR_INVALID_EXTERNAL_HANDLE"):
            rig.producer.import_memory(handle, FRAME)
        os.fstat(handle.value)
        assert rig.vulkan.live == [each for each in rig.vulkan.live if each[0] == "vkCreateSemaphore"]
    assert len(os.listdir("/proc/self/fd")) == before
    rig.vulkan.fails = {}
    rig.producer.import_memory(dma_buf(), FRAME).close()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"handle_type": HandleType.OPAQUE_FD}, HandleError, "the descriptor says opaque_fd"),
        ({"allocation_size": 8 * SIZE}, HandleError, "holds 16384 bytes"),
        ({"offset": 4}, InvalidArgument, "must be a multiple of"),
    ],
)
def test_an_import_that_contradicts_itself_reaches_no_driver(
    start: Callable[[recorded.Machine], Rig], changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    rig = start(MESA)
    with dma_buf() as handle:
        with pytest.raises(error, match=words):
            rig.producer.import_memory(handle, replace(FRAME, **changes))
        os.fstat(handle.value)
    assert rig.vulkan.of("vkAllocateMemory") == []


@pytest.mark.parametrize("kind", [NT, KMT])
@pytest.mark.parametrize("fails", [False, True])
def test_windows_import(start: Callable[[recorded.Machine], Rig], kind: HandleType, *, fails: bool) -> None:
    rig = start(WIN32)
    number = rig.kernel.make("another producer's") if kind is NT else 0xC0000040
    handle = Handle.adopt(number, kind)
    descriptor = MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=kind)
    if fails:
        rig.vulkan.fails = {"vkAllocateMemory": -1000072003}
        with pytest.raises(DriverError, match="VK_ERROR_INVALID_EXTERNAL_HANDLE"):
            rig.producer.import_memory(handle, descriptor)
        assert handle.value == number
        assert number not in rig.kernel.closed
        handle.close()
    else:
        buffer = rig.producer.import_memory(handle, descriptor)
        assert handle.closed
        assert rig.kernel.closed == [number] * (kind is NT)
        buffer.close()
    chain = rig.chain("vkAllocateMemory")
    assert names(chain) == ["VkMemoryAllocateInfo", "VkImportMemoryWin32HandleInfoKHR"]
    said = chain[1].fields
    assert (said["sType"], said["handleType"]) == (IMPORT_WIN32, 2 if kind is NT else 4)
    assert (said["handle"], said["name"]) == (number, 0)
    # Opaque: the specification forbids the question.
    assert rig.vulkan.of("vkGetMemoryWin32HandlePropertiesKHR") == []


def test_an_opaque_import_names_its_memory_type(start: Callable[[recorded.Machine], Rig]) -> None:
    rig = start(WIN32)
    handle = Handle.adopt(0xC0000040, KMT)
    descriptor = MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=KMT)
    with pytest.raises(Unsupported, match="no memory type for both"):
        rig.producer.import_memory(handle, descriptor, memory_type=31)
    rig.producer.import_memory(handle, descriptor, memory_type=0).close()
    assert rig.chain("vkAllocateMemory")[0].fields["memoryTypeIndex"] == 0
