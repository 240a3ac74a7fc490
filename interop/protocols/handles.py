"""Handles: operating-system objects that carry memory or a semaphore between two APIs.

A `Handle` has exactly one owner. An import consumes the handle only if the import succeeds, on each backend and
platform. Backends keep this promise with `lend`.

Windows has two kinds of handles. An NT handle is a reference: `DuplicateHandle` copies it, `CloseHandle` closes it,
and no import consumes it. A global (KMT) handle is the name of an object: it holds no reference and is never closed.
"""

from __future__ import annotations

import enum
import os
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias
from weakref import ref

from interop.protocols import win32
from interop.protocols.arguments import as_choice, as_integer
from interop.protocols.errors import ClosedError, HandleError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from typing import NoReturn, Self, SupportsIndex


class HandleType(enum.StrEnum):
    """The kind of operating-system object behind a handle (`VkExternalMemoryHandleTypeFlagBits`)."""

    OPAQUE_FD = "opaque_fd"
    """POSIX file descriptor that only the exporting driver understands."""
    DMA_BUF = "dma_buf"
    """Linux dma-buf file descriptor. Every driver of the same kernel understands it."""
    SYNC_FD = "sync_fd"
    """Linux sync file: a file descriptor that carries one signal. -1 stands for a signal that has run."""
    OPAQUE_WIN32 = "opaque_win32"
    """Windows NT handle: holds a reference, and no import consumes it."""
    OPAQUE_WIN32_KMT = "opaque_win32_kmt"
    """Windows global handle: holds no reference and cannot be closed."""
    HOST_ALLOCATION = "host_allocation"
    """Address of page-aligned host memory (VK_EXT_external_memory_host), valid in this process alone."""

    @property
    def is_fd(self) -> bool:
        """Whether a handle of this type is a POSIX file descriptor."""
        return self in FD_TYPES

    @property
    def is_win32(self) -> bool:
        """Whether a handle of this type is a Windows handle, NT or global."""
        return self in _WIN32_TYPES


HandleTypeLike: TypeAlias = (
    HandleType
    | Literal["opaque_fd", "dma_buf", "sync_fd", "opaque_win32", "opaque_win32_kmt", "host_allocation"]
)
"""A handle type, or its value."""

FD_TYPES = frozenset({HandleType.OPAQUE_FD, HandleType.DMA_BUF, HandleType.SYNC_FD})
_WIN32_TYPES = frozenset({HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT})


def _drop(value: int, handle_type: HandleType) -> None:
    """Release the object behind a handle. Errors become warnings, because no caller could act on them."""
    try:
        if handle_type in FD_TYPES and value >= 0:
            os.close(value)
        elif handle_type is HandleType.OPAQUE_WIN32:
            win32.close(value)
    except (OSError, HandleError) as error:
        what = f"fd {value}" if handle_type in FD_TYPES else f"NT handle {value:#x}"
        warnings.warn(f"closing {what} failed: {error}", ResourceWarning, stacklevel=3)


_open: dict[int, ref[Handle]] = {}
"""Weak references to the open handles, by `id`. The thread that pops an entry releases the handle, so once."""


def _dropped_unclosed(key: int, value: int, handle_type: HandleType, _: object) -> None:
    if sys.is_finalizing() or _open.pop(key, None) is None:
        return
    warnings.warn(f"unclosed {handle_type.value} handle {value}", ResourceWarning, stacklevel=2)
    _drop(value, handle_type)


