"""What both ends of a session share: whose turn it is, what ends it, and how it is closed."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from interop.ipc import _wire as wire
from interop.ipc._wire import Kind, Turn
from interop.ipc.errors import PeerError, ProtocolError
from interop.protocols import ClosedError, InteropError, TurnError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from interop.ipc.channel import Arrival, Channel, Peer
    from interop.negotiation import Plan


class Session(ABC):
    """One end. There is one turn at a time: it goes back and forth, and names the buffers that go with it.

    So each side's signal is waited for before its next one, as binary semaphores need, and a wait is enqueued
    only after the message that says that its signal was submitted.
    """

    def __init__(self, channel: Channel, plan: Plan, timeout: float, *, first: bool) -> None:
        self._channel = channel
        self._plan = plan
        self._timeout = timeout
        self._mine: set[int] = set()
        self._my_turn = first
        self._number = 0
        self._value = 0
        """What the other side's last turn signalled."""
        self._unclaimed = False
        """Whether that signal has not been waited for yet."""
        self._open = False
        self._closed = False

    @property
    def peer(self) -> Peer:
        """The process at the other end."""
        return self._channel.peer

    @property
    def plan(self) -> Plan:
        """What the producer's process negotiated."""
        return self._plan

    @property
    def timeout(self) -> float:
        """Seconds after which a wait of this session gives up."""
        return self._timeout

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def explain(self) -> str:
        """Say in a few lines what was chosen, and why each alternative was not."""
        return self._plan.explain()

    def _begin(self, numbers: Sequence[int]) -> None:
        """Wait for the turn, and check that it holds these buffers."""
        if self._closed:
            raise ClosedError("the session is closed")
        if self._open:
            raise TurnError("another turn of this session is open; end it first")
        if not numbers or len(set(numbers)) != len(numbers):
            msg = f"a turn takes one or more different buffers, got {len(numbers)}"
            raise TurnError(msg)
        while not self._my_turn:
            self._pump("to end its turn")
        if not self._mine.issuperset(numbers):
            raise TurnError("the other process has not given these buffers with its turn")

    def _hand_over(self, numbers: Sequence[int], value: int) -> None:
        """Tell the other process that the buffers are its own."""
        self._number += 1
        self._my_turn = False
        self._mine.difference_update(numbers)
        self._channel.send(Kind.TURN, wire.encode_turn(Turn(self._number, value, tuple(numbers))))

    def _pump(self, what: str) -> None:
        """Wait for one message and act on it."""
        with self._channel.receive(what) as arrival:
            try:
                if arrival.message.kind is Kind.TURN:
                    self._taken(wire.decode_turn(arrival.message.body), arrival.message.fds)
                else:
                    self._other(arrival)
            except ProtocolError as error:
                raise self._channel.refuse(error.reason) from error

    def _taken(self, turn: Turn, fds: int) -> None:
        if fds or self._my_turn or turn.number != self._number + 1:
            raise ProtocolError(f"turn {turn.number} after turn {self._number}")
        if self._mine.intersection(turn.buffers) or not self._known().issuperset(turn.buffers):
            raise ProtocolError("a turn with buffers that are not the sender's")
        self._check_value(turn.value)
        self._number = turn.number
        self._value = turn.value
        self._unclaimed = True
        self._my_turn = True
        self._mine.update(turn.buffers)

    @abstractmethod
    def _known(self) -> set[int]: ...

    @abstractmethod
    def _check_value(self, value: int) -> None: ...

    def _other(self, arrival: Arrival) -> None:
        raise ProtocolError(f"{arrival.message.kind.name} where a turn was due")

    @abstractmethod
    def _settle(self) -> None:
        """Wait for the work in flight; raises where it does not end."""

    @abstractmethod
    def _release(self) -> None:
        """Release everything."""

    def close(self) -> None:
        """Say goodbye, wait for the work in flight, bounded, and release everything. Again: does nothing.

        When the work does not end, because the other process died under it for instance, it is let go; what
        then still runs is left behind with a ``ResourceWarning``.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._settle()
            self._channel.tell(Kind.BYE)
        finally:
            self._channel.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        if error is not None and not isinstance(error, PeerError):
            self._channel.tell(Kind.REFUSE, f"{type(error).__name__}: {error}")
        with contextlib.suppress(InteropError):  # the exception on its way out says more
            self.close()


def check_value(value: int, last: int, *, timeline: bool) -> None:
    """Raise :class:`ProtocolError` unless ``value`` follows ``last`` as the direction's semaphore counts."""
    due = last + 1 if timeline else 0
    if value != due:
        raise ProtocolError(f"semaphore value {value} where {due} was due")
