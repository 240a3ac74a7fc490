"""Images: their descriptor, and the optional protocols of backends that share them.

A consumer that imports images implements `ImageConsumer`; a producer that exports them implements `ImageProducer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.arguments import MAX_BYTES, as_choice, as_integer
from interop.protocols.errors import InvalidArgument
from interop.protocols.formats import Tiling, as_format
from interop.protocols.memory import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.protocols.formats import ImageFormat, TilingLike
    from interop.protocols.handles import Handle, HandleTypeLike
    from interop.protocols.memory import HostBytes, MemoryDescriptor
    from interop.protocols.producers import Commands
    from interop.protocols.streams import Stream

_LONGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, init=False)
class ImageDescriptor:
    """Everything that an importer must know about an image, besides its memory.

    An image with a depth above 1 is 3D and has no layers. An image with more than one layer is a 2D array. Every other
    image is 2D. The values are checked at creation, because drivers answer a contradiction with wrong texels.
    """

    extent: tuple[int, int, int]
    """Width, height and depth of the largest level, in texels."""
    format: ImageFormat
    """Layout of a texel."""
    mip_levels: int
    """Number of levels. Each level has half the extent of the one before, rounded down, and at least 1."""
    array_layers: int
    """Number of layers."""
    tiling: Tiling
    """Order of texels in memory."""
    row_pitch: int
    """Linear images: bytes from row to row, or 0 before the producer has chosen. Optimal images: 0."""
    offset: int
    """First byte of the image in its allocation."""

    def __init__(
        self,
        extent: Sequence[int],
        format: ImageFormat | str,  # noqa: A002 - the name of the field
        *,
        mip_levels: int = 1,
        array_layers: int = 1,
        tiling: TilingLike = Tiling.OPTIMAL,
        row_pitch: int = 0,
        offset: int = 0,
    ) -> None:
        """Check and set the fields.

        Args:
            extent: Width, height and depth of the largest level, in texels. Without a depth it is 1.
            format: An image format or its name, such as `"rgba8unorm"`.
            mip_levels: Number of levels.
            array_layers: Number of layers.
            tiling: `"optimal"` or `"linear"`.
            row_pitch: Bytes from row to row of a linear image, or 0 to let the producer choose.
            offset: First byte of the image in its allocation.

        Raises:
            InvalidArgument: A value is impossible, or contradicts another.
        """
        fields: dict[str, object] = {
            "extent": _extent(extent),
            "format": as_format(format),
            "mip_levels": as_integer(mip_levels, "mip_levels"),
            "array_layers": as_integer(array_layers, "array_layers"),
            "tiling": as_choice(Tiling, tiling, "tiling"),
            "row_pitch": as_integer(row_pitch, "row_pitch"),
            "offset": as_integer(offset, "offset"),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        most = max(self.extent).bit_length()
        if not 0 < self.mip_levels <= most:
            msg = f"mip_levels must be from 1 to {most} for an extent of {self.extent}, got {self.mip_levels}"
            raise InvalidArgument(msg)
        if not 0 < self.array_layers <= _LONGEST:
            raise InvalidArgument(f"array_layers must be from 1 to {_LONGEST}, got {self.array_layers}")
        if self.extent[2] > 1 and self.array_layers > 1:
            msg = f"array_layers must be 1 for a depth of {self.extent[2]}, got {self.array_layers}"
            raise InvalidArgument(msg)
        if not 0 <= self.offset <= MAX_BYTES:
            raise InvalidArgument(f"offset must be from 0 to 2**63 - 1 bytes, got {self.offset}")
        self._check_pitch()

    def _check_pitch(self) -> None:
        if self.tiling is not Tiling.LINEAR:
            if self.row_pitch:
                raise InvalidArgument(f"row_pitch must be 0 for optimal tiling, got {self.row_pitch}")
            return
        if self.mip_levels > 1 or self.array_layers > 1 or self.extent[2] > 1:
            msg = (
                "a linear image must be 2D with one level and one layer, got "
                f"{self.mip_levels} levels, {self.array_layers} layers and a depth of {self.extent[2]}"
            )
            raise InvalidArgument(msg)
        tight = self.extent[0] * self.format.texel_size
        if self.row_pitch and not tight <= self.row_pitch <= MAX_BYTES:
            msg = f"row_pitch must be 0 or at least {tight} bytes for {self.extent[0]} texels, got {self.row_pitch}"
            raise InvalidArgument(msg)

    @property
    def is_3d(self) -> bool:
        """Whether the image has a depth above 1."""
        return self.extent[2] > 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the largest level, row-major: ([layers or depth,] height, width, components)."""
        width, height, depth = self.extent
        planes = self.array_layers if self.array_layers > 1 else depth
        return (*((planes,) if planes > 1 else ()), height, width, self.format.components)

    def level_extent(self, level: int) -> tuple[int, int, int]:
        """Return width, height and depth of a level. Raises `InvalidArgument` for a missing level."""
        if not 0 <= level < self.mip_levels:
            raise InvalidArgument(f"level must be from 0 to {self.mip_levels - 1}, got {level}")
        width, height, depth = (max(1, length >> level) for length in self.extent)
        return width, height, depth

    def part_shape(self, level: int = 0, layer: int = 0) -> tuple[int, ...]:
        """Return the shape of one read or write, row-major: ([depth,] height, width, components).

        The shape of a 3D image has a depth in every level, even 1. Raises `InvalidArgument` for a level or
        layer that does not exist.
        """
        if not 0 <= layer < self.array_layers:
            raise InvalidArgument(f"layer must be from 0 to {self.array_layers - 1}, got {layer}")
        width, height, depth = self.level_extent(level)
        return (*((depth,) if self.is_3d else ()), height, width, self.format.components)

    def part_nbytes(self, level: int = 0, layer: int = 0) -> int:
        """Return the bytes of one read or write: the texels of one level of one layer, without gaps."""
        self.part_shape(level, layer)
        width, height, depth = self.level_extent(level)
        return width * height * depth * self.format.texel_size


