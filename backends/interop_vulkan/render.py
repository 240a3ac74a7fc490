"""A grid of heights, drawn into a picture that the host can read."""

from __future__ import annotations

import contextlib
import math
import struct as packing
from importlib import resources
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, TurnError, Unsupported, WaitTimeout
from interop_vulkan import _target
from interop_vulkan._driver import NULL, VK, ffi, struct
from interop_vulkan._lifetime import Child
from interop_vulkan._pipeline import Bindings, shader_stage
from interop_vulkan.memory import create_buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_vulkan._context import Context
    from interop_vulkan.memory import Buffer, Part

_POINT: int = VK.VK_PIPELINE_BIND_POINT_GRAPHICS
_PUSH = packing.Struct("<16f2i3f")  # the block View of mesh.vert
_RELIEF = 0.2
_EYE = (0.0, 1.95, 2.0)
_NEAR, _FAR = 0.5, 6.0
_VIEW_ANGLE = math.radians(45)
_MIN_GRID = 2


class Grid(Child):
    """A grid of heights to be drawn. Fulfils :class:`interop.protocols.Mesh`.

    Heights are float32, row by row, from -1 (violet) to 1 (yellow); the first row lies farthest back.
    """

    def __init__(
        self,
        context: Context,
        bindings: Bindings,
        pipeline: Any,
        target: _target.Target,
        picture: Buffer,
        view: bytes,
        grid: tuple[int, int],
        destroy: Callable[[], None],
    ) -> None:
        super().__init__(context, f"mesh of {grid[0]} x {grid[1]} heights", destroy)
        self._bindings = bindings
        self._pipeline = pipeline
        self._target = target
        self._picture = picture
        self._view = view
        self._rows, self._columns = grid
        self._last = 0
        vk = context.vk
        self._begin, self._end = vk.vkCmdBeginRenderPass, vk.vkCmdEndRenderPass
        self._bind_pipeline, self._bind_sets = vk.vkCmdBindPipeline, vk.vkCmdBindDescriptorSets
        self._push, self._draw, self._copy = vk.vkCmdPushConstants, vk.vkCmdDraw, vk.vkCmdCopyImageToBuffer

    def record(self, following: Callable[..., Any], heights: Buffer | Part) -> None:
        """Record one drawing; ``following`` gives the command buffer, ordered after what was recorded before.

        Raises :class:`InvalidArgument`, before anything is recorded, when the buffer is too small.
        """
        needed = self._rows * self._columns * 4
        if heights.size < needed:
            msg = f"this mesh needs {needed} bytes of float32 heights, got {heights.size} bytes"
            raise InvalidArgument(msg)
        sets = self._bindings.bind([heights])
        native = following(self, heights)
        layout = self._bindings.layout
        self._begin(native, self._target.begin, VK.VK_SUBPASS_CONTENTS_INLINE)
        self._bind_pipeline(native, _POINT, self._pipeline)
        self._bind_sets(native, _POINT, layout, 0, 1, sets, 0, NULL)
        self._push(
            native, layout, VK.VK_SHADER_STAGE_VERTEX_BIT, 0, len(self._view), ffi.from_buffer(self._view)
        )
        self._draw(native, 2 * self._columns, self._rows - 1, 0, 0)
        self._end(native)
        source = VK.VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL
        self._copy(native, self._target.colour, source, self._picture.native, 1, self._target.region)

    def drawn(self, value: int) -> None:
        """Note that the last drawing ends at ``value`` on the progress timeline."""
        self._last = value

    def image(self, timeout: float) -> memoryview:
        """Return a copy of the last picture: bytes of shape (rows, columns, 4), RGBA.

        Waits for it at most ``timeout`` seconds, then raises :class:`WaitTimeout`. Raises
        :class:`TurnError` when nothing was drawn yet.
        """
        self.check_open()
        if not self._last:
            raise TurnError("nothing was drawn yet: draw the mesh in a producer turn first")
        if not self.context.timeline.wait(self._last, timeout):
            raise WaitTimeout(f"the picture drawn by {self.context.info.name}", timeout)
        shape = (self._target.height, self._target.width, 4)
        return memoryview(bytearray(self._picture.host_view())).cast("B", shape)


