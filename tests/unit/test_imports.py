"""The import cache against an importer that counts: one import per allocation, ownership of the whole."""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import doubles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.protocols import (
    DTYPES,
    ClosedError,
    DType,
    Handle,
    HandleError,
    HandleType,
    InvalidArgument,
    MemoryDescriptor,
    PreparedCall,
)
from interop.toolkit import ImportCache, Share

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 4096
FD = frozenset({HandleType.OPAQUE_FD})


class Whole:
    """An import that checks that acquire and release alternate, and that nothing is used after close."""

    def __init__(self, handle: Handle, descriptor: MemoryDescriptor) -> None:
        self.descriptor, self.data = descriptor, bytearray(descriptor.allocation_size)
        self.acquired = self.closed = False
        self.log: list[str] = []
        handle.close()

    def view_at(self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType, timeout: float) -> Any:
        assert timeout > 0
        assert not self.closed
        assert nbytes == shape[0] * dtype.itemsize
        return doubles.View(shape, dtype, memoryview(self.data)[first : first + nbytes])

    def prepare_acquire(self, stream: object) -> PreparedCall:
        del stream
        return PreparedCall(lambda: self._change("acquire", acquired=True), int)

    def prepare_release(self, stream: object) -> PreparedCall:
        del stream
        return PreparedCall(lambda: self._change("release", acquired=False), int)

    def _change(self, what: str, *, acquired: bool) -> int:
        assert not self.closed
        assert self.acquired is not acquired
        self.acquired = acquired
        self.log.append(what)
        return 0

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Importer:
    """A consumer's part in it."""

    def __init__(self) -> None:
        self.imports: ImportCache[Any] = ImportCache()
        self.made: list[Whole] = []
        self.fail: type[BaseException] | None = None

    def open(self, handle: Handle, descriptor: MemoryDescriptor) -> Whole:
        if self.fail is not None:
            raise self.fail
        self.made.append(Whole(handle, descriptor))
        return self.made[-1]

    def take(self, handle: Handle, descriptor: MemoryDescriptor) -> Share[Any]:
        return self.imports.take(handle, descriptor, self.open, supported=FD)

    @property
    def live(self) -> int:
        return sum(not whole.closed for whole in self.made)


class Allocation:
    """A file, and handles and descriptors of parts of it."""

    def __init__(self, name: bytes | None = b"one") -> None:
        self.fd = os.memfd_create("allocation")
        os.truncate(self.fd, SIZE)
        self.name = name

    def export(self, offset: int = 0, size: int = SIZE) -> tuple[Handle, MemoryDescriptor]:
        handle = Handle.adopt(os.dup(self.fd), HandleType.OPAQUE_FD)
        return handle, MemoryDescriptor(
            allocation_size=SIZE,
            size=size,
            offset=offset,
            handle_type=HandleType.OPAQUE_FD,
            allocation=self.name,
        )


@pytest.fixture
def allocation() -> Iterator[Allocation]:
    made = Allocation()
    yield made
    os.close(made.fd)


@pytest.mark.usefixtures("nothing_left_behind")
def test_parts_share_one_import_until_the_last_is_closed(allocation: Allocation) -> None:
    importer = Importer()
    shares = []
    for index in range(16):
        handle, descriptor = allocation.export(index * 256, 256)
        shares.append(importer.take(handle, descriptor))
        assert handle.closed
        assert shares[-1].descriptor == descriptor
    (whole,) = importer.made
    assert (whole.descriptor.offset, whole.descriptor.size) == (0, SIZE)
    for index, share in enumerate(shares):
        share.map_buffer(shape=(256,), dtype=DTYPES["uint8"]).data[:] = bytes([index]) * 256
    assert bytes(whole.data) == b"".join(bytes([index]) * 256 for index in range(16))
    for share in shares[:-1]:
        share.close()
        share.close()
        assert not whole.closed
    shares[-1].close()
    assert whole.closed
    again = importer.take(*allocation.export())
    assert len(importer.made) == 2
    again.close()


