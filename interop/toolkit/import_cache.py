"""One driver import for each allocation, however many descriptors name a part of it. For backends.

A consumer keeps one :class:`Imports`. Its driver sees each allocation once, whole; every descriptor gets a
:class:`Share`, and the last one to be closed gives the import back.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from interop.protocols import ClosedError, HandleError, HandleType, ownership
from interop.toolkit.checks import check_import_memory
from interop.toolkit.resource import Resource
from interop.toolkit.views import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import BareOwnership, DType, Handle, MappedBuffer, MemoryDescriptor, Stream

View = TypeVar("View", bound="MappedBuffer")
View_co = TypeVar("View_co", bound="MappedBuffer", covariant=True)


class Whole(Protocol[View_co]):
    """An allocation as the driver imported it; :class:`Share` makes an ``ExternalMemory`` of it."""

    def view_at(self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType) -> View_co:
        """Return a view of ``nbytes`` bytes from byte ``first`` of the allocation on.

        What :func:`interop.toolkit.resolve` returned: all has been checked, the descriptor's offset is counted in.
        """
        ...

    def acquire(self, stream: Stream) -> None:
        """See :meth:`interop.protocols.ExternalMemory.acquire`."""
        ...

    def release(self, stream: Stream) -> None:
        """See :meth:`interop.protocols.ExternalMemory.release`."""
        ...

    def close(self) -> None:
        """See :meth:`interop.protocols.ExternalMemory.close`."""
        ...


class _Import(Generic[View]):
    """One import, and who shares it."""

    __slots__ = ("descriptor", "file", "held", "key", "ordering", "shares", "whole")

    def __init__(
        self,
        whole: Whole[View],
        descriptor: MemoryDescriptor,
        key: object,
        file: tuple[int, int] | None,
        token: object,
    ) -> None:
        self.whole = whole
        self.descriptor = descriptor
        self.key = key
        self.file = file
        """What is behind the handle that was imported."""
        self.ordering = threading.RLock()
        """Held over the driver's calls that change ownership, which may wait; the lock of all imports is not."""
        self.shares: set[object] = {token}
        self.held: dict[object, Stream] = {}
        """Which shares have been acquired and not released, and on which stream."""


