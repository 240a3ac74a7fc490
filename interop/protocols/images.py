"""Images: what an importer has to know about one, and the protocols of backends that share them.

Sharing images is optional. A consumer that can offers :class:`ImageConsumer`, a producer
:class:`ImageProducer`; backends without them are complete all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.errors import InvalidArgument
from interop.protocols.formats import Tiling
from interop.protocols.memory import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from typing import Any

    from interop.protocols.formats import ImageFormat
    from interop.protocols.handles import Handle, HandleType
    from interop.protocols.memory import HostBytes, MemoryDescriptor
    from interop.protocols.streams import Stream


_LIMIT = 2**63
_LONGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescriptor:
    """What an importer has to know about an image, besides its memory.

    An image with a depth of more than 1 is 3D and has no layers; with more than one layer it is a 2D array;
    else it is 2D. Checked when made, because drivers read other texels than meant where the two sides
    disagree. Raises :class:`InvalidArgument` with the offending value.
    """

    extent: tuple[int, int, int]
    """Width, height and depth of the largest level, in texels."""
    format: ImageFormat
    mip_levels: int = 1
    """Each level has half the extent of the one before, rounded down, and at least 1."""
    array_layers: int = 1
    tiling: Tiling = Tiling.OPTIMAL
    row_pitch: int = 0
    """Linear images: bytes from row to row, or 0 where the producer is to choose. Else 0."""
    offset: int = 0
    """First byte of the image in its allocation."""

    def __post_init__(self) -> None:
        lengths = list(self.extent)
        if len(lengths) != 3 or not all(0 < length <= _LONGEST for length in lengths):  # noqa: PLR2004
            msg = f"extent must be width, height and depth, each from 1 to {_LONGEST}, got {self.extent}"
            raise InvalidArgument(msg)
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
        """Width, height and depth of a level. Raises :class:`InvalidArgument` for one that is not there."""
        if not 0 <= level < self.mip_levels:
            msg = f"the image has levels 0 to {self.mip_levels - 1}, got {level}"
            raise InvalidArgument(msg)
        width, height, depth = (max(1, length >> level) for length in self.extent)
        return width, height, depth

    def part_shape(self, level: int = 0, layer: int = 0) -> tuple[int, ...]:
        """What one read or write moves, row-major: ([depth,] height, width, components).

        A level of a 3D image always has its depth there, be it 1. Raises :class:`InvalidArgument` for a level
        or layer that is not there.
        """
        if not 0 <= layer < self.array_layers:
            msg = f"the image has layers 0 to {self.array_layers - 1}, got {layer}"
            raise InvalidArgument(msg)
        width, height, depth = self.level_extent(level)
        return (*((depth,) if self.is_3d else ()), height, width, self.format.components)

    def part_nbytes(self, level: int = 0, layer: int = 0) -> int:
        """Bytes that one read or write moves: the texels of one level of one layer, without gaps."""
        self.part_shape(level, layer)
        width, height, depth = self.level_extent(level)
        return width * height * depth * self.format.texel_size


@runtime_checkable
class MappedImage(Protocol):
    """An imported image, in the form that the consumer's own functions take.

    Reading and writing move one level of one layer, texels in rows without gaps; they are ordered on the
    consumer's stream and return when the host bytes may be touched again.
    """

    @property
    def descriptor(self) -> ImageDescriptor:
        """What was imported."""
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
        """What the API takes: a ``CUmipmappedArray`` or ``hipMipmappedArray_t`` (int), a ``pyopencl.Image``."""
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
        """Enqueue taking ownership; see :meth:`interop.protocols.ExternalMemory.acquire`."""
        ...

    def release(self, stream: Stream) -> None:
        """Enqueue giving ownership up."""
        ...

    def close(self) -> None:
        """Release the import. Work that uses it must have ended. A second call does nothing."""
        ...


@runtime_checkable
class ImageConsumer(Protocol):
    """A consumer that takes images in.

    An image is imported and mapped in one step, because not every API can do it in two: OpenCL makes an image
    from the handle itself, never from memory that it has imported as a buffer.
    """

    def import_image(
        self,
        handle: Handle,
        memory: MemoryDescriptor,
        image: ImageDescriptor,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> MappedImage:
        """Import an image. ``handle`` is consumed when this returns and untouched when it raises.

        Args:
            handle: Handle of the allocation.
            memory: Descriptor of the allocation.
            image: Descriptor of the image in it.
            timeout: Seconds that reads and writes of the image wait at most for earlier work.

        Raises:
            Unsupported: The device does not take the format, tiling or kind of image; holds the driver's answer.
            InvalidArgument: The image cannot lie in its memory.
            HandleError: As :meth:`interop.protocols.Consumer.import_memory`.
            DriverError: As :meth:`interop.protocols.Consumer.import_memory`.
        """
        ...


@runtime_checkable
class ProducerImage(Protocol):
    """An image and its allocation on the producer's side."""

    @property
    def descriptor(self) -> ImageDescriptor:
        """What was made, with the pitch that the driver chose."""
        ...

    @property
    def native(self) -> object:
        """The API's own object (``VkImage``)."""
        ...

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Hand out the allocation; as :meth:`interop.protocols.ProducerBuffer.export_memory`."""
        ...

    def acquire(self, commands: Any) -> None:
        """Record taking the image over from the consumer, into :class:`interop.protocols.Commands`."""
        ...

    def release(self, commands: Any) -> None:
        """Record giving the image to the consumer."""
        ...

    def read(self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float = 30.0) -> None:
        """Copy a level of a layer into writable host bytes, in rows without gaps, and wait for that.

        The image must be the producer's at that time. Raises :class:`WaitTimeout`.
        """
        ...

    def write(self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float = 30.0) -> None:
        """Copy host bytes into a level of a layer, and wait for that; as :meth:`read`."""
        ...

    def close(self) -> None:
        """Free image and allocation. Importers keep theirs. A second call does nothing."""
        ...


@runtime_checkable
class ImageProducer(Protocol):
    """A producer that makes images."""

    def create_image(self, image: ImageDescriptor, *, export: HandleType | None = None) -> ProducerImage:
        """Make an image; the caller closes it.

        Raises :class:`Unsupported`, with the driver's answer, for what the device does not make or export.
        """
        ...
