"""Handing blocks of frames over: what the batches of a ring need of the two streams, once per batch."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from interop.links.rings._batches import State
from interop.links.rings._steps import Steps
from interop.links.sync import BinaryToConsumer, NativeToProducer, TimelineToConsumer
from interop.negotiation import Strategy
from interop.protocols import ClosedError, TurnError, WaitTimeout, ownership

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.links.order import Order
    from interop.links.rings._batches import Block
    from interop.negotiation import Plan
    from interop.protocols import BareLaunch, Producer, Submission


_HARMLESS = (TurnError, ClosedError, WaitTimeout)
"""What is raised before anything is enqueued."""


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
        "_unflushed",
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
        self._unflushed = 0
        self.failure: BaseException | None = None
        """What broke the order of the two streams; nothing can be handed over after it."""

    def make_room(self) -> None:
        """Wait until one more batch may be submitted. Raises :class:`WaitTimeout`, which changes nothing."""
        flying = self._flying
        if len(flying) >= self._room:
            reached = self._progress.counter()
            if reached < flying[0]:
                self.flush()
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
        """Submit, take, launch, and give back, in one go: what :mod:`interop.links.rings.recorded` does for each batch.

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

    def steps(self, block: Block, launches: Sequence[BareLaunch]) -> Steps | None:
        """Return the bare calls of a batch that is like the one before, where each side offers them."""
        if not self._eager or block.late:
            return None
        stream = self._order.stream
        to_consumer, to_producer = block.to_consumer, block.to_producer
        if not isinstance(to_consumer, BinaryToConsumer | TimelineToConsumer):
            return None
        if not isinstance(to_producer, NativeToProducer):
            return None
        wait, signal = to_consumer.bare(stream), to_producer.bare(stream)
        owning = ownership(block.memory, stream)
        if wait is None or signal is None or owning is None:
            return None
        return Steps(wait, owning, [each.bare() for each in launches], signal, to_consumer, to_producer)

    def repeat(self, block: Block, submission: Submission, steps: Steps, patience: int) -> None:
        """Do what :meth:`run` did, by bare calls. The stream is flushed once for ``patience`` batches.

        What binary semaphores count is as it was: the signals of the batch are used up by its waits.
        """
        order = self._order
        raised: BaseException | None = None
        order.take_lock()
        try:
            self._check(block, State.IDLE)
            point = value = 0
            if steps.ready is not None:
                point = steps.ready.next_value()
            block.progress = submission.submit(block.value, point)
            self._flying.append(block.progress)
            if steps.ready is not None:
                block.point = steps.ready.submitted(block.progress, signalled=True)
                steps.await_value(point)
            if steps.back is not None:
                value = steps.back.next_value()
                steps.give_value(value)
            block.state = State.TAKEN  # before it is: an interrupt may come as any of the calls returns
            for begin in steps.begins:
                begin()
            for call, fail in steps.take:
                status = call()
                if status:
                    fail(status)
            try:
                for call, fail in steps.work:
                    status = call()
                    if status:
                        fail(status)
            except BaseException as error:  # noqa: BLE001 - raised below
                raised = error
            for call, fail in steps.give:
                status = call()
                if status:
                    fail(status)
            if steps.back is not None:
                block.value = steps.back.signalled(value)
            block.state = State.IDLE
            self._unflushed += 1
            if self._unflushed >= patience:
                self.flush()
        except BaseException as error:
            if block.state is State.TAKEN:
                steps.broken()
            if block.state is State.TAKEN or not isinstance(error, _HARMLESS):
                self.failure = error
            raise
        finally:
            order.lock.release()
        if raised is not None:
            raise raised

    def flush(self) -> None:
        """Hand to the device what :meth:`repeat` has enqueued."""
        if self._unflushed:
            self._order.stream.flush()
            self._unflushed = 0

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
