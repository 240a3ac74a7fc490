"""Handing blocks of frames over: what the batches of a ring need of the two streams, once per batch.

A *block* is the memory of one batch and whatever orders its hand-overs. Where the pair has binary semaphores
each block has a pair of its own, so that several batches can be in flight: a signal is always waited for
before the next one of its block is given, because each side waits for the other before it signals again.
Everything else (a timeline, the bridge, blocking) counts, and is shared with the turns of the link.
"""

from __future__ import annotations

import enum
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.buffers import open_shared
from interop.dtypes import DTYPES
from interop.errors import ClosedError, TurnError, WaitTimeout
from interop.negotiation import Strategy
from interop.semaphore import SemaphoreKind
from interop.sync import open_to_consumer, open_to_producer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.backend import Consumer, Producer, Submission
    from interop.buffers import Buffer
    from interop.handles import HandleType
    from interop.memory import ExternalMemory
    from interop.negotiation import Plan
    from interop.sync import ToConsumer, ToProducer
    from interop.turns import Order


_HARMLESS = (TurnError, ClosedError, WaitTimeout)
"""What is raised before anything is enqueued."""


class State(enum.Enum):
    """How far the present hand-over of a block has come."""

    IDLE = "idle"
    """With the producer, or on its way back to it."""
    PRODUCED = "produced"
    """Submitted by the producer, or nobody's; the consumer's stream has not been made to wait for it."""
    TAKEN = "taken"
    """With the consumer."""


class Block:
    """The memory of one batch, and its hand-overs."""

    __slots__ = (
        "_close",
        "_shapes",
        "away",
        "buffer",
        "frames",
        "fresh",
        "late",
        "memory",
        "number",
        "point",
        "progress",
        "serial",
        "state",
        "to_consumer",
        "to_producer",
        "used",
        "value",
    )

    def __init__(
        self,
        number: int,
        buffer: Buffer,
        memory: ExternalMemory,
        to_consumer: ToConsumer,
        to_producer: ToProducer,
        close: ExitStack,
    ) -> None:
        self.number = number
        self.buffer = buffer
        self.memory = memory
        self.to_consumer = to_consumer
        self.to_producer = to_producer
        self.state = State.IDLE
        self.used = False
        """Whether the consumer has had it since the last submission: the next one must wait for it."""
        self.away = False
        """Whether it belongs to another API: the next submission must take it over."""
        self.late = False
        """Whether the producer's signal is given when the consumer takes the block, not with the submission."""
        self.fresh = False
        """Whether the producer has submitted work that the consumer's stream has not waited for."""
        self.frames = 0
        """How many frames it holds that were made and that the other side has not had."""
        self.point = 0
        """The last submission's point of :attr:`to_consumer`."""
        self.progress = 0
        """The point on the producer's progress timeline at which the last submission has ended."""
        self.value = 0
        """What the next submission waits for on :attr:`to_producer`."""
        self.serial = 0
        """The ring's count of blocks given back, when this one was."""
        self._shapes: dict[tuple[bool, bool], Submission] = {}
        self._close = close

    @property
    def owner(self) -> tuple[bool, bool]:
        """What the shape of the next submission depends on."""
        return self.away, self.used

    def prepare(self, producer: Producer) -> Submission:
        """Make a submission for the block's present owner: its semaphores and transfers of ownership."""
        mine = [self.buffer.producer_buffer]
        return producer.prepare(
            acquire=mine if self.away else [],
            release=mine,
            wait=self.to_producer.semaphore if self.used else None,
            signal=None if self.late else self.to_consumer.semaphore,
        )

    def submission(self, producer: Producer) -> Submission:
        """Return the submission for recordings that differ from batch to batch."""
        found = self._shapes.get(self.owner)
        if found is None:
            found = self._shapes[self.owner] = self.prepare(producer)
        return found

    def close(self) -> None:
        """Free everything. Work must have ended. A second call does nothing."""
        while self._shapes:
            self._shapes.popitem()[1].close()
        self._close.close()