@pytest.mark.parametrize("name", [None, b"other"])
def test_only_the_same_name_is_the_same_allocation(allocation: Allocation, name: bytes | None) -> None:
    importer = Importer()
    first = importer.take(*allocation.export())
    allocation.name = name
    second, third = importer.take(*allocation.export()), importer.take(*allocation.export())
    assert len(importer.made) == (3 if name is None else 2)
    for share in (first, second, third):
        share.close()
    assert importer.live == 0


@pytest.mark.parametrize(
    "change", [{"allocation_size": SIZE - 256, "size": 1}, {"dedicated": True}], ids=["size", "dedicated"]
)
def test_a_descriptor_that_contradicts_the_import_is_refused(
    allocation: Allocation, change: dict[str, int]
) -> None:
    importer = Importer()
    first = importer.take(*allocation.export())
    handle, descriptor = allocation.export()
    with handle, pytest.raises(HandleError, match=next(iter(change))):
        importer.take(handle, replace(descriptor, **change))  # type: ignore[arg-type]
    assert importer.live == 1
    first.close()
    assert importer.live == 0


def test_a_handle_of_another_allocation_is_refused_and_stays_open(allocation: Allocation) -> None:
    importer = Importer()
    first = importer.take(*allocation.export())
    stranger = Allocation()
    handle, descriptor = stranger.export()
    with handle:
        with pytest.raises(HandleError, match="does not belong to the allocation"):
            importer.take(handle, descriptor)
        assert not handle.closed
    os.close(stranger.fd)
    first.close()
    assert importer.live == 0


def test_an_import_that_fails_is_not_remembered(allocation: Allocation) -> None:
    importer = Importer()
    importer.fail = MemoryError
    handle, descriptor = allocation.export()
    with pytest.raises(MemoryError):
        importer.take(handle, descriptor)
    assert not handle.closed
    importer.fail = None
    share = importer.take(handle, descriptor)
    share.close()
    assert len(importer.made) == 1


def test_a_dropped_share_gives_its_import_back_with_a_warning(allocation: Allocation) -> None:
    importer = Importer()
    kept = importer.take(*allocation.export())
    with pytest.warns(ResourceWarning, match="unclosed external memory"):
        importer.take(*allocation.export())
    assert importer.live == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept.close()
    assert importer.live == 0
    with pytest.raises(ClosedError):
        kept.map_buffer()


def test_views_stay_within_their_descriptor(allocation: Allocation) -> None:
    importer = Importer()
    share = importer.take(*allocation.export(256, 512))
    for offset, size in ((0, 513), (512, 1), (508, 8)):
        with pytest.raises(InvalidArgument):
            share.map_buffer(offset=offset, size=size)
    share.close()


@given(steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["acquire", "release", "close"]))))
def test_the_whole_is_held_exactly_while_a_part_is(steps: list[tuple[int, str]]) -> None:
    """And each hand-over of a part reaches the driver, though others keep the whole."""
    allocation, importer, stream = Allocation(), Importer(), doubles.FakeStream(doubles.World())
    shares = [importer.take(*allocation.export()) for _ in range(4)]
    os.close(allocation.fd)
    (whole,) = importer.made
    held: set[int] = set()
    for index, step in steps:
        share = shares[index]
        whole.log.clear()
        if share.closed:
            continue
        if step == "acquire" and index not in held:
            share.acquire(stream)
            held.add(index)
            assert whole.log[-1] == "acquire"
        elif step == "release" and index in held:
            share.release(stream)
            held.remove(index)
            assert whole.log[0] == "release"
        elif step == "close":
            share.close()
            held.discard(index)
        if not whole.closed:
            assert whole.acquired is bool(held)
    for share in shares:
        share.close()
    assert whole.closed


@pytest.mark.parametrize("name", [None, b"one"])
def test_what_no_share_gives_back_is_closed_with_its_consumer(
    allocation: Allocation, name: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = Importer()
    allocation.name = name

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("interop.toolkit.import_cache.Share", interrupted)
        with pytest.raises(KeyboardInterrupt):
            importer.take(*allocation.export())
    assert importer.live == 1
    importer.imports.close()
    assert importer.live == 0
    share = importer.take(*allocation.export())
    share.close()
    importer.imports.close()
    assert importer.live == 0


def test_threads_that_take_and_close_share_imports(allocation: Allocation) -> None:
    importer = Importer()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                importer.take(*allocation.export()).close()
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert importer.live == 0
