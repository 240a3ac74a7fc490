"""Handles have one owner; an import consumes them only when it succeeds."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from interop import ClosedError, Handle, HandleError, HandleType, InvalidArgument
from interop.protocols import MEMORY_FLOOR, SEMAPHORE_FLOOR, FdFate, lend

if TYPE_CHECKING:
    from collections.abc import Callable


def memfd(size: int = 16) -> int:
    fd = os.memfd_create("test")
    os.truncate(fd, size)
    return fd


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_close_is_idempotent_and_closes_the_fd() -> None:
    fd = memfd()
    handle = Handle.adopt(fd, HandleType.OPAQUE_FD)
    assert handle.value == fd
    handle.close()
    handle.close()
    assert handle.closed
    assert not is_open(fd)
    with pytest.raises(ClosedError):
        _ = handle.value


def test_detach_gives_the_fd_back() -> None:
    handle = Handle.adopt(memfd(), HandleType.OPAQUE_FD)
    fd = handle.detach()
    handle.close()
    assert is_open(fd)
    os.close(fd)
    with pytest.raises(ClosedError):
        handle.detach()


def test_dup_is_independent_and_not_inherited() -> None:
    with Handle.adopt(memfd(), HandleType.DMA_BUF) as handle:
        other = handle.dup()
    assert is_open(other.value)
    assert not os.get_inheritable(other.value)
    other.close()


@pytest.mark.parametrize("fd", [-1, -64, 9999])
def test_a_bad_fd_is_refused(fd: int) -> None:
    with pytest.raises(HandleError, match=str(fd)):
        Handle.adopt(fd, HandleType.OPAQUE_FD)


def test_minus_one_is_a_signalled_sync_fd() -> None:
    with Handle.adopt(-1, HandleType.SYNC_FD) as handle:
        assert handle.value == -1


def test_an_nt_handle_must_be_positive() -> None:
    with pytest.raises(HandleError):
        Handle.adopt(0, HandleType.OPAQUE_WIN32)


def test_dropping_it_unclosed_warns_and_closes() -> None:
    fd = memfd()
    handle = Handle.adopt(fd, HandleType.OPAQUE_FD)
    with pytest.warns(ResourceWarning, match="unclosed opaque_fd"):
        del handle
    assert not is_open(fd)


@pytest.mark.parametrize("fate", FdFate)
def test_a_successful_import_consumes_the_handle(fate: FdFate) -> None:
    handle = Handle.adopt(memfd(), HandleType.OPAQUE_FD)
    with lend(handle, fate) as fd:
        assert fd != handle.value
    assert handle.closed
    assert is_open(fd) == (fate is FdFate.TAKEN)
    if fate is FdFate.TAKEN:
        os.close(fd)


def test_a_driver_that_took_the_number_is_told_from_one_that_did_not() -> None:
    handle = Handle.adopt(memfd(), HandleType.OPAQUE_FD)
    with lend(handle, FdFate.VARIES) as fd:
        os.close(fd)  # the driver took it, and the number went to another file
        other = os.open("/dev/null", os.O_RDONLY)
        os.dup2(other, fd)
    assert is_open(fd)
    os.close(fd)
    os.close(other)


@pytest.mark.parametrize("fate", FdFate)
@pytest.mark.parametrize("driver_closes", [False, True])
def test_a_failed_import_leaves_the_handle_with_its_owner(fate: FdFate, driver_closes: bool) -> None:
    with Handle.adopt(memfd(), HandleType.OPAQUE_FD) as handle:
        lent = -1
        with pytest.raises(KeyError), lend(handle, fate) as number:
            lent = number
            if driver_closes:
                os.close(number)
            raise KeyError
        assert not handle.closed
        assert is_open(handle.value)
        assert not is_open(lent)


def test_semaphores_and_memory_are_lent_under_different_numbers() -> None:
    with Handle.adopt(memfd(), HandleType.OPAQUE_FD) as memory:
        with contextlib.suppress(KeyError), lend(memory, FdFate.KEPT) as first:
            assert MEMORY_FLOOR <= first < SEMAPHORE_FLOOR
            raise KeyError
        with contextlib.suppress(KeyError), lend(memory, FdFate.KEPT, floor=SEMAPHORE_FLOOR) as second:
            assert second >= SEMAPHORE_FLOOR
            raise KeyError


def test_a_process_with_few_descriptors_lends_low_numbers() -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (MEMORY_FLOOR, limits[1]))
    try:
        handle = Handle.adopt(memfd(), HandleType.OPAQUE_FD)
        with lend(handle, FdFate.KEPT) as fd:
            assert fd < MEMORY_FLOOR
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_type_is_given_by_its_value_and_a_number_by_numpy() -> None:
    with Handle.adopt(np.int32(memfd()), "dma_buf") as handle:
        assert handle.type is HandleType.DMA_BUF
        assert type(handle.value) is int


@pytest.mark.parametrize(
    ("value", "handle_type", "words"),
    [
        (0, "fd", "handle_type must be one of 'opaque_fd', 'dma_buf'"),
        ("0", "opaque_fd", "value must be an integer, got '0'"),
        (None, "opaque_fd", "value must be an integer, got None"),
    ],
)
def test_a_wrong_argument_is_named(value: object, handle_type: object, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Handle.adopt(value, handle_type)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_handle_does_not_travel(way: Callable[[object], object]) -> None:
    with Handle.adopt(memfd(), HandleType.OPAQUE_FD) as handle:
        with pytest.raises(TypeError, match=r"cannot be pickled or copied.*interop\.ipc"):
            way(handle)
        assert is_open(handle.value)
