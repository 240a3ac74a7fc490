"""Portable kernels: one source for every consumer.

The source is C in the CLUDA vocabulary. Each consumer puts a prelude before it that maps the words to its language:

| word | meaning |
|---|---|
| `KERNEL void name(...)` | a kernel; `DEVICE_FUNCTION` marks helper functions |
| `GLOBAL_MEM T *p` | pointer to device memory, as a parameter; `CONSTANT_MEM` for read-only memory |
| `LOCAL_MEM T a[N]` | memory shared by a work group; `LOCAL_BARRIER` orders access to it |
| `GLOBAL_ID(d)` | index of the work item; also `LOCAL_ID(d)` and `GROUP_ID(d)` |
| `GLOBAL_SIZE(d)` | extent of the grid; also `LOCAL_SIZE(d)` and `NUM_GROUPS(d)` |

Dimension 0 runs fastest. A grid counts work items, as in OpenCL. HIP and CUDA launch whole groups and round the
grid up, so each kernel must check its bounds.
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
    """Name as written in the source."""
    c_type: str
    """C type as written in the source, without qualifiers."""
    pointer: bool
    """Whether the parameter takes memory."""
    dtype: DType | None
    """Element type. None for a structure or a vector, which have no NumPy type."""

    def __str__(self) -> str:
        return f"{self.c_type} {'*' if self.pointer else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Signature:
    """Name and parameters of a kernel, parsed from its source."""

    name: str
    """Name of the kernel."""
    parameters: tuple[Parameter, ...]
    """Parameters in the order of the source."""

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"


@runtime_checkable
class Launch(Protocol):
    """A prepared kernel launch: its arguments, grid and stream are converted. It borrows module and memory."""

    def __call__(self) -> None:
        """Enqueue the launch once more and return immediately. Any thread may call it.

        Raises:
            ClosedError: The module, the stream or a memory argument was closed.
            DriverError: The driver refused the launch.
        """

    def check_open(self) -> None:
        """Raise `ClosedError` if the module, the stream or a memory argument was closed."""

    def prepare_call(self) -> PreparedCall:
        """Return the driver call of the launch. The caller runs `check_open` before each use of the call."""
        ...


@runtime_checkable
class Kernel(Protocol):
    """A compiled kernel."""

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
        """Enqueue the kernel and return immediately.

        Args:
            *args: One value for each parameter. Memory is a `MappedBuffer` or the API's native object. A scalar
                is a NumPy scalar of exactly the parameter's type.
            global_size: Work items per dimension, dimension 0 first.
            local_size: Work items per group and dimension. By default the backend chooses.
            stream: Stream that runs the kernel. By default the consumer's own.

        Raises:
            ArgumentError: An argument, the grid or the group is wrong. The text names the parameter, and the
                driver was not called.
            DriverError: The driver refused the launch.

        Note:
            `hipModuleLaunchKernel`, `cuLaunchKernel`, `clEnqueueNDRangeKernel`.
        """

    def prepare(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> Launch:
        """Convert the arguments of a launch once, for many launches. Enqueues nothing.

        Args:
            *args: As for a call. The launch keeps the present values of scalars.
            global_size: Work items per dimension, dimension 0 first.
            local_size: Work items per group and dimension. By default the backend chooses.
            stream: Stream that runs the kernel. By default the consumer's own.

        Returns:
            The prepared launch. It is valid until the module, the stream or a memory argument is closed.

        Raises:
            ArgumentError: An argument, the grid or the group is wrong. The text names the parameter.
        """
        ...


@runtime_checkable
class Module(Protocol):
    """A compiled source."""

    def kernel(self, name: str) -> Kernel:
        """Return a kernel by its name.

        Args:
            name: Name of a `KERNEL` function in the source.

        Raises:
            ArgumentError: The source has no such kernel. The text lists the kernels of the source.

        Note:
            `hipModuleGetFunction`, `cuModuleGetFunction`, `clCreateKernel`.
        """
        ...

    def close(self) -> None:
        """Unload the module. Its launches must have ended. Idempotent."""
