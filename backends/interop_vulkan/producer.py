"""The Vulkan producer: checks the arguments of its callers and creates their objects."""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING

from interop.protocols import (
    HandleType,
    InvalidArgument,
    SemaphoreKind,
    Unsupported,
    WaitTimeout,
    as_choice,
    as_integer,
    check_range,
    is_windows,
)
from interop_vulkan._buffer_adoption import adopt_buffer
from interop_vulkan._buffer_import import import_buffer
from interop_vulkan._host_buffer import create_host_buffer
from interop_vulkan._signal_inlet import create_inlet
from interop_vulkan.memory import create_buffer
from interop_vulkan.semaphore import ProgressTimeline, create_semaphore
from interop_vulkan.submission import DEFAULT_TIMEOUT, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from interop.protocols import (
        BufferPart,
        DeviceInfo,
        Handle,
        HandleTypeLike,
        ImageDescriptor,
        MemoryDescriptor,
        ProducerSemaphore,
        SemaphoreKindLike,
    )
    from interop.toolkit import HostPages
    from interop_vulkan._context import Context
    from interop_vulkan._signal_inlet import SignalInlet
    from interop_vulkan.image import VulkanImage
    from interop_vulkan.kernels import Compute
    from interop_vulkan.memory import VulkanBuffer
    from interop_vulkan.render import Grid
    from interop_vulkan.semaphore import VulkanSemaphore
    from interop_vulkan.submission import PreparedSubmission

_SIZE_LIMIT = 2**63