def open_block(
    number: int,
    plan: Plan,
    producer: Producer,
    consumer: Consumer,
    handle_type: HandleType,
    order: Order,
    nbytes: int,
) -> Block:
    """Allocate, share and order one block of ``nbytes`` bytes; nothing stays behind when a step fails."""
    with ExitStack() as undo:
        to_producer, to_consumer = order.to_producer, order.to_consumer
        if _single_use(plan.to_producer.strategy, plan.to_producer.kind):
            to_producer = open_to_producer(plan, producer, consumer, order.timeout)
            undo.callback(to_producer.close)
        if _single_use(plan.to_consumer.strategy, plan.to_consumer.kind):
            to_consumer = open_to_consumer(plan, producer, consumer, order.timeout, to_producer)
            undo.callback(to_consumer.close)
        shape, dtype = (nbytes,), DTYPES["uint8"]
        buffer = open_shared(producer, consumer, handle_type, plan.path, shape, dtype, nbytes)
        undo.callback(buffer.close)
        assert buffer.external is not None  # open_shared imports
        return Block(number, buffer, buffer.external, to_consumer, to_producer, undo.pop_all())


def _single_use(strategy: Strategy, kind: SemaphoreKind | None) -> bool:
    return strategy is Strategy.NATIVE and kind is SemaphoreKind.BINARY


