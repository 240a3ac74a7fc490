"""Parts of graphics and compute pipelines: shader modules, layouts and descriptor sets."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument
from interop_vulkan._driver import NULL, VK, array, check, struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop_vulkan._child import Child
    from interop_vulkan._context import Context
    from interop_vulkan.memory import Part, VulkanBuffer

_MAGIC = 0x07230203
_WORD = 4
_SETS_PER_POOL = 32
_STORAGE: int = VK.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
_ONE_BUFFER = {"descriptorType": _STORAGE, "descriptorCount": 1}


def shader_stage(context: Context, spirv: bytes, stage: int, undo: contextlib.ExitStack) -> Any:
    """Return a ``VkPipelineShaderStageCreateInfo`` with entry point ``main``.

    ``undo`` destroys the shader module; it may run once the pipeline exists. Raises :class:`InvalidArgument` for bytes
    that are no SPIR-V, because drivers do not check that.
    """
    if len(spirv) % _WORD or int.from_bytes(spirv[:_WORD], "little") != _MAGIC:
        msg = f"spirv must be SPIR-V, got {len(spirv)} bytes that begin with {spirv[:_WORD]!r}"
        raise InvalidArgument(msg)
    info = struct("VkShaderModuleCreateInfo", codeSize=len(spirv), pCode=spirv)
    module = context.create("ShaderModule", info, undo)
    return struct("VkPipelineShaderStageCreateInfo", stage=stage, module=module, pName=b"main")


def new_pipeline(context: Context, kind: str, info: Any, undo: contextlib.ExitStack) -> Any:
    """Create a ``VkPipeline``; ``kind`` is ``"Graphics"`` or ``"Compute"``. ``undo`` destroys it."""
    name = f"vkCreate{kind}Pipelines"
    pipeline = context.vk.create(name, "VkPipeline", context.device, NULL, 1, info, NULL)
    context.undo(undo, "vkDestroyPipeline", pipeline)
    return pipeline


class Bindings:
    """A pipeline layout of storage buffers at set 0, bindings 0 to ``count`` - 1, and push constants.

    A descriptor set is written once for each combination of buffers and reused in later turns.
    """

    def __init__(
        self, context: Context, stages: int, count: int, push_bytes: int, undo: contextlib.ExitStack
    ) -> None:
        self._context = context
        self._count = count
        bindings = [
            struct("VkDescriptorSetLayoutBinding", binding=index, stageFlags=stages, **_ONE_BUFFER)
            for index in range(count)
        ]
        set_info = struct("VkDescriptorSetLayoutCreateInfo", bindingCount=count, pBindings=bindings)
        self._set_layout = context.create("DescriptorSetLayout", set_info, undo)
        ranges = [struct("VkPushConstantRange", stageFlags=stages, size=push_bytes)] if push_bytes else []
        info = struct(
            "VkPipelineLayoutCreateInfo",
            setLayoutCount=1,
            pSetLayouts=[self._set_layout],
            pushConstantRangeCount=len(ranges),
            pPushConstantRanges=ranges,
        )
        self.layout = context.create("PipelineLayout", info, undo)
        """The ``VkPipelineLayout``."""
        self._pools = undo.enter_context(contextlib.ExitStack())
        """Destroys the descriptor pools."""
        self._free: list[Any] = []
        self._bound: dict[tuple[int, ...], Any] = {}

    def bind(self, buffers: Sequence[VulkanBuffer | Part]) -> Any:
        """Return the descriptor sets, an array of one, for these buffers. Raises :class:`InvalidArgument`."""
        key = tuple([buffer.serial for buffer in buffers])
        found = self._bound.get(key)
        if found is None:
            found = self._bound[key] = self._write(buffers)
            for buffer in buffers:
                buffer.add_dependent(self)
        return found

    def _write(self, buffers: Sequence[VulkanBuffer | Part]) -> Any:
        if len(buffers) != self._count:
            msg = f"the pipeline takes {self._count} buffers, got {len(buffers)}"
            raise InvalidArgument(msg)
        limits = self._context.limits
        limit, alignment = int(limits.maxStorageBufferRange), int(limits.minStorageBufferOffsetAlignment)
        for buffer in buffers:
            if buffer.offset % alignment:
                msg = f"a part for a shader must start at a multiple of {alignment} bytes, got one at {buffer.offset}"
                raise InvalidArgument(msg)
            if buffer.size > limit:
                msg = f"a buffer for a shader must have at most {limit} bytes, got {buffer.size}; pass a part of it"
                raise InvalidArgument(msg)
        if not self._free:
            self._grow()
        sets = self._free.pop()
        infos = [
            struct("VkDescriptorBufferInfo", buffer=buffer.native, offset=buffer.offset, range=buffer.span)
            for buffer in buffers
        ]
        writes = [
            struct("VkWriteDescriptorSet", dstSet=sets[0], dstBinding=index, pBufferInfo=info, **_ONE_BUFFER)
            for index, info in enumerate(infos)
        ]
        packed = array("VkWriteDescriptorSet", [each[0] for each in writes])
        context = self._context
        context.vk.vkUpdateDescriptorSets(context.device, len(writes), packed, 0, NULL)
        return sets

    def _grow(self) -> None:
        """Create another pool and put its sets on the free list."""
        context = self._context
        each = struct(
            "VkDescriptorPoolSize", type=_STORAGE, descriptorCount=_SETS_PER_POOL * max(self._count, 1)
        )
        info = struct(
            "VkDescriptorPoolCreateInfo", maxSets=_SETS_PER_POOL, poolSizeCount=1, pPoolSizes=[each]
        )
        pool = context.create("DescriptorPool", info, self._pools)
        request = struct(
            "VkDescriptorSetAllocateInfo",
            descriptorPool=pool,
            descriptorSetCount=_SETS_PER_POOL,
            pSetLayouts=[self._set_layout] * _SETS_PER_POOL,
        )
        made = array("VkDescriptorSet", _SETS_PER_POOL)
        result = context.vk.vkAllocateDescriptorSets(context.device, request, made)
        check("vkAllocateDescriptorSets", result)
        self._free.extend(array("VkDescriptorSet", [each]) for each in made)

    def forget(self, child: Child) -> None:
        """Reuse the descriptor sets of a closed buffer once no submitted work needs them."""
        for key in [key for key in self._bound if child.serial in key]:
            sets = self._bound.pop(key)
            self._context.retire(functools.partial(self._free.append, sets))
