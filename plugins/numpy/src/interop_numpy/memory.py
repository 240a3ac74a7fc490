"""Memory of a software Vulkan driver, mapped into this process and seen as NumPy arrays."""

from __future__ import annotations

import os
import re
import struct
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - this module is imported by load() only

from interop.protocols import HandleError, InvalidArgument
from interop.toolkit import host_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SWIFTSHADER = re.compile(r"SwiftShader\.Memory(\.\d+)?")  # numbered within the process
_SWIFTSHADER_PADDING = 15  # SwiftShader aligns the start by hand, so the file is longer than the allocation
_LAVAPIPE = "llvmpipe memory fd"
_LAVAPIPE_HEADER = struct.Struct("<QQ")  # size of the whole file, offset of the data


def payload_range(fd: int) -> tuple[int, int]:
    """Return offset and size in bytes of the allocation inside the file behind an opaque fd.

    An opaque fd means something to the driver that made it only. The two software drivers make memfds, known
    by their names. Raises :class:`HandleError` for every other file: mapping it could
    change a stranger's data.
    """
    size = os.fstat(fd).st_size
    target = str(Path(f"/proc/self/fd/{fd}").readlink())
    name = target.removeprefix("/memfd:").removesuffix(" (deleted)") if target.startswith("/memfd:") else ""
    if _SWIFTSHADER.fullmatch(name) and size > _SWIFTSHADER_PADDING:
        return 0, size - _SWIFTSHADER_PADDING
    if name == _LAVAPIPE and size > _LAVAPIPE_HEADER.size:
        stated, offset = _LAVAPIPE_HEADER.unpack(os.pread(fd, _LAVAPIPE_HEADER.size, 0))
        # The layout is Mesa's own and may change: a header that states the file's size is the one known here.
        if stated == size and _LAVAPIPE_HEADER.size <= offset < size:
            return offset, size - offset
    msg = f"fd {fd} ({target}, {size} bytes) is no memory of a software Vulkan driver that NumPy could map"
    raise HandleError(msg)


class HostBuffer(host_memory.HostView):
    """A range of host memory as an array of one shape and type."""

    @property
    def native(self) -> NDArray[Any]:
        """A NumPy array over the very memory; it stays valid for as long as it is held."""
        self.check_open()
        mapping, start = self._memory.place(self._first)
        # frombuffer keeps the mapping locked for as long as the array lives; np.ndarray(buffer=...) does not,
        # and touching its memory after close would end the process (NumPy 2.x).
        return np.frombuffer(mapping, np.dtype(self.dtype.name), prod(self.shape), start).reshape(self.shape)

    def __dlpack__(self, **options: Any) -> Any:
        """Hand the memory to another array library; it stays mapped until the taker is done."""
        return self.native.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return (1, 0): the host."""
        kind, index = self.native.__dlpack_device__()
        return int(kind), index

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        """Let ``numpy.asarray(view)`` look at the very memory."""
        array = self.native
        if dtype is None or dtype == array.dtype:
            return array.copy() if copy else array
        if copy is False:
            msg = f"a view of {array.dtype} cannot become {dtype} without a copy"
            raise InvalidArgument(msg)
        return array.astype(dtype)


class HostMemory(host_memory.HostMemory):
    """Host memory that is seen as arrays."""

    view = HostBuffer
