"""Tables of the records of watched objects, and the link that is acting on a thread."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from interop.links.checking._model import MODEL
from interop.links.checking._state import Memory, Payload, Queue, Scope, unchecked
from interop.links.checking._watch import Records

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from interop.links.checking._watch import Call


queues: Records[Queue] = Records()
"""Of producers, streams, and consumers, imports and views (the consumer's own stream)."""
payloads: Records[Payload] = Records()
"""Of semaphores on either side, exported handles, producers (their progress), and the relays of a link."""
points: Records[int] = Records()
"""Number of the signal that a handle, an import or an inlet of sync files holds."""
memories: Records[Memory] = Records()
"""Of producers' buffers and parts, exported handles, imports, and views."""

_acting: ContextVar[tuple[Scope | None, Sequence[Memory]]] = ContextVar("acting", default=(None, ()))


@contextmanager
def acting(scope: Scope | None, turn: Sequence[Memory] = ()) -> Generator[None]:
    """Attribute the calls of this thread to a link, or to a turn on some memories, while a method of it runs.

    Links of several threads may share a producer, so the producer alone does not tell the link.
    """
    token = _acting.set((scope, turn))
    try:
        yield
    finally:
        _acting.reset(token)


def scope_of(thing: object) -> Scope:
    """Return the link that is acting on this thread; else the scope of a producer or a consumer."""
    return _acting.get()[0] or queues[thing].scope


def of_turn(memory: Memory) -> list[Memory]:
    """Return the records of a producer's buffer that the acting turn has; outside turns, all of them."""
    turn = _acting.get()[1]
    return [each for each in memory.family() if each in turn] or memory.family()


def close_side(side: object, original: Call) -> None:
    """Close a producer or a consumer, and with it all that it made."""
    try:
        with unchecked():
            original()
    finally:
        queues[side].scope.closed = True
        MODEL.forget(queues[side])
