"""Records of queues, semaphores, memories and links: the data of the model, and the refusal of a misuse."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from interop.protocols import ClosedMisuse, Misuse, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Generator

    from interop.links.buffers import Buffer

Clock = dict[int, int]
"""Number of finished operations, by index of the queue."""

ENTERING = "entering"
"""Value of :attr:`Memory.turn` while the link itself copies the bytes to the new owner."""

_OBSERVED = 4096  # clocks kept for each timeline; an older signal counts as the oldest kept one
_quiet = ContextVar("quiet", default=False)


@contextmanager
def unchecked() -> Generator[None]:
    """``with`` this, nothing is refused on this thread, because interop itself closes or rescues objects."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


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
class Named:
    """An object that an error message names."""

    name: str
    scope: Scope

    def refuse(self, found: str, expected: str, advice: str, error: type[Misuse] = Misuse) -> None:
        """Raise :class:`Misuse`, unless checks are off on this thread."""
        if not _quiet.get():
            raise error(self.name, self.scope.name, found, expected, advice)


@dataclass(eq=False, slots=True)
class Payload(Named):
    """The state behind a semaphore. Its imports share it."""

    kind: SemaphoreKind
    foreign: bool = False
    """Whether code outside the checker may signal or wait."""
    one_shot: bool = False
    """Whether each signal travels in a sync file of its own. Such signals are counted like timeline values."""
    relayed: bool = False
    """Whether the host signals in place of a stream. The stream's own step counts then."""
    signals: int = 0
    """Signals enqueued so far."""
    waits: int = 0
    """Waits enqueued so far."""
    value: int = 0
    """The greatest value whose signal is ready by the order of the queues. Binary: the number of the signal."""
    history: deque[tuple[int, Clock]] = field(default_factory=lambda: deque(maxlen=_OBSERVED))
    last_wait: tuple[int, int] = 0, 0
    """Queue and number of the last wait."""
    used: Clock = field(default_factory=dict[int, int])

    def step(self, value: int, *, signal: bool) -> Step:
        """Return a wait or a signal to enqueue next. ``value`` counts only where the caller chooses values."""
        if self.kind is SemaphoreKind.BINARY or (signal and self.one_shot):
            value = (self.signals if signal else self.waits) + 1
        return Step(self, value, signal)

    def signalled(self, value: int, clock: Clock) -> None:
        """Note that a signal ran, and the clock before it."""
        self.value = max(self.value, value)
        self.history.append((value, dict(clock)))

    def clock_at(self, value: int) -> Clock:
        """Return the clock before the first signal of ``value`` or more."""
        return next((clock for reached, clock in self.history if reached >= value), {})


@dataclass(frozen=True, slots=True)
class Step:
    """One wait or signal in a queue. Binary semaphores count: the n-th wait is for the n-th signal."""

    payload: Payload
    value: int
    signal: bool
    number: int = 0
    host: Clock = field(default_factory=dict[int, int])

    def ready(self) -> bool:
        """Whether the step can run."""
        return self.signal or self.payload.foreign or self.payload.value >= self.value


@dataclass(eq=False, slots=True)
class Queue(Named):
    """An in-order queue of a device."""

    index: int = field(default_factory=count(1).__next__)
    number: int = 0
    steps: deque[Step] = field(default_factory=deque[Step])
    """Steps that are not ready."""
    clock: Clock = field(default_factory=dict[int, int])


@dataclass(eq=False, slots=True)
class Memory(Named):
    """An allocation, as producer and consumer use it."""

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
        return [self, *(each for each in self.adopted if not each.scope.closed and each.is_shared())]

    def is_shared(self) -> bool:
        """Whether the link's buffer is open."""
        buffer = self.buffer() if self.buffer is not None else None
        return buffer is not None and not buffer.closed

    def check_open(self, what: str) -> None:
        """Raise :class:`ClosedMisuse` if the link of the memory is closed."""
        if self.scope.closed:
            self.refuse(
                f"{what} after the link was closed",
                "use before link.close(), or inside the link's `with` block",
                "move the use into the block, or copy the contents with view.read() before closing",
                ClosedMisuse,
            )
