"""Lending of handles: a driver gets a duplicate, so that an import consumes the handle only if it succeeds."""

from __future__ import annotations

import contextlib
import enum
import os
from typing import TYPE_CHECKING

from interop.protocols import win32
from interop.protocols.errors import ClosedError
from interop.protocols.handles import FD_TYPES, check_fd, duplicate_fd

if TYPE_CHECKING:
    from interop.protocols.handles import Handle


class FdFate(enum.Enum):
    """The driver's treatment of a file descriptor whose import succeeded."""

    TAKEN = "taken"
    """The driver owns the descriptor (OpenCL, Vulkan). The caller must forget its number."""
    KEPT = "kept"
    """The driver never closes the descriptor (AMD's HIP). The caller closes it."""
    VARIES = "varies"
    """The runtime below decides (HIP over CUDA). The caller closes the number if it still names the same file."""


_TAKEN, _VARIES = FdFate.TAKEN, FdFate.VARIES

MEMORY_FLOOR = 200
"""Lowest number of a duplicate that is lent for memory. Other threads open and close lower numbers all the time."""
SEMAPHORE_FLOOR = 500
"""Lowest number of a duplicate that is lent for a semaphore.

NVIDIA's OpenCL (580) never closes a memory descriptor whose number has been that of a semaphore, so the numbers of
both kinds lie apart."""


def widen_table() -> None:
    """Enlarge the process's table of descriptors for the lent numbers. Best called before drivers start threads.

    Linux enlarges the table when a number first lies beyond it. In a process with threads this takes milliseconds,
    because the kernel waits until no thread reads the old table (`synchronize_rcu`).
    """
    if win32.is_windows():
        return
    with contextlib.suppress(OSError), open(os.devnull, "rb") as nothing:  # noqa: PTH123 - pathlib would be a sixth of `import interop`
        os.close(duplicate_fd(nothing.fileno(), SEMAPHORE_FLOOR))


class lend:  # noqa: N801 - called like a function, as in contextlib; a generator would take three times as long
    """Lend a driver a duplicate of a handle for one import call: `with lend(handle, fate) as number`.

    A normal exit of the block means that the import succeeded. The handle is then consumed, and the duplicate is
    closed or forgotten by `fate`. An exception means that the import failed. The handle then stays open and the
    caller's, and the duplicate is closed unless the driver has closed it (NVIDIA's closes it on some failures).

    A handle that is no file descriptor is lent as it is, because no driver takes ownership of it. After a
    successful import it is closed: the import holds a reference of its own.

    Args:
        handle: The handle to import.
        fate: The driver's treatment of a descriptor whose import succeeded.
        floor: Lowest number of the duplicate.

    Raises:
        ClosedError: On entry, the handle was closed, detached or consumed.
        HandleError: On entry, the descriptor is not open.
    """

    __slots__ = ("_fate", "_floor", "_handle", "_number")

    def __init__(self, handle: Handle, fate: FdFate, *, floor: int = MEMORY_FLOOR) -> None:
        self._handle = handle
        self._fate = fate
        self._floor = floor
        self._number: int | None = None
        """The duplicate; None for a handle that is lent as it is."""

    def __enter__(self) -> int:
        handle = self._handle
        value = handle.value
        if handle.type not in FD_TYPES or value < 0:
            return value
        try:
            number = duplicate_fd(value, self._floor)
        except OSError:  # the process may have a limit below the floor
            check_fd(value)
            number = duplicate_fd(value, 0)
        self._number = number
        return number

    def __exit__(self, kind: object, *_: object) -> None:
        number, fate = self._number, self._fate if kind is None else _VARIES
        if number is not None and fate is not _TAKEN:
            if fate is _VARIES:
                _close_if_same(number, self._handle)
            else:
                os.close(number)
        if kind is None:
            self._handle.close()


def _close_if_same(number: int, handle: Handle) -> None:
    """Close a duplicate if its number still names the file of the handle."""
    try:
        now, before = os.fstat(number), os.fstat(handle.value)
    except (OSError, ClosedError):
        return
    if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino):
        os.close(number)
