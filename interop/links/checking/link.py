"""The checked link, which ``connect(check=True)`` returns."""

from __future__ import annotations

import weakref
from itertools import count
from typing import TYPE_CHECKING, Any

from interop.links.checking import _consumers as consumers
from interop.links.checking import _producers as producers
from interop.links.checking import _records as records
from interop.links.checking._model import MODEL
from interop.links.checking._state import ENTERING, Memory, Payload, Scope
from interop.links.checking._watch import Records, watch
from interop.links.link import Link
from interop.negotiation import Strategy
from interop.protocols import Misuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from interop.links.buffers import Buffer
    from interop.links.sync import ToConsumer, ToProducer
    from interop.negotiation import Plan
    from interop.protocols import BufferPart, Consumer, Producer, Stream

    Call = Callable[..., Any]

_links = count(1)
_turns: Records[tuple[str, list[Memory]]] = Records()
_directions: Records[Payload | None] = Records()
_buffers: Records[tuple[Memory, Producer]] = Records()


class CheckedLink(Link):
    """A link that raises :class:`interop.protocols.Misuse` where a driver would return garbage or hang.

    It watches its producer and its consumer, and every object that they create from then on.
    """

    def __init__(
        self,
        plan: Plan,
        producer: Producer,
        consumer: Consumer,
        timeout: float,
        *,
        owned: ExitStack | None = None,
    ) -> None:
        """See :class:`interop.links.Link`."""
        scope = Scope(f"link {next(_links)} ({plan.producer.backend} to {plan.consumer.backend})")
        self._scope = scope
        producers.watch_producer(producer, scope)
        consumers.watch_consumer(consumer, scope)
        with records.acting(scope):
            super().__init__(plan, producer, consumer, timeout, owned=owned)
        _watch_directions(plan, producer, self.order.to_consumer, self.order.to_producer)

    def buffer(self, shape: int | tuple[int, ...], dtype: object = "float32") -> Buffer:
        """See :meth:`interop.links.Link.buffer`."""
        with records.acting(self._scope):
            made = super().buffer(shape, dtype)
        self._adopt(made)
        return made

    def buffers(self, *layouts: tuple[int | tuple[int, ...], object]) -> tuple[Buffer, ...]:
        """See :meth:`interop.links.Link.buffers`."""
        with records.acting(self._scope):
            made = super().buffers(*layouts)
        for each in made:
            # Each part of the allocation has turns of its own.
            own = Memory("", self._scope, imported=True)
            for place in (each.producer_buffer, each.consumer_view, each.external):
                if place is not None:
                    records.memories.put(place, own)
            self._adopt(each)
        return made

    def adopt(
        self, given: BufferPart, shape: int | tuple[int, ...] | None = None, dtype: object = "uint8"
    ) -> Buffer:
        """See :meth:`interop.links.Link.adopt`."""
        with records.acting(self._scope):
            made = super().adopt(given, shape, dtype)
        whole = records.memories.get(given)
        if whole is not None:  # several links may adopt it, each with turns of its own
            own = Memory("", self._scope, imported=True, used=dict(whole.used))
            for place in (made.consumer_view, made.external):
                if place is not None:
                    records.memories.put(place, own)
            self._name(made, own)
            whole.adopted.add(own)
        return made

    def _adopt(self, made: Buffer) -> None:
        memory = records.memories.get(made.producer_buffer)
        if memory is not None:
            view = records.memories.get(made.consumer_view)
            if view is not memory:  # staged: two memories, one buffer
                records.memories.put(made.consumer_view, memory)
            self._name(made, memory)

    def _name(self, made: Buffer, memory: Memory) -> None:
        memory.name = self._scope.label("buffer")
        memory.buffer = weakref.ref(made)
        _buffers.put(made, (memory, self.producer))
        watch(made, "link buffer", {"close": _close_buffer})

    def ring(self, shape: Any, dtype: object = "float32", **options: Any) -> Any:
        """See :meth:`interop.links.Link.ring`."""
        with records.acting(self._scope):
            return super().ring(shape, dtype, **options)

    def consumer_turn(self, *buffers: Buffer) -> Any:
        """See :meth:`interop.links.Link.consumer_turn`."""
        return _watch_turn(super().consumer_turn(*buffers), "consumer", buffers)

    def producer_turn(self, *buffers: Buffer) -> Any:
        """See :meth:`interop.links.Link.producer_turn`."""
        return _watch_turn(super().producer_turn(*buffers), "producer", buffers)

    def queue_turn(self, *buffers: Buffer) -> Any:
        """See :meth:`interop.links.Link.queue_turn`."""
        return _watch_turn(super().queue_turn(*buffers), "producer", buffers)

    def close(self) -> None:
        """See :meth:`interop.links.Link.close`. Raises :class:`Misuse`, closing nothing, inside an open turn."""
        if self.closed:
            return
        for buffer in self._buffers:
            found = _buffers.get(buffer)
            if buffer.in_turn and found is not None:
                raise Misuse(
                    found[0].name,
                    self._scope.name,
                    "in an open turn while the link is closed",
                    "that every turn has ended",
                    "leave the `with` block of the turn before closing the link",
                )
        MODEL.hush(1)
        try:
            super().close()
        finally:
            MODEL.hush(-1)
            self._scope.closed = True


