"""What both ends of a session share: its buffers, the order of turns, and closing."""

from __future__ import annotations

import contextlib
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from interop.ipc import _wire as wire
from interop.ipc._wire import Kind, TurnBody
from interop.ipc.errors import PeerLost, ProtocolError
from interop.protocols import (
    ClosedError,
    ExternalSemaphore,
    InteropError,
    InvalidArgument,
    ProducerSemaphore,
    SemaphoreKind,
    TurnError,
)
from interop.toolkit import Ownership

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from typing import Self

    from interop.ipc.channel import Arrival, Channel, Peer
    from interop.negotiation import Plan
    from interop.protocols import DType
    from interop.toolkit import OwnershipState


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SessionBuffer:
    """A buffer that two processes share, at one of its ends."""

    name: str
    """Name by which both processes know the buffer."""
    number: int
    """Position of the buffer among those of the session."""
    shape: tuple[int, ...]
    """Extent in elements, row-major."""
    dtype: DType
    """Element type."""
    nbytes: int
    """Size in bytes."""
    ownership: Ownership = field(default_factory=Ownership, init=False)
    """Whether this process owns the buffer, and whether it must acquire the buffer from the other API."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.shape} {self.dtype}>"


BufferT = TypeVar("BufferT", bound=SessionBuffer)
SemaphoreT = TypeVar("SemaphoreT", ProducerSemaphore, ExternalSemaphore)
Yielded = TypeVar("Yielded")


class SharedTurn(Generic[Yielded]):
    """A turn of this process on shared buffers. One turn of a session is open at a time; each can be entered again."""

    __slots__ = ("_enter", "_leave", "progress")

    def __init__(self, enter: Callable[[], Yielded], leave: Callable[..., int | None]) -> None:
        self._enter = enter
        self._leave = leave
        self.progress = 0
        """Value of the producer's ``progress`` timeline at which the last turn's work has ended. Producer only."""

    def __enter__(self) -> Yielded:
        """Block until this process has the turn, and take the buffers over from the other process."""
        return self._enter()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Pass the turn and the buffers on; after an exception, keep them."""
        self.progress = self._leave(failed=kind is not None) or self.progress


