"""Handles: operating-system objects that carry memory or a semaphore between two APIs.

A :class:`Handle` has exactly one owner. An import consumes it only when the import succeeds, on every
backend and platform; :func:`lend` is how a backend keeps that promise whatever its driver does.

On Windows there are two kinds. An NT handle is a reference: it is duplicated by ``DuplicateHandle``, closed by
``CloseHandle``, and no import takes it over. A global (KMT) handle is the bare name of an object: it is never closed,
and holds nothing.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from weakref import ref

from interop.protocols import _win32 as win32
from interop.protocols.errors import ClosedError, HandleError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from typing import Self


class HandleType(enum.StrEnum):
    """What kind of operating-system object a handle is (``VkExternalMemoryHandleTypeFlagBits``)."""

    OPAQUE_FD = "opaque_fd"
    """POSIX fd, understood only by the driver that exported it."""
    DMA_BUF = "dma_buf"
    """Linux dma-buf fd, understood by any driver of the same kernel."""
    SYNC_FD = "sync_fd"
    """Linux sync-file fd: one-shot semaphore payload; -1 means already signalled."""
    OPAQUE_WIN32 = "opaque_win32"
    """Windows NT handle: reference counted, never consumed by an import."""
    OPAQUE_WIN32_KMT = "opaque_win32_kmt"
    """Windows global handle: holds no reference, cannot be closed."""
    HOST_ALLOCATION = "host_allocation"
    """Address of page-aligned host memory (VK_EXT_external_memory_host); means nothing in another process."""

    @property
    def is_fd(self) -> bool:
        """Whether a handle of this type is a POSIX file descriptor."""
        return self in FD_TYPES

    @property
    def is_win32(self) -> bool:
        """Whether a handle of this type is one of Windows', NT or global."""
        return self in _WIN32_TYPES


HandleTypeName: TypeAlias = Literal[
    "opaque_fd", "dma_buf", "sync_fd", "opaque_win32", "opaque_win32_kmt", "host_allocation"
]
"""Values of `HandleType`."""

FD_TYPES = frozenset({HandleType.OPAQUE_FD, HandleType.DMA_BUF, HandleType.SYNC_FD})
_WIN32_TYPES = frozenset({HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT})


def _drop(value: int, handle_type: HandleType) -> None:
    """Release the object behind a handle; errors are reported as warnings because callers cannot react."""
    if handle_type in FD_TYPES and value >= 0:
        try:
            os.close(value)
        except OSError as error:
            warnings.warn(f"closing fd {value} failed: {error}", ResourceWarning, stacklevel=3)
    elif handle_type is HandleType.OPAQUE_WIN32:
        try:
            win32.close(value)
        except HandleError as error:
            warnings.warn(f"closing NT handle {value:#x} failed: {error}", ResourceWarning, stacklevel=3)


_open: dict[int, ref[Handle]] = {}
"""What tells the end of each handle that is open, by its ``id``: whoever takes an entry out releases the handle."""


def _dropped_unclosed(key: int, value: int, handle_type: HandleType, _: object) -> None:
    if sys.is_finalizing() or _open.pop(key, None) is None:
        return
    warnings.warn(f"unclosed {handle_type.value} handle {value}", ResourceWarning, stacklevel=2)
    _drop(value, handle_type)


class Handle:
    """One operating-system object with a single owner.

    Made by an export, or by :meth:`adopt` from an integer that the caller owns. Leaves its owner by
    :meth:`detach` (the integer is the caller's again), by a successful import (the driver's), or by
    :meth:`close`. Dropping it unclosed is a ``ResourceWarning`` and closes it.
    """

    __slots__ = ("__weakref__", "_keep", "_value", "type")

    def __init__(self, value: int, handle_type: HandleType, *, keep: object = None) -> None:
        """``keep`` lives until it has gone to another owner: host memory has no references of its own."""
        self._value = value
        self._keep = keep
        self.type = handle_type
        """What kind of object this is."""
        key = id(self)
        _open[key] = ref(self, partial(_dropped_unclosed, key, value, handle_type))

    @classmethod
    def adopt(cls, value: int, handle_type: HandleType) -> Self:
        """Take ownership of an integer handle.

        ``value`` is a file descriptor, an NT or global handle or a host address, according to ``handle_type``.
        A global handle is not owned by anybody, so whoever exported it must keep its object alive. Raises
        :class:`HandleError`, and takes nothing, when an fd is negative (-1 is allowed for SYNC_FD, where it means
        "already signalled") or not open, when a Windows handle is 0, ``INVALID_HANDLE_VALUE`` or wider than a
        pointer, when an NT handle is not open, and for a kind that this system does not have.
        """
        check_value(value, handle_type)
        if handle_type is HandleType.OPAQUE_WIN32:
            win32.check_open(value)
        return cls(value, handle_type)

    @property
    def value(self) -> int:
        """The integer, lent to the caller: do not close it. Raises :class:`ClosedError` once it has gone."""
        if id(self) not in _open:
            msg = f"{self.type.value} handle was closed, detached or consumed by an import"
            raise ClosedError(msg)
        return self._value

    @property
    def closed(self) -> bool:
        """Whether this object owns nothing any more."""
        return id(self) not in _open

    def dup(self) -> Handle:
        """Make a second handle to the same object (``F_DUPFD_CLOEXEC``, ``DuplicateHandle``); close both.

        A global handle or an address has no references, so its duplicate is the same number.
        """
        value = self.value
        if self.type.is_fd and value >= 0:
            value = _duplicate_fd(value, 0)
        elif self.type is HandleType.OPAQUE_WIN32:
            value = win32.duplicate(value)
        return Handle(value, self.type, keep=self._keep)

    def detach(self) -> int:
        """Pass ownership of the integer to the caller."""
        value = self.value
        _open.pop(id(self), None)
        self._keep = None
        return value

    def close(self) -> None:
        """Release the object. A second call does nothing."""
        if _open.pop(id(self), None) is not None:
            self._keep = None
            _drop(self._value, self.type)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if id(self) in _open:  # mostly it has been consumed
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else str(self._value)
        return f"<Handle {self.type.value} {state}>"


