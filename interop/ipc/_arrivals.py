"""Checks of descriptors from another process, before a driver sees them.

The kernel tells the kind of file behind a descriptor, and the size of some files. Only the importing driver can tell
whether an opaque handle belongs to the described allocation.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.ipc.errors import ProtocolError
from interop.protocols import Handle, HandleError, check_fd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.protocols import HandleType, MemoryDescriptor

_DRIVER_MAJORS = frozenset({195, 226})
"""Character devices behind opaque handles: NVIDIA's (/dev/nvidiactl), DRM (/dev/dri)."""
_NAMELESS = "anon_inode:"
"""Prefix of the kernel's names for files without a path. ``fstat`` reports them as regular files since Linux 6.16."""
_DMA_BUF = "/dmabuf:"
_DRIVER_NODES = ("/dev/nvidia", "/dev/dri/", "/dev/kfd")


def adopt(fds: Sequence[int], types: Sequence[HandleType]) -> list[Handle]:
    """Take ownership of received descriptors. Raises :class:`ProtocolError`, closing all, if one is wrong."""
    with ExitStack() as undo:
        for fd in fds:
            undo.callback(os.close, fd)
        if len(fds) != len(types):
            raise ProtocolError(f"expected {len(types)} descriptors, got {len(fds)}")
        for fd in fds:
            _check_file(fd)
        undo.pop_all()
    return [Handle(fd, kind) for fd, kind in zip(fds, types, strict=True)]


def check_memory(handle: Handle, descriptor: MemoryDescriptor) -> None:
    """Raise :class:`ProtocolError` when the file behind ``handle`` is known to be too small for ``descriptor``."""
    status = check_fd(handle.value)
    sized = stat.S_ISREG(status.st_mode) and not _target(handle.value).startswith(_NAMELESS)
    if sized and status.st_size < descriptor.allocation_size:
        raise ProtocolError(
            f"expected memory of {descriptor.allocation_size} bytes, got a file of {status.st_size}"
        )


def _target(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - no pathlib at import


def _check_file(fd: int) -> None:
    """Raise :class:`ProtocolError` for a file that no driver exports."""
    try:
        status = check_fd(fd)
    except HandleError as error:
        raise ProtocolError(str(error)) from error
    mode = status.st_mode
    if stat.S_ISCHR(mode):
        node = _target(fd)
        good = os.major(status.st_rdev) in _DRIVER_MAJORS or node.startswith(_DRIVER_NODES)
        what = f"the device {node}"
    elif stat.S_ISREG(mode):  # a memfd has no link in any directory
        good, what = status.st_nlink == 0 or _target(fd).startswith((_NAMELESS, _DMA_BUF)), "a file on disk"
    else:  # before Linux 6.16, dma-buf and sync objects have no file type
        good, what = stat.S_IFMT(mode) == 0, f"a file of type {stat.S_IFMT(mode):#o}"
    if not good:
        raise ProtocolError(f"expected a descriptor that a driver exports, got {what}")
