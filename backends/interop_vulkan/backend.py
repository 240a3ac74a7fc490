"""The Vulkan backend and its producer."""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING

from interop.protocols import BackendUnavailable, HandleType, WaitTimeout, check_range, is_windows
from interop_vulkan import _devices, _driver
from interop_vulkan._context import Context, open_device
from interop_vulkan._host import create_host_buffer
from interop_vulkan.memory import Buffer, create_buffer
from interop_vulkan.plugin import INSTALL_HINT
from interop_vulkan.semaphore import Inlet, Progress, Semaphore, create_importing_semaphore, create_semaphore
from interop_vulkan.stream import PreparedSubmission, prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from interop.protocols import (
        BufferPart,
        DeviceInfo,
        Handle,
        ImageDescriptor,
        MemoryDescriptor,
        ProducerSemaphore,
        SemaphoreKind,
    )
    from interop.toolkit import HostPages
    from interop_vulkan.adopted import AdoptedBuffer
    from interop_vulkan.image import Image
    from interop_vulkan.kernels import Compute
    from interop_vulkan.render import Grid


class VulkanBackend:
    """Vulkan on this machine. Fulfils :class:`interop.protocols.ProducerBackend`."""

    name = "vulkan"

    def versions(self) -> Mapping[str, str]:
        """Versions of the package and of the loader (``vkEnumerateInstanceVersion``)."""
        import vulkan  # for its version, which nothing else needs

        loader = _driver.global_functions().create("vkEnumerateInstanceVersion", "uint32_t")
        return {"vulkan (package)": vulkan.__version__, "Vulkan loader": _devices.version_text(loader)}

    def devices(self) -> Sequence[DeviceInfo]:
        """List the devices in the loader's order.

        Raises :class:`BackendUnavailable` when there is no driver or no device.
        """
        devices = _devices.list_devices()
        if not devices:
            raise BackendUnavailable(self.name, "the Vulkan drivers find no device", INSTALL_HINT)
        return devices

    def open_producer(self, device: DeviceInfo) -> Producer:
        """Open a device with a ``VkDevice`` and a queue of its own. The caller owns the result.

        Raises :class:`Unsupported` for a driver below Vulkan 1.2, without timeline semaphores or without a
        compute queue.
        """
        return Producer(open_device(device))


