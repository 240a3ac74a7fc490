"""Buffers of a link: memory that both sides use in turns, and how it gets from one to the other."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from interop.links.order import Owner
from interop.protocols import InvalidArgument, ProducerBuffer, WaitTimeout, as_dtype, check_shape
from interop.toolkit import part_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.negotiation import MemoryPath, Plan
    from interop.protocols import (
        BufferPart,
        Commands,
        Consumer,
        DType,
        ExternalMemory,
        HandleType,
        MappedBuffer,
        Producer,
        Stream,
    )


class Transfer(Protocol):
    """How the bytes of one buffer follow its ownership."""

    def to_consumer(self, stream: Stream) -> None:
        """Enqueue on ``stream``, after the wait for the producer, what makes its bytes visible there."""
        ...

    def leave_consumer(self, stream: Stream) -> None:
        """Enqueue on ``stream``, before its signal, what gives the bytes up."""
        ...

    def to_producer(self, commands: Commands) -> None:
        """Record at the start of a producer turn what brings the bytes back."""
        ...


class Shared:
    """Zero-copy: one allocation. Ownership is told to the consumer's driver; no byte moves."""

    def __init__(self, memory: ExternalMemory) -> None:
        self.memory = memory
        self.to_consumer = memory.acquire
        self.leave_consumer = memory.release

    def to_producer(self, commands: Commands) -> None:
        """Nothing to record: the ownership transfer is part of the submission."""


class Staged:
    """Two allocations, and a copy through host-visible memory at each change of owner. Blocks the caller."""

    def __init__(
        self,
        producer: Producer,
        buffer: ProducerBuffer,
        view: MappedBuffer,
        staging: ProducerBuffer,
        timeout: float,
    ) -> None:
        self._producer = producer
        self._buffer = buffer
        self._view = view
        self._staging = staging
        self._host = staging.host_view()[: buffer.size]
        self._download = producer.prepare()
        self._timeout = timeout

    def to_consumer(self, stream: Stream) -> None:  # noqa: ARG002 - the copy is over when this returns
        """Copy producer to host to consumer."""
        self._download.begin().copy(self._buffer, self._staging)
        point = self._download.submit()
        if not self._producer.progress.wait_host(point, self._timeout):
            who = f"{self._producer.device.backend} to copy a buffer to host memory"
            raise WaitTimeout(who, self._timeout)
        self._view.write(self._host, timeout=self._timeout)

    def leave_consumer(self, stream: Stream) -> None:  # noqa: ARG002 - the copy is over when this returns
        """Copy consumer to host; :meth:`to_producer` records the rest."""
        self._view.read(self._host, timeout=self._timeout)

    def to_producer(self, commands: Commands) -> None:
        """Record the copy from host memory."""
        commands.copy(self._staging, self._buffer)

    def close(self) -> None:
        """Free what was prepared for the copies."""
        self._host.release()
        self._download.close()


class Buffer:
    """Memory of a link, used in turns by the producer and the consumer. Closed with its link, or before.

    Attributes are for reading; the bytes belong to whoever has the turn.
    """

    __slots__ = (
        "__weakref__",
        "_close",
        "closed",
        "consumer_view",
        "dtype",
        "external",
        "in_turn",
        "nbytes",
        "owner",
        "path",
        "point",
        "producer_buffer",
        "shape",
        "transfer",
    )

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        dtype: DType,
        nbytes: int,
        path: MemoryPath,
        producer_buffer: BufferPart,
        consumer_view: MappedBuffer,
        transfer: Transfer,
        external: ExternalMemory | None,
        close: ExitStack,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.nbytes = nbytes
        self.path = path
        self.producer_buffer = producer_buffer
        self.consumer_view = consumer_view
        self.transfer = transfer
        self.external = external
        self.owner = Owner.NOBODY
        self.point = 0
        self.in_turn = False
        self.closed = False
        self._close = close

    def close(self) -> None:
        """Unmap and free both sides. Work that uses the buffer must have ended. A second call does nothing."""
        self.closed = True
        self._close.close()

    def __repr__(self) -> str:
        return f"<Buffer {self.shape} {self.dtype} {self.path.value}, last used by {self.owner.value}>"


