"""Compute pipelines from SPIR-V."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, as_integer
from interop_vulkan._child import Child
from interop_vulkan._driver import NULL, VK, ffi, struct
from interop_vulkan._pipeline import Bindings, new_pipeline, shader_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop_vulkan._context import Context
    from interop_vulkan.memory import Part, VulkanBuffer

_DIMENSIONS = 3
_STAGE: int = VK.VK_SHADER_STAGE_COMPUTE_BIT
_POINT: int = VK.VK_PIPELINE_BIND_POINT_COMPUTE


class Compute(Child):
    """A compute pipeline. Fulfils :class:`interop.protocols.ComputePipeline`."""

    def __init__(
        self,
        context: Context,
        bindings: Bindings,
        pipeline: Any,
        push_bytes: int,
        destroy: Callable[[], None],
    ) -> None:
        super().__init__(context, "compute pipeline", destroy)
        self._bindings = bindings
        self._pipeline = pipeline
        self._push_bytes = push_bytes
        self._limits = [int(limit) for limit in context.limits.maxComputeWorkGroupCount]
        vk = context.vk
        self._bind_pipeline, self._bind_sets = vk.vkCmdBindPipeline, vk.vkCmdBindDescriptorSets
        self._push, self._dispatch = vk.vkCmdPushConstants, vk.vkCmdDispatch

    def record(
        self,
        following: Callable[..., Any],
        buffers: Sequence[VulkanBuffer | Part],
        groups: Sequence[int],
        push: bytes,
    ) -> None:
        """Record one run; see :meth:`interop.protocols.ComputeCommands.dispatch`.

        ``following`` is :meth:`Recording.next` of the recording.
        """
        counts = [as_integer(count, "groups") for count in groups]
        counts += [1] * (_DIMENSIONS - len(counts))
        if len(counts) != _DIMENSIONS or not all(
            0 < count <= limit for count, limit in zip(counts, self._limits, strict=True)
        ):
            msg = f"groups must be 1 to 3 counts, each from 1 to at most {self._limits}, got {groups!r}"
            raise InvalidArgument(msg)
        if len(push) != self._push_bytes:
            msg = f"push must have the pipeline's {self._push_bytes} bytes of push constants, got {len(push)} bytes"
            raise InvalidArgument(msg)
        sets = self._bindings.bind(buffers)
        native = following(self, *buffers)
        layout = self._bindings.layout
        self._bind_pipeline(native, _POINT, self._pipeline)
        self._bind_sets(native, _POINT, layout, 0, 1, sets, 0, NULL)
        if push:
            self._push(native, layout, _STAGE, 0, len(push), ffi.from_buffer(push))
        self._dispatch(native, *counts)


def create_compute(context: Context, spirv: bytes, buffers: int, push_constant_bytes: int) -> Compute:
    """Create a compute pipeline; see :meth:`interop.protocols.ComputeProducer.create_compute`."""
    most = int(context.limits.maxPerStageDescriptorStorageBuffers)
    room = int(context.limits.maxPushConstantsSize)
    if not 0 <= buffers <= most or not 0 <= push_constant_bytes <= room or push_constant_bytes % 4:
        msg = (
            f"buffers must be from 0 to {most} and push_constant_bytes a multiple of 4 from 0 to {room}, "
            f"got {buffers} and {push_constant_bytes}"
        )
        raise InvalidArgument(msg)
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as shaders:
        stage = shader_stage(context, spirv, _STAGE, shaders)
        bindings = Bindings(context, _STAGE, buffers, push_constant_bytes, undo)
        info = struct("VkComputePipelineCreateInfo", stage=stage, layout=bindings.layout)
        pipeline = new_pipeline(context, "Compute", info, undo)
        return Compute(context, bindings, pipeline, push_constant_bytes, undo.pop_all().close)
