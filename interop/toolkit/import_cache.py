"""The import cache: one driver import for each allocation, however many descriptors name a part of it."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from interop.protocols import (
    DEFAULT_TIMEOUT,
    ClosedError,
    HandleError,
    HandleType,
    InteropError,
    PreparedCall,
)
from interop.toolkit.checks import check_import_memory
from interop.toolkit.resource import Resource
from interop.toolkit.views import resolve_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import DType, Handle, MappedBuffer, MemoryDescriptor, Stream

View = TypeVar("View", bound="MappedBuffer")
View_co = TypeVar("View_co", bound="MappedBuffer", covariant=True)


class ImportedAllocation(Protocol[View_co]):
    """A whole allocation as a driver imported it. :class:`Share` makes an ``ExternalMemory`` of it."""

    def view_at(
        self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType, timeout: float
    ) -> View_co:
        """Return a view of a range that has been checked.

        Args:
            first: First byte in the allocation; the descriptor's offset is counted in.
            shape: Extent in elements.
            nbytes: Bytes of that shape.
            dtype: Element type.
            timeout: Seconds that reads and writes of the view wait at most.
        """
        ...

    def prepare_acquire(self, stream: Stream) -> PreparedCall | None:
        """Return the call that acquires the allocation on a stream; None where the API has no ownership.

        The call notes the acquire before it calls the driver, and :meth:`close` releases what is acquired then.
        Raises :class:`InvalidArgument` for a stream of another device, :class:`ClosedError` for a closed one.
        """
        ...

    def prepare_release(self, stream: Stream) -> PreparedCall | None:
        """Return the call that releases the allocation on a stream; as :meth:`prepare_acquire`."""
        ...

    def close(self) -> None:
        """Release the import. A second call does nothing."""
        ...


class _Import(Generic[View]):
    """One import, and its shares."""

    __slots__ = ("descriptor", "file", "held", "key", "ordering", "shares", "whole")

    def __init__(
        self,
        whole: ImportedAllocation[View],
        descriptor: MemoryDescriptor,
        key: object,
        file: tuple[int, int] | None,
        token: object,
    ) -> None:
        self.whole = whole
        self.descriptor = descriptor
        self.key = key
        self.file = file
        """Device and inode behind the handle that was imported."""
        self.ordering = threading.RLock()
        """Held over the driver calls that change ownership, which may wait. The lock of the cache is not."""
        self.shares: set[object] = {token}
        self.held: dict[object, Stream] = {}
        """The stream of each share that has been acquired and not released."""


class ImportCache(Generic[View]):
    """The imports of one consumer, by :attr:`interop.protocols.MemoryDescriptor.allocation`. For any thread.

    The cache owns the imports. Each caller owns the share that it received and must close it; the last share of an
    import closes the import.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a garbage collection inside may drop shares
        self._known: dict[object, _Import[View]] = {}
        """By the name of the allocation, or by the token of the only share where the allocation has no name."""

    def take(
        self,
        handle: Handle,
        descriptor: MemoryDescriptor,
        open_whole: Callable[[Handle, MemoryDescriptor], ImportedAllocation[View]],
        *,
        supported: frozenset[HandleType],
    ) -> Share[View]:
        """Return a share of an allocation, and import the allocation if it is not imported yet.

        Args:
            handle: Consumed when this returns, whether or not a driver was called; untouched when it raises.
            descriptor: One without ``allocation`` is always imported anew.
            open_whole: Imports an allocation; called with the handle and a descriptor of the whole allocation.
            supported: Handle types that the device imports.

        Raises:
            HandleError: As :func:`interop.toolkit.check_import_memory`; or the handle or the descriptor contradicts
                the import of the allocation that the descriptor names.
            DriverError: From ``open_whole``.
        """
        status = check_import_memory(handle, descriptor, supported)
        file = (status.st_dev, status.st_ino) if status is not None else _host_address(handle)
        token = object()
        key: object = descriptor.allocation
        if key is None:
            key = token
        with self.lock:
            found = self._known.get(key)
            if found is None:
                whole = descriptor.of_all()
                self._known[key] = found = _Import(open_whole(handle, whole), whole, key, file, token)
            else:
                found.shares.add(token)
                try:
                    _check_same(found, descriptor, file)
                    handle.close()
                except BaseException:
                    self.drop(found, token)
                    raise
        return Share(self, found, descriptor, token)

    def drop(self, shared: _Import[View], token: object) -> None:
        """Remove one share from an import; the last one closes the import. For :class:`Share`."""
        with self.lock:
            shared.shares.discard(token)
            stream = shared.held.pop(token, None)
            if not shared.shares:
                if self._known.get(shared.key) is shared:
                    del self._known[shared.key]
                shared.whole.close()
            elif stream is not None and not shared.held:
                with suppress(ClosedError):  # of the stream: its work has ended
                    _run(shared.whole.prepare_release(stream))

    def close(self) -> None:
        """Close the imports without a share, such as one whose share Ctrl-C prevented. For the consumer's end."""
        with self.lock, ExitStack() as every:
            for left in self._known.values():
                every.callback(left.whole.close)
            self._known.clear()


