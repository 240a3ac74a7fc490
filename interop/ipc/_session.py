"""The base class of both ends of a session: the order of turns, and closing."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from interop.ipc import _wire as wire
from interop.ipc._wire import Kind, Turn
from interop.ipc.errors import PeerError, PeerLost, ProtocolError
from interop.protocols import ClosedError, InteropError, TurnError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from interop.ipc.channel import Arrival, Channel, Peer
    from interop.negotiation import Plan
    from interop.toolkit import Ownership, OwnershipState


class Session(ABC):
    """One end of a session between two processes.

    The two processes take turns alternately. A message passes the turn and names the buffers that change owner.
    Each process therefore waits for the other's signal before it signals again, as binary semaphores require.
    A process enqueues a wait only after the message that reports the submission of its signal.
    """

    _ours: frozenset[OwnershipState]
    """States of a buffer that this process owns."""

    def __init__(self, channel: Channel, plan: Plan, timeout: float, *, first: bool) -> None:
        self._channel = channel
        self._plan = plan
        self._timeout = timeout
        self._my_turn = first
        self._number = 0
        self._value = 0
        """Semaphore value that the other process signalled in its last turn."""
        self._unclaimed = False
        """Whether this process has not yet enqueued a wait for that signal."""
        self._open = False
        self._closed = False

    @property
    def peer(self) -> Peer:
        """The process at the other end of the socket."""
        return self._channel.peer

    @property
    def plan(self) -> Plan:
        """The plan that the producer's process negotiated."""
        return self._plan

    @property
    def timeout(self) -> float:
        """Limit of each wait of this session, in seconds."""
        return self._timeout

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def explain(self) -> str:
        """Return a few lines that name the chosen paths and the reason against each alternative."""
        return self._plan.explain()

    def _begin(self, numbers: Sequence[int]) -> None:
        """Block until this process has the turn, and check that it owns these buffers."""
        if self._closed:
            raise ClosedError("the session is closed; call accept() or join() for a new one")
        if self._open:
            raise TurnError("another turn of this session is open; leave its `with` block first")
        if not numbers or len(set(numbers)) != len(numbers):
            msg = f"a turn takes one or more different buffers, got numbers {list(numbers)}; name each buffer once"
            raise TurnError(msg)
        while not self._my_turn:
            self._pump("to end its turn")
        records = self._records()
        theirs = [number for number in numbers if records[number].state not in self._ours]
        if theirs:
            raise TurnError(
                f"the other process still owns buffers {sorted(theirs)}; "
                f"it must name them in a turn of its own first"
            )

    def _hand_over(self, numbers: Sequence[int], value: int) -> None:
        """Pass the turn and the ownership of the buffers to the other process.

        A process that has closed its session in order needs no turn. The next turn raises `PeerLost` then.
        """
        self._number += 1
        self._my_turn = False
        try:
            self._channel.send(Kind.TURN, wire.encode_turn(Turn(self._number, value, tuple(numbers))))
        except PeerLost as lost:
            if not lost.orderly:
                raise

    def _pump(self, what: str) -> None:
        """Block until one message arrives, and act on it."""
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
            raise ProtocolError(
                f"expected turn {self._number + 1} without descriptors, got turn {turn.number} with {fds}"
            )
        records = self._records()
        named = [records.get(number) for number in turn.buffers]
        given = [record for record in named if record is not None and record.state not in self._ours]
        if len(given) < len(named):
            raise ProtocolError(f"turn {turn.number} names buffers that the sender does not own")
        self._check_value(turn.value)
        self._number = turn.number
        self._value = turn.value
        self._unclaimed = True
        self._my_turn = True
        for record in given:
            self._receive(record, turn.value)

    @abstractmethod
    def _records(self) -> Mapping[int, Ownership]:
        """Return the ownership of each buffer, by its number."""

    @abstractmethod
    def _receive(self, record: Ownership, value: int) -> None:
        """Note that the other process passed a buffer with its signal of ``value``."""

    @abstractmethod
    def _check_value(self, value: int) -> None: ...

    def _other(self, arrival: Arrival) -> None:
        raise ProtocolError(f"expected TURN, got {arrival.message.kind.name}")

    @abstractmethod
    def _settle(self) -> None:
        """Block until the work in flight has ended. Raises when it does not end within the timeout."""

    @abstractmethod
    def _release(self) -> None:
        """Release everything."""

    def close(self) -> None:
        """Wait for the work in flight, tell the other process, and release everything. Idempotent.

        The wait is bounded by :attr:`timeout`. If the other process died before its signal, this call gives the
        signal in its place. Work that still runs afterwards keeps its objects, with a ``ResourceWarning``.

        Raises:
            InteropError: The work did not end. The socket is closed; memory and semaphores stay open.
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
        with contextlib.suppress(InteropError):  # the exception from the body is the more useful one
            self.close()


def check_value(value: int, last: int, *, timeline: bool) -> None:
    """Raise :class:`ProtocolError` unless ``value`` is the next value of a semaphore whose last one was ``last``."""
    due = last + 1 if timeline else 0
    if value != due:
        raise ProtocolError(f"expected semaphore value {due}, got {value}")
