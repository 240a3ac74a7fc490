"""Host pages: aligned, kept exactly as long as needed, and refused where they are not what they are said to be."""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
import threading
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interop_opencl import host
from interop_opencl.stream import OpenCLStream

from interop.protocols import DriverError, Handle, HandleError, HandleType, InvalidArgument, MemoryDescriptor
from interop.toolkit import PAGE_SIZE, HostPages, PinCounts, check_import_memory, find_host_pages

HOST = frozenset({HandleType.HOST_ALLOCATION})


@given(size=st.integers(1, 5 * PAGE_SIZE), shift=st.integers(0, 5))
def test_pages_are_aligned_zeroed_and_writable(size: int, shift: int) -> None:
    alignment = PAGE_SIZE << shift
    pages = HostPages.allocate(size, alignment=alignment)
    assert pages.address % alignment == pages.size % alignment == 0
    assert size <= pages.size < size + alignment
    view = pages.view()
    assert view[0] == view[-1] == 0
    view[-1] = 7
    assert ctypes.c_ubyte.from_address(pages.address + pages.size - 1).value == 7


def test_pages_live_as_long_as_somebody_holds_them() -> None:
    pages = HostPages.allocate(PAGE_SIZE)
    gone = weakref.ref(pages)
    handle = Handle(pages.address, HandleType.HOST_ALLOCATION, keep=pages)
    view = pages.view()
    del pages
    second = handle.dup()
    handle.close()
    assert find_host_pages(second.value, PAGE_SIZE) is gone()
    address = second.detach()
    assert gone() is not None
    view.release()
    del view
    gc.collect()
    assert gone() is None
    if sys.platform == "linux":
        with pytest.raises(HandleError, match="not all mapped"):
            find_host_pages(address, PAGE_SIZE)


@pytest.mark.parametrize(
    "memory",
    [
        bytes(PAGE_SIZE),
        bytearray(100),
        memoryview(mmap.mmap(-1, 2 * PAGE_SIZE))[1 : PAGE_SIZE + 1],
        bytearray(),
        object(),
    ],
    ids=["read-only", "no page", "unaligned", "empty", "no memory"],
)
def test_what_are_no_pages_are_not_adopted(memory: Any) -> None:
    with pytest.raises(InvalidArgument):
        HostPages.adopt(memory)


@pytest.mark.parametrize(("size", "alignment"), [(0, PAGE_SIZE), (-1, PAGE_SIZE), (1, 0)])
def test_sizes_that_cannot_be(size: int, alignment: int) -> None:
    with pytest.raises(InvalidArgument):
        HostPages.allocate(size, alignment=alignment)


def test_an_import_is_checked_against_the_pages() -> None:
    pages = HostPages.allocate(4 * PAGE_SIZE)

    def check(address: int, size: int) -> None:
        with Handle.adopt(address, HandleType.HOST_ALLOCATION) as handle:
            descriptor = MemoryDescriptor(allocation_size=size, size=1, handle_type=handle.type)
            check_import_memory(handle, descriptor, HOST)

    check(pages.address, 4 * PAGE_SIZE)
    check(pages.address + PAGE_SIZE, 3 * PAGE_SIZE)
    for address, size in (
        (pages.address + PAGE_SIZE, 4 * PAGE_SIZE),
        (pages.address + 1, PAGE_SIZE),
        (pages.address, 2**40),
    ):
        with pytest.raises(HandleError):
            check(address, size)


def test_a_range_is_pinned_for_its_first_user_and_unpinned_after_its_last() -> None:
    pins, log = PinCounts(), []

    def fail() -> None:
        raise DriverError("pin", 1)

    with pytest.raises(DriverError):
        pins.take((1, 2), fail)

    def work() -> None:
        for _ in range(200):
            pins.take((1, 2), lambda: log.append(1))
            pins.drop((1, 2), lambda: log.append(-1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log == [1, -1] * (len(log) // 2) != []


class Queue(OpenCLStream):
    """A queue that runs at once."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.alive = True
        self.context = 1
        self._queue = 2

    def drain(self, timeout: float) -> None:
        del timeout


class Discrete:
    """A driver whose device has a copy of host memory, as the specification allows."""

    def __init__(self, pages: HostPages) -> None:
        self.shown, self.own = pages.view(), bytearray(pages.size)
        self.mapped = 0

    def raw(self, name: str) -> Any:
        return getattr(self, name)

    def call(self, name: str, *arguments: Any) -> None:
        assert self.raw(name)(*arguments) == 0

    def clEnqueueMapBuffer(self, *arguments: Any) -> int:  # noqa: N802
        self.mapped += 1
        self.shown[:] = self.own
        return ctypes.addressof(ctypes.c_ubyte.from_buffer(self.shown)) if arguments else 0

    def clEnqueueUnmapMemObject(self, *_: Any) -> int:  # noqa: N802
        self.mapped -= 1
        assert self.mapped >= 0, "unmapped twice"
        self.own[:] = self.shown
        return 0


def test_opencl_maps_host_memory_for_as_long_as_the_producer_has_it() -> None:
    """On a driver that copies, both sides' bytes arrive only by map and unmap, each once for a hand-over."""
    pages = HostPages.allocate(PAGE_SIZE)
    device: Any = Discrete(pages)
    queue = Queue(device)
    ownership = host.HostOwnership(queue, 3, pages.address, PAGE_SIZE, pages)
    ownership.map_first(queue)
    for number in range(1, 5):
        pages.view()[:] = bytes([number]) * PAGE_SIZE
        ownership.prepare(queue)[0].run()
        ownership.prepare(queue)[0].run()
        assert device.own == bytes([number]) * PAGE_SIZE
        device.own[:] = bytes([100 + number]) * PAGE_SIZE
        ownership.prepare(queue)[1].run()
        ownership.prepare(queue)[1].run()
        assert bytes(pages.view()) == bytes([100 + number]) * PAGE_SIZE
    ownership.prepare(queue)[0].run()
    device.own[:] = b"x" * PAGE_SIZE
    ownership.give_back()
    assert bytes(pages.view()) == b"x" * PAGE_SIZE
    assert device.mapped == 0


def test_a_driver_that_maps_elsewhere_is_an_error() -> None:
    pages = HostPages.allocate(PAGE_SIZE)
    device: Any = Discrete(pages)
    device.clEnqueueMapBuffer = lambda *_: pages.address + PAGE_SIZE
    queue = Queue(device)
    ownership = host.HostOwnership(queue, 3, pages.address, PAGE_SIZE, pages)
    with pytest.raises(DriverError, match="forbids"):
        ownership.prepare(queue)[1].run()
