"""Images of other APIs in OpenCL, made from the handle itself (``clCreateImageWithProperties``)."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from interop.protocols import FdFate, Handle, HandleType, InvalidArgument, Numbers, Tiling, Unsupported, lend
from interop.toolkit import ImageBase
from interop_opencl._driver import (
    DEVICE_LINEAR_IMAGES,
    FALSE,
    MEM_READ_WRITE,
    MEMORY_HANDLES,
    LastReference,
    check,
    imported,
    name_of,
)
from interop_opencl._ownership import Ownership

if TYPE_CHECKING:
    from interop.protocols import ImageDescriptor, MemoryDescriptor, Stream
    from interop_opencl._driver import Driver
    from interop_opencl._ownership import OwnershipFunctions
    from interop_opencl.stream import OpenCLStream

_CREATE = "clCreateImageWithProperties"
_IMAGE_2D, _IMAGE_3D, _IMAGE_2D_ARRAY = 0x10F1, 0x10F2, 0x10F3
_ORDERS = {1: 0x10B0, 2: 0x10B2, 4: 0x10B5}
_CHANNELS = {
    (Numbers.UNORM, 8): 0x10D2,
    (Numbers.UNORM, 16): 0x10D3,
    (Numbers.SINT, 8): 0x10D7,
    (Numbers.SINT, 16): 0x10D8,
    (Numbers.SINT, 32): 0x10D9,
    (Numbers.UINT, 8): 0x10DA,
    (Numbers.UINT, 16): 0x10DB,
    (Numbers.UINT, 32): 0x10DC,
    (Numbers.FLOAT, 16): 0x10DD,
    (Numbers.FLOAT, 32): 0x10DE,
}
_CODES = {handle_type: code for code, handle_type in MEMORY_HANDLES.items()}
# Image format not supported, invalid format descriptor, invalid size, no images at all, invalid descriptor.
_NOT_THIS_KIND = frozenset({-10, -39, -40, -59, -65})


class _Format(ctypes.Structure):
    """``cl_image_format``."""

    _fields_ = (("order", ctypes.c_uint), ("channel", ctypes.c_uint))


class _Description(ctypes.Structure):
    """``cl_image_desc``."""

    _fields_ = (
        ("image_type", ctypes.c_uint),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
        ("depth", ctypes.c_size_t),
        ("array_size", ctypes.c_size_t),
        ("row_pitch", ctypes.c_size_t),
        ("slice_pitch", ctypes.c_size_t),
        ("mip_levels", ctypes.c_uint),
        ("samples", ctypes.c_uint),
        ("memory", ctypes.c_void_p),
    )


class OpenCLImage(ImageBase):
    """An image of another API, imported."""

    __slots__ = ("_native", "_ownership", "_stream")

    def __init__(
        self,
        functions: OwnershipFunctions,
        stream: OpenCLStream,
        native: Any,
        descriptor: ImageDescriptor,
        timeout: float,
    ) -> None:
        last = LastReference(stream.driver, "MemObject", native.int_ptr)
        super().__init__("OpenCL image", descriptor, timeout, _release, native, last)
        self._stream = stream
        self._native = native
        self._ownership = Ownership(functions, stream, native.int_ptr)

    @property
    def native(self) -> Any:
        """The ``pyopencl.Image``, for kernels that take an ``image2d_t`` and its like."""
        self.check_open()
        return self._native

    def acquire(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueAcquireExternalMemObjectsKHR``: use before it is undefined."""
        self.check_open()
        self._ownership.prepare_acquire(stream).run()

    def release(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueReleaseExternalMemObjectsKHR``: use after it is undefined."""
        self.check_open()
        self._ownership.prepare_release(stream).run()

    def copy(self, host: Any, level: int, layer: int, timeout: float, *, to_host: bool) -> None:
        """Copy on the consumer's queue (``clEnqueueReadImage``, ``clEnqueueWriteImage``)."""
        image, stream, native = self._descriptor, self._stream, self._native
        # The level follows as many coordinates as the kind of image has (cl_khr_mipmap_image).
        place = (0, 0, layer, level) if image.is_3d or image.array_layers > 1 else (0, 0, level, 0)
        origin, region = (ctypes.c_size_t * 4)(*place), (ctypes.c_size_t * 3)(*image.level_extent(level))
        function = "clEnqueueReadImage" if to_host else "clEnqueueWriteImage"
        call = stream.driver.raw(function)

        def enqueue() -> None:
            places = (origin, region, 0, 0, host.ctypes.data)
            check(function, call(stream.address, native.int_ptr, FALSE, *places, 0, None, None))

        stream.copy(enqueue, lambda: (host, native), timeout)

    def close(self) -> None:
        """Release ownership that is still acquired, then the import. A second call does nothing."""
        if self.alive:
            self._ownership.give_back()
        super().close()


def _release(native: Any, last: LastReference) -> None:
    native.release()
    last.drop()


def import_image(
    functions: OwnershipFunctions,
    device: Any,
    stream: OpenCLStream,
    handle: Handle,
    memory: MemoryDescriptor,
    image: ImageDescriptor,
    timeout: float,
) -> OpenCLImage:
    """Import an image that fits its memory; ``handle`` is consumed on success only."""
    driver = stream.driver
    _check_tiling(driver, device.int_ptr, handle.type, image)
    kind = _kind(image)
    wanted = _Format(_ORDERS[image.format.components], _CHANNELS[image.format.numbers, image.format.bits])
    _check_format(driver, stream.context, kind, image, wanted)
    if image.mip_levels > 1 and "cl_khr_mipmap_image" not in device.extensions.split():
        reason = "the OpenCL device has no cl_khr_mipmap_image; share one level, or each as an image"
        raise Unsupported("mip levels", reason)
    width, height, depth = image.extent
    description = _Description(
        image_type=kind,
        width=width,
        height=height,
        depth=depth if kind == _IMAGE_3D else 0,
        array_size=image.array_layers if kind == _IMAGE_2D_ARRAY else 0,
        row_pitch=image.row_pitch,
        mip_levels=image.mip_levels if image.mip_levels > 1 else 0,
    )
    create = driver.raw(_CREATE)
    status = ctypes.c_int()
    with lend(handle, FdFate.TAKEN) as number:
        properties = (ctypes.c_uint64 * 3)(_CODES[handle.type], number, 0)
        layout = (ctypes.byref(wanted), ctypes.byref(description))
        address = create(stream.context, properties, MEM_READ_WRITE, *layout, None, ctypes.byref(status))
        if status.value in _NOT_THIS_KIND:
            reason = f"{_CREATE} returned {status.value} {name_of(status.value)}".rstrip()
            raise Unsupported(f"{image.tiling} images {image.shape} of {image.format}", reason)
        made = imported(driver, _CREATE, status.value, address, "image memory", memory.allocation_size)
        native = driver.adopt(made)  # in here, since the handle goes on success only
    return OpenCLImage(functions, stream, native, image, timeout)


def _kind(image: ImageDescriptor) -> int:
    if image.is_3d:
        return _IMAGE_3D
    return _IMAGE_2D_ARRAY if image.array_layers > 1 else _IMAGE_2D


def _check_tiling(driver: Driver, device: int, handle_type: HandleType, image: ImageDescriptor) -> None:
    """Refuse a tiling that the driver would import with wrong texels.

    Memory of the types in ``CL_DEVICE_EXTERNAL_MEMORY_IMPORT_ASSUME_LINEAR_IMAGES_HANDLE_TYPES_KHR`` is read
    as rows, memory of other types in the optimal tiling of the driver's Vulkan. NVIDIA (580) lists no type.
    """
    if image.offset:
        raise InvalidArgument(f"OpenCL imports images from their first byte, got an offset of {image.offset}")
    linear = _CODES[handle_type] in driver.query_numbers(device, DEVICE_LINEAR_IMAGES)
    if linear and image.tiling is not Tiling.LINEAR:
        reason = f"the OpenCL driver reads images in {handle_type} memory as rows; make them linear"
        raise Unsupported("images of optimal tiling", reason)
    if not linear and image.tiling is Tiling.LINEAR:
        reason = (
            f"the OpenCL driver does not read images in {handle_type} memory as rows, and would see wrong "
            "texels; share linear pixels as a buffer, or make the image optimal"
        )
        raise Unsupported("images of linear tiling", reason)


def _check_format(driver: Driver, context: int, kind: int, image: ImageDescriptor, wanted: _Format) -> None:
    """Refuse a format that is not among ``clGetSupportedImageFormats``."""
    ask, number = driver.raw("clGetSupportedImageFormats"), ctypes.c_uint()
    question = (context, MEM_READ_WRITE, kind)
    check("clGetSupportedImageFormats", ask(*question, 0, None, ctypes.byref(number)))
    found = (_Format * number.value)()
    check("clGetSupportedImageFormats", ask(*question, number.value, found, None))
    if all((each.order, each.channel) != (wanted.order, wanted.channel) for each in found):
        reason = f"it is not among the {number.value} formats of clGetSupportedImageFormats"
        raise Unsupported(f"the format {image.format} for images {image.shape} in OpenCL", reason)