def _host_address(handle: Handle) -> tuple[int, int] | None:
    """Return what is equal for all handles of one allocation that are no fds; None where nothing is."""
    return (handle.value, 0) if handle.type is HandleType.HOST_ALLOCATION else None


def _check_same(shared: _Import[View], descriptor: MemoryDescriptor, file: tuple[int, int] | None) -> None:
    """Refuse a handle or a descriptor that is not of the import."""
    known = shared.descriptor
    for name in ("allocation_size", "handle_type", "dedicated"):
        theirs, ours = getattr(descriptor, name), getattr(known, name)
        if theirs != ours:
            raise HandleError(
                f"this allocation was imported with {name} {ours}, but the descriptor says {theirs}"
            )
    if file != shared.file:  # every export of one allocation leads to the same file or address
        raise HandleError("the handle does not belong to the allocation that its descriptor names")


def _run(prepared: PreparedCall | None) -> None:
    if prepared is not None:
        prepared.run()


class Share(Resource, Generic[View]):
    """One descriptor's share of an imported allocation. Fulfils :class:`interop.protocols.ExternalMemory`."""

    __slots__ = ("_shared", "_token", "descriptor")

    def __init__(
        self, imports: ImportCache[View], shared: _Import[View], descriptor: MemoryDescriptor, token: object
    ) -> None:
        super().__init__(f"external memory of {descriptor.size} bytes", imports.drop, shared, token)
        self.descriptor = descriptor
        """The descriptor that was imported."""
        self._shared = shared
        self._token = token

    @property
    def whole(self) -> ImportedAllocation[View]:
        """The driver's import, which other descriptors of the allocation share."""
        self.check_open()
        return self._shared.whole

    def map_buffer(
        self,
        *,
        offset: int = 0,
        size: int | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: DType | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> View:
        """Return a view; see :meth:`interop.protocols.ExternalMemory.map_buffer`. Calls no driver to map anything."""
        if not self.alive:
            self.check_open()
        first, extents, nbytes, element = resolve_view(
            self.descriptor, offset=offset, size=size, shape=shape, dtype=dtype
        )
        return self._shared.whole.view_at(first, extents, nbytes, element, timeout)

    def acquire(self, stream: Stream) -> None:
        """Enqueue an acquire on ``stream``.

        Drivers know ownership of whole allocations only. While another share is acquired, the whole allocation is
        released and acquired again: that makes the other side's writes to this part visible.
        """
        _run(self.prepare_acquire(stream))

    def release(self, stream: Stream) -> None:
        """Enqueue a release on ``stream``; the allocation is acquired again for the shares that are still acquired."""
        _run(self.prepare_release(stream))

    # Rings make the calls below every frame: `lock.acquire` and `release` take a third of the time of `with`.

    def prepare_acquire(self, stream: Stream) -> PreparedCall | None:
        """Return the call that :meth:`acquire` makes, or None where the API has no ownership."""
        shared, token = self._shared, self._token
        prepared = self.whole.prepare_acquire(stream)
        if prepared is None:
            return None
        held, ordering, acquire = shared.held, shared.ordering, prepared.call

        def call() -> int:
            ordering.acquire()
            try:
                if held and token not in held:
                    _run(shared.whole.prepare_release(stream))
                held[token] = stream  # before the call: an interrupt may come as the call returns
                status = acquire()
                if status:
                    del held[token]
            except InteropError:
                held.pop(token, None)
                raise
            finally:
                ordering.release()
            return status

        return PreparedCall(call, prepared.fail, prepared.begin)

    def prepare_release(self, stream: Stream) -> PreparedCall | None:
        """Return the call that :meth:`release` makes, or None where the API has no ownership."""
        shared, token = self._shared, self._token
        prepared = self.whole.prepare_release(stream)
        if prepared is None:
            return None
        held, ordering, release = shared.held, shared.ordering, prepared.call

        def call() -> int:
            ordering.acquire()
            try:
                status = release()
                if not status:
                    held.pop(token, None)
                    if held:
                        _run(shared.whole.prepare_acquire(stream))
                return status
            finally:
                ordering.release()

        return PreparedCall(call, prepared.fail, prepared.begin)