class Producer:
    """An opened Vulkan device. Fulfils :class:`interop.protocols.Producer`; a context manager.

    Any thread may use it. What it made keeps the ``VkDevice`` alive; :meth:`close` closes what is left of
    it first.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._progress = Progress(context)
        self._finalizer = weakref.finalize(self, _dropped, context, self._progress)
        self._finalizer.atexit = False

    @property
    def context(self) -> Context:
        """Instance, device and queue, for modules of this backend and for those who record by themselves."""
        return self._context

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        return self._context.info

    @property
    def progress(self) -> Semaphore:
        """The timeline that each submission advances; never exported."""
        return self._progress

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._context.closed

    def create_buffer(
        self, size: int, *, export: HandleType | None = None, host_visible: bool = False
    ) -> Buffer:
        """Allocate a buffer of ``size`` bytes; see :meth:`interop.protocols.Producer.create_buffer`."""
        return create_buffer(self._context, size, export, host_visible=host_visible)

    def import_pages(
        self, pages: HostPages, *, size: int | None = None, host_visible: bool = False
    ) -> Buffer:
        """Make a buffer of the first ``size`` bytes of host memory; they stay the same bytes for everybody.

        The pages are held until the buffer, and the work on it, has gone. ``size`` is all of them by default.
        Hand them to a consumer with :meth:`Buffer.export_memory`. Raises :class:`InvalidArgument` for pages
        that the driver's alignment does not fit, :class:`Unsupported` where it takes none
        (``VkImportMemoryHostPointerInfoEXT``).
        """
        self._context.check_open()
        self._context.sweep()
        wanted = pages.size if size is None else size
        check_range(0, wanted, pages.size)
        return create_host_buffer(self._context, wanted, pages, host_visible=host_visible)

    def import_memory(
        self,
        handle: Handle,
        descriptor: MemoryDescriptor,
        *,
        host_visible: bool = False,
        memory_type: int | None = None,
    ) -> Buffer:
        """Make a buffer over memory that another API or driver allocated: a camera's dma-buf, another producer's.

        ``handle`` is consumed when this returns and untouched when it raises. The buffer is the descriptor's
        ``size`` bytes from its ``offset`` on, and hands the memory on to consumers with :meth:`Buffer.export_memory`.
        An opaque handle must come from the same driver and device, and its memory from a type that is known by its
        position, ``memory_type``: by default the one that :meth:`create_buffer` would choose. A dma-buf's types are
        asked of the driver (``vkGetMemoryFdPropertiesKHR``).

        The first submission must take the buffer over (``prepare(acquire=[buffer])``), or its bytes are undefined.
        Raises :class:`HandleError` for a handle that the device does not import or that contradicts the descriptor,
        :class:`InvalidArgument` for an offset or size that its buffers cannot have, :class:`Unsupported` without a
        memory type that fits, :class:`DriverError` when the driver refuses (``VkImportMemoryFdInfoKHR``,
        ``VkImportMemoryWin32HandleInfoKHR``).
        """
        from interop_vulkan._imported import import_buffer

        return import_buffer(
            self._context, handle, descriptor, memory_type=memory_type, host_visible=host_visible
        )

    def adopt_buffer(
        self,
        buffer: object,
        memory: object,
        *,
        size: int,
        allocation_size: int | None = None,
        memory_offset: int = 0,
        offset: int = 0,
        handle_type: HandleType | None = None,
        dedicated: bool = False,
    ) -> AdoptedBuffer:
        """Take ``size`` bytes, from ``offset`` on, of a ``VkBuffer`` that the caller made, and keeps.

        For :meth:`interop.links.Link.adopt`, or to be exported. ``memory`` is the ``VkDeviceMemory`` to which
        the buffer is bound at ``memory_offset``, of ``allocation_size`` bytes
        (``VkMemoryAllocateInfo::allocationSize``; by default just what the buffer needs), allocated with
        ``VkExportMemoryAllocateInfo`` for ``handle_type`` (by default ``opaque_fd``, on Windows ``opaque_win32``, of
        which the driver may be asked for a handle once: if you have done so, give that), and for this buffer
        alone when ``dedicated``. Both as :func:`interop_vulkan.adopted.adopt` takes them. In place of the memory
        it may be a :class:`interop.protocols.Handle` of the allocation, where a library hands out nothing else;
        it stays the caller's, a duplicate is kept.

        The buffer needs ``VkExternalMemoryBufferCreateInfo`` of that type, and the usage of what is recorded with
        it: ``TRANSFER_DST`` for fills, both ``TRANSFER`` usages on the staged path. Closing the result destroys
        nothing; close it before the buffer is destroyed. Raises :class:`Unsupported` for a handle type that the
        device does not export, :class:`HandleError` and :class:`InvalidArgument` for a handle or numbers that
        contradict what the driver says of the buffer (``vkGetBufferMemoryRequirements2``).
        """
        from interop_vulkan.adopted import adopt_buffer

        return adopt_buffer(
            self._context,
            buffer,
            memory,
            size=size,
            allocation_size=allocation_size,
            memory_offset=memory_offset,
            offset=offset,
            handle_type=_usual_type() if handle_type is None else handle_type,
            dedicated=dedicated,
        )

    def create_image(self, image: ImageDescriptor, *, export: HandleType | None = None) -> Image:
        """Make an image; see :meth:`interop.protocols.ImageProducer.create_image`."""
        from interop_vulkan.image import create_image

        return create_image(self._context, image, export)

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType | None = None) -> Semaphore:
        """Make a semaphore; see :meth:`interop.protocols.Producer.create_semaphore`."""
        return create_semaphore(self._context, kind, export)

    def create_importing_semaphore(self, handle_type: HandleType) -> Inlet:
        """Make a semaphore that takes signals in; see :class:`interop.protocols.ImportingProducer`."""
        return create_importing_semaphore(self._context, handle_type)

    def create_mesh(self, rows: int, columns: int, *, width: int, height: int) -> Grid:
        """Make a grid of heights to be drawn; see :class:`interop_vulkan.render.Grid`.

        Raises :class:`Unsupported` when the queue has no graphics.
        """
        from interop_vulkan.render import create_mesh

        return create_mesh(self._context, rows, columns, width, height)

    def create_compute(self, spirv: bytes, *, buffers: int, push_constant_bytes: int = 0) -> Compute:
        """Make a compute pipeline from SPIR-V; see :func:`interop_vulkan.kernels.create_compute`."""
        from interop_vulkan.kernels import create_compute

        return create_compute(self._context, spirv, buffers, push_constant_bytes)

    def prepare(
        self,
        *,
        acquire: Sequence[BufferPart] = (),
        release: Sequence[BufferPart] = (),
        wait: ProducerSemaphore | None = None,
        signal: ProducerSemaphore | None = None,
    ) -> PreparedSubmission:
        """Prepare a shape of submission; see :meth:`interop.protocols.Producer.prepare`."""
        return prepare(self._context, acquire, release, wait, signal)

    def wait_idle(self, timeout: float) -> None:
        """Block until everything submitted has ended. Raises :class:`WaitTimeout`."""
        context = self._context
        context.check_open()
        if not context.timeline.wait(context.submitted, timeout):
            raise WaitTimeout(f"the Vulkan queue of {context.info.name}", timeout)
        context.sweep()

    def close(self) -> None:
        """Close everything that was made here, then the device. A second call does nothing.

        Waits at most :data:`interop_vulkan._context.CLOSE_TIMEOUT` for work in flight; work that has not
        ended by then leaves the device open, with a ``ResourceWarning``.
        """
        self._finalizer.detach()
        self._context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _usual_type() -> HandleType:
    return HandleType.OPAQUE_WIN32 if is_windows() else HandleType.OPAQUE_FD


def _dropped(context: Context, progress: Progress) -> None:
    """Report a producer that was not closed. Its device goes when the last object on it does."""
    if context.orphaned:
        return
    warnings.warn(f"unclosed producer on {context.info.name}", ResourceWarning, stacklevel=2)
    progress.close()
