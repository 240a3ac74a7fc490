"""Links: a producer and a consumer on one device, joined by a plan. :mod:`interop.links.connect` makes them."""

from __future__ import annotations

import contextlib
import time
import warnings
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from interop.links.buffers import Buffer, open_given, open_parts, open_shared, open_staged
from interop.links.order import Order
from interop.links.queue_turns import QueueTurn
from interop.links.rings import Rings
from interop.links.sync import open_directions
from interop.links.turns import ConsumerTurn, ProducerTurn
from interop.protocols import (
    ClosedError,
    DriverError,
    InteropError,
    InvalidArgument,
    ProducerT_co,
    TurnError,
    as_dtype,
    check_shape,
)
from interop.toolkit import HOLD, Deferred, close_in_children

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from interop.links.rings import Auto, FrameRing, LatestRing, Source
    from interop.links.rings.layout import Consume, Produce
    from interop.negotiation import MemoryPath, Plan
    from interop.protocols import BufferPart, CommandsT, Consumer, DType, MappedBuffer, Producer

DEFAULT_TIMEOUT = 10.0
"""Seconds after which a wait of a link gives up, unless ``connect`` says otherwise."""


class Link(Generic[ProducerT_co]):
    """A producer and a consumer joined by a plan. Made by :func:`connect`; owns what it made.

    Closing waits for the work in flight, bounded by the link's timeout, and releases everything in reverse
    order. Turns may be taken from any thread.
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
        """Join two opened devices. ``owned`` holds what closes with the link; it is taken over on success."""
        self._plan = plan
        self._producer = producer
        self._consumer = consumer
        self._timeout = timeout
        self._buffers: list[Buffer] = []
        self._consumer_turns: dict[
            tuple[Buffer, ...], ConsumerTurn[MappedBuffer | tuple[MappedBuffer, ...]]
        ] = {}
        self._producer_turns: dict[tuple[Buffer, ...], ProducerTurn[Any]] = {}
        self._queue_turns: dict[tuple[Buffer, ...], QueueTurn[Any]] = {}
        to_consumer, to_producer = open_directions(plan, producer, consumer, timeout)
        self._order = Order(consumer.stream, to_consumer, to_producer, timeout)
        self._rings = Rings(plan, producer, consumer, self._order)
        self._owned = owned.pop_all() if owned is not None else ExitStack()
        self._finalizer = weakref.finalize(self, _dropped, plan)
        self._finalizer.atexit = False
        close_in_children(self)

    @property
    def plan(self) -> Plan:
        """What was negotiated."""
        return self._plan

    @property
    def path(self) -> MemoryPath:
        """How buffers get from one side to the other."""
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
        """Seconds after which a wait of this link gives up."""
        return self._timeout

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._order.closed

    def explain(self) -> str:
        """Say in a few lines what was chosen, and why each alternative was not."""
        return self._plan.explain()

    def buffer(self, shape: int | tuple[int, ...], dtype: object = "float32") -> Buffer:
        """Allocate memory that both sides see; contents are undefined. Closed with the link, or before.

        ``shape`` counts elements, row-major; ``dtype`` is a NumPy type or its name. Raises
        :class:`InvalidArgument` for a shape or type that cannot be, :class:`DriverError` when a driver has
        no memory for it. Maps to one allocation, one export and one import.
        """
        self._check_open()
        element = as_dtype(dtype)
        extents, nbytes = check_shape(shape, element)
        with Deferred():  # it is the link's, and closed with it, before anything else can happen
            handle_type = self._plan.handle_type
            if handle_type is None:
                buffer = open_staged(
                    self._producer, self._consumer, self.path, extents, element, nbytes, self._timeout
                )
            else:
                buffer = open_shared(
                    self._producer, self._consumer, handle_type, self.path, extents, element, nbytes
                )
            self._buffers.append(buffer)
        return buffer

    def buffers(self, *layouts: tuple[int | tuple[int, ...], object]) -> tuple[Buffer, ...]:
        """Allocate once for several buffers, each with turns of its own. Closed with the link, or before.

        Each layout is a shape and a dtype, as for :meth:`buffer`. The buffers lie one after the other, at
        multiples of what both devices' views are aligned to; the allocation is freed with the last of them. On
        the staged path each has its own allocations. Raises as :meth:`buffer`, and :class:`InvalidArgument`
        for no layout at all. Maps to one allocation, one export and one import.
        """
        self._check_open()
        if not layouts:
            raise InvalidArgument("buffers takes at least one layout: a shape and a dtype")
        wanted: list[tuple[tuple[int, ...], DType, int]] = []
        for shape, dtype in layouts:
            element = as_dtype(dtype)
            extents, nbytes = check_shape(shape, element)
            wanted.append((extents, element, nbytes))
        with Deferred():  # as above
            handle_type = self._plan.handle_type
            if handle_type is None:
                with ExitStack() as undo:
                    made: list[Buffer] = []
                    for layout in wanted:
                        made.append(
                            open_staged(self._producer, self._consumer, self.path, *layout, self._timeout)
                        )
                        undo.callback(made[-1].close)
                    undo.pop_all()
            else:
                made = open_parts(self._producer, self._consumer, handle_type, self.path, wanted)
            self._buffers.extend(made)
        return tuple(made)

    def adopt(
        self, given: BufferPart, shape: int | tuple[int, ...] | None = None, dtype: object = "uint8"
    ) -> Buffer:
        """Take a buffer of this link's producer that exists already; it stays the caller's, the result is closed.

        ``given`` was made exportable by the producer, adopted by it (``adopt_buffer``), or belongs to another
        link over the same producer (``buffer.producer_buffer``), so that several consumers see one allocation;
        a part of an allocation is not taken.
        ``shape`` is all of it, in one row by default. Its bytes count as nobody's before the first turn. Raises
        :class:`InvalidArgument` for a shape of another size, :class:`Unsupported` for a buffer that cannot be
        exported. Maps to one export and one import.
        """
        self._check_open()
        with Deferred():  # as above
            buffer = open_given(
                self._plan, self._producer, self._consumer, given, shape, dtype, self._timeout
            )
            self._buffers.append(buffer)
        return buffer

    @overload
    def ring(
        self,
        shape: int | tuple[int, ...],
        dtype: object = "float32",
        *,
        mode: Literal["throughput"] = "throughput",
        source: Source = "producer",
        slots: int | Auto | None = None,
        batch: int | Auto | None = None,
        latency: float | None = None,
        produce: Produce | None = None,
        consume: Consume | None = None,
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
        self, shape: int | tuple[int, ...], dtype: object = "float32", **options: Any
    ) -> FrameRing | LatestRing:
        """Allocate ``slots`` frames that are handed over ``batch`` at a time. Closed with the link, or before.

        ``shape`` and ``dtype`` are those of one frame, as for :meth:`buffer`; ``source`` is the side that makes
        the frames. With ``mode="throughput"`` every frame arrives, and the maker waits while the ring is full:
        64 slots by default, and a batch of half the slots, so that each side has one to work on. With
        ``mode="latency"`` the newest frame wins: batches of one by default, and slots for three.
        ``slots`` must be a multiple of ``batch``.

        ``"auto"`` for either measures some hundred frames of each size, and chooses the smallest that is within
        5 % of the fastest, of those that keep a frame waiting for ``latency`` seconds at most, where that is
        given. ``produce`` and ``consume`` are the work to measure, as for :meth:`FrameRing.record`; without
        them it is the hand-over alone. :attr:`FrameRing.tuning` tells what was found.

        Raises as :meth:`buffer`, and :class:`Unsupported` where the pair shares no memory. Maps to an
        allocation, an export, an import and, for binary semaphores, a pair of them per batch of slots.
        """
        self._check_open()
        element = as_dtype(dtype)
        extents, nbytes = check_shape(shape, element)
        return self._rings.make(self._drain, extents, element, nbytes, **options)

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

        Entering enqueues the wait for the producer's last turn on the consumer's stream; one wait serves all
        buffers. The same object is returned for the same buffers, so it may be kept and entered again.
        Raises :class:`TurnError` for buffers of another link or in an open turn.
        """
        turn = self._consumer_turns.get(buffers)
        if turn is None:
            self._check_buffers(buffers)
            views = tuple(buffer.consumer_view for buffer in buffers)
            shown: MappedBuffer | tuple[MappedBuffer, ...] = views[0] if len(views) == 1 else views
            turn = ConsumerTurn(self._order, buffers, shown)
            self._consumer_turns[buffers] = turn
        return turn  # type: ignore[return-value]  # the overloads tell which of the two it is

    def producer_turn(self: Link[Producer[CommandsT]], *buffers: Buffer) -> ProducerTurn[CommandsT]:
        """Return the turn in which the producer owns ``buffers``: a context manager that yields its recorder.

        Entering enqueues the consumer's signal; leaving submits what was recorded, with ownership transfers
        and semaphores, in one queue submission. An exception inside submits the hand-over alone.
        Raises as :meth:`consumer_turn`.
        """
        turn = self._producer_turns.get(buffers)
        if turn is None:
            self._check_buffers(buffers)
            turn = ProducerTurn(self._order, self._producer, buffers)
            self._producer_turns[buffers] = turn
        return turn

    def queue_turn(self: Link[Producer[CommandsT]], *buffers: Buffer) -> QueueTurn[CommandsT]:
        """Return the turn in which the caller's own submissions to the producer's queue own ``buffers``.

        As :meth:`producer_turn`, but taking over is submitted at its begin, and giving up at its end; see
        :class:`interop.links.QueueTurn`. Raises as :meth:`consumer_turn`.
        """
        turn = self._queue_turns.get(buffers)
        if turn is None:
            self._check_buffers(buffers)
            turn = self._queue_turns[buffers] = QueueTurn(self._order, self._producer, buffers)
        return turn

    def _check_buffers(self, buffers: tuple[Buffer, ...]) -> None:
        self._check_open()
        if not buffers or len(set(buffers)) != len(buffers):
            raise TurnError(f"a turn takes one or more different buffers, got {len(buffers)}")
        for buffer in buffers:
            if buffer not in self._buffers:
                raise TurnError(f"{buffer!r} does not belong to this link")

    def _check_open(self) -> None:
        if self._order.closed:
            raise ClosedError(self._order.why)

    def orphan(self, why: str) -> None:
        """Close it without a word to any driver, in a child process that was forked."""
        if not self._order.closed:
            self._finalizer.detach()
            self._order.orphan(why)

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until both sides have done all that was enqueued. Raises :class:`WaitTimeout`, :class:`DriverError`.

        ``timeout`` in seconds for both together; the link's own by default.
        """
        self._check_open()
        self._drain(self._timeout if timeout is None else timeout)

    def _drain(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        try:
            self._consumer.stream.synchronize(timeout)
        except DriverError as error:  # the stream knows that a hold failed, and the direction why
            if error.function != HOLD or self._order.to_consumer.failure is None:
                raise
            raise self._order.to_consumer.failure from error
        self._producer.wait_idle(max(deadline - time.monotonic(), 0.001))

    def close(self) -> None:
        """Wait for the work in flight, then release everything in reverse order. A second call does nothing.

        When the work does not end in time, both sides are let go and given a last chance; what then still
        runs is left behind with a ``ResourceWarning``, since freeing memory under a running device would be
        worse. Raises what the waiting raised, and :class:`ClosedError` when a device was closed before its
        link, after everything that can be released has been.
        """
        order = self._order
        with order.lock:
            if order.closed:
                return
            order.closed = True
        self._finalizer.detach()
        failure: BaseException | None = None
        try:
            failure = self._drain_what_is_open()
        except (InteropError, KeyboardInterrupt) as error:
            failure = error
            if not self._rescue():
                what = f"left behind, because work still runs: {error!r}"
                warnings.warn(what, ResourceWarning, stacklevel=2)
                raise
        with Deferred(), ExitStack() as stack:
            stack.push(self._owned)
            stack.callback(order.to_consumer.close)
            stack.callback(order.to_producer.close)
            for buffer in self._buffers:
                stack.callback(buffer.close)
            for turn in (*self._producer_turns.values(), *self._queue_turns.values()):
                stack.callback(turn.close)
            stack.callback(self._rings.release)
        self._buffers.clear()
        if failure is not None:
            raise failure

    def _drain_what_is_open(self) -> InteropError | None:
        """Drain both sides; one that was closed has nothing in flight, which is an error to be told later."""
        try:
            self._drain(self._timeout)
        except ClosedError as error:
            with contextlib.suppress(ClosedError):
                self._producer.wait_idle(self._timeout)
            failure = ClosedError(f"{error}; close a link before the devices that it joins")
            failure.__cause__ = error
            return failure
        return None

    def _rescue(self) -> bool:
        """Let go of what still waits; return whether both came to rest."""
        for direction in (self._order.to_consumer, self._order.to_producer):
            with contextlib.suppress(InteropError):
                direction.rescue()
        try:
            for rest in (self._consumer.stream.synchronize, self._producer.wait_idle):
                with contextlib.suppress(DriverError, ClosedError):  # failed work has ended too
                    rest(self._timeout)
        except InteropError:
            return False
        return True

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
