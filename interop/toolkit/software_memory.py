"""The files in which software Vulkan drivers keep memory, for consumers that map them."""

from __future__ import annotations

import os
import re
import struct

from interop.protocols import HandleError

_SWIFTSHADER = re.compile(r"SwiftShader\.Memory(\.\d+)?")  # numbered within the process
_SWIFTSHADER_PADDING = 15  # SwiftShader aligns the start by hand, so the file is longer than the allocation
_LAVAPIPE = "llvmpipe memory fd"
_LAVAPIPE_HEADER = struct.Struct("<QQ")  # size of the whole file, offset of the data


def payload_range(fd: int) -> tuple[int, int]:
    """Return offset and size, in bytes, of the allocation inside the file behind an opaque fd.

    An opaque fd has a meaning only to the driver that exported it. The two software drivers export memfds with names
    of their own.

    Raises:
        HandleError: Any other file. Mapping it could change another program's data.
    """
    size = os.fstat(fd).st_size
    target = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - pathlib takes as long as the rest of an import
    name = target.removeprefix("/memfd:").removesuffix(" (deleted)") if target.startswith("/memfd:") else ""
    if _SWIFTSHADER.fullmatch(name) and size > _SWIFTSHADER_PADDING:
        return 0, size - _SWIFTSHADER_PADDING
    if name == _LAVAPIPE and size > _LAVAPIPE_HEADER.size:
        stated, offset = _LAVAPIPE_HEADER.unpack(os.pread(fd, _LAVAPIPE_HEADER.size, 0))
        # The layout is Mesa's own and may change: a header that states the file's size is the one known here.
        if stated == size and _LAVAPIPE_HEADER.size <= offset < size:
            return offset, size - offset
    raise HandleError(
        f"fd {fd} ({target}, {size} bytes) is no memory of a software Vulkan driver that can be mapped here"
    )
