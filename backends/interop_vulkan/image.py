"""Images that other APIs can take in: made, exported, handed over, filled and read back.

Images stay in the layout GENERAL, the one in which any API may use them.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interop.protocols import HandleType, InvalidArgument, MemoryDescriptor, Tiling, Unsupported, WaitTimeout
from interop.toolkit import host_bytes
from interop_vulkan._driver import (
    NULL,
    QUEUE_FAMILY_EXTERNAL,
    QUEUE_FAMILY_IGNORED,
    VK,
    check,
    struct,
)
from interop_vulkan._exports import exported_memory, memory_exports
from interop_vulkan._images import TILINGS, ask, image_format, image_type
from interop_vulkan._lifetime import Child
from interop_vulkan.memory import allocate, as_buffer, create_buffer, exportable
from interop_vulkan.stream import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.protocols import Handle, HostBytes, ImageDescriptor
    from interop_vulkan._context import Context
    from interop_vulkan._exports import Exports
    from interop_vulkan._recording import Recording

DEFAULT_TIMEOUT = 30.0

_EVERYTHING: int = VK.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT
_READ: int = VK.VK_ACCESS_MEMORY_READ_BIT
_WRITE: int = VK.VK_ACCESS_MEMORY_WRITE_BIT
_UNDEFINED: int = VK.VK_IMAGE_LAYOUT_UNDEFINED
_GENERAL: int = VK.VK_IMAGE_LAYOUT_GENERAL
_COLOR: int = VK.VK_IMAGE_ASPECT_COLOR_BIT


class Image(Child):
    """A ``VkImage`` and its allocation. Fulfils :class:`interop.protocols.ProducerImage`."""

    def __init__(
        self,
        context: Context,
        native: Any,
        exports: Exports | None,
        *,
        descriptor: ImageDescriptor,
        exported: MemoryDescriptor | None,
        destroy: Callable[[], None],
    ) -> None:
        width, height, depth = descriptor.extent
        super().__init__(context, f"{descriptor.format} image of {width} x {height} x {depth}", destroy)
        self._native = native
        self._exports = exports
        self._descriptor = descriptor
        self._exported = exported

    @property
    def descriptor(self) -> ImageDescriptor:
        """What was made; a linear image with the pitch and offset of ``vkGetImageSubresourceLayout``."""
        return self._descriptor

    @property
    def native(self) -> Any:
        """The ``VkImage``."""
        self.check_open()
        return self._native

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Hand out the allocation (``vkGetMemoryFdKHR``, ``vkGetMemoryWin32HandleKHR``).

        The caller owns the handle; each call makes a new one. Raises :class:`Unsupported` for an image that
        was not made exportable.
        """
        self.check_open()
        if self._exported is None or self._exports is None:
            raise Unsupported("exporting this image", "it was made without export=")
        return self._exports.take(), self._exported

    def acquire(self, commands: Recording) -> None:
        """Record taking the image over from the other API (from ``VK_QUEUE_FAMILY_EXTERNAL``)."""
        self._transfer(commands, _GENERAL, (QUEUE_FAMILY_EXTERNAL, self.context.family))

    def release(self, commands: Recording) -> None:
        """Record giving the image to the other API (to ``VK_QUEUE_FAMILY_EXTERNAL``)."""
        self._transfer(commands, _GENERAL, (self.context.family, QUEUE_FAMILY_EXTERNAL))

    def prime(self, commands: Recording) -> None:
        """Record bringing a new image, whose texels are undefined, into the layout GENERAL."""
        self._transfer(commands, _UNDEFINED, (QUEUE_FAMILY_IGNORED, QUEUE_FAMILY_IGNORED))

    def _transfer(self, commands: Recording, layout: int, families: tuple[int, int]) -> None:
        barrier = struct(
            "VkImageMemoryBarrier",
            # The other half of each transfer belongs to the other API.
            srcAccessMask=_WRITE if families[0] == self.context.family else 0,
            dstAccessMask=0 if families[1] == QUEUE_FAMILY_EXTERNAL else _READ | _WRITE,
            oldLayout=layout,
            newLayout=_GENERAL,
            srcQueueFamilyIndex=families[0],
            dstQueueFamilyIndex=families[1],
            image=self.native,
            subresourceRange={
                "aspectMask": _COLOR,
                "levelCount": self._descriptor.mip_levels,
                "layerCount": self._descriptor.array_layers,
            },
        )
        native = commands.next(self)
        self.context.vk.vkCmdPipelineBarrier(
            native, _EVERYTHING, _EVERYTHING, 0, 0, NULL, 0, NULL, 1, barrier
        )

    def copy_from(self, commands: Recording, buffer: object, *, level: int = 0, layer: int = 0) -> None:
        """Record filling a level of a layer from the start of a buffer, in rows without gaps."""
        source, region = self._region(buffer, level, layer)
        native = commands.next(self, source)
        self.context.vk.vkCmdCopyBufferToImage(native, source.native, self.native, _GENERAL, 1, region)

    def copy_to(self, commands: Recording, buffer: object, *, level: int = 0, layer: int = 0) -> None:
        """Record copying a level of a layer to the start of a buffer, in rows without gaps."""
        target, region = self._region(buffer, level, layer)
        native = commands.next(self, target)
        self.context.vk.vkCmdCopyImageToBuffer(native, self.native, _GENERAL, target.native, 1, region)

    def _region(self, buffer: object, level: int, layer: int) -> tuple[Any, Any]:
        found = as_buffer(self.context, buffer)
        nbytes = self._descriptor.part_nbytes(level, layer)
        if found.size < nbytes:
            msg = f"level {level} has {nbytes} bytes, the buffer {found.size}"
            raise InvalidArgument(msg)
        width, height, depth = self._descriptor.level_extent(level)
        region = struct(
            "VkBufferImageCopy",
            imageSubresource={
                "aspectMask": _COLOR,
                "mipLevel": level,
                "baseArrayLayer": layer,
                "layerCount": 1,
            },
            imageExtent={"width": width, "height": height, "depth": depth},
        )
        return found, region

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Fill a level of a layer, and wait for it. The image must be this producer's at that time."""
        nbytes = self._descriptor.part_nbytes(level, layer)
        flat = host_bytes(source, nbytes, writable=False)
        with contextlib.closing(create_buffer(self.context, nbytes, None, host_visible=True)) as staging:
            staging.host_view()[:] = memoryview(flat)
            with submitted(self.context, timeout) as commands:
                self.copy_from(commands, staging, level=level, layer=layer)

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Copy a level of a layer into host bytes. The image must be this producer's at that time."""
        nbytes = self._descriptor.part_nbytes(level, layer)
        flat = host_bytes(target, nbytes, writable=True)
        with contextlib.closing(create_buffer(self.context, nbytes, None, host_visible=True)) as staging:
            with submitted(self.context, timeout) as commands:
                self.copy_to(commands, staging, level=level, layer=layer)
            memoryview(flat)[:] = staging.host_view()


