"""Images: their descriptor, and the protocols of backends that share them.

Sharing images is optional: a consumer with that ability fulfils :class:`ImageConsumer`, a producer
:class:`ImageProducer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.arguments import as_choice, as_integer
from interop.protocols.errors import InvalidArgument
from interop.protocols.formats import Tiling, as_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.protocols.arguments import HandleTypeLike, TilingLike
    from interop.protocols.formats import ImageFormat
    from interop.protocols.handles import Handle
    from interop.protocols.memory import HostBytes, MemoryDescriptor
    from interop.protocols.producers import Commands
    from interop.protocols.streams import Stream


_LIMIT = 2**63
_LONGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, init=False)
class ImageDescriptor:
    """What an importer must know about an image, besides its memory.

    An image with a depth above 1 is 3D and has no layers. An image with more than one layer is a 2D array. Every other
    image is 2D. The values are checked at creation, because drivers answer a contradiction with wrong texels.
    """

    extent: tuple[int, int, int]
    """Width, height and depth of the largest level, in texels."""
    format: ImageFormat
    mip_levels: int
    """Each level has half the extent of the one before, rounded down, and at least 1."""
    array_layers: int
    tiling: Tiling
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
            format: An image format or its name, such as ``"rgba8unorm"``.
            mip_levels: Number of levels.
            array_layers: Number of layers.
            tiling: ``"optimal"`` or ``"linear"``.
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
            msg = f"an image of {self.extent} has from 1 to {most} mip levels, got {self.mip_levels}"
            raise InvalidArgument(msg)
        if not 0 < self.array_layers <= _LONGEST:
            msg = f"array layers must be from 1 to {_LONGEST}, got {self.array_layers}"
            raise InvalidArgument(msg)
        if self.extent[2] > 1 and self.array_layers > 1:
            msg = f"a 3D image has no layers, got a depth of {self.extent[2]} and {self.array_layers} layers"
            raise InvalidArgument(msg)
        if not 0 <= self.offset < _LIMIT:
            msg = f"offset must be between 0 and 2**63 bytes, got {self.offset}"
            raise InvalidArgument(msg)
        self._check_pitch()

    def _check_pitch(self) -> None:
        if self.tiling is not Tiling.LINEAR:
            if self.row_pitch:
                msg = f"only linear images have a row pitch, got {self.row_pitch} for an optimal one"
                raise InvalidArgument(msg)
            return
        if self.mip_levels > 1 or self.array_layers > 1 or self.extent[2] > 1:
            msg = "a linear image is 2D, with one level and one layer: drivers promise no other"
            raise InvalidArgument(msg)
        tight = self.extent[0] * self.format.texel_size
        if self.row_pitch and not tight <= self.row_pitch < _LIMIT:
            msg = f"a row of {self.extent[0]} texels has {tight} bytes, got a row pitch of {self.row_pitch}"
            raise InvalidArgument(msg)

    @property
    def is_3d(self) -> bool:
        """Whether the image has a depth."""
        return self.extent[2] > 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The largest level, row-major: ([layers or depth,] height, width, components)."""
        width, height, depth = self.extent
        planes = self.array_layers if self.array_layers > 1 else depth
        return (*((planes,) if planes > 1 else ()), height, width, self.format.components)

    def level_extent(self, level: int) -> tuple[int, int, int]:
        """Return width, height and depth of a level. Raises :class:`InvalidArgument` for a missing level."""
        if not 0 <= level < self.mip_levels:
            msg = f"the image has levels 0 to {self.mip_levels - 1}, got {level}"
            raise InvalidArgument(msg)
        width, height, depth = (max(1, length >> level) for length in self.extent)
        return width, height, depth

    def part_shape(self, level: int = 0, layer: int = 0) -> tuple[int, ...]:
        """Return the shape of one read or write, row-major: ([depth,] height, width, components).

        The shape of a 3D image has a depth in every level, even 1. Raises :class:`InvalidArgument` for a level or
        layer that does not exist.
        """
        if not 0 <= layer < self.array_layers:
            msg = f"the image has layers 0 to {self.array_layers - 1}, got {layer}"
            raise InvalidArgument(msg)
        width, height, depth = self.level_extent(level)
        return (*((depth,) if self.is_3d else ()), height, width, self.format.components)

    def part_nbytes(self, level: int = 0, layer: int = 0) -> int:
        """Return the bytes of one read or write: the texels of one level of one layer, without gaps."""
        self.part_shape(level, layer)
        width, height, depth = self.level_extent(level)
        return width * height * depth * self.format.texel_size


