"""Checked by mypy and pyright, never run: enumerations by value, and integers of NumPy, where users write arguments."""

# pyright: reportUnnecessaryTypeIgnoreComment=true
from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import replace

    import numpy as np

    import interop
    from interop.protocols import (
        BackendInfo,
        DType,
        Handle,
        HandleType,
        MemoryDescriptor,
        SemaphoreDescriptor,
        SemaphoreKind,
        as_dtype,
        check_shape,
    )

    def memory(size: np.int64) -> None:
        made = MemoryDescriptor(allocation_size=size, size=16, offset=np.uint8(4), handle_type="opaque_fd")
        assert_type(made.handle_type, HandleType)
        assert_type(made.allocation_size, int)
        assert_type(replace(made, offset=0), MemoryDescriptor)
        MemoryDescriptor(allocation_size=16, size=16, handle_type=HandleType.DMA_BUF)
        MemoryDescriptor(allocation_size=16, size=16, handle_type="fd")  # type: ignore[arg-type]
        MemoryDescriptor(allocation_size=1.5, size=16, handle_type="dma_buf")  # type: ignore[arg-type]
        MemoryDescriptor(allocation_size=16, size=16)  # type: ignore[call-arg]

    def semaphores() -> None:
        made = SemaphoreDescriptor(kind="timeline", handle_type="opaque_fd")
        assert_type(made.kind, SemaphoreKind)
        SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=HandleType.SYNC_FD)
        SemaphoreDescriptor(kind="event", handle_type="opaque_fd")  # type: ignore[arg-type]

    def handles(fd: np.int32) -> None:
        assert_type(Handle.adopt(fd, "dma_buf"), Handle)
        assert_type(Handle.adopt(3, HandleType.DMA_BUF).detach(), int)
        Handle.adopt(3, "dmabuf")  # type: ignore[arg-type]

    def lists() -> None:
        assert_type(interop.backends("consumer"), Mapping[str, BackendInfo])
        assert_type(interop.backends(interop.Role.PRODUCER), Mapping[str, BackendInfo])
        interop.backends("both")  # type: ignore[arg-type]

    def shapes(rows: np.int64) -> None:
        assert_type(as_dtype("f4"), DType)
        assert_type(check_shape((rows, 4), as_dtype(np.float32)), tuple[tuple[int, ...], int])
        check_shape("4", as_dtype("f4"))  # type: ignore[arg-type]
