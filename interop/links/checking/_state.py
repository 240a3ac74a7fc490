"""Records of queues, semaphores, memories and links: the data of the model."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from interop.protocols import ClosedMisuse

if TYPE_CHECKING:
    from interop.links.buffers import Buffer
    from interop.protocols import SemaphoreKind

Clock = dict[int, int]
"""Number of finished operations, by index of the queue."""

ENTERING = "entering"
"""Value of :attr:`Memory.turn` while the link itself copies the bytes to the new owner."""

_numbers = count(1)
_OBSERVED = 4096  # clocks kept for each timeline; an older signal counts as the oldest kept one


def join(clock: Clock, other: Clock) -> None:
    """Raise each entry of ``clock`` to that of ``other``."""
    for number, done in other.items():
        if done > clock.get(number, 0):
            clock[number] = done


@dataclass(eq=False, slots=True, weakref_slot=True)
class Scope:
    """The owner of objects for error messages: a link, a producer or a consumer."""

    name: str
    closed: bool = False
    made: dict[str, int] = field(default_factory=dict[str, int])

    def label(self, kind: str) -> str:
        """Return a name for a new object of a kind: ``buffer 1``."""
        self.made[kind] = number = self.made.get(kind, 0) + 1
        return f"{kind} {number}"


@dataclass(eq=False, slots=True, weakref_slot=True)
class Payload:
    """The state behind a semaphore. Its imports share it."""

    name: str
    scope: Scope
    kind: SemaphoreKind
    foreign: bool = False
    """Whether code outside the checker may signal or wait."""
    one_shot: bool = False
    """Whether each signal travels in a sync file of its own. Such signals are counted like timeline values."""
    given: int = 0
    """Sync files: number of signals enqueued so far."""
    relayed: bool = False
    """Whether the host signals in place of a stream. The stream's own step counts then."""
    signals: int = 0
    """Binary: signals enqueued so far."""
    waits: int = 0
    """Binary: waits enqueued so far."""
    value: int = 0
    """Timeline: the greatest value whose signal is ready by the order of the queues."""
    history: deque[tuple[int, Clock]] = field(default_factory=lambda: deque(maxlen=_OBSERVED))
    last_wait: tuple[int, int] | None = None
    """Binary: queue and number of the last wait."""
    used: Clock = field(default_factory=dict[int, int])

    def signalled(self, value: int, clock: Clock) -> None:
        """Note that a signal ran, and the clock before it."""
        self.value = max(self.value, value)
        self.history.append((value, dict(clock)))

    def clock_at(self, value: int) -> Clock:
        """Return the clock before the first signal of ``value`` or more."""
        for reached, clock in self.history:
            if reached >= value:
                return clock
        return {}


@dataclass(frozen=True, slots=True)
class Step:
    """One wait or signal in a queue. Binary semaphores count: the n-th wait is for the n-th signal."""

    payload: Payload
    value: int
    signal: bool
    number: int
    host: Clock

    def ready(self) -> bool:
        """Whether the step can run."""
        return self.signal or self.payload.foreign or self.payload.value >= self.value


@dataclass(eq=False, slots=True, weakref_slot=True)
class Queue:
    """An in-order queue of a device."""

    name: str
    scope: Scope
    index: int = field(default_factory=lambda: next(_numbers))
    number: int = 0
    steps: deque[Step] = field(default_factory=deque["Step"])
    """Steps that are not ready."""
    clock: Clock = field(default_factory=dict[int, int])


@dataclass(eq=False, slots=True, weakref_slot=True)
class Memory:
    """An allocation, as producer and consumer use it."""

    name: str
    scope: Scope
    imported: bool = False
    acquired: bool = False
    """Whether the consumer has acquired it at its driver."""
    used: Clock = field(default_factory=dict[int, int])
    buffer: weakref.ref[Buffer] | None = None
    """The link's buffer on this memory. Its turns decide who may use the memory."""
    turn: str = ""
    """The side whose turn is open: ``consumer`` or ``producer``; empty outside turns."""
    adopted: weakref.WeakSet[Memory] = field(default_factory=weakref.WeakSet["Memory"])
    """One record for each link that has adopted the producer's buffer. Each link has turns of its own."""

    def family(self) -> list[Memory]:
        """Return the record itself and those of open links that have adopted the buffer."""
        return [
            self,
            *(each for each in self.adopted if not each.scope.closed and each.live_buffer() is not None),
        ]

    def live_buffer(self) -> Buffer | None:
        """Return the link's buffer, unless it is closed or dropped."""
        found = self.buffer() if self.buffer is not None else None
        return None if found is None or found.closed else found


def closed(name: str, scope: Scope, what: str) -> ClosedMisuse:
    """Return the error for something used after its link was closed."""
    return ClosedMisuse(
        name,
        scope.name,
        f"{what} after the link was closed",
        "use before link.close(), or inside the link's `with` block",
        "move the use into the block, or copy the contents with view.read() before closing",
    )
