"""The hand-over of a ring's batches: the engine's calls, and the bound on how far the caller runs ahead."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from interop.protocols import WaitTimeout

if TYPE_CHECKING:
    from interop.links.rings._blocks import RingBlock, RingHome
    from interop.protocols import Submission


class Handover:
    """Hands blocks over by the link's order engine. Each side is for one thread at a time."""

    __slots__ = ("_progress", "_who", "batches", "in_flight", "order", "room")

    def __init__(self, home: RingHome, room: int) -> None:
        """``room`` is the number of submissions that may be in flight."""
        producer = home.producer
        self.order = home.order
        self.batches = home.batches
        self._progress = producer.progress
        self._who = f"{producer.device.backend} to finish the oldest of {room} batches in flight"
        self.room = room
        """Submissions that may be in flight."""
        self.in_flight: deque[int] = deque()
        """Timeline values of the producer's progress at which the submissions in flight have ended."""

    def make_room(self, collected: int = 0) -> bool:
        """Block until one more batch may be submitted. Raises :class:`WaitTimeout`, which changes nothing.

        Args:
            collected: Batches of the consumer's stream that are not flushed. A wait for the producer may need them.

        Returns:
            Whether the stream was flushed.
        """
        flushed = False
        flying = self.in_flight
        if len(flying) >= self.room:
            reached = self._progress.counter()
            if reached < flying[0]:
                if collected:
                    self.flush()
                    flushed = True
                timeout = self.order.timeout
                if not self._progress.wait_host(flying[0], timeout):
                    raise WaitTimeout(self._who, timeout)
                reached = flying[0]
            while flying and flying[0] <= reached:  # one look at the counter may serve many batches
                flying.popleft()
        return flushed

    def submit(self, block: RingBlock, submission: Submission) -> None:
        """Submit the producer's work on a block."""
        self.batches.submit(block, submission)
        self.in_flight.append(block.progress)

    def flush(self) -> None:
        """Submit to the device what the consumer's stream has collected."""
        self.order.stream.flush()

    def await_consumer(self, timeout: float) -> None:
        """Block until the consumer's stream has done all that it was given. Raises :class:`WaitTimeout`."""
        self.batches.await_consumer(timeout)

    def await_producer(self, block: RingBlock, timeout: float) -> None:
        """Block until the producer has done its last submission of a block. Raises :class:`WaitTimeout`."""
        if not self._progress.wait_host(block.progress, timeout):
            raise WaitTimeout(f"the producer to finish its work on block {block.number} of the ring", timeout)