class Session(ABC, Generic[BufferT, SemaphoreT]):
    """One end of a session between two processes.

    The two processes take turns alternately. A message passes the turn and names the buffers that change owner.
    Each process therefore waits for the other's signal before it signals again, as binary semaphores require.
    A process enqueues a wait only after the message that reports the submission of its signal.
    """

    _ours: frozenset[OwnershipState]
    """States of a buffer that this process owns."""
    _kept: str
    """Name of what stays open if work still runs at the end."""
    _close: ExitStack
    """Releases everything, last made first."""
    _outgoing: SemaphoreT | None
    """The semaphore that this process signals."""
    _incoming: SemaphoreT | None
    """The semaphore that this process waits for."""

    def __init__(
        self, channel: Channel, plan: Plan, timeout: float, *, first: bool, idle: Callable[[float], object]
    ) -> None:
        """Start without buffers. ``idle`` blocks until this process's work has ended, at most for a time."""
        self._channel = channel
        self._plan = plan
        self._timeout = timeout
        self._my_turn = first
        self._idle = idle
        self._buffers: dict[str, BufferT] = {}
        self._turns: dict[tuple[BufferT, ...], SharedTurn[Any]] = {}
        self._number = 0
        self._value = 0
        """Semaphore value that the other process signalled in its last turn."""
        self._signalled = 0
        """Semaphore value that this process signalled in its last turn."""
        self._unclaimed = False
        """Whether this process has not yet enqueued a wait for the other's signal."""
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

    def synchronize(self, timeout: float | None = None) -> None:
        """Block until all work that this process has submitted or enqueued has ended.

        Args:
            timeout: Limit in seconds; the session's if None.

        Raises:
            WaitTimeout: The work did not end within the limit.
        """
        self._idle(self._timeout if timeout is None else timeout)

    def _turn(self, buffers: tuple[BufferT, ...]) -> SharedTurn[Any]:
        """Return the turn on these buffers, which is made once."""
        turn = self._turns.get(buffers)
        if turn is None:
            for buffer in buffers:
                if buffer not in self._buffers.values():
                    raise InvalidArgument(
                        f"{buffer!r} is not a buffer of this session; pass one that the session returned"
                    )
            turn = SharedTurn(self._entering(buffers), partial(self._leave, buffers))
            self._turns[buffers] = turn
        return turn

    @abstractmethod
    def _entering(self, buffers: tuple[BufferT, ...]) -> Callable[[], object]:
        """Return the function that enters a turn."""

    @abstractmethod
    def _leave(self, buffers: tuple[BufferT, ...], *, failed: bool) -> int | None:
        """Leave a turn. Return its value on the producer's progress timeline, if it has one."""

    def _begin(self, buffers: tuple[BufferT, ...]) -> None:
        """Block until this process has the turn, and check that it owns these buffers."""
        if self._closed:
            raise ClosedError("the session is closed; call accept() or join() for a new one")
        if self._open:
            raise TurnError("another turn of this session is open; leave its `with` block first")
        if not buffers or len(set(buffers)) != len(buffers):
            raise TurnError(
                f"a turn takes one or more different buffers, got {list(buffers)}; name each buffer once"
            )
        while not self._my_turn:
            self._pump("to end its turn")
        theirs = [buffer.number for buffer in buffers if buffer.ownership.state not in self._ours]
        if theirs:
            raise TurnError(
                f"the other process still owns buffers {sorted(theirs)}; "
                f"it must name them in a turn of its own first"
            )

    def _hand_over(self, buffers: tuple[BufferT, ...], value: int) -> None:
        """Pass the turn and the ownership of the buffers to the other process.

        A process that has closed its session in order needs no turn. The next turn raises `PeerLost` then.
        """
        self._number += 1
        self._my_turn = False
        turn = TurnBody(self._number, value, tuple(buffer.number for buffer in buffers))
        try:
            self._channel.send(Kind.TURN, wire.encode_turn(turn))
        except PeerLost as lost:
            if not lost.orderly:
                raise

    def _pump(self, what: str) -> None:
        """Block until one message arrives, and act on it."""
        with self._channel.receive(what) as arrival:
            if arrival.message.kind is Kind.TURN:
                self._taken(wire.decode_turn(arrival.message.body), arrival.message.fds)
            else:
                self._other(arrival)

    def _taken(self, turn: TurnBody, fds: int) -> None:
        if fds or self._my_turn or turn.number != self._number + 1:
            raise ProtocolError(
                f"expected turn {self._number + 1} without descriptors, got turn {turn.number} with {fds}"
            )
        named = [buffer.ownership for buffer in self._buffers.values() if buffer.number in turn.buffers]
        given = [record for record in named if record.state not in self._ours]
        if len(given) < len(turn.buffers):
            raise ProtocolError(f"turn {turn.number} names buffers that the sender does not own")
        due = following(self._value, self._incoming)
        if turn.value != due:
            raise ProtocolError(f"expected semaphore value {due}, got {turn.value}")
        self._number = turn.number
        self._value = turn.value
        self._unclaimed = True
        self._my_turn = True
        for record in given:
            self._receive(record, turn.value)

    @abstractmethod
    def _receive(self, record: Ownership, value: int) -> None:
        """Note that the other process passed a buffer with its signal of ``value``."""

    def _other(self, arrival: Arrival) -> None:
        """Act on a message that passes no turn."""
        arrival.expect(Kind.TURN)

    def _settle(self) -> None:
        """Block until the work in flight has ended. Raises when it does not end within the timeout."""
        try:
            self.synchronize(self._patience())
        except InteropError as error:
            with contextlib.suppress(InteropError):
                if self._signal_for_peer():
                    self.synchronize()
                    return
            warnings.warn(
                f"the session's {self._kept} stay open, because work still runs: {error}",
                ResourceWarning,
                stacklevel=3,
            )
            raise

    def _patience(self) -> float:
        """Return the seconds that work gets to end by itself."""
        return self._timeout

    @abstractmethod
    def _signal_for_peer(self) -> bool:
        """Give the signal that a process that has died owes; return False if it owes none."""

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
        self._close.close()
        self._turns.clear()
        self._buffers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
            return
        self._channel.report(error)
        with contextlib.suppress(InteropError):  # the exception from the body is the more useful one
            self.close()


def following(value: int, semaphore: ProducerSemaphore | ExternalSemaphore | None) -> int:
    """Return the value after ``value`` of a timeline semaphore; 0 for a binary one, and for none."""
    return value + 1 if semaphore is not None and semaphore.kind is SemaphoreKind.TIMELINE else 0
