"""The checked link, which ``connect(check=True)`` returns."""

from __future__ import annotations

import contextlib
import weakref
from itertools import count
from typing import TYPE_CHECKING, Any

from interop.links.checking._consumers import watch_consumer
from interop.links.checking._model import MODEL
from interop.links.checking._producers import watch_producer
from interop.links.checking._records import acting, memories, payloads, queues
from interop.links.checking._state import ENTERING, Memory, Scope, unchecked
from interop.links.checking._watch import Records, watch
from interop.links.link import Link
from interop.negotiation import Strategy
from interop.protocols import InteropError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from interop.links.buffers import Buffer
    from interop.links.checking._watch import Call
    from interop.negotiation import Plan
    from interop.protocols import BufferPart, Consumer, Producer, Stream

_links = count(1)
_turns: Records[tuple[str, list[Memory]]] = Records()
"""Of turns: the side, and the memories."""


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
        self._scope = Scope(f"link {next(_links)} ({plan.producer.backend} to {plan.consumer.backend})")
        watch_producer(producer, self._scope)
        watch_consumer(consumer, self._scope)
        with acting(self._scope):
            super().__init__(plan, producer, consumer, timeout, owned=owned)
        # The relays of a bridge count as a wait and a signal of the stream.
        to_consumer, to_producer = self.order.to_consumer, self.order.to_producer
        if plan.to_consumer.strategy is Strategy.BRIDGED:
            payloads.put(to_consumer, payloads[producer])
            watch(to_consumer, _RelayedWait)
        if plan.to_producer.strategy is Strategy.BRIDGED:
            payloads.put(to_producer, payloads[to_producer.done]).relayed = True
            watch(to_producer, _RelayedSignal)

    def buffer(self, shape: int | tuple[int, ...], dtype: object = "float32") -> Buffer:
        """See :meth:`interop.links.Link.buffer`."""
        with acting(self._scope):
            made = super().buffer(shape, dtype)
        self._name(made, memories[made.producer_buffer])
        return made

    def buffers(self, *layouts: tuple[int | tuple[int, ...], object]) -> tuple[Buffer, ...]:
        """See :meth:`interop.links.Link.buffers`."""
        with acting(self._scope):
            made = super().buffers(*layouts)
        for each in made:  # each part of the allocation has turns of its own
            own = Memory("", self._scope, imported=True)
            memories.put(each.producer_buffer, own)
            self._name(each, own)
        return made

    def adopt(
        self, given: BufferPart, shape: int | tuple[int, ...] | None = None, dtype: object = "uint8"
    ) -> Buffer:
        """See :meth:`interop.links.Link.adopt`."""
        with acting(self._scope):
            made = super().adopt(given, shape, dtype)
        whole = memories.get(given)
        if whole is not None:  # several links may adopt it, each with turns of its own
            own = Memory("", self._scope, imported=True, used=dict(whole.used))
            self._name(made, own)
            whole.adopted.add(own)
        return made

    def _name(self, made: Buffer, memory: Memory) -> None:
        """Let the turns of a buffer decide who may use a memory."""
        memory.name = self._scope.label("buffer")
        memory.buffer = weakref.ref(made)
        memories.put(made.consumer_view, memory)  # also where it is another memory, which is staged
        if made.external is not None:
            memories.put(made.external, memory)

    def ring(self, shape: Any, dtype: object = "float32", **options: Any) -> Any:
        """See :meth:`interop.links.Link.ring`."""
        with acting(self._scope):
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

    def close_buffer(self, buffer: Buffer) -> None:
        """See :meth:`interop.links.Link.close_buffer`. Raises :class:`Misuse` in a turn or while work is pending."""
        memory = memories[buffer.consumer_view]
        if memory.turn:
            memory.refuse(
                f"closed in the {memory.turn}'s turn",
                "that its turn has ended",
                "leave the `with` block of the turn first",
            )
        with contextlib.suppress(InteropError):  # of a lost device
            self.producer.progress.counter()  # looks, without waiting
        MODEL.check_ended(memory)
        super().close_buffer(buffer)

    def close(self) -> None:
        """See :meth:`interop.links.Link.close`. Raises :class:`Misuse`, closing nothing, inside an open turn."""
        if self.closed:
            return
        for buffer in self._buffers:
            if buffer.in_turn:
                memories[buffer.consumer_view].refuse(
                    "in an open turn while the link is closed",
                    "that every turn has ended",
                    "leave the `with` block of the turn before closing the link",
                )
        try:
            with unchecked():
                super().close()
        finally:
            self._scope.closed = True


def _watch_turn(turn: Any, side: str, buffers: tuple[Buffer, ...]) -> Any:
    if _turns.get(turn) is None:
        _turns.put(turn, (side, [memories[each.consumer_view] for each in buffers]))
        watch(turn, _TurnChecks)
    return turn


def _enter(turn: object, original: Call) -> Any:
    side, used = _turns[turn]
    free = [memory for memory in used if not memory.turn]
    for memory in free:
        memory.turn = ENTERING
    try:
        with acting(None, used):
            entered = original()
    except BaseException:
        for memory in free:
            memory.turn = ""
        raise
    for memory in used:
        memory.turn = side
    return entered


def _exit(turn: object, original: Call, *error: object) -> Any:
    used = _turns[turn][1]
    try:
        with acting(None, used):
            return original(*error)
    finally:
        for memory in used:
            memory.turn = ""


class _TurnChecks:
    __enter__ = _enter
    __exit__ = _exit


class _RelayedWait:
    def wait(self, original: Call, stream: Stream, value: int) -> int:
        queue, step = queues[stream], payloads[self].step(value, signal=False)
        MODEL.check_steps(queue, [step])
        reached: int = original(stream, value)
        MODEL.add(queue, [step])
        return reached


class _RelayedSignal:
    def signal(self, original: Call, stream: Stream) -> int:
        value: int = original(stream)
        MODEL.add(queues[stream], [payloads[self].step(value, signal=True)])
        return value
