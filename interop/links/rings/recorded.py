"""Recorded frames: work that is prepared once and submitted many times; the fast path of a ring.

For each batch the producer submits one recorded command buffer, and the consumer's stream gets one command list: a
wait, the launches and a signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import ClosedError, Launch, PreparedCall
from interop.toolkit import WITH_CONSUMER

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from interop.links.rings._blocks import RingBlock
    from interop.links.rings._handover import Handover
    from interop.links.rings.layout import Slot
    from interop.protocols import CommandList, Commands, Producer, Submission

    Rounds = Callable[[int], Generator[tuple[RingBlock, int, Sequence[Slot]]]]

_UNFLUSHED = 8
"""Batches that the consumer's stream collects before it is flushed; a quarter of a ring's batches at most."""


class HostCall:
    """A call of the program in a command list: it enqueues the consumer's work by its own means."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def __call__(self) -> None:
        """Run the function."""
        self._function()

    def check_open(self) -> None:
        """The function checks by itself."""

    def prepare_call(self) -> PreparedCall:
        """Return the function as a call that cannot fail by a status."""
        return PreparedCall(self._run, self._fail)

    def _run(self) -> int:
        self._function()
        return 0

    def _fail(self, status: int) -> None:
        """Never called: the status is always 0."""


class RecordedCalls:
    """The work on the frames of one batch. See :class:`interop.links._hand_overs.BatchCalls`."""

    __slots__ = ("commands", "launches", "signals", "steady", "waits", "whole")

    def __init__(self, block: RingBlock, commands: CommandList, launches: Sequence[Launch]) -> None:
        """Fill a list with the consumer's part of a batch."""
        ready = block.to_consumer.external_ready if block.producer_first else None
        done = block.to_producer.external_done if block.eager else None
        self.commands = commands
        self.launches = launches
        self.waits, self.signals = ready is not None, done is not None
        self.whole = self.waits and self.signals
        self.steady: Submission | None = None
        """The recorded submission of a batch that comes back from the consumer."""
        if ready is not None:
            commands.wait(ready)
        commands.acquire(block.memory)
        for launch in launches:
            commands.launch(launch)
        commands.release(block.memory)
        if done is not None:
            commands.signal(done)

    def check_open(self) -> None:
        """Raise :class:`ClosedError` if the module or memory of a launch was closed."""
        for launch in self.launches:
            launch.check_open()


class Recorded:
    """The prepared work on every slot of a ring. Made by :meth:`interop.links.FrameRing.record`."""

    def __init__(
        self,
        handover: Handover,
        producer: Producer,
        blocks: Sequence[tuple[RingBlock, Sequence[Slot]]],
        ring: tuple[Rounds, Callable[[int], None]],
        produce: Callable[[Commands, Slot], object],
        consume: Callable[[Slot], Callable[[], object]],
    ) -> None:
        """Record a whole round of full batches. ``ring`` chooses blocks for frames, and counts frames."""
        self._handover = handover
        self._producer = producer
        self._rounds, self._passed = ring
        self._produce = produce
        self._submissions: dict[tuple[int, int, tuple[bool, bool]], Submission] = {}
        self._calls: dict[tuple[int, int], RecordedCalls] = {}
        """By the number of the block, and of the frames in it."""
        self._launches: list[list[Launch]] = []
        self._closed = False
        try:
            for _, slots in blocks:
                self._launches.append([_launch(consume(slot)) for slot in slots])
            for block, slots in blocks:
                self._record(block, slots)
                self._prepare(block, len(slots))
        except BaseException:
            self.close()
            raise

    def run(self, count: int) -> None:
        """Enqueue ``count`` frames on both sides; the last batch may be shorter. Does not wait for them.

        Blocks the caller while too many batches are in flight. If a launch fails, its batch is handed back before the
        error is raised, and a later run goes on behind it.

        Args:
            count: Number of frames, not negative.

        Raises:
            WaitTimeout: No batch in flight ended within the link's timeout.
            ClosedError: The recording, the ring, or the module or memory of a launch is closed.
            DriverError: A driver refused a call.
        """
        if self._closed:
            raise ClosedError("this recording of a ring is closed")
        handover, calls = self._handover, self._calls
        in_flight, room, run = handover.in_flight, handover.room, handover.batches.run
        patience = min(max(1, len(self._launches) // 4), _UNFLUSHED)
        checked: set[int] = set()
        unflushed = passed = 0
        try:
            for block, _, slots in self._rounds(count):
                number, frames = block.number, len(slots)
                if len(in_flight) >= room and handover.make_room(unflushed):
                    unflushed = 0
                batch = calls.get((number, frames)) or self._prepare(block, frames)
                if number not in checked:
                    checked.add(number)
                    batch.check_open()
                submission = batch.steady
                if submission is None or block.ownership.state not in WITH_CONSUMER:
                    submission = self._submission(block, slots, batch)
                try:
                    run(block, submission, batch)
                finally:
                    in_flight.append(block.progress)
                    unflushed += 1
                passed += frames
                if unflushed >= patience:
                    handover.flush()
                    unflushed = 0
        finally:
            self._passed(passed)
            if unflushed:
                handover.flush()

    def _prepare(self, block: RingBlock, frames: int) -> RecordedCalls:
        """Prepare the consumer's calls for some frames of a block."""
        commands = self._handover.order.stream.command_list()
        made = RecordedCalls(block, commands, self._launches[block.number][:frames])
        self._calls[block.number, frames] = made
        return made

    def _submission(self, block: RingBlock, slots: Sequence[Slot], batch: RecordedCalls) -> Submission:
        """Return the recorded submission for a block's present owner."""
        found = self._submissions.get((block.number, len(slots), block.hand_over))
        if found is None:
            found = self._record(block, slots)
        if block.hand_over == (True, True):
            batch.steady = found
        return found

    def _record(self, block: RingBlock, slots: Sequence[Slot]) -> Submission:
        """Record the producer's work on some frames of a block, for the block's present owner."""
        hand_over = block.hand_over
        made = block.prepare(self._producer, hand_over)
        try:
            commands = made.begin(repeat=True)
            for slot in slots:
                self._produce(commands, slot)
        except BaseException:
            made.abandon()
            made.close()
            raise
        self._submissions[block.number, len(slots), hand_over] = made
        return made

    def close(self) -> None:
        """Free the recording, as soon as the devices have done its work. A second call does nothing."""
        self._closed = True
        self._launches = []
        self._calls.clear()
        while self._submissions:
            self._submissions.popitem()[1].close()


def _launch(call: Callable[[], object]) -> Launch:
    return call if isinstance(call, Launch) else HostCall(call)
