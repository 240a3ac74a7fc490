"""Links: a producer and a consumer on one device, joined by a plan. :func:`interop.connect` makes them."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Generic, Literal, cast, overload

from interop.links._batch_order import BatchOrder
from interop.links._drain import GRACE, drain, drain_open_sides, rescue
from interop.links._turn_cache import TurnCache
from interop.links.buffers import Buffer, adopt_buffer, layout_of, open_buffer, open_parts
from interop.links.order import Order
from interop.links.sync import open_directions
from interop.protocols import InteropError, InvalidArgument, ProducerT_co, TurnError
from interop.toolkit import Deferred, close_in_children

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from interop.links.queue_turns import QueueTurn
    from interop.links.rings import FrameRing, LatestRing, Source
    from interop.links.turns import ConsumerTurn, ProducerTurn
    from interop.negotiation import MemoryPath, Plan
    from interop.protocols import BufferPart, CommandsT, Consumer, MappedBuffer, Producer

DEFAULT_TIMEOUT = 10.0
"""Seconds after which a wait of a link gives up, unless ``connect`` says otherwise."""
Mode = Literal["throughput", "latency"]
"""Whether every frame of a ring arrives, or the newest one wins."""


class Link(Generic[ProducerT_co]):
    """A producer and a consumer joined by a plan. Made by :func:`connect`; owns its buffers and rings.

    Turns may be taken from any thread. Closing waits for the work in flight, bounded by the link's timeout, and
    releases everything in reverse order.
    """

    def __init__(
        self,
        plan: Plan,
        producer: ProducerT_co,
        consumer: Consumer,
        timeout: float,
        *,
        owned: ExitStack | None = None,
    ) -> None:
        """Join two opened devices. ``owned`` holds what closes with the link; the link takes it over on success."""
        self._plan = plan
        self._producer = producer
        self._consumer = consumer
        self._timeout = timeout
        self._buffers: set[Buffer] = set()
        self._open_rings: set[FrameRing | LatestRing] = set()
        to_consumer, to_producer = open_directions(plan, producer, consumer, timeout)
        self.order = Order(consumer.stream, to_consumer, to_producer, timeout)
        """The order engine, for the link's own buffers and rings."""
        self.batches = BatchOrder(self.order)
        """The part of the order engine for batches, for the link's own rings."""
        self._turns = TurnCache(self.order, producer, self._buffers)
        self._owned = owned.pop_all() if owned is not None else ExitStack()
        self._finalizer = weakref.finalize(self, _dropped, plan)
        self._finalizer.atexit = False
        close_in_children(self)

    @property
    def plan(self) -> Plan:
        """The negotiated plan: memory path, handle type and strategies."""
        return self._plan

    @property
    def path(self) -> MemoryPath:
        """The memory path: how the bytes of a buffer get from one side to the other."""
        return self._plan.path

    @property
    def producer(self) -> ProducerT_co:
        """The side that owns the memory."""
        return self._producer

    @property
    def consumer(self) -> Consumer:
        """The side that computes on it."""
        return self._consumer

    @property
    def timeout(self) -> float:
        """Seconds after which a wait of the link, or of an object that it made, gives up."""
        return self._timeout

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self.order.closed

    def explain(self) -> str:
        """Return in a few lines the choices of the plan, and why each alternative was rejected."""
        return self._plan.explain()

    def buffer(self, shape: int | tuple[int, ...], dtype: object = "float32") -> Buffer:
        """Allocate memory that both sides see. Contents are undefined. Closed with the link, or before.

        Args:
            shape: Elements along each axis, row-major.
            dtype: A NumPy type, a :class:`DType` or the name of one.

        Raises:
            InvalidArgument: The shape or the dtype is impossible.
            DriverError: A driver has no memory for it.

        Note:
            One allocation, one export and one import.
        """
        layout = layout_of(shape, dtype)
        # Ctrl-C waits until the link has the buffer, so that closing the link frees it.
        with self.order.open_link(), Deferred():
            buffer = open_buffer(self, layout)
            self._buffers.add(buffer)
        return buffer

    def buffers(self, *layouts: tuple[int | tuple[int, ...], object]) -> tuple[Buffer, ...]:
        """Allocate once for several buffers, each with turns of its own. Closed with the link, or before.

        The buffers lie one after the other, aligned for the views of both devices. The allocation is freed with the
        last of them. On the staged path each buffer has its own allocations.

        Args:
            layouts: A shape and a dtype for each buffer, as for :meth:`buffer`.

        Raises:
            InvalidArgument: No layout is given, or one is impossible.
            DriverError: A driver has no memory for them.

        Note:
            One allocation, one export, and one import that the import cache shares.
        """
        if not layouts:
            raise InvalidArgument("Link.buffers needs at least one layout: a shape and a dtype")
        wanted = [layout_of(shape, dtype) for shape, dtype in layouts]
        with self.order.open_link(), Deferred():  # as above
            made = open_parts(self, wanted)
            self._buffers.update(made)
        return tuple(made)

    def adopt(
        self, given: BufferPart, shape: int | tuple[int, ...] | None = None, dtype: object = "uint8"
    ) -> Buffer:
        """Share a buffer of this link's producer that exists already. The caller keeps it and closes the result.

        Nobody owns the bytes before the first turn.

        Args:
            given: A buffer that the producer made exportable or adopted (``adopt_buffer``), or the
                ``producer_buffer`` of another link over the same producer, so that several consumers see one
                allocation. A part of an allocation is refused.
            shape: The shape of the whole buffer; one row by default.
            dtype: As for :meth:`buffer`.

        Raises:
            InvalidArgument: The shape has another size than the buffer, or ``given`` is a part.
            Unsupported: The buffer cannot be exported.

        Note:
            One export and one import.
        """
        with self.order.open_link(), Deferred():  # as above
            buffer = adopt_buffer(self, given, shape, dtype)
            self._buffers.add(buffer)
        return buffer

    @overload
    def ring(
        self,
        shape: int | tuple[int, ...],
        dtype: object = "float32",
        *,
        mode: Literal["throughput"] = "throughput",
        source: Source = "producer",
        slots: int | None = None,
        batch: int | None = None,
    ) -> FrameRing: ...
    @overload
    def ring(
        self,
        shape: int | tuple[int, ...],
        dtype: object = "float32",
        *,
        mode: Literal["latency"],
        source: Source = "producer",
        slots: int | None = None,
        batch: int | None = None,
    ) -> LatestRing: ...
    def ring(
        self,
        shape: int | tuple[int, ...],
        dtype: object = "float32",
        *,
        mode: Mode = "throughput",
        source: Source = "producer",
        slots: int | None = None,
        batch: int | None = None,
    ) -> FrameRing | LatestRing:
        """Allocate ``slots`` frames that are handed over ``batch`` at a time. Closed with the link, or before.

        :func:`interop.tune_ring` measures which numbers are best.

        Args:
            shape: The shape of one frame, as for :meth:`buffer`.
            dtype: The dtype of one frame, as for :meth:`buffer`.
            mode: With ``"throughput"`` every frame arrives, and the maker waits while the ring is full. With
                ``"latency"`` the newest frame wins.
            source: The side that makes the frames.
            slots: Number of frames, a multiple of ``batch``. By default 64, or three batches in latency mode.
            batch: Frames that are handed over together. By default half of the slots, or 1 in latency mode.

        Raises:
            InvalidArgument: An argument is impossible.
            Unsupported: The pair shares no memory.
            DriverError: A driver has no memory for the ring.

        Note:
            One allocation, export and import for each batch of slots, and a pair of binary semaphores where the plan
            has them.
        """
        from interop.links.rings import FrameRing, LatestRing, RingLayout, as_count

        frame = layout_of(shape, dtype)
        kinds: dict[object, type[FrameRing | LatestRing]] = {"throughput": FrameRing, "latency": LatestRing}
        kind = kinds.get(mode)
        if kind is None:
            raise InvalidArgument(f"mode must be one of throughput, latency, got {mode!r}")
        slots, batch = kind.sizes(as_count("slots", slots), as_count("batch", batch))
        layout = RingLayout(frame=frame, slots=slots, batch=batch, source=source)
        with self.order.open_link(), Deferred():  # as above
            ring = kind(self, layout)
            self._open_rings.add(ring)
        return ring

    @overload
    def consumer_turn(self, buffer: Buffer, /) -> ConsumerTurn[MappedBuffer]: ...
    @overload
    def consumer_turn(
        self, first: Buffer, second: Buffer, /, *more: Buffer
    ) -> ConsumerTurn[tuple[MappedBuffer, ...]]: ...
    def consumer_turn(
        self, *buffers: Buffer
    ) -> ConsumerTurn[MappedBuffer] | ConsumerTurn[tuple[MappedBuffer, ...]]:
        """Return the turn in which the consumer owns ``buffers``: a context manager that yields their views.

        Entering enqueues the wait for the producer's last turn on the consumer's stream; one wait serves all buffers.
        The same object is returned for the same buffers, so it may be kept and entered again.

        Args:
            buffers: One or more different buffers of this link.

        Raises:
            TurnError: An argument is no buffer of this link, or is given twice.
            ClosedError: The link is closed.
        """
        # The overloads tell which of the two it is.
        return cast("ConsumerTurn[MappedBuffer]", self._turns.consumer.of(buffers))

    def producer_turn(self: Link[Producer[CommandsT]], *buffers: Buffer) -> ProducerTurn[CommandsT]:
        """Return the turn in which the producer owns ``buffers``: a context manager that yields its recorder.

        Entering enqueues the consumer's release and signal. Leaving submits the recorded commands, with ownership
        transfers and semaphores, in one queue submission. An exception inside submits the hand-over alone.

        Args:
            buffers: One or more different buffers of this link.

        Raises:
            TurnError: An argument is no buffer of this link, or is given twice.
            ClosedError: The link is closed.
        """
        return self._turns.producer.of(buffers)

    def queue_turn(self: Link[Producer[CommandsT]], *buffers: Buffer) -> QueueTurn[CommandsT]:
        """Return the turn in which the caller's own submissions to the producer's queue own ``buffers``.

        As :meth:`producer_turn`, but the acquire is submitted at its begin and the release at its end; see
        :class:`interop.links.QueueTurn`.

        Args:
            buffers: One or more different buffers of this link.

        Raises:
            TurnError: An argument is no buffer of this link, or is given twice.
            ClosedError: The link is closed.
        """
        return self._turns.queue.of(buffers)

    def close_buffer(self, buffer: Buffer) -> None:
        """Wait for the work that uses a buffer, forget it and free it; see :meth:`Buffer.close`."""
        if self.order.closed:
            return
        with self.order.exclusive(f"closing {buffer!r}"):
            if buffer.in_turn:
                raise TurnError(f"{buffer!r} is in an open turn; leave the turn before closing the buffer")
            if buffer.ownership.external:
                self.drain(self._timeout)
            with Deferred(), ExitStack() as stack:
                self.order.forget(buffer.ownership)
                self._buffers.discard(buffer)
                stack.callback(buffer.release)
                stack.callback(self._turns.forget, buffer)

    def forget_ring(self, ring: object) -> None:
        """Remove a closed ring, for the ring itself."""
        self._open_rings.discard(cast("FrameRing", ring))

    def orphan(self, why: str) -> None:
        """Close the link in a forked child. Calls no driver."""
        if not self.order.closed:
            self._finalizer.detach()
            self.order.orphan(why)

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until both sides have done all that was enqueued.

        Args:
            timeout: Seconds for both sides together; the link's own by default.

        Raises:
            WaitTimeout: The work did not end in time.
            DriverError: The work failed.
        """
        with self.order.open_link():
            pass
        self.drain(self._timeout if timeout is None else timeout)

    def drain(self, timeout: float) -> None:
        """Block until both sides have done all that was enqueued, for the link's own buffers and rings."""
        drain(self._producer, self._consumer, self.order, timeout)

    def close(self) -> None:
        """Wait for the work in flight, then release everything in reverse order. A second call does nothing.

        Work that does not end within the timeout is released from its waits and gets a last chance, as long again;
        after Ctrl-C it gets half a second. Work that then still runs is left behind with a ``ResourceWarning``,
        because freeing memory under a running device would be worse.

        Raises:
            TurnError: A producer turn of this thread is open. Nothing was closed.
            WaitTimeout: Another thread did not leave its producer turn in time, and nothing was closed; or the work did
                not end in time.
            ClosedError: A device was closed before its link. Everything that can be released was released.
            DriverError: The work failed. Everything was released.
        """
        order = self.order
        if order.closed:
            return
        with order.exclusive(f"closing {self!r}"):
            order.close()
        self._finalizer.detach()
        sides = self._producer, self._consumer, order
        failure: BaseException | None = None
        try:
            failure = drain_open_sides(*sides, self._timeout)
        except (InteropError, KeyboardInterrupt) as error:
            failure = error
            if not rescue(*sides, GRACE if isinstance(error, KeyboardInterrupt) else self._timeout):
                what = f"the objects of {self!r} are left behind, because work still runs: {error!r}"
                warnings.warn(what, ResourceWarning, stacklevel=2)
                raise
        self._release()
        if failure is not None:
            raise failure

    def _release(self) -> None:
        """Release everything in reverse order. Work must have ended."""
        with Deferred(), ExitStack() as stack:
            stack.push(self._owned)
            stack.callback(self.order.to_consumer.close)
            stack.callback(self.order.to_producer.close)
            for buffer in self._buffers:
                self.order.forget(buffer.ownership)
                stack.callback(buffer.release)
            stack.callback(self._turns.close)
            for ring in self._open_rings:
                stack.callback(ring.release)
        self._buffers.clear()
        self._open_rings.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(InteropError):  # the exception on its way out says more
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.path.value
        return f"<Link {self._plan.producer.backend} to {self._plan.consumer.backend}, {state}>"


def _dropped(plan: Plan) -> None:
    message = f"unclosed link {plan.producer.backend} to {plan.consumer.backend}; use it as a context manager"
    warnings.warn(message, ResourceWarning, stacklevel=2)
