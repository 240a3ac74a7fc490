"""Buffers that the caller created and keeps."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.protocols import Handle, HandleError, InvalidArgument, MemoryDescriptor, check_range
from interop.toolkit import check_import_memory
from interop_vulkan._allocation import exportable, requirements
from interop_vulkan._exports import Exports
from interop_vulkan._native_handles import as_handle
from interop_vulkan.memory import PART_ALIGNMENT, VulkanBuffer

if TYPE_CHECKING:
    from interop.protocols import HandleType
    from interop_vulkan._context import Context


def adopt_buffer(
    context: Context,
    buffer: object,
    memory: object,
    *,
    size: int,
    allocation_size: int | None,
    memory_offset: int,
    offset: int,
    handle_type: HandleType,
    dedicated: bool,
) -> VulkanBuffer:
    """Create the buffer of :meth:`interop_vulkan.producer.VulkanProducer.adopt_buffer`."""
    native = as_handle("VkBuffer", buffer)
    given = memory if isinstance(memory, Handle) else None
    if given is None:
        exportable(context, handle_type)
    elif given.type is not handle_type:
        msg = f"the handle is {given.type.value}, but handle_type says {handle_type.value}"
        raise HandleError(msg)
    if memory_offset < 0 or offset < 0 or offset % PART_ALIGNMENT:
        msg = (
            f"memory_offset must be 0 or more and offset a multiple of {PART_ALIGNMENT}, "
            f"got {memory_offset} and {offset}"
        )
        raise InvalidArgument(msg)
    needs, _ = requirements(context, "Buffer", native)
    bound = int(needs.memoryRequirements.size)
    if allocation_size is None:
        allocation_size = memory_offset + bound
    check_range(memory_offset, bound, allocation_size, alignment=int(needs.memoryRequirements.alignment))
    check_range(offset, size, bound)
    if dedicated and memory_offset:
        raise InvalidArgument(
            f"the buffer of a dedicated allocation is bound at memory_offset 0, got {memory_offset}"
        )
    descriptor = MemoryDescriptor(
        allocation_size=allocation_size,
        size=size,
        offset=memory_offset + offset,
        handle_type=handle_type,
        dedicated=dedicated,
        device=context.info.identity,
    )
    with ExitStack() as undo:
        if given is not None:
            check_import_memory(given, descriptor, frozenset({handle_type}))
            source = given.dup()
            undo.callback(source.close)
            take = source.dup
        else:
            take = Exports(context, "Memory", as_handle("VkDeviceMemory", memory), handle_type, undo).take
        export, destroy = (take, descriptor), undo.pop_all().close
        return VulkanBuffer(context, native, export, destroy, size, allocation_size, offset=offset, span=size)
