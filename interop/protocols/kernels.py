"""Portable kernels: one source for every consumer.

The source is C in the CLUDA vocabulary, which a prelude per consumer maps to its language:

========================= ======================================================================
``KERNEL void name(...)``  a kernel; ``DEVICE_FUNCTION`` marks helpers
``GLOBAL_MEM T *p``        pointer to device memory (an argument); ``CONSTANT_MEM`` for read-only
``LOCAL_MEM T a[N]``       memory shared by a work group; ``LOCAL_BARRIER`` orders it
``GLOBAL_ID(d)``           index of the work item; ``LOCAL_ID(d)``, ``GROUP_ID(d)``
``GLOBAL_SIZE(d)``         extent of the grid; ``LOCAL_SIZE(d)``, ``NUM_GROUPS(d)``
========================= ======================================================================

Dimension 0 runs fastest. Grids are given in work items, as in OpenCL; where the API wants whole groups
(HIP, CUDA) the grid is rounded up, so kernels must check their bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.protocols.dtypes import DType
    from interop.protocols.streams import PreparedCall, Stream


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kernel."""

    name: str
    c_type: str
    """Its type as written, without qualifiers."""
    pointer: bool
    """Takes memory."""
    dtype: DType | None
    """Element type; ``None`` for one that NumPy has no word for (structures, vectors)."""

    def __str__(self) -> str:
        return f"{self.c_type} {'*' if self.pointer else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Signature:
    """Name and parameters of a kernel, as read from the source."""

    name: str
    parameters: tuple[Parameter, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"


@runtime_checkable
class Launch(Protocol):
    """A kernel with its arguments, grid and stream bound. Valid while its module, memory and stream are open."""

    def __call__(self) -> None:
        """Check that everything is open, then enqueue the kernel once. Returns immediately. Any thread.

        Raises:
            ClosedError: The module, the stream or a memory argument has been closed.
        """
        ...

    def check_open(self) -> None:
        """Raise :class:`ClosedError` if the module, the stream or a memory argument has been closed."""
        ...

    def prepare_call(self) -> PreparedCall:
        """Return the driver call alone. The caller checks with :meth:`check_open` before it runs the call."""
        ...


@runtime_checkable
class Kernel(Protocol):
    """A compiled kernel, ready to be launched."""

    @property
    def signature(self) -> Signature:
        """Name and parameters."""
        ...

    def __call__(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> None:
        """Enqueue the kernel; does not wait for it.

        Memory is given as a :class:`interop.protocols.MappedBuffer` or as the API's native object, scalars as
        NumPy scalars of exactly the parameter's type. ``global_size`` counts work items per dimension.
        Raises :class:`ArgumentError`, naming the parameter, before the driver is called.
        """
        ...

    def prepare(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> Launch:
        """Do once what does not change from launch to launch, and return a function without arguments.

        Takes and raises what a call does; enqueues nothing. The values of scalars are those of now.
        """
        ...


@runtime_checkable
class Module(Protocol):
    """A compiled source."""

    def kernel(self, name: str) -> Kernel:
        """Return a kernel by name. Raises :class:`ArgumentError`, listing the names that exist."""
        ...

    def close(self) -> None:
        """Unload it. Launches must have ended. A second call does nothing."""
        ...
