"""Descriptors and ranges are checked before a driver sees them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import Handle, HandleError, HandleType, InvalidArgument
from interop.protocols import MemoryDescriptor, check_range
from interop.toolkit import check_import_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

FD = frozenset({HandleType.OPAQUE_FD})


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70), st.integers(1, 2**62))
def test_only_ranges_inside_the_allocation_pass(offset: int, size: int, total: int) -> None:
    fits = offset >= 0 and size > 0 and offset + size <= total
    try:
        check_range(offset, size, total)
    except InvalidArgument:
        assert not fits
    else:
        assert fits


def test_a_misaligned_offset_names_the_alignment() -> None:
    with pytest.raises(InvalidArgument, match="multiple of 128"):
        check_range(64, 64, 1024, alignment=128)


@pytest.mark.parametrize(
    "bad", [{"allocation_size": 0}, {"size": 0}, {"size": 17}, {"offset": 1}, {"offset": -1}]
)
def test_a_descriptor_that_contradicts_itself_cannot_be_made(bad: dict[str, int]) -> None:
    fields = {"allocation_size": 16, "size": 16, **bad}
    with pytest.raises(InvalidArgument):
        MemoryDescriptor(handle_type=HandleType.OPAQUE_FD, **fields)  # type: ignore[arg-type]


@pytest.fixture
def handle() -> Iterator[Handle]:
    fd = os.memfd_create("test")
    os.truncate(fd, 4096)
    with Handle.adopt(fd, HandleType.OPAQUE_FD) as owned:
        yield owned


def descriptor(size: int = 4096, handle_type: HandleType = HandleType.OPAQUE_FD) -> MemoryDescriptor:
    return MemoryDescriptor(allocation_size=size, size=size, handle_type=handle_type)


def test_a_good_handle_passes(handle: Handle) -> None:
    check_import_memory(handle, descriptor(), FD)


def test_a_file_smaller_than_the_allocation_is_refused(handle: Handle) -> None:
    with pytest.raises(HandleError, match="holds 4096 bytes"):
        check_import_memory(handle, descriptor(4097), FD)


def test_a_handle_of_another_type_is_refused(handle: Handle) -> None:
    with pytest.raises(HandleError, match="descriptor says dma_buf"):
        check_import_memory(handle, descriptor(handle_type=HandleType.DMA_BUF), FD)


def test_a_type_that_the_device_cannot_import_is_refused(handle: Handle) -> None:
    with pytest.raises(HandleError, match="importable: none"):
        check_import_memory(handle, descriptor(), frozenset())


def test_an_fd_that_somebody_closed_is_refused(handle: Handle) -> None:
    fd = handle.detach()
    os.close(fd)
    stale = Handle(fd, HandleType.OPAQUE_FD)
    with pytest.raises(HandleError, match="not open"):
        check_import_memory(stale, descriptor(), FD)
    stale.detach()
