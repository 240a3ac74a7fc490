"""Memory barriers, transfers of ownership, and the ``VkSubmitInfo`` of a submission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop_vulkan._driver import NULL, QUEUE_FAMILY_EXTERNAL, VK, array, struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop_vulkan.memory import Part, VulkanBuffer

EVERYTHING: int = VK.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT
READ: int = VK.VK_ACCESS_MEMORY_READ_BIT
WRITE: int = VK.VK_ACCESS_MEMORY_WRITE_BIT
ORDER = struct("VkMemoryBarrier", srcAccessMask=WRITE, dstAccessMask=WRITE | READ)
"""Orders commands after everything written before, by earlier submissions too."""
TO_HOST = struct("VkMemoryBarrier", srcAccessMask=WRITE, dstAccessMask=VK.VK_ACCESS_HOST_READ_BIT)
"""Makes everything written before visible to the host."""


def transfer(
    buffers: Sequence[VulkanBuffer | Part], source: int, target: int, memory: Any
) -> tuple[Any, ...]:
    """Return the arguments of one ``vkCmdPipelineBarrier``: transfers of ownership and a memory barrier.

    One call does both, because each costs an NVIDIA GPU some 4 µs (H200; ``benchmarks/ring.py``).
    """
    giving = target == QUEUE_FAMILY_EXTERNAL
    barriers = [
        struct(
            "VkBufferMemoryBarrier",
            srcAccessMask=WRITE if giving else 0,  # the other API records the other half
            dstAccessMask=0 if giving else READ | WRITE,
            srcQueueFamilyIndex=source,
            dstQueueFamilyIndex=target,
            buffer=buffer.native,
            offset=buffer.offset,
            size=buffer.span,
        )
        for buffer in buffers
    ]
    packed = array("VkBufferMemoryBarrier", [each[0] for each in barriers])
    # All commands on both sides, so that the transfer chains with the semaphores around it.
    stages = EVERYTHING | (VK.VK_PIPELINE_STAGE_HOST_BIT if memory is TO_HOST else 0)
    return (EVERYTHING, stages, 0, int(memory != NULL), memory, len(barriers), packed, 0, NULL)


class SubmitShape:
    """A ``VkSubmitInfo`` over command buffers. ``slot`` is the index of the recording, or -1 without one."""

    def __init__(self, head: Any, tail: Any, *, recorded: bool, **shared: Any) -> None:
        buffers = [each for each in (head, NULL if recorded else None, tail) if each is not None]
        self.slot = buffers.index(NULL) if recorded else -1
        self.buffers = array("VkCommandBuffer", buffers)
        self.info = struct(
            "VkSubmitInfo", commandBufferCount=len(buffers), pCommandBuffers=self.buffers, **shared
        )
