"""The one order of a link."""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, NoReturn

from interop.protocols import ClosedError, TurnError, WaitTimeout

if TYPE_CHECKING:
    from interop.links.buffers import Buffer
    from interop.links.sync import ToConsumer, ToProducer
    from interop.links.turns import Case
    from interop.protocols import Stream


class Order:
    """What the turns of one link share: the two directions, and who has waited for whom."""

    __slots__ = (
        "closed",
        "failure",
        "last",
        "lock",
        "recording",
        "seen",
        "stream",
        "taken",
        "timeout",
        "to_consumer",
        "to_producer",
        "why",
    )

    def __init__(
        self, stream: Stream, to_consumer: ToConsumer, to_producer: ToProducer, timeout: float
    ) -> None:
        self.stream = stream
        self.timeout = timeout
        self.recording = False
        """Whether a producer turn is open. It has the lock: signals must go out in the order of submission."""
        self.to_consumer = to_consumer
        self.to_producer = to_producer
        self.lock = threading.RLock()
        self.closed = False
        self.why = "the link is closed"
        """What to say to a use after that."""
        self.failure: BaseException | None = None
        """What broke the order of the two streams; no turn can be taken after it."""
        self.seen = 0
        """Newest point that the consumer's stream has waited for."""
        self.taken = 0
        """Point of the submission that last waited for the consumer."""
        self.last: Case | None = None
        """The case of the last producer turn, as long as no other turn has shown what follows it."""

    def orphan(self, why: str) -> None:
        """Close it in a forked child, where the thread that may have had the lock does not exist."""
        self.lock = threading.RLock()
        self.closed, self.why = True, why

    def take_lock(self) -> None:
        """Wait for the turn of another thread to let go; bounded."""
        # The first asks without a timeout, which is what takes the time where nobody has it.
        if not self.lock.acquire(blocking=False) and not self.lock.acquire(timeout=self.timeout):
            raise WaitTimeout("another thread to end its producer turn", self.timeout)

    def claim(self, point: int) -> None:
        """Make the consumer's stream wait for ``point``."""
        if self.recording and (self.to_consumer.single_use or self.to_producer.single_use):
            msg = "end the open producer turn first: buffers cannot be handed over while it records"
            raise TurnError(msg)
        self.seen = self.to_consumer.wait(self.stream, point)
        if self.last is not None:
            self.last.eager = True
            self.last = None

    def refuse(self, buffers: tuple[Buffer, ...], side: str) -> NoReturn:
        """Raise for buffers of which one cannot be in a turn now, or for a link that can have none."""
        if self.closed:
            raise ClosedError(self.why)
        if self.recording and side == "producer":
            raise TurnError("another producer turn of this link is open; end it first")
        if self.failure is not None:
            msg = f"no turn can be taken after an earlier one failed: {self.failure}"
            raise TurnError(msg) from self.failure
        for buffer in buffers:
            if buffer.in_turn:
                msg = f"{buffer!r} is in an open turn; end that one before the {side} takes its turn"
                raise TurnError(msg)
        closed = next(buffer for buffer in buffers if buffer.closed)
        msg = f"{closed!r} is closed"
        raise ClosedError(msg)


def leave(buffers: tuple[Buffer, ...]) -> None:
    """Mark the buffers as being in no turn."""
    for buffer in buffers:
        buffer.in_turn = False


class Owner(enum.Enum):
    """Whose turn it was last."""

    NOBODY = "nobody"
    PRODUCER = "producer"
    CONSUMER = "consumer"
