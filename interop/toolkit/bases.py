"""The base of consumers: who owns what, one import for each allocation, the checks before a driver is called.

The protocols of :mod:`interop.protocols` say what a backend is. No backend has to derive from this class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from interop.protocols import DEFAULT_TIMEOUT, SemaphoreKind, Unsupported
from interop.toolkit.checks import check_image, check_import_memory, check_import_semaphore
from interop.toolkit.import_cache import ImportCache, View
from interop.toolkit.resource import Children, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interop.protocols import (
        DeviceInfo,
        ExternalSemaphore,
        Handle,
        ImageDescriptor,
        MappedBuffer,
        MappedImage,
        MemoryDescriptor,
        Module,
        SemaphoreDescriptor,
    )
    from interop.toolkit.import_cache import ImportedAllocation, Share
    from interop.toolkit.resource import Closable

_Child = TypeVar("_Child", bound="Closable")
Stream = TypeVar("Stream", bound=Resource)


class ConsumerBase(Resource, ABC, Generic[View, Stream]):
    """An opened device that owns what it creates. Fulfils :class:`interop.protocols.Consumer`."""

    no_semaphores = ""
    """Why the API imports no semaphores at all; empty where it does."""
    no_timelines = ""
    """Why the API imports no timeline semaphores; empty where it does."""

    def __init__(self, device: DeviceInfo, *release: Callable[[], object]) -> None:
        """Create the default stream. What :meth:`open_stream` needs must be set before.

        Args:
            device: The device; the caller's claim on it passes to the consumer.
            *release: Called once, after all children have been closed; also when the stream cannot be created.
        """
        children = Children()
        super().__init__(f"consumer on {device}", _close, children, release)
        self._children = children
        self._imports: ImportCache[View] = children.add(ImportCache())
        self.device = device
        self._importable = device.capabilities.memory_import
        try:
            self._stream = self.create_stream()
        except BaseException:
            self.close()
            raise

    @property
    def stream(self) -> Stream:
        """The stream of all work that names no other."""
        if not self.alive:
            self.check_open()
        return self._stream

    def keep(self, child: _Child) -> _Child:
        """Close ``child`` with this consumer, unless it is closed or dropped before; return ``child``."""
        return self._children.add(child)

    @abstractmethod
    def open_stream(self) -> Stream:
        """Create a stream that nobody owns yet."""

    @abstractmethod
    def open_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> ImportedAllocation[View]:
        """Import a whole allocation.

        Args:
            handle: Of a type in the device's ``memory_import``. Consume it on success only.
            descriptor: Describes the whole allocation and fits the handle.
        """

    def open_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> Any:
        """Import a semaphore. ``handle`` is of an importable type; consume it on success only."""
        msg = (
            f"{type(self).__name__} must define open_semaphore, or say in no_semaphores why its API has none"
        )
        raise NotImplementedError(msg)

    @abstractmethod
    def allocate(self, size: int, *, timeout: float = DEFAULT_TIMEOUT) -> MappedBuffer:
        """Allocate memory of the consumer's own; see :meth:`interop.protocols.Consumer.allocate`."""

    @abstractmethod
    def compile(self, source: str | Mapping[str, str]) -> Module:
        """Compile a kernel source; see :meth:`interop.protocols.Consumer.compile`."""

    def create_stream(self) -> Stream:
        """Create a further stream; the caller closes it."""
        self.check_open()
        return self.keep(self.open_stream())

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Share[View]:
        """Import an allocation, once for all descriptors that name it; see :class:`interop.toolkit.ImportCache`.

        ``handle`` is consumed when this returns and untouched when it raises.
        """
        if not self.alive:
            self.check_open()
        return self._children.add(
            self._imports.take(handle, descriptor, self.open_memory, supported=self._importable)
        )

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> ExternalSemaphore:
        """Import a semaphore. ``handle`` is consumed when this returns and untouched when it raises.

        Raises:
            Unsupported: The API has no semaphores of that kind.
            HandleError: The handle contradicts the descriptor, or cannot be imported as a semaphore of that kind.
        """
        self.check_open()
        kind = descriptor.kind
        reason = self.no_semaphores or (self.no_timelines if kind is SemaphoreKind.TIMELINE else "")
        if reason:
            raise Unsupported(f"import of a {kind.value} semaphore", reason)
        check_import_semaphore(handle, descriptor, self.device.capabilities.importable(kind))
        made: ExternalSemaphore = self.keep(self.open_semaphore(handle, descriptor))
        return made


class ImageConsumerBase(ConsumerBase[View, Stream], Generic[View, Stream]):
    """A consumer that imports images. Fulfils :class:`interop.protocols.ImageConsumer`."""

    def import_image(
        self,
        handle: Handle,
        memory: MemoryDescriptor,
        image: ImageDescriptor,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Any:
        """Import an image; see :meth:`interop.protocols.ImageConsumer.import_image`."""
        self.check_open()
        check_image(memory, image)
        check_import_memory(handle, memory, self._importable)
        return self.keep(self.open_image(handle, memory, image, timeout))

    @abstractmethod
    def open_image(
        self, handle: Handle, memory: MemoryDescriptor, image: ImageDescriptor, timeout: float
    ) -> MappedImage:
        """Import an image that has been checked; ``handle`` is consumed on success only."""


def _close(children: Children, release: tuple[Callable[[], object], ...]) -> None:
    with ExitStack() as every:
        for each in release:
            every.callback(each)
        every.callback(children.close)