@runtime_checkable
class MappedImage(Protocol):
    """An imported image in the form that the consumer's own functions take."""

    @property
    def descriptor(self) -> ImageDescriptor:
        """The descriptor with which the image was imported."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the largest level, row-major, as `ImageDescriptor.shape`."""
        ...

    @property
    def format(self) -> ImageFormat:
        """Layout of a texel."""
        ...

    @property
    def native(self) -> object:
        """The API's own object: a `CUmipmappedArray` or `hipMipmappedArray_t` (int), or a `pyopencl.Image`."""

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy one level of one layer to the host, behind earlier work of the stream. Blocks until it is done.

        Args:
            target: Writable bytes in host memory, `ImageDescriptor.part_nbytes` long, in rows without gaps.
            level: Mip level, 0 for the largest.
            layer: Array layer.
            timeout: Longest wait in seconds; None for the consumer's default.

        Raises:
            InvalidArgument: The level or layer does not exist, or `target` has another size.
            WaitTimeout: Earlier work of the stream did not end in time. `target` may be partly written.
            DriverError: The driver refused the copy, or earlier work failed.
        """

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy host bytes to one level of one layer, behind earlier work of the stream.

        Blocks until the caller may change `source` again.

        Args:
            source: Bytes in host memory, `ImageDescriptor.part_nbytes` long, in rows without gaps.
            level: Mip level, 0 for the largest.
            layer: Array layer.
            timeout: Longest wait in seconds; None for the consumer's default.

        Raises:
            InvalidArgument: The level or layer does not exist, or `source` has another size.
            WaitTimeout: Earlier work of the stream did not end in time. The image may be partly written.
            DriverError: The driver refused the copy, or earlier work failed.
        """

    def acquire(self, stream: Stream) -> None:
        """Enqueue the acquire of ownership on a stream. Does nothing where the API has no ownership."""

    def release(self, stream: Stream) -> None:
        """Enqueue the release of ownership on a stream. Does nothing where the API has no ownership."""

    def close(self) -> None:
        """Release the import. Work that uses it must have ended. Idempotent."""


