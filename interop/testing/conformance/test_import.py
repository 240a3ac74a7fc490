"""Importing memory: every bad argument is a typed error that leaves the handle with its owner."""

# ruff: noqa: D103 - the name of a case says what it proves
from __future__ import annotations

import mmap
import os
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interop.protocols import (
    MEMORY_FLOOR,
    ClosedError,
    DriverError,
    Handle,
    HandleError,
    HandleType,
    InteropError,
    InvalidArgument,
    MemoryDescriptor,
)
from interop.testing._bench import pattern, same
from interop.testing.conformance import _strangers as strangers

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

    from interop.testing._bench import Bench

pytestmark = pytest.mark.interop_needs("zero-copy")

SIZE = 4096
REFUSED = (HandleError, DriverError)
"""A stranger's file is refused by a look at it, or by the driver."""


def still_owned(handle: Handle, before: os.stat_result) -> bool:
    """Whether the handle is open and still means the same file."""
    if handle.closed:
        return False
    now = os.fstat(handle.value)
    return (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)


def test_success_consumes_the_handle(bench: Bench) -> None:
    _, handle, descriptor = bench.export(SIZE)
    memory = bench.track(bench.consumer.import_memory(handle, descriptor))
    assert handle.closed
    assert memory.descriptor == descriptor
    with pytest.raises((ClosedError, HandleError)):
        bench.consumer.import_memory(handle, descriptor)


def test_closed_handle(bench: Bench) -> None:
    _, handle, descriptor = bench.export(SIZE)
    handle.close()
    with pytest.raises((ClosedError, HandleError)):
        bench.consumer.import_memory(handle, descriptor)


def test_handle_of_another_type_than_described(bench: Bench) -> None:
    _, handle, descriptor = bench.export(SIZE)
    other = next(kind for kind in HandleType if kind is not handle.type)
    with pytest.raises(HandleError):
        bench.consumer.import_memory(handle, replace(descriptor, handle_type=other))
    assert not handle.closed


def test_type_that_cannot_be_imported(bench: Bench) -> None:
    offered = bench.consumer.device.capabilities.memory_import
    other = next(kind for kind in HandleType if kind not in offered)
    with tempfile.TemporaryFile() as file:
        file.truncate(SIZE)
        value = os.dup(file.fileno()) if other.is_fd else SIZE
        with Handle.adopt(value, other) as handle:
            descriptor = MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=other)
            with pytest.raises(InteropError):
                bench.consumer.import_memory(handle, descriptor)
            assert not handle.closed


@pytest.mark.interop_needs("descriptors")
@pytest.mark.parametrize("stranger", strangers.EVERY)
def test_strangers_descriptor(bench: Bench, stranger: Callable[[], int]) -> None:
    descriptor = MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=bench.pair.handle_type)
    with Handle.adopt(stranger(), bench.pair.handle_type) as handle:
        before = os.fstat(handle.value)
        for _ in range(2):
            with pytest.raises(REFUSED):
                bench.consumer.import_memory(handle, descriptor)
            assert still_owned(handle, before)


@pytest.mark.interop_needs("host-memory")
@pytest.mark.parametrize("wrong", ["unaligned", "not mapped", "too short"])
def test_strangers_address(bench: Bench, wrong: str) -> None:
    _, exported, descriptor = bench.export(SIZE)
    descriptor = replace(descriptor, allocation=None)
    address = exported.value
    if wrong == "unaligned":
        address += 64
    elif wrong == "not mapped":
        address = mmap.PAGESIZE  # below what any process may map
    else:
        size = 2 * descriptor.allocation_size
        descriptor = replace(descriptor, allocation_size=size, size=size)
    with Handle.adopt(address, HandleType.HOST_ALLOCATION) as handle:
        with pytest.raises(HandleError):
            bench.consumer.import_memory(handle, descriptor)
        assert not handle.closed


@pytest.mark.interop_needs("descriptors")
def test_allocation_larger_than_the_file_behind_it(bench: Bench) -> None:
    _, handle, descriptor = bench.export(SIZE)
    if os.fstat(handle.value).st_size == 0:
        pytest.skip("what is behind the handles of this driver does not tell its size")
    too_large = os.fstat(handle.value).st_size + 1
    before = os.fstat(handle.value)
    with pytest.raises(REFUSED):
        bench.consumer.import_memory(handle, replace(descriptor, allocation_size=too_large, size=too_large))
    assert still_owned(handle, before)


def test_handle_is_good_after_a_refused_import(bench: Bench) -> None:
    buffer, handle, descriptor = bench.export(SIZE)
    with pytest.raises(HandleError):
        bench.consumer.import_memory(handle, replace(descriptor, handle_type=HandleType.SYNC_FD))
    memory = bench.track(bench.consumer.import_memory(handle, descriptor))
    bench.put(buffer, pattern(SIZE))
    same(bench.read(memory, memory.map_buffer(size=SIZE)), pattern(SIZE))


