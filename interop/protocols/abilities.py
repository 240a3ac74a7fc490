"""Optional abilities of producers: meshes, compute pipelines and images.

``isinstance(producer, MeshProducer)`` finds an ability. :class:`GpuProducer` is a producer with all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.images import ImageProducer
from interop.protocols.producers import Commands, Producer

if TYPE_CHECKING:
    from collections.abc import Sequence


@runtime_checkable
class Mesh(Protocol):
    """A grid of heights that the producer draws into a picture of its own."""

    def image(self, timeout: float) -> memoryview:
        """Return a copy of the last picture: bytes of shape (rows, columns, 4), RGBA.

        Args:
            timeout: Seconds to wait for the drawing.

        Raises:
            TurnError: The mesh was never drawn.
            WaitTimeout: The drawing has not ended after ``timeout`` seconds.
        """
        ...

    def close(self) -> None:
        """Free pipeline, picture and vertices. A second call does nothing."""
        ...


@runtime_checkable
class MeshCommands(Commands, Protocol):
    """Commands that draw meshes."""

    def draw(self, mesh: Mesh, heights: object) -> None:
        """Draw a mesh.

        Args:
            mesh: A mesh of the same producer.
            heights: A buffer with one float32 for each point of the grid, row by row.
        """
        ...


@runtime_checkable
class MeshProducer(Protocol):
    """A producer that draws meshes; its commands are :class:`MeshCommands`."""

    def create_mesh(self, rows: int, columns: int, *, width: int, height: int) -> Mesh:
        """Create a grid of heights. The caller closes it.

        Args:
            rows: Heights along the first axis, at least 2.
            columns: Heights along the second axis, at least 2.
            width: Width of the picture in pixels.
            height: Height of the picture in pixels.

        Raises:
            InvalidArgument: The grid or the picture is too small, or larger than the device allows.
            Unsupported: The producer's queue has no graphics.
        """
        ...


@runtime_checkable
class ComputePipeline(Protocol):
    """A compiled shader of the producer."""

    def close(self) -> None:
        """Free the pipeline. A second call does nothing."""
        ...


@runtime_checkable
class ComputeCommands(Commands, Protocol):
    """Commands that run compute pipelines."""

    def dispatch(
        self,
        compute: ComputePipeline,
        buffers: Sequence[object],
        groups: Sequence[int],
        push: bytes = b"",
    ) -> None:
        """Run a compute pipeline (``vkCmdDispatch``).

        Args:
            compute: A pipeline of the same producer.
            buffers: Storage buffers, in the order of the shader's bindings.
            groups: 1 to 3 counts of work groups.
            push: Push constants, exactly as many bytes as the pipeline was created with.

        Raises:
            InvalidArgument: An argument does not fit the pipeline or the device. Nothing was recorded.
        """
        ...


@runtime_checkable
class ComputeProducer(Protocol):
    """A producer that runs compute shaders; its commands are :class:`ComputeCommands`."""

    def create_compute(self, spirv: bytes, *, buffers: int, push_constant_bytes: int = 0) -> ComputePipeline:
        """Create a compute pipeline. The caller closes it.

        Args:
            spirv: SPIR-V with the entry point ``main``.
            buffers: Number of storage buffers, at set 0 from binding 0 on.
            push_constant_bytes: Bytes of push constants, a multiple of 4.

        Raises:
            InvalidArgument: ``spirv`` is no SPIR-V, or a count exceeds the device's limits.
        """
        ...


@runtime_checkable
class GpuCommands(MeshCommands, ComputeCommands, Protocol):
    """All commands of a :class:`GpuProducer`."""


@runtime_checkable
class GpuProducer(Producer[GpuCommands], MeshProducer, ComputeProducer, ImageProducer, Protocol):
    """A producer with every optional ability, such as ``"vulkan"``."""
