"""Portable kernels on the host: compiled to C loops by the core, called through ctypes on a stream's thread."""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - this module is imported by load() only

from interop.protocols import ArgumentError
from interop.toolkit import KernelBase, ModuleBase, build, translate
from interop_numpy.memory import HostBuffer
from interop_numpy.stream import HostStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.protocols import Signature


class _Library:
    """A compiled shared object, unloaded when the last launch and the last kernel let go of it."""

    def __init__(self, text: str) -> None:
        with build("numpy", text) as path:
            self._library = ctypes.CDLL(str(path))
        unload: Any = ctypes.CDLL(None).dlclose
        weakref.finalize(self, unload, ctypes.c_void_p(self._library._handle)).atexit = False  # noqa: SLF001 - public in all but name

    def launcher(self, name: str) -> Any:
        """Return the launcher of a kernel; calling it releases the GIL."""
        function = self._library[f"interop_run_{name}"]
        function.restype = None
        return function


class HostModule(ModuleBase):
    """A compiled source. Closing it refuses further launches; those in flight keep the library."""

    def __init__(self, source: str | Mapping[str, str], stream: HostStream) -> None:
        text, signatures = translate("numpy", source)
        self.library = _Library(text)
        super().__init__(signatures, stream)

    def open_kernel(self, signature: Signature) -> HostKernel:
        """Return a kernel of this module."""
        return HostKernel(self, signature)


class HostKernel(KernelBase):
    """A kernel of a :class:`HostModule`."""

    def __init__(self, module: HostModule, signature: Signature) -> None:
        super().__init__(module, signature)
        self._library = module.library

    def bind(
        self, args: Sequence[object], grid: Sequence[int], group: Sequence[int], stream: Any
    ) -> Callable[[], None]:
        """Resolve the addresses once. What is returned keeps the memory mapped as long as it lives."""
        if not isinstance(stream, HostStream):
            msg = f"kernel {self.signature.name} needs a stream of NumPy's own, got {stream!r}"
            raise ArgumentError(msg)
        held = [self._argument(position, argument) for position, argument in enumerate(args, 1)]
        addresses = (ctypes.c_void_p * len(args))(*(address for address, _ in held))
        extents = ctypes.c_size_t * 3
        launch = addresses, extents(*grid), extents(*group)
        launcher = self._library.launcher(self.signature.name)

        def run(_kept_alive: object = (self._library, held)) -> None:
            launcher(*launch)

        return lambda: stream.enqueue(run)

    def _argument(self, position: int, argument: object) -> tuple[int, object]:
        """Return the address of what C reads for an argument, and the object that keeps it alive."""
        parameter = self.signature.parameters[position - 1]
        if not parameter.pointer:
            scalar = np.array(argument)
            return scalar.ctypes.data, scalar
        memory = argument.native if isinstance(argument, HostBuffer) else argument
        if not isinstance(memory, np.ndarray) or not memory.flags.c_contiguous:
            msg = (
                f"argument {position} ({parameter}) of {self.signature.name} needs a NumPy array without "
                f"gaps or a view of this backend, got {argument!r}"
            )
            raise ArgumentError(msg)
        pointer = ctypes.c_void_p(memory.ctypes.data)
        return ctypes.addressof(pointer), (pointer, memory)
