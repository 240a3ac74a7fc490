"""Portable kernels on the host: C loops, called through ctypes on a stream's thread."""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - this module is imported by load() only

from interop.protocols import ArgumentError
from interop.toolkit import EagerLaunch, KernelBase, ModuleBase, compile_c, three_extents, to_c
from interop_numpy.memory import HostArray
from interop_numpy.stream import HostStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.protocols import Signature


class _Library:
    """A compiled shared library, unloaded with the last launch and the last kernel that use it."""

    def __init__(self, text: str) -> None:
        with compile_c("numpy", text) as path:
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
        text, signatures = to_c("numpy", source)
        self.library = _Library(text)
        super().__init__(signatures, stream)

    def open_kernel(self, signature: Signature) -> HostKernel:
        """Return a kernel of this module."""
        return HostKernel(self, signature)


class HostKernel(KernelBase):
    """A kernel of a :class:`HostModule`."""

    def bind(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Any
    ) -> EagerLaunch:
        """Find the addresses once. The launch keeps the memory mapped."""
        name = self.signature.name
        if not isinstance(stream, HostStream):
            raise ArgumentError(f"kernel {name} needs a stream of NumPy's own, got {stream!r}")
        held = [self._argument(position, argument) for position, argument in enumerate(args, 1)]
        addresses = (ctypes.c_void_p * len(args))(*(address for address, _ in held))
        extents = ctypes.c_size_t * 3
        launch = addresses, extents(*three_extents(grid)), extents(*three_extents(group or ()))
        library = self.module.library
        launcher = library.launcher(name)

        def run(_kept_alive: object = (library, held)) -> None:
            launcher(*launch)

        views = (each for each in args if isinstance(each, HostArray))
        return EagerLaunch([self.module, stream, *views], lambda: stream.enqueue(run))

    def _argument(self, position: int, argument: object) -> tuple[int, object]:
        """Return the address of what C reads for an argument, and the object that keeps it alive."""
        parameter = self.signature.parameters[position - 1]
        if not parameter.pointer:
            scalar = np.array(argument)
            return scalar.ctypes.data, scalar
        memory = argument.native if isinstance(argument, HostArray) else argument
        if not isinstance(memory, np.ndarray) or not memory.flags.c_contiguous:
            raise ArgumentError(
                f"argument {position} ({parameter}) of {self.signature.name} needs a NumPy array without gaps or a "
                f"view of this backend, got {argument!r}"
            )
        pointer = ctypes.c_void_p(memory.ctypes.data)
        return ctypes.addressof(pointer), (pointer, memory)