def create_mesh(context: Context, rows: int, columns: int, width: int, height: int) -> Grid:
    """Make a grid of ``rows`` × ``columns`` heights and a picture of ``width`` × ``height`` pixels.

    Raises :class:`Unsupported` when the queue has no graphics, :class:`InvalidArgument` for sizes that make
    no surface or exceed the device's limits.
    """
    context.check_open()
    context.sweep()
    if not context.graphics:
        raise Unsupported("drawing", f"{context.info.name} has no queue for graphics and compute")
    limits = context.limits
    most = min(limits.maxImageDimension2D, limits.maxFramebufferWidth, limits.maxFramebufferHeight)
    if not (0 < width <= most and 0 < height <= most):
        msg = f"the picture must be 1 to {most} pixels wide and high, got {width} x {height}"
        raise InvalidArgument(msg)
    if min(rows, columns) < _MIN_GRID or rows * columns * 4 > min(int(limits.maxStorageBufferRange), 2**31):
        room = f"at most {limits.maxStorageBufferRange} bytes of float32"
        msg = f"a mesh needs at least 2 x 2 heights in {room}, got {rows} x {columns}"
        raise InvalidArgument(msg)
    stages = VK.VK_SHADER_STAGE_VERTEX_BIT
    view = _view(rows, columns, width / height)
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as shaders:
        picture = create_buffer(context, width * height * 4, None, host_visible=True)
        undo.callback(picture.close)
        target = _target.create_target(context, width, height, undo)
        bindings = Bindings(context, stages, 1, len(view), undo)
        shader_stages = [
            shader_stage(context, _shader("mesh.vert"), stages, shaders),
            shader_stage(context, _shader("mesh.frag"), VK.VK_SHADER_STAGE_FRAGMENT_BIT, shaders),
        ]
        info = _pipeline_info(shader_stages, bindings.layout, target)
        pipeline = context.vk.create(
            "vkCreateGraphicsPipelines", "VkPipeline", context.device, NULL, 1, info, NULL
        )
        context.undo(undo, "vkDestroyPipeline", pipeline)
        destroy = undo.pop_all().close
        return Grid(context, bindings, pipeline, target, picture, view, (rows, columns), destroy)


def _shader(name: str) -> bytes:
    """Read a compiled shader of this package."""
    return resources.files("interop_vulkan").joinpath("shaders", f"{name}.spv").read_bytes()


def _view(rows: int, columns: int, aspect: float) -> bytes:
    """Return the push constants: a camera above the near edge that looks down at the middle of the grid."""
    longest = max(rows, columns)
    extent = (columns / longest, rows / longest)
    distance = math.hypot(*_EYE)
    back = tuple(part / distance for part in _EYE)  # from the middle to the eye
    up = (0.0, back[2], -back[1])  # across `back`, as the eye has x = 0
    focal = 1 / math.tan(_VIEW_ANGLE / 2)
    depth = _FAR / (_NEAR - _FAR)
    # Rows of view and projection multiplied; clip space has y downwards and depth from 0 to 1.
    across = (focal / max(aspect, 1.0), 0.0, 0.0, 0.0)
    down = tuple(-focal * min(aspect, 1.0) * part for part in (*up, 0.0))
    behind = (*back, -distance)  # view-space z
    deep = tuple(depth * part for part in behind[:3]), depth * behind[3] + _NEAR * depth
    matrix = (across, down, (*deep[0], deep[1]), tuple(-part for part in behind))
    by_column = [matrix[row][column] for column in range(4) for row in range(4)]
    return _PUSH.pack(*by_column, columns, rows, *extent, _RELIEF)


def _pipeline_info(stages: list[Any], layout: Any, target: _target.Target) -> Any:
    """Return the ``VkGraphicsPipelineCreateInfo``: strips, no vertex buffers, depth test, no blending."""
    viewport = struct("VkViewport", width=target.width, height=target.height, maxDepth=1.0)
    scissor = struct("VkRect2D", extent={"width": target.width, "height": target.height})
    return struct(
        "VkGraphicsPipelineCreateInfo",
        stageCount=len(stages),
        pStages=stages,
        pVertexInputState=struct("VkPipelineVertexInputStateCreateInfo"),
        pInputAssemblyState=struct(
            "VkPipelineInputAssemblyStateCreateInfo", topology=VK.VK_PRIMITIVE_TOPOLOGY_TRIANGLE_STRIP
        ),
        pViewportState=struct(
            "VkPipelineViewportStateCreateInfo",
            viewportCount=1,
            pViewports=[viewport],
            scissorCount=1,
            pScissors=[scissor],
        ),
        pRasterizationState=struct(
            "VkPipelineRasterizationStateCreateInfo", lineWidth=1.0, cullMode=VK.VK_CULL_MODE_NONE
        ),
        pMultisampleState=struct(
            "VkPipelineMultisampleStateCreateInfo", rasterizationSamples=VK.VK_SAMPLE_COUNT_1_BIT
        ),
        pDepthStencilState=struct(
            "VkPipelineDepthStencilStateCreateInfo",
            depthTestEnable=1,
            depthWriteEnable=1,
            depthCompareOp=VK.VK_COMPARE_OP_LESS,
        ),
        pColorBlendState=struct(
            "VkPipelineColorBlendStateCreateInfo",
            attachmentCount=1,
            pAttachments=[struct("VkPipelineColorBlendAttachmentState", colorWriteMask=0xF)],
        ),
        layout=layout,
        renderPass=target.render_pass,
    )
