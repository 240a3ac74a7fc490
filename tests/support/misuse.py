"""Deliberate misuse of Vulkan, which the validation layer must report."""

from __future__ import annotations

import contextlib

import interop


def buffer_without_usage() -> None:
    """Create a ``VkBuffer`` without usage flags. Drivers accept it; the validation layer must report it."""
    from interop_vulkan import _driver
    from interop_vulkan.producer import VulkanProducer as Producer

    with interop.connect(consumer="numpy") as link:
        assert isinstance(link.producer, Producer)
        with contextlib.ExitStack() as undo:
            link.producer.context.create("Buffer", _driver.struct("VkBufferCreateInfo", size=16), undo)


def overlapping_copy() -> None:
    """Record a copy between overlapping ranges of one buffer, inside a turn like any other."""
    from interop_vulkan import _driver
    from interop_vulkan.producer import VulkanProducer as Producer

    with interop.connect(consumer="numpy") as link:
        assert isinstance(link.producer, Producer)
        buffer = link.buffer((16,), "uint32")
        native = buffer.producer_buffer.native
        with link.producer_turn(buffer) as commands:
            regions = _driver.ffi.new("VkBufferCopy[]", [(0, 4, 32)])
            link.producer.context.vk.vkCmdCopyBuffer(commands.native, native, native, 1, regions)
