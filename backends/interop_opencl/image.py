"""Images of other APIs in OpenCL, made from the handle itself (``clCreateImageWithProperties``)."""

from __future__ import annotations

import ctypes
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import DriverError, InvalidArgument, Numbers, Tiling, Unsupported
from interop.toolkit import ImageBase
from interop_opencl import _driver as cl
from interop_opencl._ownership import import_object

if TYPE_CHECKING:
    from interop.protocols import Handle, HandleType, ImageDescriptor, Stream
    from interop_opencl._ownership import ImportedMemory
    from interop_opencl.stream import OpenCLStream

_IMAGE_2D, _IMAGE_3D, _IMAGE_2D_ARRAY = 0x10F1, 0x10F2, 0x10F3
_ORDERS = {1: 0x10B0, 2: 0x10B2, 4: 0x10B5}
_CHANNELS = {
    Numbers.UNORM: {8: 0x10D2, 16: 0x10D3},
    Numbers.SINT: {8: 0x10D7, 16: 0x10D8, 32: 0x10D9},
    Numbers.UINT: {8: 0x10DA, 16: 0x10DB, 32: 0x10DC},
    Numbers.FLOAT: {16: 0x10DD, 32: 0x10DE},
}
# Image format not supported, invalid format descriptor, invalid size, no images at all, invalid descriptor.
_NOT_THIS_KIND = frozenset({-10, -39, -40, -59, -65})
_FORMAT = struct.Struct("@2I")
"""``cl_image_format``: order and type of the channels."""
_DESCRIPTION = struct.Struct("@I6N2IP")
"""``cl_image_desc``: type, width, height, depth, layers, row and slice pitch, levels, samples, memory."""


class OpenCLImage(ImageBase):
    """An image of another API, imported."""

    __slots__ = ("_native", "_ownership")

    def __init__(self, made: ImportedMemory, image: ImageDescriptor, timeout: float) -> None:
        self._native, release, self._ownership = made
        super().__init__("OpenCL image", image, timeout, release)

    @property
    def native(self) -> Any:
        """The ``pyopencl.Image``, for kernels that take an ``image2d_t`` and its like."""
        self.check_open()
        return self._native

    def acquire(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueAcquireExternalMemObjectsKHR``: use before it is undefined."""
        self.check_open()
        self._ownership.prepare(stream)[0].run()

    def release(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueReleaseExternalMemObjectsKHR``: use after it is undefined."""
        self.check_open()
        self._ownership.prepare(stream)[1].run()

    def copy(self, host: Any, level: int, layer: int, timeout: float, *, to_host: bool) -> None:
        """Copy on the consumer's queue (``clEnqueueReadImage``, ``clEnqueueWriteImage``)."""
        image = self._descriptor
        # The level follows as many coordinates as the kind of image has (cl_khr_mipmap_image).
        place = (0, 0, layer, level) if image.is_3d or image.array_layers > 1 else (0, 0, level, 0)
        origin, region = (ctypes.c_size_t * 4)(*place), (ctypes.c_size_t * 3)(*image.level_extent(level))
        where = (self._native, origin, region, 0, 0)
        self._ownership.stream.transfer("Image", *where, host=host, timeout=timeout, to_host=to_host)

    def close(self) -> None:
        """Release ownership that is still acquired, then the import. A second call does nothing."""
        if self.alive:
            self._ownership.give_back()
        super().close()


def import_image(stream: OpenCLStream, handle: Handle, image: ImageDescriptor, timeout: float) -> OpenCLImage:
    """Import an image that fits its memory; ``handle`` is consumed on success only."""
    _check_tiling(stream, handle.type, image)
    width, height, depth = image.extent
    layers, levels = image.array_layers, image.mip_levels
    if image.is_3d:
        kind, layers = _IMAGE_3D, 0
    elif layers > 1:
        kind, depth = _IMAGE_2D_ARRAY, 0
    else:
        kind, depth, layers = _IMAGE_2D, 0, 0
    wanted = (_ORDERS[image.format.components], _CHANNELS[image.format.numbers][image.format.bits])
    _check_format(stream, kind, image, wanted)
    if levels > 1 and "cl_khr_mipmap_image" not in stream.home.native_device.extensions.split():
        reason = "the OpenCL device has no cl_khr_mipmap_image; share one level, or each as an image"
        raise Unsupported("mip levels", reason)
    extents = (width, height, depth, layers, image.row_pitch, 0)
    layout = (_FORMAT.pack(*wanted), _DESCRIPTION.pack(kind, *extents, levels if levels > 1 else 0, 0, 0))
    create = "clCreateImageWithProperties"
    try:
        made = import_object(stream, handle, create, layout, "image memory")
    except DriverError as error:
        if error.code not in _NOT_THIS_KIND:
            raise
        raise Unsupported(f"{image.tiling} images {image.shape} of {image.format}", str(error)) from error
    return OpenCLImage(made, image, timeout)


def _check_tiling(stream: OpenCLStream, handle_type: HandleType, image: ImageDescriptor) -> None:
    """Refuse a tiling that the driver would import with wrong texels.

    Memory of the types in ``CL_DEVICE_EXTERNAL_MEMORY_IMPORT_ASSUME_LINEAR_IMAGES_HANDLE_TYPES_KHR`` is read
    as rows, memory of other types in the optimal tiling of the driver's Vulkan. NVIDIA (580) lists no type.
    """
    if image.offset:
        raise InvalidArgument(f"OpenCL imports images from their first byte, got an offset of {image.offset}")
    device: int = stream.home.native_device.int_ptr
    linear = handle_type in stream.driver.query_handles(device, cl.DEVICE_LINEAR_IMAGES, cl.MEMORY_HANDLES)
    if linear and image.tiling is not Tiling.LINEAR:
        reason = f"the OpenCL driver reads images in {handle_type} memory as rows; make them linear"
        raise Unsupported("images of optimal tiling", reason)
    if not linear and image.tiling is Tiling.LINEAR:
        reason = (
            f"the OpenCL driver does not read images in {handle_type} memory as rows, and would see wrong "
            "texels; share linear pixels as a buffer, or make the image optimal"
        )
        raise Unsupported("images of linear tiling", reason)


def _check_format(stream: OpenCLStream, kind: int, image: ImageDescriptor, wanted: tuple[int, int]) -> None:
    """Refuse a format that is not among ``clGetSupportedImageFormats``."""
    number = ctypes.c_uint()
    ask = partial(stream.driver.call, "clGetSupportedImageFormats", stream.context, cl.MEM_READ_WRITE, kind)
    ask(0, None, ctypes.byref(number))
    found = ctypes.create_string_buffer(number.value * _FORMAT.size)
    ask(number.value, found, None)
    if wanted not in _FORMAT.iter_unpack(found.raw):
        reason = f"it is not among the {number.value} formats of clGetSupportedImageFormats"
        raise Unsupported(f"the format {image.format} for images {image.shape} in OpenCL", reason)
