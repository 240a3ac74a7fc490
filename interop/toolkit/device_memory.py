"""Device memory of CUDA-like runtimes: imported or allocated, and kept for array libraries that still use it."""

from __future__ import annotations

import threading
import warnings
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from interop.protocols import ClosedError, FdFate, InteropError, lend
from interop.toolkit.device_streams import DeviceStream, stream_address
from interop.toolkit.dlpack import check_dlpack_request, to_dlpack
from interop.toolkit.host_pages import PinCounts, find_host_pages
from interop.toolkit.resource import Pin, Resource, undo_all
from interop.toolkit.views import ViewBase

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from interop.protocols import DType, Handle, MemoryDescriptor, Stream
    from interop.toolkit.runtimes import DeviceRuntime

_Mapped = TypeVar("_Mapped")
_PORTABLE_AND_MAPPED = 3
_ALREADY_PINNED = 712
_HINTS = {
    _ALREADY_PINNED: "some of these pages are pinned already as part of another range; import them as that range"
}


class PinnedHost(NamedTuple):
    """Pinned host memory, in place of an imported allocation."""

    address: int
    size: int
    pages: object
    """The :class:`HostPages` that keep it, or None for memory that the caller keeps."""


PINS = PinCounts()
"""What this process has pinned. Consumers of one device or several share it."""
_counting = threading.RLock()  # a garbage collection inside may unpin
"""Held while the pins of a block are counted, and over no driver call: one lock serves all blocks."""


class DeviceMemory:
    """Device memory at an address. Fulfils :class:`interop.toolkit.ImportedAllocation`.

    :meth:`close` releases the memory at once, unless array libraries hold tensors of it. Then it only ends the
    views, and the death of the last tensor releases the memory. An import is owned by its cache, so this is no
    :class:`interop.toolkit.Resource`; allocated memory holds one.
    """

    __slots__ = ("__weakref__", "_address", "_pins", "_release", "_what", "given_up", "stream")

    def __init__(self, what: str, stream: DeviceStream, address: int, release: Callable[[], object]) -> None:
        """Refer to memory that ``release()`` releases; ``what`` names it in messages."""
        self._what = what
        self._address = address
        self._release = release
        self._pins = 0
        self.stream = stream
        """The stream of the consumer, on which views are read and written."""
        self.given_up = False

    @classmethod
    def allocate(cls, stream: DeviceStream, size: int) -> Self:
        """Allocate device memory. Closing it releases it."""
        runtime = stream.runtime
        with runtime.current:
            address = runtime.make(runtime.allocate, size)
        what = f"{runtime.api} memory"
        owner = Resource(f"{what} at 0x{address:x}", release_memory, runtime.hold(), address, None)
        return cls(what, stream, address, owner.close)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self.given_up

    @property
    def alive(self) -> bool:
        """Whether the memory has not been released yet."""
        return self._release is not _nothing

    @property
    def address(self) -> int:
        """Device address of the first byte."""
        self.check_open()
        return self._address

    def check_open(self) -> None:
        """Raise :class:`ClosedError` after :meth:`close`."""
        if self.given_up:
            raise ClosedError(f"{self._what} at 0x{self._address:x} was used after close()")

    def close(self) -> None:
        """End all views and release the memory as soon as no tensor needs it. A second call does nothing."""
        with _counting:
            self.given_up = True
            if self._pins:
                return
            release, self._release = self._release, _nothing
        release()

    def pin(self) -> Pin:
        """Keep the memory valid until the result is dropped."""
        with _counting:
            self.check_open()
            self._pins += 1
        return Pin(self.unpin)

    def unpin(self) -> None:
        """Drop one pin. Raises nothing, because garbage collections call it."""
        with _counting:
            self._pins -= 1
            if self._pins or not self.given_up:
                return
        try:
            self.close()
        except InteropError as error:
            warnings.warn(f"releasing {self._what} failed: {error}", ResourceWarning, stacklevel=2)

    def view_at(
        self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType, timeout: float
    ) -> DeviceView:
        """Return a view. Calls no driver: the memory was mapped whole."""
        if self.given_up:
            self.check_open()
        return DeviceView(self, first, shape, nbytes, dtype, timeout)

    def prepare_acquire(self, stream: Stream) -> None:
        """Check the stream and return no call: the API has no ownership of memory."""
        own = self.stream
        if self.given_up:
            self.check_open()
        if stream is not own or not own.alive:
            stream_address(stream, own.runtime)

    prepare_release = prepare_acquire


def _nothing() -> None:
    """Release nothing: the memory has been released."""