class Imports(Generic[View]):
    """What one consumer has imported, by :attr:`interop.protocols.MemoryDescriptor.allocation`. For any thread.

    The imports are its own; the shares are whoever's asked for them.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a garbage collection inside may give shares up
        self._known: dict[object, _Import[View]] = {}
        """By the name of the allocation, or by the token of the only share where it has no name."""

    def take(
        self,
        handle: Handle,
        descriptor: MemoryDescriptor,
        open_whole: Callable[[Handle, MemoryDescriptor], Whole[View]],
        *,
        supported: frozenset[HandleType],
    ) -> Share[View]:
        """Return a share of an allocation, imported by ``open_whole`` unless it is imported already.

        ``handle`` is consumed when this returns, whether or not a driver was given it, and untouched when it
        raises. ``open_whole(handle, descriptor)`` gets a descriptor of the whole allocation. Descriptors without
        an :attr:`~interop.protocols.MemoryDescriptor.allocation` are imported each by itself. Raises what
        :func:`check_import_memory` and ``open_whole`` raise, and :class:`HandleError` for a handle or
        descriptor that contradicts the import of the allocation that it names.
        """
        status = check_import_memory(handle, descriptor, supported)
        file = (status.st_dev, status.st_ino) if status is not None else _place(handle)
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
                    self.give_up(found, token)
                    raise
        return Share(self, found, descriptor, token)

    def give_up(self, shared: _Import[View], token: object) -> None:
        """Take one share off an import; the last one closes it. For :class:`Share`."""
        with self.lock:
            shared.shares.discard(token)
            stream = shared.held.pop(token, None)
            if not shared.shares:
                if self._known.get(shared.key) is shared:
                    del self._known[shared.key]
                shared.whole.close()
            elif stream is not None and not shared.held:
                with suppress(ClosedError):  # of the stream, which has then come to its end
                    shared.whole.release(stream)

    def close(self) -> None:
        """Close the imports that no share will give back, as one that Ctrl-C kept from being made. When all ends."""
        with self.lock, ExitStack() as every:
            for left in self._known.values():
                every.callback(left.whole.close)
            self._known.clear()


def _place(handle: Handle) -> tuple[int, int] | None:
    """Return what is equal for handles of one allocation that are no descriptors of files, where that can be told."""
    return (handle.value, 0) if handle.type is HandleType.HOST_ALLOCATION else None


def _check_same(shared: _Import[View], descriptor: MemoryDescriptor, file: tuple[int, int] | None) -> None:
    """Refuse what would give access to another allocation than the caller means."""
    known = shared.descriptor
    for name in ("allocation_size", "handle_type", "dedicated"):
        theirs, ours = getattr(descriptor, name), getattr(known, name)
        if theirs != ours:
            msg = f"this allocation was imported with {name} {ours}, now the descriptor says {theirs}"
            raise HandleError(msg)
    if file != shared.file:  # every export of one allocation leads to the same file or address
        raise HandleError("the handle is not of the allocation that its descriptor names")


class Share(Resource, Generic[View]):
    """One descriptor's part of an imported allocation. Fulfils :class:`interop.protocols.ExternalMemory`."""

    __slots__ = ("_descriptor", "_shared", "_token")

    def __init__(
        self, imports: Imports[View], shared: _Import[View], descriptor: MemoryDescriptor, token: object
    ) -> None:
        what = f"external memory of {descriptor.size} bytes"
        super().__init__(what, imports.give_up, shared, token)
        self._descriptor = descriptor
        self._shared = shared
        self._token = token

    @property
    def descriptor(self) -> MemoryDescriptor:
        """What was imported."""
        return self._descriptor

    @property
    def whole(self) -> Whole[View]:
        """The driver's import, which other descriptors of the same allocation share."""
        self.check_open()
        return self._shared.whole

    def map_buffer(
        self,
        *,
        offset: int = 0,
        size: int | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: DType | None = None,
    ) -> View:
        """Return a view, counted from the descriptor's own offset; no driver maps anything anew."""
        if not self.alive:
            self.check_open()
        first, extents, nbytes, element = resolve(
            self._descriptor, offset=offset, size=size, shape=shape, dtype=dtype
        )
        return self._shared.whole.view_at(first, extents, nbytes, element)

    def bare(self, stream: Stream) -> BareOwnership | None:
        """Return the calls of the driver's import, valid as long as nobody shares it."""
        self.check_open()
        shared = self._shared
        found = ownership(shared.whole, stream)
        if found is None:
            return None
        return found._replace(valid=lambda: self.alive and len(shared.shares) == 1)

    def acquire(self, stream: Stream) -> None:
        """Enqueue taking ownership on ``stream``.

        Drivers know ownership of whole allocations only. While another share is held, the whole is given up
        and taken again, which is what makes the other side's writes to this part visible.
        """
        if not self.alive:
            self.check_open()
        shared = self._shared
        held, ordering = shared.held, shared.ordering
        ordering.acquire()  # without `with`, which takes three times as long; so below
        try:
            if held and self._token not in held:
                shared.whole.release(stream)
            shared.whole.acquire(stream)
            held[self._token] = stream
        finally:
            ordering.release()

    def release(self, stream: Stream) -> None:
        """Enqueue giving ownership up on ``stream``; what other shares still hold is taken again."""
        if not self.alive:
            self.check_open()
        shared = self._shared
        held, ordering = shared.held, shared.ordering
        ordering.acquire()
        try:
            shared.whole.release(stream)
            held.pop(self._token, None)
            if held:
                shared.whole.acquire(stream)
        finally:
            ordering.release()
