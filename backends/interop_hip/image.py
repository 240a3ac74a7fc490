"""Images of other APIs in HIP: how HIP describes their arrays, and copies."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from interop.protocols import Numbers
from interop.toolkit import DeviceImage
from interop_hip._abi import ChannelFormat, Extent, Memcpy3D, MipmappedArrayDesc, PitchedPointer, Position
from interop_hip._runtime import DEVICE_TO_HOST, HOST_TO_DEVICE

if TYPE_CHECKING:
    from interop.protocols import ImageDescriptor
    from interop_hip._runtime import HipRuntime

# hipChannelFormatKind. Integers that shaders see as fractions are integers to copies and loads.
_KINDS = {Numbers.SINT: 0, Numbers.UINT: 1, Numbers.UNORM: 1, Numbers.FLOAT: 2}
_LAYERED = 1
_SURFACE_LOAD_STORE = 2


class HipImage(DeviceImage):
    """An image of another API, imported and mapped by HIP."""

    __slots__ = ()

    def enqueue_copy(
        self, runtime: HipRuntime, stream: int, host: int, level: int, layer: int, *, to_host: bool
    ) -> None:
        """Call ``hipMemcpy3DAsync`` for an array, ``hipMemcpy2DAsync`` for rows of memory."""
        width, height, depth = self.descriptor.level_extent(level)
        size = width * self.format.texel_size
        direction = DEVICE_TO_HOST if to_host else HOST_TO_DEVICE
        if not self.mapping.levels:
            device, outside = (self.native, self.descriptor.row_pitch), (host, size)
            sides = (*outside, *device) if to_host else (*device, *outside)
            code = runtime.raw("hipMemcpy2DAsync")(*sides, size, height, direction, stream)
            runtime.check("hipMemcpy2DAsync", code)
            return
        rows = PitchedPointer(host, size, width, height)
        array, place = self.mapping.levels[level], Position(z=layer)
        copy = Memcpy3D(extent=Extent(width, height, depth), kind=direction)
        if to_host:
            copy.source_array, copy.source_position, copy.target = array, place, rows
        else:
            copy.target_array, copy.target_position, copy.source = array, place, rows
        code = runtime.raw("hipMemcpy3DAsync")(ctypes.byref(copy), stream)
        runtime.check("hipMemcpy3DAsync", code)

    def describe(self, runtime: HipRuntime, image: ImageDescriptor, /) -> object:
        """Return HIP's descriptor of the mipmapped array that an image is."""
        runtime.raw("hipMemcpy3DAsync")  # a runtime without it must fail at the import, not at the first copy
        texel = image.format
        bits = [texel.bits if index < texel.components else 0 for index in range(4)]
        layered = image.array_layers > 1
        width, height, depth = image.extent
        return ctypes.byref(
            MipmappedArrayDesc(
                offset=image.offset,
                format=ChannelFormat((ctypes.c_int * 4)(*bits), _KINDS[texel.numbers]),
                extent=Extent(width, height, image.array_layers if layered else depth if image.is_3d else 0),
                flags=_SURFACE_LOAD_STORE | (_LAYERED if layered else 0),
                levels=image.mip_levels,
            )
        )
