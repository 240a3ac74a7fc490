"""Optional abilities of producers: meshes, compute pipelines and images.

`isinstance(producer, MeshProducer)` tells whether a producer has an ability. A `GpuProducer` has all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.images import ImageProducer
from interop.protocols.producers import Commands, Producer

if TYPE_CHECKING:
    from collections.abc import Sequence


@runtime_checkable
class Mesh(Protocol):
    """A grid of heights that the producer draws into a picture. The mesh owns the picture."""

    def image(self, timeout: float) -> memoryview:
        """Block until the last drawing has ended, and return a copy of its picture.

        Args:
            timeout: Longest wait in seconds.

        Returns:
            Bytes of shape (rows, columns, 4): RGBA, 8 bits each.

        Raises:
            TurnError: The mesh was never drawn.
            WaitTimeout: The drawing did not end in time.
        """
        ...

    def close(self) -> None:
        """Free the pipeline, the picture and the vertices. Idempotent."""


@runtime_checkable
class MeshCommands(Commands, Protocol):
    """Commands that draw meshes."""

    def draw(self, mesh: Mesh, heights: object) -> None:
        """Record a drawing of a mesh.

        Args:
            mesh: A mesh of the same producer.
            heights: A buffer with one float32 height for each point of the grid, row-major.
        """


@runtime_checkable
class MeshProducer(Protocol):
    """A producer that draws meshes; its commands are `MeshCommands`."""

    def create_mesh(self, rows: int, columns: int, *, width: int, height: int) -> Mesh:
        """Create a grid of heights and its picture. The caller owns the mesh and closes it.

        Args:
            rows: Heights along the first axis, at least 2.
            columns: Heights along the second axis, at least 2.
            width: Width of the picture in pixels.
            height: Height of the picture in pixels.

        Raises:
            InvalidArgument: The grid or the picture is too small, or larger than the device allows.
            Unsupported: The producer has no graphics queue.
        """
        ...


@runtime_checkable
class ComputePipeline(Protocol):
    """A compiled shader of the producer."""

    def close(self) -> None:
        """Free the pipeline. Idempotent."""


@runtime_checkable
class ComputeCommands(Commands, Protocol):
    """Commands that run compute pipelines."""

    def dispatch(
        self, compute: ComputePipeline, buffers: Sequence[object], groups: Sequence[int], push: bytes = b""
    ) -> None:
        """Record a run of a compute pipeline.

        Args:
            compute: A pipeline of the same producer.
            buffers: Storage buffers, in the order of the shader's bindings.
            groups: 1 to 3 counts of work groups.
            push: Push constants, exactly as many bytes as the pipeline was created with.

        Raises:
            InvalidArgument: An argument does not fit the pipeline or the device. Nothing was recorded.

        Note:
            `vkCmdDispatch`.
        """


@runtime_checkable
class ComputeProducer(Protocol):
    """A producer that runs compute shaders; its commands are `ComputeCommands`."""

    def create_compute(self, spirv: bytes, *, buffers: int, push_constant_bytes: int = 0) -> ComputePipeline:
        """Create a compute pipeline. The caller owns it and closes it.

        Args:
            spirv: SPIR-V with the entry point `main`.
            buffers: Number of storage buffers, at set 0 from binding 0 on.
            push_constant_bytes: Bytes of push constants, a multiple of 4.

        Raises:
            InvalidArgument: `spirv` is no SPIR-V, or a count exceeds the device's limits.
        """
        ...


@runtime_checkable
class GpuCommands(MeshCommands, ComputeCommands, Protocol):
    """All commands of a `GpuProducer`."""


@runtime_checkable
class GpuProducer(Producer[GpuCommands], MeshProducer, ComputeProducer, ImageProducer, Protocol):
    """A producer with every optional ability, such as that of `"vulkan"`."""
