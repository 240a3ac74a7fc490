"""Buffers that the caller created and keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.protocols import Handle, HandleError, InvalidArgument, MemoryDescriptor, check_range
from interop.toolkit import check_import_memory
from interop_vulkan._allocation import exportable
from interop_vulkan._driver import NULL, struct
from interop_vulkan._exports import Exports, memory_exports
from interop_vulkan._native_handles import as_handle
from interop_vulkan.memory import PART_ALIGNMENT, VulkanBuffer

if TYPE_CHECKING:
    from interop.protocols import HandleType
    from interop_vulkan._context import Context


class AdoptedBuffer(VulkanBuffer):
    """A range of the caller's ``VkBuffer``. Fulfils :class:`interop.protocols.ProducerBuffer`."""

    def __init__(
        self,
        context: Context,
        native: Any,
        source: Exports | Handle,
        *,
        offset: int,
        size: int,
        descriptor: MemoryDescriptor,
    ) -> None:
        """``source`` gives the handles of the memory. The buffer closes it."""
        self._offset = offset
        super().__init__(
            context,
            native,
            None,
            size=size,
            allocation_size=descriptor.allocation_size,
            export=descriptor.handle_type,
            dedicated=descriptor.dedicated,
            mapped=NULL,
            destroy=source.close,
        )
        self._descriptor = descriptor
        self._source = source

    @property
    def offset(self) -> int:
        """First byte in the ``VkBuffer``."""
        return self._offset

    @property
    def span(self) -> int:
        """Size that commands and descriptors take: the range alone, because the rest is the caller's."""
        return self.size

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Export the allocation: by the driver, or as a duplicate of the caller's handle."""
        self.check_open()
        source = self._source
        return source.dup() if isinstance(source, Handle) else source.take(), self._descriptor


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
) -> AdoptedBuffer:
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
    needs = struct("VkMemoryRequirements2")
    which = struct("VkBufferMemoryRequirementsInfo2", buffer=native)
    context.vk.vkGetBufferMemoryRequirements2(context.device, which, needs)
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
    if given is not None:
        check_import_memory(given, descriptor, frozenset({handle_type}))
    source: Exports | Handle
    if given is not None:
        source = given.dup()
    else:
        source = memory_exports(context, as_handle("VkDeviceMemory", memory), handle_type)
    return AdoptedBuffer(context, native, source, offset=offset, size=size, descriptor=descriptor)