@runtime_checkable
class ImageConsumer(Protocol):
    """A consumer that imports images.

    It imports and maps an image in one step. OpenCL creates an image from the handle itself, not from memory that it
    has imported as a buffer.
    """

    def import_image(
        self,
        handle: Handle,
        memory: MemoryDescriptor,
        image: ImageDescriptor,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> MappedImage:
        """Import an image of another API.

        Args:
            handle: Handle of the allocation. A successful import consumes it; on failure the caller keeps it, open.
            memory: Size and origin of the allocation.
            image: Extent, format and layout of the image.
            timeout: Seconds that reads and writes of the image wait at most for earlier work.

        Returns:
            The imported image. The caller owns it and closes it.

        Raises:
            Unsupported: The device does not import images of this format, tiling or kind.
            InvalidArgument: The image does not fit into the allocation.
            HandleError: The handle is closed or contradicts the descriptor.
            DriverError: The driver refused the import.

        Note:
            `hipExternalMemoryGetMappedMipmappedArray`, `cuExternalMemoryGetMappedMipmappedArray`,
            `clCreateImageWithProperties`.
        """
        ...


@runtime_checkable
class ProducerImage(Protocol):
    """An image of the producer, with the allocation behind it."""

    @property
    def descriptor(self) -> ImageDescriptor:
        """The descriptor of the image, with the row pitch that the driver chose."""
        ...

    @property
    def native(self) -> object:
        """The API's own object (`VkImage`)."""

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Export the allocation.

        Returns:
            A new handle, which the caller owns, and the descriptor of the allocation.

        Raises:
            Unsupported: The image was created without `export`.
            DriverError: The driver refused the export.

        Note:
            `vkGetMemoryFdKHR`, `vkGetMemoryWin32HandleKHR`.
        """
        ...

    def acquire(self, commands: Commands) -> None:
        """Record the acquire of the image from the consumer into the producer's `Commands`."""

    def release(self, commands: Commands) -> None:
        """Record the release of the image to the consumer into the producer's `Commands`."""

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy one level of one layer to the host. Blocks until it is done. The producer must own the image.

        Args:
            target: Writable bytes in host memory, `ImageDescriptor.part_nbytes` long, in rows without gaps.
            level: Mip level, 0 for the largest.
            layer: Array layer.
            timeout: Longest wait in seconds; by default the `timeout` of `ImageProducer.create_image`.

        Raises:
            InvalidArgument: The level or layer does not exist, or `target` has another size.
            WaitTimeout: The copy did not end in time.
        """

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy host bytes to one level of one layer. Blocks until it is done. The producer must own the image.

        Args:
            source: Bytes in host memory, `ImageDescriptor.part_nbytes` long, in rows without gaps.
            level: Mip level, 0 for the largest.
            layer: Array layer.
            timeout: Longest wait in seconds; by default the `timeout` of `ImageProducer.create_image`.

        Raises:
            InvalidArgument: The level or layer does not exist, or `source` has another size.
            WaitTimeout: The copy did not end in time.
        """

    def close(self) -> None:
        """Free the image and its allocation. Importers keep their references. Idempotent."""


@runtime_checkable
class ImageProducer(Protocol):
    """A producer that creates images."""

    def create_image(
        self, image: ImageDescriptor, *, export: HandleTypeLike | None = None, timeout: float = 10.0
    ) -> ProducerImage:
        """Create an image. The caller owns it and closes it.

        Args:
            image: Extent, format and layout of the image. Row pitch 0 lets the driver choose.
            export: Handle type by which the image can be exported; None for a private image.
            timeout: Longest wait of the creation in seconds, and the default of each later read and write.

        Raises:
            Unsupported: The device cannot create or export such an image. The text has the driver's answer.
            DriverError: The device is out of memory.

        Note:
            `vkCreateImage`, `vkAllocateMemory`, `vkBindImageMemory`.
        """
        ...


def _extent(given: Sequence[int]) -> tuple[int, int, int]:
    try:
        lengths = tuple(index(length) for length in given)
    except TypeError:
        lengths = ()
    if len(lengths) not in (2, 3) or not all(0 < length <= _LONGEST for length in lengths):
        msg = f"extent must be width, height and depth, each from 1 to {_LONGEST}, got {given}"
        raise InvalidArgument(msg)
    width, height, depth = (*lengths, 1)[:3]
    return width, height, depth