def _watch_turn(turn: Any, side: str, buffers: tuple[Buffer, ...]) -> Any:
    if _turns.get(turn) is None:
        found = [_buffers.get(buffer) for buffer in buffers]
        _turns.put(turn, (side, [each[0] for each in found if each is not None]))
        watch(turn, "turn", {"__enter__": _enter, "__exit__": _exit})
    return turn


def _enter(turn: object, original: Call) -> Any:
    side, memories = _turns.get(turn) or ("", [])
    free = [memory for memory in memories if not memory.turn]
    for memory in free:
        memory.turn = ENTERING
    try:
        with records.acting(None, memories):
            entered = original()
    except BaseException:
        for memory in free:
            memory.turn = ""
        raise
    for memory in memories:
        memory.turn = side
    return entered


def _exit(turn: object, original: Call, *error: object) -> Any:
    memories = (_turns.get(turn) or ("", []))[1]
    try:
        with records.acting(None, memories):
            return original(*error)
    finally:
        for memory in memories:
            memory.turn = ""


def _close_buffer(buffer: object, original: Call) -> None:
    found = _buffers.get(buffer)
    if found is not None and not MODEL.quiet:
        memory, producer = found
        if memory.turn:
            raise Misuse(
                memory.name,
                memory.scope.name,
                f"closed in the {memory.turn}'s turn",
                "that its turn has ended",
                "leave the `with` block of the turn first",
            )
        producers.look(producer)
        MODEL.check_ended(memory.name, memory.scope, memory.used)
    original()


def _watch_directions(
    plan: Plan, producer: Producer, to_consumer: ToConsumer, to_producer: ToProducer
) -> None:
    """Tell the model of a bridge: its relays count as a wait and a signal of the stream."""
    if plan.to_consumer.strategy is Strategy.BRIDGED:
        _directions.put(to_consumer, records.payloads.get(producer.progress))
        watch(to_consumer, "bridge", {"wait": _bridge_wait})
    if plan.to_producer.strategy is Strategy.BRIDGED:
        payload = records.payloads.get(to_producer.done)
        if payload is not None:
            payload.relayed = True
        _directions.put(to_producer, payload)
        watch(to_producer, "bridge", {"signal": _bridge_signal})


def _bridge_wait(direction: object, original: Call, stream: Stream, point: int) -> int:
    queue, payload = records.queues.get(stream), _directions.get(direction)
    if queue is not None and payload is not None:
        MODEL.check_steps(queue, [(payload, point, False)])
    reached: int = original(stream, point)
    if queue is not None and payload is not None:
        MODEL.add(queue, [(payload, point, False)])
    return reached


def _bridge_signal(direction: object, original: Call, stream: Stream) -> int:
    queue, payload = records.queues.get(stream), _directions.get(direction)
    value: int = original(stream)
    if queue is not None and payload is not None:
        MODEL.add(queue, [(payload, value, True)])
    return value
