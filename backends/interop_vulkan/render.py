"""Meshes: grids of heights, drawn into a picture that the host can read."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, TurnError, Unsupported, WaitTimeout
from interop_vulkan._child import Child
from interop_vulkan._driver import NULL, VK, ffi
from interop_vulkan._mesh_pipeline import camera, create_pipeline
from interop_vulkan._pipeline import Bindings
from interop_vulkan._target import Target, create_target
from interop_vulkan.memory import create_buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_vulkan._context import Context
    from interop_vulkan.memory import Part, VulkanBuffer

_POINT: int = VK.VK_PIPELINE_BIND_POINT_GRAPHICS
_MIN_GRID = 2


class Grid(Child):
    """A grid of heights. Fulfils :class:`interop.protocols.Mesh`.

    Heights are float32, row by row, from -1 (violet) to 1 (yellow); the first row lies farthest back.
    """

    def __init__(
        self,
        context: Context,
        bindings: Bindings,
        pipeline: Any,
        target: Target,
        picture: VulkanBuffer,
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
        self._set_viewport, self._set_scissor = vk.vkCmdSetViewport, vk.vkCmdSetScissor
        self._push, self._draw, self._copy = vk.vkCmdPushConstants, vk.vkCmdDraw, vk.vkCmdCopyImageToBuffer

    def record(self, following: Callable[..., Any], heights: VulkanBuffer | Part) -> None:
        """Record one drawing. ``following`` is :meth:`Recording.next` of the recording.

        Raises :class:`InvalidArgument`, before anything is recorded, if the buffer is too small.
        """
        needed = self._rows * self._columns * 4
        if heights.size < needed:
            msg = f"heights must have the mesh's {needed} bytes of float32, got a buffer of {heights.size} bytes"
            raise InvalidArgument(msg)
        sets = self._bindings.bind([heights])
        native = following(self, heights)
        layout = self._bindings.layout
        self._begin(native, self._target.begin, VK.VK_SUBPASS_CONTENTS_INLINE)
        self._bind_pipeline(native, _POINT, self._pipeline)
        self._set_viewport(native, 0, 1, self._target.viewport)
        self._set_scissor(native, 0, 1, self._target.scissor)
        self._bind_sets(native, _POINT, layout, 0, 1, sets, 0, NULL)
        self._push(
            native, layout, VK.VK_SHADER_STAGE_VERTEX_BIT, 0, len(self._view), ffi.from_buffer(self._view)
        )
        self._draw(native, 2 * self._columns, self._rows - 1, 0, 0)
        self._end(native)
        source = VK.VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL
        self._copy(native, self._target.colour, source, self._picture.native, 1, self._target.region)

    def drawn(self, value: int) -> None:
        """Note the value of the last drawing on the progress timeline."""
        self._last = value

    def image(self, timeout: float) -> memoryview:
        """Return a copy of the last picture; see :meth:`interop.protocols.Mesh.image`."""
        self.check_open()
        if not self._last:
            raise TurnError("nothing was drawn yet; draw the mesh in a producer turn first")
        if not self.context.timeline.wait(self._last, timeout):
            raise WaitTimeout(f"the picture drawn by {self.context.info.name}", timeout)
        shape = (self._target.height, self._target.width, 4)
        return memoryview(bytearray(self._picture.host_view())).cast("B", shape)


def create_mesh(context: Context, rows: int, columns: int, width: int, height: int) -> Grid:
    """Create a mesh; see :meth:`interop.protocols.MeshProducer.create_mesh`."""
    if not context.graphics:
        raise Unsupported("drawing", f"the queue of the producer on {context.info.name} has no graphics")
    limits = context.limits
    most = min(limits.maxImageDimension2D, limits.maxFramebufferWidth, limits.maxFramebufferHeight)
    if not (0 < width <= most and 0 < height <= most):
        msg = f"width and height of the picture must be from 1 to {most} pixels, got {width} x {height}"
        raise InvalidArgument(msg)
    if min(rows, columns) < _MIN_GRID or rows * columns * 4 > min(int(limits.maxStorageBufferRange), 2**31):
        room = f"at most {limits.maxStorageBufferRange} bytes of float32"
        msg = f"a mesh must have 2 x 2 heights or more in {room}, got {rows} x {columns}"
        raise InvalidArgument(msg)
    view = camera(rows, columns, width / height)
    with contextlib.ExitStack() as undo:
        picture = create_buffer(context, width * height * 4, host_visible=True)
        undo.callback(picture.close)
        target = create_target(context, width, height, undo)
        bindings = Bindings(context, VK.VK_SHADER_STAGE_VERTEX_BIT, 1, len(view), undo)
        pipeline = context.keep("mesh", partial(create_pipeline, context, bindings.layout, target))
        destroy = undo.pop_all().close
        return Grid(context, bindings, pipeline, target, picture, view, (rows, columns), destroy)