class Handover:
    """Gives blocks from one side to the other and back; bounds how far the caller runs ahead.

    Each side is for one thread at a time. Locked against the turns of the link, which share its streams and
    counters.
    """

    __slots__ = (
        "_blocking",
        "_eager",
        "_flying",
        "_given",
        "_order",
        "_progress",
        "_room",
        "_synchronized",
        "_who",
        "failure",
    )

    def __init__(
        self, order: Order, plan: Plan, producer: Producer, room: int, *, late: bool = False
    ) -> None:
        """``room`` is the number of submissions that may be in flight.

        ``late``: the consumer's signal is given when the producer takes a block, not when it is given back.
        """
        self._order = order
        self._progress = producer.progress
        self._who = f"{producer.device.backend} to finish the oldest of {room} batches in flight"
        self._room = room
        self._flying: deque[int] = deque()
        # Blocking means waiting for the stream: that is put off until the block is needed again.
        self._blocking = plan.to_producer.strategy is Strategy.BLOCKING
        self._eager = not (self._blocking or late)
        self._given = 0
        self._synchronized = 0
        self.failure: BaseException | None = None
        """What broke the order of the two streams; nothing can be handed over after it."""

    def make_room(self) -> None:
        """Wait until one more batch may be submitted. Raises :class:`WaitTimeout`, which changes nothing."""
        flying = self._flying
        if len(flying) >= self._room:
            reached = self._progress.counter()
            if reached < flying[0]:
                timeout = self._order.timeout
                if not self._progress.wait_host(flying[0], timeout):
                    raise WaitTimeout(self._who, timeout)
                reached = flying[0]
            while flying and flying[0] <= reached:  # one look at the counter may serve many batches
                flying.popleft()

    def submit(self, block: Block, submission: Submission) -> None:
        """Have the producer do its work on a block after the consumer's last, and signal."""
        order = self._order
        order.take_lock()
        try:
            self._check(block, State.IDLE)
            self._submit(block, submission)
        except _HARMLESS:  # nothing was submitted
            raise
        except BaseException as error:
            self.failure = error
            raise
        finally:
            order.lock.release()

    def take(self, block: Block) -> None:
        """Make the consumer's stream wait for the producer's work, and take the block over."""
        order = self._order
        order.take_lock()
        try:
            self._check(block, State.PRODUCED)
            self._take(block)
        except _HARMLESS:  # the block waits to be taken still
            raise
        except BaseException as error:
            self.failure = error
            raise
        finally:
            order.lock.release()

    def give_back(self, block: Block) -> None:
        """Have the consumer's stream give the block up and signal."""
        order = self._order
        order.take_lock()
        try:
            self._check(block, State.TAKEN)
            self._give_back(block)
        except BaseException as error:
            self.failure = error
            raise
        finally:
            order.lock.release()

    def run(self, block: Block, submission: Submission, launches: Sequence[Callable[[], object]]) -> None:
        """Submit, take, launch, and give back, in one go: what :mod:`interop.recorded` does for each batch.

        What a launch raises comes out after the block has been given back.
        """
        order = self._order
        raised: BaseException | None = None
        order.take_lock()
        try:
            self._check(block, State.IDLE)
            self._submit(block, submission)
            self._take(block)
            try:
                for launch in launches:
                    launch()
            except BaseException as error:  # noqa: BLE001 - raised below
                raised = error
            self._give_back(block)
        except _HARMLESS as error:
            if block.state is State.TAKEN:
                self.failure = error
            raise
        except BaseException as error:
            self.failure = error
            raise
        finally:
            order.lock.release()
        if raised is not None:
            raise raised

    def _submit(self, block: Block, submission: Submission) -> None:
        to_consumer = block.to_consumer
        value = 0
        if block.used:
            value = block.value if self._eager else self._wait_for(block)
            to_consumer.returned()
        signals = not block.late and to_consumer.can_signal()
        progress = submission.submit(value, to_consumer.next_value())
        block.point = to_consumer.submitted(progress, signalled=signals)
        block.progress = progress
        block.away, block.used, block.fresh = True, False, True
        block.state = State.PRODUCED
        self._flying.append(progress)

    def _take(self, block: Block) -> None:
        stream = self._order.stream
        if block.fresh:
            block.to_consumer.wait(stream, block.point)
            block.fresh = False
        block.memory.acquire(stream)
        block.state = State.TAKEN

    def _give_back(self, block: Block) -> None:
        stream = self._order.stream
        block.memory.release(stream)
        if self._eager:
            block.value = block.to_producer.signal(stream)
        else:
            stream.flush()
            self._given += 1
            block.serial = self._given
        block.away = block.used = True
        block.state = State.IDLE

    def take_back(self, block: Block) -> None:
        """Let the side that has handed a block over make it anew: the other one has not been told of it.

        The caller has the block to itself; nothing is enqueued. Right only where no signal is out for it: those
        with values pass unseen, and for those without, the block or the whole hand-over is ``late``.
        """
        if block.state is State.PRODUCED:
            block.state = State.IDLE
        else:
            block.used, block.state = False, State.PRODUCED
        block.frames = 0

    def await_consumer(self, timeout: float) -> None:
        """Wait until the consumer's stream has done all that it was given. Raises :class:`WaitTimeout`."""
        given = self._given
        self._order.stream.synchronize(timeout)
        self._synchronized = max(self._synchronized, given)

    def await_producer(self, block: Block, timeout: float) -> None:
        """Wait until the producer has done its last submission of a block. Raises :class:`WaitTimeout`."""
        if not self._progress.wait_host(block.progress, timeout):
            raise WaitTimeout(f"the producer to finish its work on block {block.number} of the ring", timeout)

    def _wait_for(self, block: Block) -> int:
        """Have the stream signal. Blocking waits for it, unless that was done since the block was given back."""
        if self._blocking and block.serial <= self._synchronized:
            return 0
        given = self._given
        value = block.to_producer.signal(self._order.stream)
        self._synchronized = given
        return value

    def _check(self, block: Block, state: State) -> None:
        if self._order.closed:
            raise ClosedError(self._order.why)
        if self.failure is not None:
            msg = f"no batch can be handed over after an earlier one failed: {self.failure}"
            raise TurnError(msg) from self.failure
        if block.state is not state:
            msg = f"this batch is {block.state.value}; it must be {state.value} for that"
            raise TurnError(msg)