def check_value(value: int, handle_type: HandleType) -> None:
    """Raise :class:`HandleError` unless ``value`` may be a handle of this type in this process.

    An fd must be open. Whether a handle of Windows is open is not asked, as it may just have come from a driver.
    """
    if (handle_type.is_win32 or handle_type.is_fd) and handle_type.is_win32 != win32.is_windows():
        raise HandleError(
            f"{handle_type.value} handles exist {'on' if handle_type.is_win32 else 'off'} Windows only"
        )
    if handle_type.is_win32:
        win32.check_number(value, handle_type.value)
    elif handle_type is HandleType.HOST_ALLOCATION:
        if value <= 0:
            raise HandleError(f"{handle_type.value} handle must be positive, got {value}")
    elif not (handle_type is HandleType.SYNC_FD and value == -1):
        check_fd(value)


def _duplicate_fd(fd: int, floor: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, floor)


def check_fd(fd: int) -> os.stat_result:
    """Return ``fstat(fd)``, or raise :class:`HandleError` when ``fd`` is negative or not open."""
    if fd < 0:
        msg = f"file descriptor must not be negative, got {fd}"
        raise HandleError(msg)
    try:
        return os.fstat(fd)
    except OSError as error:
        msg = f"file descriptor {fd} is not open ({error.strerror})"
        raise HandleError(msg) from error


class FdFate(enum.Enum):
    """What a driver does with the number of an fd whose import succeeded."""

    TAKEN = "taken"
    """The driver owns the number from now on (OpenCL, Vulkan): forget it."""
    KEPT = "kept"
    """The driver never touches the number (AMD's HIP): ours to close."""
    VARIES = "varies"
    """Depends on the runtime below (HIP over CUDA): close the number if it is still the same file."""


MEMORY_FLOOR = 200
"""Duplicates lent for memory start here, above the numbers that other threads get and free all the time."""
SEMAPHORE_FLOOR = 500
"""And for semaphores here: NVIDIA's OpenCL (580) never closes a memory handle whose number it has had before
as a semaphore's."""


def widen_table() -> None:
    """Make room for those numbers in the process's table of descriptors, best before drivers start threads.

    Linux makes a table larger when a number is first beyond it. Once there are threads that takes milliseconds, as
    it waits until none of them reads the old one (``synchronize_rcu``).
    """
    if win32.is_windows():
        return
    with contextlib.suppress(OSError), Path(os.devnull).open("rb") as nothing:
        os.close(_duplicate_fd(nothing.fileno(), SEMAPHORE_FLOOR))


class lend:  # noqa: N801 - used as a function is, as contextlib's own are; a generator would take three times as long
    """Lend a driver a duplicate of a handle for one import call: ``with lend(handle, fate) as number``.

    Leaving the block normally means that the import succeeded: the handle is consumed, and the duplicate
    is settled as ``fate`` says. Leaving it by an exception means that it failed: the handle stays the
    caller's and open, and the duplicate is closed unless the driver closed it already (NVIDIA's does on
    some failures). ``number`` is what to give to the driver. Handles that are no fds are lent as they are:
    no driver takes ownership of those, so on success they are closed here (an NT handle by ``CloseHandle``, as
    the import has a reference of its own; a global handle not at all), and on failure they stay as they were.

    Raises :class:`ClosedError` for a handle that has gone, and :class:`HandleError` for one whose fd is not open.
    """

    __slots__ = ("_fate", "_floor", "_handle", "_number")

    def __init__(self, handle: Handle, fate: FdFate, *, floor: int = MEMORY_FLOOR) -> None:
        self._handle = handle
        self._fate = fate
        self._floor = floor
        self._number: int | None = None
        """The duplicate; None for what is lent as it is."""

    def __enter__(self) -> int:
        handle = self._handle
        value = handle.value
        if handle.type not in FD_TYPES or value < 0:
            return value
        try:
            number = _duplicate_fd(value, self._floor)
        except OSError:  # the process may have fewer descriptors than that
            check_fd(value)
            number = _duplicate_fd(value, 0)
        self._number = number
        return number

    def __exit__(self, kind: object, *_: object) -> None:
        number = self._number
        if kind is not None:
            if number is not None:
                _close_if_same(number, self._handle)
            return
        if number is not None and self._fate is not _TAKEN:
            if self._fate is FdFate.KEPT:
                os.close(number)
            else:
                _close_if_same(number, self._handle)
        self._handle.close()


_TAKEN = FdFate.TAKEN


def _close_if_same(number: int, handle: Handle) -> None:
    """Close ``number`` if it still names the file of ``handle``, which it was duplicated from."""
    try:
        now, before = os.fstat(number), os.fstat(handle.value)
    except (OSError, ClosedError):
        return
    if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino):
        os.close(number)