def open_shared(
    producer: Producer,
    consumer: Consumer,
    handle_type: HandleType,
    path: MemoryPath,
    shape: tuple[int, ...],
    dtype: DType,
    nbytes: int,
    given: ProducerBuffer | None = None,
) -> Buffer:
    """Allocate on the producer, export, and import into the consumer; all of it is undone when a step fails.

    With ``given``, a buffer of the producer that the caller keeps, nothing is allocated.
    """
    with ExitStack() as undo:
        buffer = given if given is not None else producer.create_buffer(nbytes, export=handle_type)
        if given is None:
            undo.callback(buffer.close)
        handle, descriptor = buffer.export_memory()
        with handle:
            memory = consumer.import_memory(handle, descriptor)
        undo.callback(memory.close)
        view = memory.map_buffer(size=nbytes, shape=shape, dtype=dtype)
        undo.callback(view.close)
        return Buffer(
            shape=shape,
            dtype=dtype,
            nbytes=nbytes,
            path=path,
            producer_buffer=buffer,
            consumer_view=view,
            transfer=Shared(memory),
            external=memory,
            close=undo.pop_all(),
        )


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


def open_parts(
    producer: Producer,
    consumer: Consumer,
    handle_type: HandleType,
    path: MemoryPath,
    layouts: Sequence[tuple[tuple[int, ...], DType, int]],
) -> list[Buffer]:
    """Allocate once for several buffers, given as shape, type and bytes, and import each as a part.

    Everything is undone when a step fails. The allocation goes with the last of the buffers.
    """
    offsets = part_offsets([nbytes for _, _, nbytes in layouts], consumer.device)
    made: list[Buffer] = []
    with ExitStack() as undo:
        whole = producer.create_buffer(offsets[-1], export=handle_type)
        undo.callback(whole.close)
        backing = _Backing(whole)
        handle, allocation = whole.export_memory()
        with handle:
            for (shape, dtype, nbytes), offset in zip(layouts, offsets, strict=False):
                close = undo.enter_context(ExitStack())
                part = backing.cut(offset, nbytes, close)
                descriptor = replace(allocation, offset=offset, size=nbytes)
                with handle.dup() as own:
                    memory = consumer.import_memory(own, descriptor)
                close.callback(memory.close)
                view = memory.map_buffer(size=nbytes, shape=shape, dtype=dtype)
                close.callback(view.close)
                made.append(
                    Buffer(
                        shape=shape,
                        dtype=dtype,
                        nbytes=nbytes,
                        path=path,
                        producer_buffer=part,
                        consumer_view=view,
                        transfer=Shared(memory),
                        external=memory,
                        close=close,
                    )
                )
        undo.pop_all()
    return made


def open_staged(
    producer: Producer,
    consumer: Consumer,
    path: MemoryPath,
    shape: tuple[int, ...],
    dtype: DType,
    nbytes: int,
    timeout: float,
    given: ProducerBuffer | None = None,
) -> Buffer:
    """Allocate on both sides and in host memory; all of it is undone when a step fails. ``given`` as above."""
    with ExitStack() as undo:
        buffer = given if given is not None else producer.create_buffer(nbytes)
        if given is None:
            undo.callback(buffer.close)
        staging = producer.create_buffer(nbytes, host_visible=True)
        undo.callback(staging.close)
        own = consumer.allocate(nbytes)
        undo.callback(own.close)
        view = own.view(shape, dtype)
        undo.callback(view.close)
        transfer = Staged(producer, buffer, view, staging, timeout)
        undo.callback(transfer.close)
        return Buffer(
            shape=shape,
            dtype=dtype,
            nbytes=nbytes,
            path=path,
            producer_buffer=buffer,
            consumer_view=view,
            transfer=transfer,
            external=None,
            close=undo.pop_all(),
        )


def open_given(
    plan: Plan,
    producer: Producer,
    consumer: Consumer,
    given: BufferPart,
    shape: int | tuple[int, ...] | None,
    dtype: object,
    timeout: float,
) -> Buffer:
    """Share a buffer that the caller keeps; see :meth:`interop.links.Link.adopt`."""
    if not isinstance(given, ProducerBuffer):
        raise InvalidArgument(f"{given!r} is a part of an allocation; adopt the buffer that it is a part of")
    element = as_dtype(dtype)
    extents, nbytes = check_shape(given.size // element.itemsize if shape is None else shape, element)
    if nbytes != given.size:
        msg = f"{extents} of {element} are {nbytes} bytes, the buffer has {given.size}; they must be the same"
        raise InvalidArgument(msg)
    if plan.handle_type is None:
        return open_staged(producer, consumer, plan.path, extents, element, nbytes, timeout, given)
    return open_shared(producer, consumer, plan.handle_type, plan.path, extents, element, nbytes, given)
