"""The ownership record of a memory that two APIs use in turn.

One record exists for each buffer of a link, each batch of a ring and each end of a buffer that two processes share.
Only this module and the order engine of a link (``interop/links/order.py``) change a record. Everybody else reads it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from interop.protocols import ClosedError, TurnError

if TYPE_CHECKING:
    from collections.abc import Collection


class Owner(enum.Enum):
    """The side that had the memory last."""

    NOBODY = "nobody"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class OwnershipState(enum.Enum):
    """How far the hand-over of a memory has come."""

    FREE = "free"
    """Neither side has work on the memory that the other side must wait for. Either side may acquire it."""
    PRODUCING = "in the producer's open turn"
    PRODUCED = "produced"
    """The producer's submission is enqueued. The consumer must wait for :attr:`Ownership.value`."""
    ACQUIRED = "in the consumer's open turn"
    """The consumer's stream waits for the producer and has acquired the memory."""
    LEFT = "left by the consumer"
    """The consumer's turn has ended. Its release or its signal is not enqueued yet."""
    SIGNALLED = "signalled by the consumer"
    """The consumer's release and signal are enqueued. The producer must wait for :attr:`Ownership.back`."""
    CLOSED = "closed"


_OWNERS = {
    OwnershipState.FREE: Owner.NOBODY,
    OwnershipState.PRODUCING: Owner.PRODUCER,
    OwnershipState.PRODUCED: Owner.PRODUCER,
    OwnershipState.ACQUIRED: Owner.CONSUMER,
    OwnershipState.LEFT: Owner.CONSUMER,
    OwnershipState.SIGNALLED: Owner.CONSUMER,
    OwnershipState.CLOSED: Owner.NOBODY,
}
OPEN_TURN = frozenset({OwnershipState.PRODUCING, OwnershipState.ACQUIRED})
"""The states of a memory in an open turn."""
WITH_CONSUMER = frozenset({OwnershipState.LEFT, OwnershipState.SIGNALLED})
"""The states in which the producer must wait for the consumer before it uses the memory."""


class Ownership:
    """Who owns one memory, and what the other side must wait for."""

    __slots__ = ("back", "reclaimed", "state", "value")

    def __init__(self, *, external: bool = False) -> None:
        """Create the record of a memory that no side has used.

        Args:
            external: The memory counts as released to the other API already.
        """
        self.state = OwnershipState.FREE
        self.value = 0
        """Timeline value towards the consumer of the producer's last submission."""
        self.back = 0
        """Timeline value towards the producer of the consumer's last signal."""
        self.reclaimed = external
        """Whether a FREE memory was released to the other API at some time."""

    @property
    def owner(self) -> Owner:
        """The side that had the memory last."""
        return _OWNERS[self.state]

    @property
    def in_turn(self) -> bool:
        """Whether a turn with the memory is open."""
        return self.state in OPEN_TURN

    @property
    def external(self) -> bool:
        """Whether the producer's next submission must acquire the memory from the other API."""
        return self.reclaimed or self.state is not OwnershipState.FREE

    @property
    def closed(self) -> bool:
        """Whether the memory was closed."""
        return self.state is OwnershipState.CLOSED

    def check(self, what: object, side: str, allowed: Collection[OwnershipState]) -> None:
        """Raise an error unless the memory is in one of the ``allowed`` states.

        Args:
            what: The memory, for the message.
            side: ``"producer"`` or ``"consumer"``, for the message.
            allowed: States from which the side may go on.

        Raises:
            ClosedError: The memory is closed.
            TurnError: The memory is in another state.
        """
        if self.state in allowed:
            return
        if self.state is OwnershipState.CLOSED:
            raise ClosedError(f"{what} is closed")
        if self.state in OPEN_TURN:
            msg = f"{what} is in an open turn ({self.state.value}); leave that turn before the {side} takes its turn"
            raise TurnError(msg)
        expected = " or ".join(state.value for state in OwnershipState if state in allowed)
        raise TurnError(f"{what} is {self.state.value}; the {side} can take it only when it is {expected}")

    def produced(self, value: int) -> None:
        """Note the producer's submission, which gives the memory up and reaches timeline value ``value``."""
        self.state, self.value, self.reclaimed = OwnershipState.PRODUCED, value, True

    def acquire(self) -> None:
        """Open a consumer turn: the stream's wait and the acquire are enqueued."""
        self.state, self.reclaimed = OwnershipState.ACQUIRED, True

    def leave(self) -> None:
        """End a consumer turn. The release and the signal are not enqueued yet."""
        self.state = OwnershipState.LEFT

    def signalled(self, back: int) -> None:
        """Note that the consumer's release and its signal of timeline value ``back`` are enqueued."""
        self.state, self.back = OwnershipState.SIGNALLED, back

    def reclaim(self) -> None:
        """Give the memory back to the side that handed it over, because the other side was not told of it."""
        self.state = OwnershipState.FREE

    def close(self) -> None:
        """Refuse every later turn."""
        self.state = OwnershipState.CLOSED