class Handle:
    """An operating-system object with a single owner.

    An export creates a handle; `Handle.adopt` takes ownership of an integer of the caller. The object changes its
    owner by `detach` (to the caller) or by a successful import (to the driver). `close` releases it. If the last
    reference to an open handle goes, Python issues a `ResourceWarning` and closes it.

    A handle is valid in this process alone. It cannot be pickled or copied; `dup` makes a second handle.

    Args:
        value: The raw descriptor, NT handle, global handle or address. The new handle owns it; nothing is checked.
        handle_type: Kind of object, as a member or by its value.
        keep: Object to keep alive until the handle is closed, detached or consumed: the owner of host memory.
    """

    __slots__ = ("__weakref__", "_keep", "_value", "type")

    def __init__(self, value: int, handle_type: HandleTypeLike, *, keep: object = None) -> None:
        kind = handle_type
        if type(kind) is not HandleType:
            kind = as_choice(HandleType, kind, "handle_type")
        self._value = value
        self._keep = keep
        self.type = kind
        """Kind of object."""
        key = id(self)
        _open[key] = ref(self, partial(_dropped_unclosed, key, value, kind))

    @classmethod
    def adopt(cls, value: SupportsIndex, handle_type: HandleTypeLike) -> Self:
        """Take ownership of an integer that the caller owns.

        Args:
            value: A file descriptor, an NT handle, a global handle or a host address, by `handle_type`. -1 stands
                for a sync file that is signalled.
            handle_type: Kind of object, as a member or by its value: `"opaque_fd"`.

        Returns:
            The handle, which the caller owns and closes. A global handle holds no reference: its exporter must
            keep the object alive. After an error the caller still owns `value`.

        Raises:
            HandleError: The descriptor is negative or not open, the Windows handle is 0, `INVALID_HANDLE_VALUE`, too
                wide or not open, the address is not positive, or this system has no handles of this type.
            InvalidArgument: `value` is no integer, or `handle_type` names no handle type.

        Note:
            `fstat` or `GetHandleInformation`, to check that the object is open.
        """
        kind = as_choice(HandleType, handle_type, "handle_type")
        number = as_integer(value, "value")
        check_value(number, kind)
        if kind is HandleType.OPAQUE_WIN32:
            win32.check_open(number)
        return cls(number, kind)

    @property
    def value(self) -> int:
        """The raw descriptor. Borrowed: this handle stays its owner, so the caller must not close it.

        Raises:
            ClosedError: The handle was closed, detached or consumed.
        """
        if id(self) not in _open:
            msg = f"this {self.type.value} handle was closed, detached or consumed by an import; export a new one"
            raise ClosedError(msg)
        return self._value

    @property
    def closed(self) -> bool:
        """Whether this handle was closed, detached or consumed."""
        return id(self) not in _open

    def dup(self) -> Handle:
        """Create a second handle to the same object. The caller owns both and closes both.

        A global handle and an address hold no reference, so their duplicate is the same number.

        Raises:
            ClosedError: The handle was closed, detached or consumed.
            HandleError: Windows refused the duplicate.
            OSError: The process has too many open files.

        Note:
            `fcntl(F_DUPFD_CLOEXEC)`, `DuplicateHandle`. Child processes inherit neither.
        """
        value = self.value
        if self.type.is_fd and value >= 0:
            value = duplicate_fd(value, 0)
        elif self.type is HandleType.OPAQUE_WIN32:
            value = win32.duplicate(value)
        return Handle(value, self.type, keep=self._keep)

    def detach(self) -> int:
        """Pass ownership to the caller, and return the raw descriptor. The caller closes it.

        Raises:
            ClosedError: The handle was closed, detached or consumed.
        """
        value = self.value
        _open.pop(id(self), None)
        self._keep = None
        return value

    def close(self) -> None:
        """Release the object. Idempotent."""
        if _open.pop(id(self), None) is not None:
            self._keep = None
            _drop(self._value, self.type)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if id(self) in _open:  # usually an import has consumed it
            self.close()

    def __reduce__(self) -> NoReturn:
        msg = (
            f"a {self.type.value} handle cannot be pickled or copied: its number is valid in this process alone. "
            "Use Handle.dup() for a second handle, and interop.ipc to share memory with another process."
        )
        raise TypeError(msg)

    def __repr__(self) -> str:
        state = "closed" if self.closed else str(self._value)
        return f"<Handle {self.type.value} {state}>"


def check_value(value: int, handle_type: HandleType) -> None:
    """Check that a number can be a handle of a type in this process.

    A file descriptor must be open. A Windows handle is not asked whether it is open: a driver may just have made it.

    Raises:
        HandleError: The number cannot be such a handle, or this system has no handles of this type.
    """
    if (handle_type.is_win32 or handle_type.is_fd) and handle_type.is_win32 != win32.is_windows():
        where = "exist on Windows only" if handle_type.is_win32 else "do not exist on Windows"
        raise HandleError(f"{handle_type.value} handles {where}; use another handle type")
    if handle_type.is_win32:
        win32.check_number(value, handle_type.value)
    elif handle_type is HandleType.HOST_ALLOCATION:
        if value <= 0:
            raise HandleError(f"{handle_type.value} handle must be a positive address, got {value}")
    elif not (handle_type is HandleType.SYNC_FD and value == -1):
        check_fd(value)


def duplicate_fd(fd: int, floor: int) -> int:
    """Return a duplicate of a file descriptor, numbered `floor` or higher (`F_DUPFD_CLOEXEC`)."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, floor)


def check_fd(fd: int) -> os.stat_result:
    """Return `fstat(fd)`.

    Raises:
        HandleError: `fd` is negative or not open.
    """
    if fd < 0:
        raise HandleError(f"file descriptor must not be negative, got {fd}")
    try:
        return os.fstat(fd)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else "the number is too large"
        raise HandleError(f"file descriptor {fd} is not open ({why})") from error
