"""Images that other APIs can import.

Images stay in the layout GENERAL, in which any API may use them.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, Tiling, Unsupported, WaitTimeout
from interop.toolkit import host_bytes
from interop_vulkan._allocation import allocate, exportable, requirements
from interop_vulkan._barriers import EVERYTHING, READ, WRITE
from interop_vulkan._driver import NULL, QUEUE_FAMILY_EXTERNAL, QUEUE_FAMILY_IGNORED, VK, struct
from interop_vulkan._exports import Exports, exported
from interop_vulkan._image_formats import TILINGS, ask, image_format, image_type
from interop_vulkan._recording import as_recording
from interop_vulkan.memory import Allocated, as_buffer, create_buffer, describe_memory
from interop_vulkan.submission import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.protocols import Commands, HandleType, HostBytes, ImageDescriptor
    from interop_vulkan._context import Context
    from interop_vulkan._recording import Recording
    from interop_vulkan.memory import Export

_UNDEFINED: int = VK.VK_IMAGE_LAYOUT_UNDEFINED
_GENERAL: int = VK.VK_IMAGE_LAYOUT_GENERAL
_COLOR: int = VK.VK_IMAGE_ASPECT_COLOR_BIT


class VulkanImage(Allocated):
    """A ``VkImage`` and its allocation. Fulfils :class:`interop.protocols.ProducerImage`."""

    _kind = "image"

    def __init__(
        self,
        context: Context,
        native: Any,
        export: Export | None,
        destroy: Callable[[], None],
        descriptor: ImageDescriptor,
        timeout: float,
    ) -> None:
        width, height, depth = descriptor.extent
        what = f"{descriptor.format} image of {width} x {height} x {depth}"
        super().__init__(context, what, native, export, destroy)
        self._descriptor = descriptor
        self._timeout = timeout

    @property
    def descriptor(self) -> ImageDescriptor:
        """The image; a linear one has the row pitch and offset of ``vkGetImageSubresourceLayout``."""
        return self._descriptor

    def acquire(self, commands: Commands) -> None:
        """Record the acquire of the image from the other API (``VK_QUEUE_FAMILY_EXTERNAL``)."""
        self._transfer(commands, _GENERAL, (QUEUE_FAMILY_EXTERNAL, self.context.family))

    def release(self, commands: Commands) -> None:
        """Record the release of the image to the other API (``VK_QUEUE_FAMILY_EXTERNAL``)."""
        self._transfer(commands, _GENERAL, (self.context.family, QUEUE_FAMILY_EXTERNAL))

    def prime(self, commands: Commands) -> None:
        """Record the transition of a new image, whose texels are undefined, to the layout GENERAL."""
        self._transfer(commands, _UNDEFINED, (QUEUE_FAMILY_IGNORED, QUEUE_FAMILY_IGNORED))

    def _transfer(self, commands: Commands, layout: int, families: tuple[int, int]) -> None:
        barrier = struct(
            "VkImageMemoryBarrier",
            # The other API records the other half of each transfer.
            srcAccessMask=WRITE if families[0] == self.context.family else 0,
            dstAccessMask=0 if families[1] == QUEUE_FAMILY_EXTERNAL else READ | WRITE,
            oldLayout=layout,
            newLayout=_GENERAL,
            srcQueueFamilyIndex=families[0],
            dstQueueFamilyIndex=families[1],
            image=self.native,
            # Aspect, first level, number of levels, first layer, number of layers.
            subresourceRange=(_COLOR, 0, self._descriptor.mip_levels, 0, self._descriptor.array_layers),
        )
        native = as_recording(self.context, commands).next(self)
        self.context.vk.vkCmdPipelineBarrier(native, EVERYTHING, EVERYTHING, 0, 0, NULL, 0, NULL, 1, barrier)

    def copy_from(self, commands: Commands, buffer: object, *, level: int = 0, layer: int = 0) -> None:
        """Record a copy from the start of a buffer to a level of a layer, in rows without gaps."""
        source, region = self._region(buffer, level, layer)
        native = as_recording(self.context, commands).next(self, source)
        self.context.vk.vkCmdCopyBufferToImage(native, source.native, self.native, _GENERAL, 1, region)

    def copy_to(self, commands: Commands, buffer: object, *, level: int = 0, layer: int = 0) -> None:
        """Record a copy of a level of a layer to the start of a buffer, in rows without gaps."""
        target, region = self._region(buffer, level, layer)
        native = as_recording(self.context, commands).next(self, target)
        self.context.vk.vkCmdCopyImageToBuffer(native, self.native, _GENERAL, target.native, 1, region)

    def _region(self, buffer: object, level: int, layer: int) -> tuple[Any, Any]:
        found = as_buffer(self.context, buffer)
        nbytes = self._descriptor.part_nbytes(level, layer)
        if found.size < nbytes:
            msg = f"level {level} needs a buffer of {nbytes} bytes, got one of {found.size} bytes"
            raise InvalidArgument(msg)
        extent = self._descriptor.level_extent(level)
        # Of the subresource: aspect, level, first layer, number of layers.
        region = struct("VkBufferImageCopy", imageSubresource=(_COLOR, level, layer, 1), imageExtent=extent)
        return found, region

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy host bytes into a level of a layer; see :meth:`interop.protocols.ProducerImage.write`."""
        nbytes = self._descriptor.part_nbytes(level, layer)
        flat = host_bytes(source, nbytes, writable=False)
        with contextlib.closing(create_buffer(self.context, nbytes, host_visible=True)) as staging:
            staging.host_view()[:] = memoryview(flat)
            with submitted(self.context, self._timeout if timeout is None else timeout) as commands:
                self.copy_from(commands, staging, level=level, layer=layer)

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy a level of a layer into host bytes; see :meth:`interop.protocols.ProducerImage.read`."""
        nbytes = self._descriptor.part_nbytes(level, layer)
        flat = host_bytes(target, nbytes, writable=True)
        with contextlib.closing(create_buffer(self.context, nbytes, host_visible=True)) as staging:
            with submitted(self.context, self._timeout if timeout is None else timeout) as commands:
                self.copy_to(commands, staging, level=level, layer=layer)
            memoryview(flat)[:] = staging.host_view()


@contextlib.contextmanager
def submitted(context: Context, timeout: float) -> Generator[Recording]:
    """Record a submission in the block, submit it, and wait for its end. Raises :class:`WaitTimeout`."""
    with contextlib.closing(prepare(context, timeout=timeout)) as submission:
        yield submission.begin()
        if not context.timeline.wait(submission.submit(), timeout):
            raise WaitTimeout(f"the Vulkan queue of {context.info.name}", timeout)


def create_image(
    context: Context, image: ImageDescriptor, export: HandleType | None, timeout: float
) -> VulkanImage:
    """Create an image in the layout GENERAL. The caller has checked the arguments."""
    bit = exportable(context, export) if export is not None else 0
    usage, dedicated_only = ask(context.instance_vk, context.physical, image, bit)
    info = struct(
        "VkImageCreateInfo",
        pNext=struct("VkExternalMemoryImageCreateInfo", handleTypes=bit) if bit else NULL,
        imageType=image_type(image),
        format=image_format(image),
        extent=image.extent,
        mipLevels=image.mip_levels,
        arrayLayers=image.array_layers,
        samples=VK.VK_SAMPLE_COUNT_1_BIT,
        tiling=TILINGS[image.tiling],
        usage=usage,
    )
    with contextlib.ExitStack() as undo:
        native = context.create("Image", info, undo)
        needs, asked = requirements(context, "Image", native)
        # A dedicated allocation passes the layout of an optimal image on to other drivers. For a linear image it tells
        # NVIDIA's driver not to compress the memory; other APIs' texels would be lost.
        dedicated = export is not None or dedicated_only or bool(asked.requiresDedicatedAllocation)
        chain = struct("VkMemoryDedicatedAllocateInfo", image=native) if dedicated else NULL
        if export is not None:
            chain = exported("Memory", export, chain)
        memory = allocate(context, "Image", native, needs, undo, chain=chain)
        if image.tiling is Tiling.LINEAR:
            image = _laid_out(context, native, image)
        exports = None
        if export is not None:
            size = int(needs.memoryRequirements.size)
            descriptor = describe_memory(context, export, size, size, dedicated=dedicated, allocation=None)
            exports = Exports(context, "Memory", memory, export, undo).take, descriptor
        made = VulkanImage(context, native, exports, undo.pop_all().close, image, timeout)
    try:
        with submitted(context, timeout) as commands:
            made.prime(commands)
    except BaseException:
        made.close()
        raise
    return made


def _laid_out(context: Context, native: Any, image: ImageDescriptor) -> ImageDescriptor:
    """Return the descriptor with the row pitch and offset that the driver chose."""
    which = struct("VkImageSubresource", aspectMask=_COLOR)
    layout = struct("VkSubresourceLayout")
    context.vk.vkGetImageSubresourceLayout(context.device, native, which, layout)
    if image.row_pitch not in (0, int(layout.rowPitch)):
        reason = f"the driver chooses {layout.rowPitch} for this image; leave row_pitch at 0"
        raise Unsupported(f"a row pitch of {image.row_pitch}", reason)
    return replace(image, row_pitch=int(layout.rowPitch), offset=int(layout.offset))
