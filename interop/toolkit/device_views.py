"""Views of device memory of CUDA-like runtimes, for kernels and array libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from interop.toolkit.dlpack import check_dlpack_request, to_dlpack
from interop.toolkit.views import ViewBase, ViewedMemory

if TYPE_CHECKING:
    from interop.toolkit.device_streams import DeviceStream


class PinnableMemory(ViewedMemory, Protocol):
    """Memory of a :class:`DeviceView`."""

    stream: DeviceStream

    @property
    def address(self) -> int:
        """Device address of the first byte."""
        ...

    def pin(self) -> object:
        """Return an object that keeps the memory valid."""
        ...


class DeviceView(ViewBase[PinnableMemory]):
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