@contextlib.contextmanager
def submitted(context: Context, timeout: float = DEFAULT_TIMEOUT) -> Generator[Recording]:
    """Record a submission of its own and wait for its end. Raises :class:`WaitTimeout`."""
    with contextlib.closing(prepare(context, (), (), None, None)) as submission:
        yield submission.begin()
        if not context.timeline.wait(submission.submit(), timeout):
            raise WaitTimeout(f"the Vulkan queue of {context.info.name}", timeout)


def create_image(context: Context, image: ImageDescriptor, export: HandleType | None) -> Image:
    """Make an image; see :meth:`interop.protocols.ImageProducer.create_image`."""
    context.check_open()
    context.sweep()
    if image.offset:
        raise InvalidArgument(f"an image starts its own allocation here, got an offset of {image.offset}")
    if export is HandleType.HOST_ALLOCATION:
        raise Unsupported("an image in host memory", "only buffers are imported from pages here")
    bit = exportable(context, export) if export is not None else 0
    usage, dedicated_only = ask(context.instance_vk, context.physical, image, bit)
    info = struct(
        "VkImageCreateInfo",
        pNext=struct("VkExternalMemoryImageCreateInfo", handleTypes=bit) if bit else NULL,
        imageType=image_type(image),
        format=image_format(image),
        extent=dict(zip(("width", "height", "depth"), image.extent, strict=True)),
        mipLevels=image.mip_levels,
        arrayLayers=image.array_layers,
        samples=VK.VK_SAMPLE_COUNT_1_BIT,
        tiling=TILINGS[image.tiling],
        usage=usage,
    )
    with contextlib.ExitStack() as undo:
        native = context.create("vkCreateImage", "VkImage", info)
        context.undo(undo, "vkDestroyImage", native)
        asked = struct("VkMemoryDedicatedRequirements")
        needs = struct("VkMemoryRequirements2", pNext=asked)
        which = struct("VkImageMemoryRequirementsInfo2", image=native)
        context.vk.vkGetImageMemoryRequirements2(context.device, which, needs)
        # Drivers pass how an optimal image is laid out along with a dedicated allocation. For a linear one it
        # tells NVIDIA's that the memory must not be compressed, by which other APIs' texels would get lost.
        dedicated = export is not None or dedicated_only or bool(asked.requiresDedicatedAllocation)
        chain = struct("VkMemoryDedicatedAllocateInfo", image=native) if dedicated else NULL
        if export is not None:
            chain = exported_memory(export, chain)
        memory = allocate(context, needs.memoryRequirements, undo, chain=chain)
        check("vkBindImageMemory", context.vk.vkBindImageMemory(context.device, native, memory, 0))
        if image.tiling is Tiling.LINEAR:
            image = _laid_out(context, native, image)
        exported = exports = None
        if export is not None:
            exports = memory_exports(context, memory, export)
            undo.callback(exports.close)
            size = int(needs.memoryRequirements.size)
            exported = MemoryDescriptor(
                allocation_size=size,
                size=size,
                handle_type=export,
                dedicated=dedicated,
                device=context.info.identity,
            )
        destroy = undo.pop_all().close
        made = Image(context, native, exports, descriptor=image, exported=exported, destroy=destroy)
    try:
        with submitted(context) as commands:
            made.prime(commands)
    except BaseException:
        made.close()
        raise
    return made


def _laid_out(context: Context, native: Any, image: ImageDescriptor) -> ImageDescriptor:
    """Return the descriptor with the pitch and offset that the driver chose."""
    which = struct("VkImageSubresource", aspectMask=_COLOR)
    layout = struct("VkSubresourceLayout")
    context.vk.vkGetImageSubresourceLayout(context.device, native, which, layout)
    if image.row_pitch not in (0, int(layout.rowPitch)):
        raise Unsupported(f"a row pitch of {image.row_pitch}", f"the driver makes it {layout.rowPitch} here")
    return replace(image, row_pitch=int(layout.rowPitch), offset=int(layout.offset))