class VulkanProducer:
    """An opened Vulkan device. Fulfils :class:`interop.protocols.GpuProducer`.

    Any thread may use the producer. Its objects keep the ``VkDevice`` alive. :meth:`close` closes the objects that are
    still open first.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._progress = ProgressTimeline(context)
        self._finalizer = weakref.finalize(self, _dropped, context, self._progress)
        self._finalizer.atexit = False

    @property
    def context(self) -> Context:
        """Instance, device and queue, for programs that record commands by themselves."""
        return self._context

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        return self._context.info

    @property
    def progress(self) -> VulkanSemaphore:
        """The timeline that each submission advances. It is never exported."""
        return self._progress

    @property
    def closed(self) -> bool:
        """Whether the producer was closed."""
        return self._context.closed

    def _open(self) -> Context:
        """Return the context for a new object, after destroying retired ones. Raises :class:`ClosedError`."""
        self._context.check_open()
        self._context.sweep()
        return self._context

    def create_buffer(
        self, size: int, *, export: HandleTypeLike | None = None, host_visible: bool = False
    ) -> VulkanBuffer:
        """Allocate a buffer; see :meth:`interop.protocols.Producer.create_buffer`."""
        context = self._open()
        nbytes = as_integer(size, "size")
        if not 0 < nbytes < _SIZE_LIMIT:
            raise InvalidArgument(f"size must be a positive number of bytes below 2**63, got {size}")
        handle_type = _handle_type(export, "export")
        if handle_type is HandleType.HOST_ALLOCATION:
            return create_host_buffer(context, nbytes, None, host_visible=host_visible)
        return create_buffer(context, nbytes, handle_type, host_visible=host_visible)

    def import_pages(
        self, pages: HostPages, *, size: int | None = None, host_visible: bool = False
    ) -> VulkanBuffer:
        """Create a buffer over host memory. Host and device see the same bytes.

        The buffer keeps the pages until it is closed and its work has ended. Pass the memory to a consumer with
        :meth:`interop_vulkan.memory.VulkanBuffer.export_memory`.

        Args:
            pages: Host memory, aligned as the driver demands.
            size: Bytes from the start of ``pages``; all of them by default.
            host_visible: Map the buffer for ``host_view`` too.

        Raises:
            InvalidArgument: The pages are not aligned, or smaller than ``size``.
            Unsupported: The driver imports no host memory.

        Note:
            ``VkImportMemoryHostPointerInfoEXT``.
        """
        context = self._open()
        wanted = pages.size if size is None else as_integer(size, "size")
        check_range(0, wanted, pages.size)
        return create_host_buffer(context, wanted, pages, host_visible=host_visible)

    def import_memory(
        self,
        handle: Handle,
        descriptor: MemoryDescriptor,
        *,
        host_visible: bool = False,
        memory_type: int | None = None,
    ) -> VulkanBuffer:
        """Create a buffer over memory of another API or driver: a camera's dma-buf, another producer's allocation.

        The buffer is the descriptor's ``size`` bytes from its ``offset`` on. It exports the memory to consumers. Its
        first submission must acquire it (``prepare(acquire=[buffer])``); otherwise its bytes are undefined.

        Args:
            handle: Handle of the allocation. Success consumes it; after an error the caller still owns it. An opaque
                handle must come from the same driver and device.
            descriptor: The exporter's description of the allocation.
            host_visible: Map the buffer for ``host_view``.
            memory_type: Index of the memory type in which an opaque handle was allocated; by default the type that
                :meth:`create_buffer` chooses. The driver tells the type of a dma-buf.

        Raises:
            HandleError: The device does not import such handles, or the handle contradicts the descriptor.
            InvalidArgument: Buffers of this device cannot have that offset or size.
            Unsupported: No memory type fits.
            DriverError: The driver refuses the import.

        Note:
            ``VkImportMemoryFdInfoKHR``, ``VkImportMemoryWin32HandleInfoKHR``, ``vkGetMemoryFdPropertiesKHR``.
        """
        context = self._open()
        return import_buffer(context, handle, descriptor, memory_type=memory_type, host_visible=host_visible)

    def adopt_buffer(
        self,
        buffer: object,
        memory: object,
        *,
        size: int,
        allocation_size: int | None = None,
        memory_offset: int = 0,
        offset: int = 0,
        handle_type: HandleTypeLike | None = None,
        dedicated: bool = False,
    ) -> VulkanBuffer:
        """Take a range of the caller's ``VkBuffer``, for :meth:`interop.links.Link.adopt` or for export.

        The caller keeps buffer and memory. Closing the result destroys neither; close it before the buffer is
        destroyed. The buffer needs ``VkExternalMemoryBufferCreateInfo`` of the handle type, and the usage of the
        commands that are recorded with it: ``TRANSFER_DST`` for fills, both ``TRANSFER`` usages on the staged path.

        Args:
            buffer: The ``VkBuffer``, in the forms that :func:`interop_vulkan.adopt` takes.
            memory: The buffer's ``VkDeviceMemory``, allocated with ``VkExportMemoryAllocateInfo``; or a
                :class:`interop.protocols.Handle` of it. The caller keeps the handle; the buffer keeps a duplicate.
            size: Bytes of the range.
            allocation_size: ``VkMemoryAllocateInfo::allocationSize``; by default as much as the buffer needs.
            memory_offset: Byte of the memory at which the buffer is bound.
            offset: First byte of the range in the buffer, a multiple of 4.
            handle_type: Handle type of the export; by default ``"opaque_fd"``, on Windows ``"opaque_win32"``. A driver
                gives an NT handle once; if the caller has requested it already, ``memory`` must be that handle.
            dedicated: Whether the memory was allocated for this buffer alone.

        Raises:
            Unsupported: The device does not export that handle type.
            HandleError: The handle contradicts the other arguments.
            InvalidArgument: A number contradicts the buffer's memory requirements.

        Note:
            ``vkGetBufferMemoryRequirements2``.
        """
        usual = HandleType.OPAQUE_WIN32 if is_windows() else HandleType.OPAQUE_FD
        return adopt_buffer(
            self._open(),
            buffer,
            memory,
            size=as_integer(size, "size"),
            allocation_size=None
            if allocation_size is None
            else as_integer(allocation_size, "allocation_size"),
            memory_offset=as_integer(memory_offset, "memory_offset"),
            offset=as_integer(offset, "offset"),
            handle_type=_handle_type(handle_type, "handle_type") or usual,
            dedicated=dedicated,
        )

    def create_image(
        self,
        image: ImageDescriptor,
        *,
        export: HandleTypeLike | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> VulkanImage:
        """Create an image; see :meth:`interop.protocols.ImageProducer.create_image`."""
        from interop_vulkan.image import create_image  # loaded by programs that use images

        context = self._open()
        if image.offset:
            raise InvalidArgument(f"image.offset must be 0 for a new image, got {image.offset}")
        handle_type = _handle_type(export, "export")
        if handle_type is HandleType.HOST_ALLOCATION:
            raise Unsupported("an image in host memory", "this backend imports host pages for buffers only")
        return create_image(context, image, handle_type, timeout)

    def create_semaphore(
        self, kind: SemaphoreKindLike, *, export: HandleTypeLike | None = None
    ) -> VulkanSemaphore:
        """Create a semaphore; see :meth:`interop.protocols.Producer.create_semaphore`."""
        context = self._open()
        return create_semaphore(
            context, as_choice(SemaphoreKind, kind, "kind"), _handle_type(export, "export")
        )

    def create_importing_semaphore(self, handle_type: HandleTypeLike) -> SignalInlet:
        """Create a semaphore that imports signals; see :class:`interop.protocols.ImportingProducer`."""
        context = self._open()
        return create_inlet(context, as_choice(HandleType, handle_type, "handle_type"))

    def create_mesh(self, rows: int, columns: int, *, width: int, height: int) -> Grid:
        """Create a mesh; see :meth:`interop.protocols.MeshProducer.create_mesh`."""
        from interop_vulkan.render import create_mesh  # loaded by programs that draw

        grid = as_integer(rows, "rows"), as_integer(columns, "columns")
        return create_mesh(self._open(), *grid, as_integer(width, "width"), as_integer(height, "height"))

    def create_compute(self, spirv: bytes, *, buffers: int, push_constant_bytes: int = 0) -> Compute:
        """Create a compute pipeline; see :meth:`interop.protocols.ComputeProducer.create_compute`."""
        from interop_vulkan.kernels import create_compute  # loaded by programs that compute

        count, push = as_integer(buffers, "buffers"), as_integer(push_constant_bytes, "push_constant_bytes")
        return create_compute(self._open(), spirv, count, push)

    def prepare(
        self,
        *,
        acquire: Sequence[BufferPart] = (),
        release: Sequence[BufferPart] = (),
        wait: ProducerSemaphore | None = None,
        signal: ProducerSemaphore | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> PreparedSubmission:
        """Prepare a submission; see :meth:`interop.protocols.Producer.prepare`."""
        return prepare(self._open(), acquire, release, wait, signal, timeout)

    def wait_idle(self, timeout: float) -> None:
        """Block until everything submitted has ended, or ``timeout`` seconds. Raises :class:`WaitTimeout`."""
        context = self._context
        context.check_open()
        if not context.timeline.wait(context.submitted, timeout):
            raise WaitTimeout(f"the Vulkan queue of {context.info.name}", timeout)
        context.sweep()

    def close(self, timeout: float | None = None) -> None:
        """Close everything that the producer made, then the device. A second call does nothing.

        Args:
            timeout: Seconds to wait for work in flight; 10 by default. If work still runs after them, the device stays
                open and a ``ResourceWarning`` says so.
        """
        self._finalizer.detach()
        self._context.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _handle_type(given: HandleTypeLike | None, argument: str) -> HandleType | None:
    return None if given is None else as_choice(HandleType, given, argument)


def _dropped(context: Context, progress: VulkanSemaphore) -> None:
    """Warn about a producer that was not closed. Its device is destroyed with the last object on it."""
    if context.orphaned:
        return
    warnings.warn(f"unclosed producer on {context.info.name}", ResourceWarning, stacklevel=2)
    progress.close()