class DeviceView(ViewBase[DeviceMemory]):
    """A view of device memory of a CUDA-like runtime."""

    __slots__ = ()

    @property
    def native(self) -> int:
        """Device address of the first element."""
        if self._closed:
            self.check_open()
        return self.memory.address + self.first  # which checks that the memory is open

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """Version 3 of the CUDA array interface, which PyTorch, CuPy and Numba read on ROCm too.

        The reader must keep this view open. DLPack is the way for memory to outlive it.
        """
        return {
            "shape": self._shape,
            "typestr": self._dtype.typestr,
            "data": (self.native, False),
            "strides": None,
            "stream": self.memory.stream.native,
            "version": 3,
        }

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Export the memory to an array library. It stays imported until that library has freed its tensor.

        Args:
            stream: Stream of the library, as an integer of the API; it waits for the work of the consumer's stream
                so far. None: the API's default stream. -1: no order.
            max_version: Newest DLPack version that the library takes.
            dl_device: Device that the library wants the memory on.
            copy: Whether the library wants a copy.

        Raises:
            BufferError: The library asks for another device, for a copy, or for a stream that is ambiguous.
            DriverError: The runtime does not know the stream.
        """
        own = self.memory.stream
        runtime, address = own.runtime, self.native
        theirs = runtime.default_stream if stream is None else stream
        if theirs in runtime.ambiguous_streams:
            raise BufferError(
                f"stream {theirs} is ambiguous in {runtime.api}; pass 1 (legacy) or 2 (per thread)"
            )
        device = (runtime.array_type, runtime.index)
        check_dlpack_request(device, stream=theirs, dl_device=dl_device, copy=copy, order=own.precede)
        return to_dlpack(
            self.memory.pin(),
            address=address,
            shape=self._shape,
            dtype=self._dtype,
            device=device,
            max_version=max_version,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's type of the device, and its ordinal."""
        runtime = self.memory.stream.runtime
        return int(runtime.array_type), runtime.index

    def copy(self, host: Any, timeout: float, *, to_host: bool) -> None:
        """Copy on the consumer's stream."""
        stream, address, data = self.memory.stream, self.native, host.ctypes.data
        target, source = (data, address) if to_host else (address, data)

        def enqueue() -> None:
            stream.runtime.copy(target, source, self._nbytes, stream.native, to_host=to_host)

        stream.copy(enqueue, lambda: (host, self.memory.pin()), timeout)

    def __repr__(self) -> str:
        return f"<{self.memory.stream.runtime.api} buffer {self._shape} {self._dtype}>"


def release_memory(runtime: DeviceRuntime, address: int, external: int | PinnedHost | None) -> None:
    """Release memory at ``address``, and the import or the pinned range that it belongs to."""
    with runtime.releasing(f"memory at 0x{address:x}"), ExitStack() as every:
        if isinstance(external, PinnedHost):
            unpin = partial(runtime.call, runtime.unregister, external.address)
            PINS.drop(external[:2], unpin)
            return
        if external is not None:
            every.callback(runtime.call, runtime.destroy_memory, external)
        # First, and by the base address: HIP aborts the process when an inner address is freed.
        every.callback(runtime.call, runtime.free, address)


def pin_host(stream: DeviceStream, handle: Handle, size: int) -> DeviceMemory:
    """Pin host memory and map it. Keeps :class:`HostPages`; the caller keeps other memory until it is unpinned."""
    runtime = stream.runtime
    with runtime.current, ExitStack() as undo, lend(handle, FdFate.KEPT) as address:
        host = PinnedHost(address, size, find_host_pages(address, size))
        pin = partial(runtime.call, runtime.register, address, size, _PORTABLE_AND_MAPPED, hints=_HINTS)
        PINS.take((address, size), pin)
        undo.callback(PINS.drop, (address, size), partial(runtime.call, runtime.unregister, address))
        mapped = runtime.make(runtime.host_pointer, address, 0)
        undo.pop_all()
    return DeviceMemory(
        "external memory", stream, mapped, partial(release_memory, runtime.hold(), mapped, host)
    )


def import_external(
    runtime: DeviceRuntime,
    handle: Handle,
    descriptor: MemoryDescriptor,
    mapped: Callable[[int, MemoryDescriptor, list[Callable[[], object]]], _Mapped],
) -> tuple[int, _Mapped]:
    """Import an allocation and map it by ``mapped``.

    Args:
        runtime: The device.
        handle: Consumed on success only.
        descriptor: Describes the whole allocation.
        mapped: Called with the import, the descriptor and a list, to which it adds what undoes its work.

    Returns:
        The import, and the result of ``mapped``.
    """
    undo: list[Callable[[], object]] = []
    with runtime.current:
        try:
            with lend(handle, runtime.fate) as number:
                external = runtime.import_memory(number, handle.type, descriptor)
                undo.append(partial(runtime.call, runtime.destroy_memory, external))
                result = mapped(external, descriptor, undo)
        except BaseException:
            undo_all(undo)
            raise
    return external, result
