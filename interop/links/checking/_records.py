"""What is known of the objects that are watched, found by the objects themselves."""

from __future__ import annotations

from interop.links.checking._state import Memory, Payload, Queue, Scope
from interop.links.checking._watch import Records

Steps = list[tuple[Payload, int, bool]]
"""Waits and signals about to be enqueued: semaphore, value, and whether it is a signal."""


class Submitting:
    """What is known of a prepared submission."""

    __slots__ = ("inlet", "memories", "queue", "signal", "touched", "wait")

    def __init__(
        self,
        queue: Queue,
        memories: list[Memory],
        wait: Payload | None,
        signal: Payload | None,
        inlet: object = None,
    ) -> None:
        """``inlet`` is the semaphore waited for where each submission waits for another signal, taken in before."""
        self.queue = queue
        self.memories = memories
        self.wait = wait
        self.inlet = inlet
        self.signal = signal
        self.touched: list[Memory] = []


scopes: Records[Scope] = Records()
"""Of producers, consumers, and modules."""
queues: Records[Queue] = Records()
"""Of producers, streams, progress timelines, and consumers (their own stream)."""
payloads: Records[Payload] = Records()
"""Of semaphores on either side, and of handles on their way."""
points: Records[int] = Records()
"""Which signal of a one-shot semaphore it is that a handle, an import, or an inlet holds."""
memories: Records[Memory] = Records()
"""Of producers' buffers and parts, handles on their way, imports, and views."""
submissions: Records[Submitting] = Records()
"""Of submissions, and of their recorders."""


def scope_of(thing: object) -> Scope:
    """Return the link that made a producer, a consumer or a module."""
    return scopes.get(thing) or Scope("a link")
