"""Host memory that two APIs use in place: whole pages, and the objects that keep them mapped.

Vulkan imports such pages (``VK_EXT_external_memory_host``). Consumers pin them (``hipHostRegister``,
``cuMemHostRegister``), take them as ``CL_MEM_USE_HOST_PTR``, or read and write them. No driver holds a reference to
them. So every user of pages from here holds the :class:`HostPages`; the last one to drop it unmaps the pages.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, cast

from interop.protocols import HandleError, InvalidArgument, round_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from interop.protocols import HostBytes

PAGE_SIZE = mmap.PAGESIZE
"""Bytes of a page of this system."""

_known: weakref.WeakValueDictionary[int, HostPages] = weakref.WeakValueDictionary()
_lock = threading.RLock()  # a garbage collection inside may end pages


class HostPages:
    """Whole pages of this process's memory, mapped for as long as this object or a view of it exists."""

    __slots__ = ("__weakref__", "_memory", "address", "size")

    def __init__(self, memory: Any, address: int, size: int) -> None:
        """Use :meth:`allocate` or :meth:`adopt`. ``memory`` keeps the pages."""
        self._memory = memory
        self.address = address
        """First byte."""
        self.size = size
        """Bytes."""
        with _lock:
            _known[address] = self

    @classmethod
    def allocate(cls, size: int, *, alignment: int = PAGE_SIZE) -> Self:
        """Allocate zeroed pages (``mmap``).

        Args:
            size: Bytes; rounded up to the alignment.
            alignment: Bytes; rounded up to whole pages.

        Raises:
            InvalidArgument: ``size`` or ``alignment`` is not positive.
            OSError: The system has no memory.
        """
        if size <= 0 or alignment <= 0:
            msg = f"size and alignment must be positive numbers of bytes, got {size} and {alignment}"
            raise InvalidArgument(msg)
        step = round_up(alignment, PAGE_SIZE)
        rounded = round_up(size, step)
        mapping = mmap.mmap(-1, rounded + step - PAGE_SIZE)  # it starts at a page, which may not be enough
        whole = (ctypes.c_ubyte * len(mapping)).from_buffer(mapping)  # keeps it mapped
        start = ctypes.addressof(whole)
        return cls(whole, round_up(start, step), rounded)

    @classmethod
    def adopt(cls, memory: HostBytes) -> Self:
        """Use host memory of the caller, and keep it.

        Raises:
            InvalidArgument: The memory does not start and end at a page, has gaps or cannot be written.
        """
        try:
            view = memoryview(cast("Any", memory)).cast("B")
            whole = (ctypes.c_ubyte * view.nbytes).from_buffer(view)
        except (TypeError, ValueError) as error:
            msg = f"needs contiguous, writable host memory, got {type(memory).__name__} ({error})"
            raise InvalidArgument(msg) from error
        address = ctypes.addressof(whole)
        if not view.nbytes or address % PAGE_SIZE or view.nbytes % PAGE_SIZE:
            msg = f"needs whole pages of {PAGE_SIZE} bytes, got {view.nbytes} bytes at 0x{address:x}"
            raise InvalidArgument(msg)
        return cls(whole, address, view.nbytes)

    def view(self) -> memoryview:
        """Return the bytes, writable; the view keeps the pages."""
        return bytes_at(self.address, self.size, self)

    def __repr__(self) -> str:
        return f"<HostPages {self.size} bytes at 0x{self.address:x}>"


class PinCounts:
    """Counts the users of pinned ranges, because a driver pins a range once for the whole process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._counts: dict[tuple[int, int], int] = {}

    def take(self, place: tuple[int, int], pin: Callable[[], None]) -> None:
        """Count one more user of ``place`` (address and bytes); call ``pin`` for the first."""
        with self._lock:
            count = self._counts.get(place, 0)
            if not count:
                pin()
            self._counts[place] = count + 1

    def drop(self, place: tuple[int, int], unpin: Callable[[], None]) -> None:
        """Count one user less; call ``unpin`` for the last."""
        with self._lock:
            left = self._counts.pop(place) - 1
            if left:
                self._counts[place] = left
            else:
                unpin()


def bytes_at(address: int, size: int, keep: object) -> memoryview:
    """Return host memory as writable bytes; the view keeps ``keep``."""
    made: Any = (ctypes.c_ubyte * size).from_address(address)
    made.keep = keep  # instances of ctypes arrays have a dictionary
    return memoryview(made).cast("B")


def find_host_pages(address: int, size: int) -> HostPages | None:
    """Return the :class:`HostPages` that hold ``size`` bytes at ``address``; None for memory that the caller keeps.

    Raises:
        HandleError: The range is not page-aligned, ends past its :class:`HostPages`, or is not mapped in this process.
    """
    if address % PAGE_SIZE:
        raise HandleError(f"host memory must start at a page of {PAGE_SIZE} bytes, got 0x{address:x}")
    with _lock:
        found = next(
            (pages for pages in _known.values() if pages.address <= address < pages.address + pages.size),
            None,
        )
    if found is not None:
        left = found.address + found.size - address
        if size > left:
            raise HandleError(f"{left} bytes are left at 0x{address:x}, the descriptor promises {size}")
    elif not _is_mapped(address, size):
        raise HandleError(f"{size} bytes at 0x{address:x} are not all mapped in this process")
    return found


def _is_mapped(address: int, size: int) -> bool:
    """Ask the kernel (``mincore``); True where there is nobody to ask."""
    if sys.platform != "linux":
        return True
    library = ctypes.CDLL(None, use_errno=True)
    pages = -(-size // PAGE_SIZE)
    resident = (ctypes.c_ubyte * pages)()
    library.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    if library.mincore(address, size, resident) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOMEM, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code))
