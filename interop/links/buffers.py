"""Buffers of a link: memory that both sides use in turns, and how it gets from one side to the other."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from interop.links.sync import stream_call
from interop.protocols import InvalidArgument, ProducerBuffer, WaitTimeout, as_dtype, check_shape
from interop.toolkit import Ownership, part_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from interop.negotiation import MemoryPath, Plan
    from interop.protocols import (
        BufferPart,
        Commands,
        Consumer,
        DType,
        ExternalMemory,
        Handle,
        MappedBuffer,
        MemoryDescriptor,
        Producer,
        Stream,
    )
    from interop.toolkit import Owner


class Layout(NamedTuple):
    """What a buffer holds."""

    shape: tuple[int, ...]
    dtype: DType
    nbytes: int


def layout_of(shape: int | tuple[int, ...], dtype: object) -> Layout:
    """Check a shape and a dtype that a caller gave.

    Raises:
        InvalidArgument: The shape is not one or more positive integers, or the dtype is unknown.
    """
    element = as_dtype(dtype)
    extents, nbytes = check_shape(shape, element)
    return Layout(extents, element, nbytes)


class BufferHome(Protocol):
    """What a buffer needs of its link."""

    @property
    def plan(self) -> Plan:
        """The negotiated plan."""
        ...

    @property
    def producer(self) -> Producer[Any]:
        """The side that allocates."""
        ...

    @property
    def consumer(self) -> Consumer:
        """The side that imports."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds after which a wait gives up."""
        ...

    def close_buffer(self, buffer: Buffer) -> None:
        """Wait for the work that uses a buffer, and close it; see :meth:`Buffer.close`."""
        ...


class Transfer(Protocol):
    """How the bytes of one buffer follow its ownership."""

    shared: bool
    """Whether both sides use one allocation."""

    def to_consumer(self, stream: Stream) -> None:
        """Make the bytes visible to the consumer: enqueued on ``stream`` after the wait for the producer."""
        ...

    def leave_consumer(self, stream: Stream) -> None:
        """Give the bytes up: enqueued on ``stream`` before its signal."""
        ...

    def to_producer(self, commands: Commands) -> None:
        """Record at the start of a producer turn what brings the bytes back."""
        ...


class SharedTransfer:
    """Zero-copy: one allocation. The consumer's driver is told of the owner; no byte moves."""

    shared = True

    def __init__(self, memory: ExternalMemory) -> None:
        self.to_consumer = stream_call(memory.prepare_acquire)
        self.leave_consumer = stream_call(memory.prepare_release)

    def to_producer(self, commands: Commands) -> None:
        """Record nothing: the ownership transfer is part of the submission."""


class StagedTransfer:
    """Two allocations, and a copy through host-visible memory at each change of owner. Blocks the caller."""

    shared = False

    def __init__(
        self, home: BufferHome, buffer: ProducerBuffer, view: MappedBuffer, staging: ProducerBuffer
    ) -> None:
        self._producer = home.producer
        self._buffer = buffer
        self._view = view
        self._staging = staging
        self._host = staging.host_view()[: buffer.size]
        self._timeout = home.timeout
        self._download = home.producer.prepare(timeout=home.timeout)

    def to_consumer(self, stream: Stream) -> None:  # noqa: ARG002 - the copy has ended when this returns
        """Copy from the producer to the host and on to the consumer."""
        self._download.begin().copy(self._buffer, self._staging)
        copied = self._download.submit()
        if not self._producer.progress.wait_host(copied, self._timeout):
            who = f"{self._producer.device.backend} to copy a buffer to host memory"
            raise WaitTimeout(who, self._timeout)
        self._view.write(self._host, timeout=self._timeout)

    def leave_consumer(self, stream: Stream) -> None:  # noqa: ARG002 - the copy has ended when this returns
        """Copy from the consumer to the host; :meth:`to_producer` records the rest."""
        self._view.read(self._host, timeout=self._timeout)

    def to_producer(self, commands: Commands) -> None:
        """Record the copy from host memory."""
        commands.copy(self._staging, self._buffer)

    def close(self) -> None:
        """Free the submission and the staging copy's host view."""
        self._host.release()
        self._download.close()