@runtime_checkable
class MappedImage(Protocol):
    """An imported image, as the consumer's own functions take it.

    :meth:`read` and :meth:`write` copy one level of one layer, texels in rows without gaps. They are ordered on the
    consumer's stream and block until the host bytes may be used again.
    """

    @property
    def descriptor(self) -> ImageDescriptor:
        """The image that was imported."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The largest level, row-major; see :attr:`ImageDescriptor.shape`."""
        ...

    @property
    def format(self) -> ImageFormat:
        """The make-up of a texel."""
        ...

    @property
    def native(self) -> object:
        """The API's object: a ``CUmipmappedArray`` or ``hipMipmappedArray_t`` (int), a ``pyopencl.Image``."""
        ...

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy a level of a layer into writable host bytes of the same size."""
        ...

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy host bytes of the same size into a level of a layer."""
        ...

    def acquire(self, stream: Stream) -> None:
        """Enqueue the acquire; see :meth:`interop.protocols.ExternalMemory.acquire`."""
        ...

    def release(self, stream: Stream) -> None:
        """Enqueue the release; see :meth:`interop.protocols.ExternalMemory.release`."""
        ...

    def close(self) -> None:
        """Release the import. Work that uses it must have ended. A second call does nothing."""
        ...


@runtime_checkable
class ImageConsumer(Protocol):
    """A consumer that imports images.

    Import and mapping are one step, because OpenCL creates an image from the handle itself. It cannot create one from
    memory that it imported as a buffer.
    """

    def import_image(self, handle: Handle, memory: MemoryDescriptor, image: ImageDescriptor) -> MappedImage:
        """Import an image.

        Args:
            handle: Handle of the allocation. Success consumes it; after an error the caller still owns it.
            memory: The exporter's description of the allocation.
            image: The exporter's description of the image.

        Returns:
            The imported image. The caller closes it.

        Raises:
            Unsupported: The device does not take this format, tiling or kind; the error has the driver's answer.
            InvalidArgument: The image does not fit into its memory.
            HandleError: The handle contradicts the descriptor.
            DriverError: The driver refuses the import.
        """
        ...


@runtime_checkable
class ProducerImage(Protocol):
    """An image and its allocation on the producer's side."""

    @property
    def descriptor(self) -> ImageDescriptor:
        """The image that was made, with the row pitch that the driver chose."""
        ...

    @property
    def native(self) -> object:
        """The API's own object (``VkImage``)."""
        ...

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Export the allocation, as :meth:`interop.protocols.ProducerBuffer.export_memory`."""
        ...

    def acquire(self, commands: Commands) -> None:
        """Record the acquire of the image from the consumer."""
        ...

    def release(self, commands: Commands) -> None:
        """Record the release of the image to the consumer."""
        ...

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy a level of a layer into host bytes, and block until that is done.

        The producer must own the image at that time.

        Args:
            target: Writable bytes of the level's size, in rows without gaps.
            level: Mip level.
            layer: Array layer.
            timeout: Seconds; by default those given to :meth:`ImageProducer.create_image`.

        Raises:
            InvalidArgument: The level or layer does not exist, or ``target`` has another size.
            WaitTimeout: The copy has not ended after ``timeout`` seconds.
        """
        ...

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy host bytes into a level of a layer, and block until that is done; as :meth:`read`."""
        ...

    def close(self) -> None:
        """Free image and allocation. Importers keep their references. A second call does nothing."""
        ...


@runtime_checkable
class ImageProducer(Protocol):
    """A producer that makes images."""

    def create_image(
        self, image: ImageDescriptor, *, export: HandleTypeLike | None = None, timeout: float = 10.0
    ) -> ProducerImage:
        """Create an image. The caller closes it.

        Args:
            image: The image; a linear one without row pitch gets the driver's.
            export: Handle type by which the allocation can be exported, or None.
            timeout: Seconds that creation waits at most, and by default each read and write of the image.

        Raises:
            Unsupported: The device does not make or export such an image; the error has the driver's answer.
        """
        ...


def _extent(given: Sequence[int]) -> tuple[int, int, int]:
    try:
        lengths = tuple(index(length) for length in given)
    except TypeError:
        lengths = ()
    if not lengths or not all(0 < length <= _LONGEST for length in lengths):
        lengths = ()
    if len(lengths) == 2:  # noqa: PLR2004 - width and height
        return (*lengths, 1)
    if len(lengths) != 3:  # noqa: PLR2004
        msg = f"extent must be width, height and depth, each from 1 to {_LONGEST}, got {given}"
        raise InvalidArgument(msg)
    return lengths
