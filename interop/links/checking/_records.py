"""Tables of the records of watched objects, and the link that is acting on a thread."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from interop.links.checking._state import Memory, Payload, Queue, Scope
from interop.links.checking._watch import Records

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

Steps = list[tuple[Payload, int, bool]]
"""Waits and signals to enqueue: semaphore, value, and whether the step is a signal."""


class Submitting:
    """The record of a prepared submission."""

    __slots__ = ("inlet", "memories", "queue", "signal", "touched", "wait")

    def __init__(
        self,
        queue: Queue,
        memories: list[Memory],
        wait: Payload | None,
        signal: Payload | None,
        inlet: object = None,
    ) -> None:
        """``inlet`` is the waited semaphore if each submission waits for a newly imported sync file."""
        self.queue = queue
        self.memories = memories
        self.wait = wait
        self.inlet = inlet
        self.signal = signal
        self.touched: list[Memory] = []


scopes: Records[Scope] = Records()
"""Of producers and consumers: closed with them."""
queues: Records[Queue] = Records()
"""Of producers, streams, progress timelines, and consumers (their own stream)."""
payloads: Records[Payload] = Records()
"""Of semaphores on either side, and of exported handles."""
points: Records[int] = Records()
"""Number of the signal that a handle, an import or an inlet of sync files holds."""
memories: Records[Memory] = Records()
"""Of producers' buffers and parts, exported handles, imports, and views."""
submissions: Records[Submitting] = Records()
"""Of submissions, and of their recorders."""


_acting = threading.local()


@contextlib.contextmanager
def acting(scope: Scope | None, turn: Sequence[Memory] = ()) -> Generator[None]:
    """Attribute the calls of this thread to a link, or to a turn on some memories, while a method of it runs.

    Links of several threads may share a producer, so the producer alone does not tell the link.
    """
    before = getattr(_acting, "now", (None, ()))
    _acting.now = scope, turn
    try:
        yield
    finally:
        _acting.now = before


def scope_of(thing: object) -> Scope:
    """Return the link that is acting on this thread; else the scope of a producer or a consumer."""
    scope: Scope | None = getattr(_acting, "now", (None, ()))[0]
    return scope or scopes.get(thing) or Scope("a link")


def of_turn(memory: Memory) -> list[Memory]:
    """Return the records of a producer's buffer that the acting turn has; outside turns, all of them."""
    turn: Sequence[Memory] = getattr(_acting, "now", (None, ()))[1]
    return [each for each in memory.family() if each in turn] or memory.family()


def watch_scope(side: object, scope: Scope) -> None:
    """Give a producer or a consumer, when it is first seen, a scope with the name of its first link."""
    if scopes.get(side) is None:
        scopes.put(side, Scope(scope.name, made=scope.made))


def close_side(side: object) -> None:
    """Note that a producer or a consumer is closed, and with it all that it made."""
    scope = scopes.get(side)
    if scope is not None:
        scope.closed = True