class Buffer:
    """Memory of a link, used in turns by the producer and the consumer. Closed with its link, or before.

    The bytes belong to the side that has the turn. All attributes are read-only for callers.
    """

    def __init__(
        self,
        home: BufferHome,
        layout: Layout,
        producer_buffer: BufferPart,
        consumer_view: MappedBuffer,
        transfer: Transfer,
        resources: ExitStack,
        *,
        external: ExternalMemory | None,
    ) -> None:
        self._home = home
        self.shape, self.dtype, self.nbytes = layout
        self.path: MemoryPath = home.plan.path
        self.producer_buffer = producer_buffer
        self.consumer_view = consumer_view
        self.transfer = transfer
        self.external = external
        self.ownership = Ownership()
        """Who owns the bytes, and since which timeline value."""
        self._resources = resources

    @property
    def owner(self) -> Owner:
        """The side that had the last turn."""
        return self.ownership.owner

    @property
    def in_turn(self) -> bool:
        """Whether a turn with the buffer is open."""
        return self.ownership.in_turn

    @property
    def closed(self) -> bool:
        """Whether the buffer was closed."""
        return self.ownership.closed

    def close(self) -> None:
        """Wait for the work in flight, then free the buffer on both sides. A second call does nothing.

        The link forgets the buffer, and the turns and submissions that it prepared for it.

        Raises:
            TurnError: A turn with the buffer is open. The buffer stays as it is.
            WaitTimeout: The work did not end within the link's timeout. The buffer is then closed with its link.
        """
        if not self.closed:
            self._home.close_buffer(self)

    def release(self) -> None:
        """Free the buffer. The work that uses it must have ended. For the link."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Buffer {self.shape} {self.dtype} {self.path.value}, last used by {self.owner.value}>"


def open_buffer(home: BufferHome, layout: Layout, given: ProducerBuffer | None = None) -> Buffer:
    """Allocate a buffer on both sides by the plan's memory path; nothing stays open when a step fails.

    Args:
        home: The link.
        layout: What the buffer holds.
        given: A buffer of the producer that the caller keeps; nothing is allocated on the producer then.
    """
    handle_type = home.plan.handle_type
    with ExitStack() as undo:
        buffer = given
        if buffer is None:
            buffer = home.producer.create_buffer(layout.nbytes, export=handle_type)
            undo.callback(buffer.close)
        if handle_type is None:
            return _staged(home, layout, buffer, undo)
        handle, descriptor = buffer.export_memory()
        with handle:
            return _imported(home, layout, buffer, handle, descriptor, undo)


def open_parts(home: BufferHome, layouts: Sequence[Layout]) -> list[Buffer]:
    """Allocate once for several buffers and import each as a part; nothing stays open when a step fails.

    The allocation is freed with the last of the buffers. On the staged path each buffer has its own allocations.
    """
    made: list[Buffer] = []
    with ExitStack() as undo:
        if home.plan.handle_type is None:
            for layout in layouts:
                made.append(open_buffer(home, layout))
                undo.callback(made[-1].release)
        else:
            offsets = part_offsets([layout.nbytes for layout in layouts], home.consumer.device)
            whole = home.producer.create_buffer(offsets[-1], export=home.plan.handle_type)
            undo.callback(whole.close)
            backing = _Backing(whole)
            handle, allocation = whole.export_memory()
            with handle:
                for layout, offset in zip(layouts, offsets, strict=False):
                    close = undo.enter_context(ExitStack())
                    part = backing.cut(offset, layout.nbytes, close)
                    descriptor = replace(allocation, offset=offset, size=layout.nbytes)
                    with handle.dup() as own:
                        made.append(_imported(home, layout, part, own, descriptor, close))
                    undo.callback(made[-1].release)
        undo.pop_all()
    return made


class _Backing:
    """A producer's buffer that several buffers of a link are parts of; freed with the last of them."""

    def __init__(self, buffer: ProducerBuffer) -> None:
        self._buffer = buffer
        self._parts = 0

    def cut(self, offset: int, size: int, close: ExitStack) -> BufferPart:
        part = self._buffer.part(offset, size)
        self._parts += 1
        close.callback(self._give_up)
        return part

    def _give_up(self) -> None:
        self._parts -= 1
        if not self._parts:
            self._buffer.close()


def _imported(
    home: BufferHome,
    layout: Layout,
    buffer: BufferPart,
    handle: Handle,
    descriptor: MemoryDescriptor,
    undo: ExitStack,
) -> Buffer:
    """Import an exported buffer into the consumer."""
    memory = home.consumer.import_memory(handle, descriptor)
    undo.callback(memory.close)
    view = memory.map_buffer(size=layout.nbytes, shape=layout.shape, dtype=layout.dtype, timeout=home.timeout)
    undo.callback(view.close)
    return Buffer(home, layout, buffer, view, SharedTransfer(memory), undo.pop_all(), external=memory)


def _staged(home: BufferHome, layout: Layout, buffer: ProducerBuffer, undo: ExitStack) -> Buffer:
    """Add the consumer's allocation and the staging copy to a buffer of the producer."""
    staging = home.producer.create_buffer(layout.nbytes, host_visible=True)
    undo.callback(staging.close)
    own = home.consumer.allocate(layout.nbytes, timeout=home.timeout)
    undo.callback(own.close)
    view = own.view(layout.shape, layout.dtype)
    undo.callback(view.close)
    transfer = StagedTransfer(home, buffer, view, staging)
    undo.callback(transfer.close)
    return Buffer(home, layout, buffer, view, transfer, undo.pop_all(), external=None)


def adopt_buffer(
    home: BufferHome, given: BufferPart, shape: int | tuple[int, ...] | None, dtype: object
) -> Buffer:
    """Share a buffer that the caller keeps; see :meth:`interop.links.Link.adopt`."""
    if not isinstance(given, ProducerBuffer):
        raise InvalidArgument(f"{given!r} is a part of an allocation; adopt the buffer that it is a part of")
    element = as_dtype(dtype)
    layout = layout_of(given.size // element.itemsize if shape is None else shape, element)
    if layout.nbytes != given.size:
        msg = f"{layout.shape} of {element} are {layout.nbytes} bytes, but the buffer has {given.size}"
        raise InvalidArgument(msg)
    return open_buffer(home, layout, given)
