"""The hand-over of a ring's batches: the engine's calls, and the bound on how far the caller runs ahead."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from interop.protocols import WaitTimeout

if TYPE_CHECKING:
    from interop.links._hand_overs import BatchCalls
    from interop.links.rings._blocks import RingBlock, RingHome
    from interop.protocols import Submission


class Handover:
    """Hands blocks over by the link's order engine. Each side is for one thread at a time."""

    __slots__ = ("_flying", "_progress", "_room", "_unflushed", "_who", "batches", "order")

    def __init__(self, home: RingHome, room: int) -> None:
        """``room`` is the number of submissions that may be in flight."""
        producer = home.producer
        self.order = home.order
        self.batches = home.batches
        self._progress = producer.progress
        self._who = f"{producer.device.backend} to finish the oldest of {room} batches in flight"
        self._room = room
        self._flying: deque[int] = deque()
        self._unflushed = 0

    def make_room(self) -> None:
        """Block until one more batch may be submitted. Raises :class:`WaitTimeout`, which changes nothing."""
        flying = self._flying
        if len(flying) >= self._room:
            reached = self._progress.counter()
            if reached < flying[0]:
                self.flush()
                timeout = self.order.timeout
                if not self._progress.wait_host(flying[0], timeout):
                    raise WaitTimeout(self._who, timeout)
                reached = flying[0]
            while flying and flying[0] <= reached:  # one look at the counter may serve many batches
                flying.popleft()

    def submit(self, block: RingBlock, submission: Submission) -> None:
        """Submit the producer's work on a block."""
        self.batches.submit(block, submission)
        self._flying.append(block.progress)

    def run(self, block: RingBlock, submission: Submission, calls: BatchCalls, patience: int) -> None:
        """Hand a recorded batch over to both sides. Flushes the stream once for ``patience`` batches."""
        before = block.progress
        try:
            self.batches.run(block, submission, calls)
        finally:
            if block.progress != before:
                self._flying.append(block.progress)
            self._unflushed += 1
            if self._unflushed >= patience:
                self.flush()

    def flush(self) -> None:
        """Submit to the device what :meth:`run` has enqueued."""
        if self._unflushed:
            self.order.stream.flush()
            self._unflushed = 0

    def await_consumer(self, timeout: float) -> None:
        """Block until the consumer's stream has done all that it was given. Raises :class:`WaitTimeout`."""
        self.batches.await_consumer(timeout)

    def await_producer(self, block: RingBlock, timeout: float) -> None:
        """Block until the producer has done its last submission of a block. Raises :class:`WaitTimeout`."""
        if not self._progress.wait_host(block.progress, timeout):
            raise WaitTimeout(f"the producer to finish its work on block {block.number} of the ring", timeout)
