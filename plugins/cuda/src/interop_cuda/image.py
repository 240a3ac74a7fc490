"""Images of other APIs in CUDA: how CUDA describes their arrays, and copies."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from interop.protocols import Numbers
from interop.toolkit import DeviceImage
from interop_cuda._abi import (
    ARRAY_LAYERED,
    ARRAY_SURFACE_LOAD_STORE,
    Memcpy3D,
    Memcpy3DSide,
    MipmappedArrayDesc,
    Place,
)

if TYPE_CHECKING:
    from interop.protocols import ImageDescriptor
    from interop_cuda._runtime import CudaRuntime

# CUarray_format. Integers that shaders see as fractions are integers to copies and loads.
_FORMATS = {
    (Numbers.UINT, 8): 0x01,
    (Numbers.UINT, 16): 0x02,
    (Numbers.UINT, 32): 0x03,
    (Numbers.UNORM, 8): 0x01,
    (Numbers.UNORM, 16): 0x02,
    (Numbers.SINT, 8): 0x08,
    (Numbers.SINT, 16): 0x09,
    (Numbers.SINT, 32): 0x0A,
    (Numbers.FLOAT, 16): 0x10,
    (Numbers.FLOAT, 32): 0x20,
}


class CudaImage(DeviceImage):
    """An image of another API, imported and mapped by CUDA."""

    __slots__ = ()

    def enqueue_copy(
        self, runtime: CudaRuntime, stream: int, host: int, level: int, layer: int, *, to_host: bool
    ) -> None:
        """Call ``cuMemcpy3DAsync``."""
        image = self.descriptor
        width, height, depth = image.level_extent(level)
        size = width * self.format.texel_size
        outside = Memcpy3DSide(kind=Place.HOST, host=host, pitch=size, height=height)
        if self.mapping.levels:
            device = Memcpy3DSide(z=layer, kind=Place.ARRAY, array=self.mapping.levels[level])
        else:
            device = Memcpy3DSide(
                kind=Place.DEVICE, device=self.native, pitch=image.row_pitch, height=image.extent[1]
            )
        source, target = (device, outside) if to_host else (outside, device)
        copy = Memcpy3D(source=source, target=target, width_in_bytes=size, height=height, depth=depth)
        runtime.call("cuMemcpy3DAsync_v2", ctypes.byref(copy), stream)

    def describe(self, _runtime: CudaRuntime, image: ImageDescriptor, /) -> object:
        """Return CUDA's descriptor of the mipmapped array that an image is."""
        wanted = MipmappedArrayDesc(offset=image.offset, levels=image.mip_levels)
        array = wanted.array
        array.width, array.height, depth = image.extent
        layered = image.array_layers > 1
        array.depth = image.array_layers if layered else depth if image.is_3d else 0
        array.format = _FORMATS[image.format.numbers, image.format.bits]
        array.channels = image.format.components
        array.flags = ARRAY_SURFACE_LOAD_STORE | (ARRAY_LAYERED if layered else 0)
        return ctypes.byref(wanted)
