"""The target of a drawing: a colour and a depth image, their render pass and framebuffer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interop_vulkan._allocation import allocate, requirements
from interop_vulkan._driver import VK, array, struct

if TYPE_CHECKING:
    import contextlib

    from interop_vulkan._context import Context

# Every device can draw to these two formats (specification, "Required Format Support").
_COLOUR: int = VK.VK_FORMAT_R8G8B8A8_UNORM
_DEPTH: int = VK.VK_FORMAT_D16_UNORM
_BACKGROUND = (0.07, 0.07, 0.09, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A render pass into a picture. The ``undo`` stack of :func:`create_target` owns its objects."""

    width: int
    height: int
    colour: Any
    """``VkImage``, in the layout for transfers after the pass."""
    render_pass: Any
    begin: Any
    """``VkRenderPassBeginInfo``."""
    viewport: Any
    """``VkViewport`` of the whole picture."""
    scissor: Any
    """``VkRect2D`` of the whole picture."""
    region: Any
    """``VkBufferImageCopy`` of the whole picture, tightly packed."""


def create_target(context: Context, width: int, height: int, undo: contextlib.ExitStack) -> Target:
    """Create both images, the render pass and the framebuffer. ``undo`` destroys them."""
    colour_bit, depth_bit = VK.VK_IMAGE_ASPECT_COLOR_BIT, VK.VK_IMAGE_ASPECT_DEPTH_BIT
    colour_use = VK.VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK.VK_IMAGE_USAGE_TRANSFER_SRC_BIT
    depth_use = VK.VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT
    colour, colour_view = _image(context, (width, height), _COLOUR, colour_use, colour_bit, undo)
    _, depth_view = _image(context, (width, height), _DEPTH, depth_use, depth_bit, undo)
    render_pass = _render_pass(context, undo)
    frame = struct(
        "VkFramebufferCreateInfo",
        renderPass=render_pass,
        attachmentCount=2,
        pAttachments=[colour_view, depth_view],
        width=width,
        height=height,
        layers=1,
    )
    framebuffer = context.create("Framebuffer", frame, undo)
    clear = array("VkClearValue", 2)
    clear[0].color.float32 = _BACKGROUND
    clear[1].depthStencil.depth = 1.0
    area = {"extent": {"width": width, "height": height}}
    return Target(
        width=width,
        height=height,
        colour=colour,
        render_pass=render_pass,
        begin=struct(
            "VkRenderPassBeginInfo",
            renderPass=render_pass,
            framebuffer=framebuffer,
            renderArea=area,
            clearValueCount=2,
            pClearValues=clear,
        ),
        viewport=struct("VkViewport", width=width, height=height, maxDepth=1.0),
        scissor=struct("VkRect2D", **area),
        region=struct(
            "VkBufferImageCopy",
            imageSubresource={"aspectMask": colour_bit, "layerCount": 1},
            imageExtent={"width": width, "height": height, "depth": 1},
        ),
    )


def _image(
    context: Context, size: tuple[int, int], pixel: int, usage: int, aspect: int, undo: contextlib.ExitStack
) -> tuple[Any, Any]:
    """Create an image with its own memory, and a view of it."""
    info = struct(
        "VkImageCreateInfo",
        imageType=VK.VK_IMAGE_TYPE_2D,
        format=pixel,
        extent={"width": size[0], "height": size[1], "depth": 1},
        mipLevels=1,
        arrayLayers=1,
        samples=VK.VK_SAMPLE_COUNT_1_BIT,
        tiling=VK.VK_IMAGE_TILING_OPTIMAL,
        usage=usage,
    )
    image = context.create("Image", info, undo)
    needs, _ = requirements(context, "Image", image)
    allocate(context, "Image", image, needs, undo)
    view_info = struct(
        "VkImageViewCreateInfo",
        image=image,
        viewType=VK.VK_IMAGE_VIEW_TYPE_2D,
        format=pixel,
        subresourceRange={"aspectMask": aspect, "levelCount": 1, "layerCount": 1},
    )
    return image, context.create("ImageView", view_info, undo)


def _render_pass(context: Context, undo: contextlib.ExitStack) -> Any:
    """Create a pass that clears both images, draws, and leaves the colours in the layout for copies."""
    common = {
        "samples": VK.VK_SAMPLE_COUNT_1_BIT,
        "loadOp": VK.VK_ATTACHMENT_LOAD_OP_CLEAR,
        "stencilLoadOp": VK.VK_ATTACHMENT_LOAD_OP_DONT_CARE,
        "stencilStoreOp": VK.VK_ATTACHMENT_STORE_OP_DONT_CARE,
    }
    drawing = VK.VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL
    testing = VK.VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL
    store, drop = VK.VK_ATTACHMENT_STORE_OP_STORE, VK.VK_ATTACHMENT_STORE_OP_DONT_CARE
    attachments = [
        struct("VkAttachmentDescription", format=pixel, storeOp=kept, finalLayout=layout, **common)
        for pixel, kept, layout in (
            (_COLOUR, store, VK.VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL),
            (_DEPTH, drop, testing),
        )
    ]
    subpass = struct(
        "VkSubpassDescription",
        pipelineBindPoint=VK.VK_PIPELINE_BIND_POINT_GRAPHICS,
        colorAttachmentCount=1,
        pColorAttachments=[struct("VkAttachmentReference", attachment=0, layout=drawing)],
        pDepthStencilAttachment=struct("VkAttachmentReference", attachment=1, layout=testing),
    )
    colours = VK.VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT
    tests = VK.VK_PIPELINE_STAGE_EARLY_FRAGMENT_TESTS_BIT | VK.VK_PIPELINE_STAGE_LATE_FRAGMENT_TESTS_BIT
    transfer = VK.VK_PIPELINE_STAGE_TRANSFER_BIT
    writes_colour = VK.VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT
    writes = writes_colour | VK.VK_ACCESS_DEPTH_STENCIL_ATTACHMENT_WRITE_BIT
    reads = VK.VK_ACCESS_DEPTH_STENCIL_ATTACHMENT_READ_BIT
    outside = 0xFFFFFFFF  # VK_SUBPASS_EXTERNAL
    # The fields are in the order of VkSubpassDependency: both subpasses, both stage masks, both access masks.
    dependencies = [
        # The last picture is drawn and copied before this one clears it.
        (outside, 0, colours | tests | transfer, colours | tests, writes, writes | reads),
        # The copy sees the drawing.
        (0, outside, colours, transfer, writes_colour, VK.VK_ACCESS_TRANSFER_READ_BIT),
    ]
    info = struct(
        "VkRenderPassCreateInfo",
        attachmentCount=len(attachments),
        pAttachments=attachments,
        subpassCount=1,
        pSubpasses=[subpass],
        dependencyCount=len(dependencies),
        pDependencies=dependencies,
    )
    return context.create("RenderPass", info, undo)