@pytest.mark.parametrize(
    "change",
    [
        {"allocation_size": 0},
        {"allocation_size": -1},
        {"allocation_size": 2**63},
        {"size": 0},
        {"size": -SIZE},
        {"size": 2**64},
        {"offset": -1},
        {"offset": 2**63},
        {"size": 2**40},
        {"offset": 2**40},
    ],
    ids=lambda change: "-".join(f"{name}={value}" for name, value in change.items()),
)
def test_descriptor_that_cannot_be(bench: Bench, change: dict[str, int]) -> None:
    _, handle, descriptor = bench.export(SIZE)
    with pytest.raises(InvalidArgument):
        bench.consumer.import_memory(handle, replace(descriptor, **change))  # type: ignore[arg-type]
    assert not handle.closed


def test_export_outlives_the_buffer(bench: Bench) -> None:
    """The handle holds a reference of its own to the allocation (VK_KHR_external_memory_fd)."""
    buffer, handle, descriptor = bench.export(SIZE)
    bench.put(buffer, pattern(SIZE))
    bench.producer.wait_idle(bench.timeout)
    buffer.close()
    memory = bench.track(bench.consumer.import_memory(handle, descriptor))
    same(bench.read(memory, memory.map_buffer(size=SIZE)), pattern(SIZE))


def test_every_export_is_a_handle_of_its_own(bench: Bench) -> None:
    buffer = bench.create(SIZE)
    (first, _), (second, descriptor) = buffer.export_memory(), buffer.export_memory()
    with first, second:
        assert not first.type.is_fd or first.value != second.value
        first.close()
        assert not second.closed
        bench.track(bench.consumer.import_memory(second, descriptor))


def test_no_strangers_descriptor_is_closed(bench: Bench) -> None:
    """A driver or backend that closes an fd twice hits whoever got the number in between."""
    with ExitStack() as files:
        null = os.stat(os.devnull)  # noqa: PTH116 - compared with fstat
        for _ in range(4):
            _, handle, descriptor = bench.export(SIZE)
            memory = bench.consumer.import_memory(handle, descriptor)
            others = [files.enter_context(open(os.devnull, "rb")) for _ in range(8)]  # noqa: PTH123 - no path
            others += [files.enter_context(again) for again in _above(others[0], MEMORY_FLOOR, 4)]
            memory.close()
            for other in others:
                assert os.fstat(other.fileno()).st_rdev == null.st_rdev


def _above(file: BufferedReader, floor: int, count: int) -> list[BufferedReader]:
    """Open a file again under the numbers that were lent to a driver, if they are free."""
    if sys.platform == "win32":
        return []
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    return [os.fdopen(fcntl(file.fileno(), F_DUPFD_CLOEXEC, floor), "rb") for _ in range(count)]


def test_close_twice(bench: Bench) -> None:
    _, memory = bench.share(SIZE)
    view = memory.map_buffer()
    view.close()
    view.close()
    memory.close()
    memory.close()


def test_closed_consumer_imports_nothing(bench: Bench) -> None:
    _, handle, descriptor = bench.export(SIZE)
    other = bench.pair.consumers.open_consumer(bench.pair.consumer)
    other.close()
    other.close()
    with pytest.raises(ClosedError):
        other.import_memory(handle, descriptor)
    assert not handle.closed


def test_two_consumers_share_one_allocation(bench: Bench) -> None:
    buffer, memory = bench.share(SIZE)
    other = bench.track(bench.pair.consumers.open_consumer(bench.pair.consumer))
    handle, descriptor = buffer.export_memory()
    with handle:
        theirs = bench.track(other.import_memory(handle, descriptor))
    bench.write(memory, memory.map_buffer(size=SIZE), pattern(SIZE))
    theirs.acquire(other.stream)
    same(bench.peek(theirs.map_buffer(size=SIZE)), pattern(SIZE))
    theirs.release(other.stream)
    other.stream.synchronize(bench.timeout)


def test_imports_from_several_threads(bench: Bench) -> None:
    exports = [bench.export(SIZE) for _ in range(16)]
    for index, (buffer, _, _) in enumerate(exports):
        bench.put(buffer, pattern(SIZE, index))
    wrong: list[object] = []

    def work(first: int) -> None:
        for index in range(first, len(exports), 4):
            _, handle, descriptor = exports[index]
            try:
                memory = bench.consumer.import_memory(handle, descriptor)
                with_data = bench.read(memory, memory.map_buffer(size=SIZE)) == pattern(SIZE, index)
                memory.close()
                if not with_data or not handle.closed:
                    wrong.append(index)
            except Exception as error:  # noqa: BLE001 - reported below
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_many_cycles_leave_nothing(bench: Bench) -> None:
    buffer = bench.create(SIZE)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    mapped = _mappings()
    for _ in range(50):
        handle, descriptor = buffer.export_memory()
        memory = bench.consumer.import_memory(handle, descriptor)
        memory.map_buffer().close()
        memory.close()
    after = len(os.listdir("/proc/self/fd")) if before else 0  # noqa: PTH208
    assert after <= before
    assert _mappings() - mapped < 25, "half of the imports are still mapped"  # noqa: PLR2004 - of 50


def _mappings() -> int:
    """How many ranges of memory this process has; what drivers map goes with the import, like descriptors."""
    maps = Path("/proc/self/maps")
    return len(maps.read_text(errors="replace").splitlines()) if maps.exists() else 0
