"""Host memory in CUDA: pinned where it is, and mapped into the device's addresses."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import FdFate, lend
from interop.toolkit import keeper
from interop_cuda._block import PINS, Host
from interop_cuda._driver import REGISTER
from interop_cuda.memory import CudaExternalMemory

if TYPE_CHECKING:
    from interop.protocols import Handle, MemoryDescriptor
    from interop_cuda.stream import CudaStream

_PORTABLE_AND_MAPPED = 3
_ALREADY = 712
_HINTS = {_ALREADY: "part of these pages is pinned already, in another range; import them as that range"}


def import_host(stream: CudaStream, handle: Handle, descriptor: MemoryDescriptor) -> CudaExternalMemory:
    """Pin host memory and map it (``cuMemHostRegister``, ``cuMemHostGetDevicePointer``).

    ``handle`` must fit the descriptor, and is consumed on success only. Pages of
    :class:`interop.toolkit.HostPages` are kept until they are unpinned; others must stay until then, which is the
    caller's to see to.
    """
    size = descriptor.allocation_size
    with stream.context.current() as driver, ExitStack() as undo, lend(handle, FdFate.KEPT) as address:
        host = Host(address, size, keeper(address, size))
        PINS.take(
            host.place, partial(driver.call, REGISTER, address, size, _PORTABLE_AND_MAPPED, hints=_HINTS)
        )
        undo.callback(PINS.drop, host.place, partial(driver.call, "cuMemHostUnregister", address))
        mapped = driver.make("cuMemHostGetDevicePointer_v2", address, 0)
        undo.pop_all()
    return CudaExternalMemory(stream, mapped, host)
