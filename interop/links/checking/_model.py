"""The order of enqueued work, as vector clocks, without asking a driver.

Each queue counts its operations. Its clock holds, for every queue, the number of operations that come before its
next one. A wait joins the clock of its signal. A wait of the host joins the host's clock. Operations that these
clocks do not order are unordered.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from interop.links.checking._state import Clock, Memory, Payload, Queue, Scope, Step, join
from interop.protocols import Misuse, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Model:
    """All queues of the process. For any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.host: Clock = {}
        self._queues: weakref.WeakSet[Queue] = weakref.WeakSet()
        self._local = threading.local()

    @property
    def quiet(self) -> bool:
        """Whether checks are off on this thread, because interop itself closes or rescues objects."""
        return bool(getattr(self._local, "depth", 0))

    def hush(self, change: int) -> None:
        """Turn checks off (1) or on again (-1) on this thread; calls nest."""
        self._local.depth = getattr(self._local, "depth", 0) + change

    def queue(self, name: str, scope: Scope) -> Queue:
        """Make a queue."""
        made = Queue(name, scope)
        with self.lock:
            self._queues.add(made)
        return made

    def forget(self, queue: Queue) -> None:
        """Remove a queue and its pending steps."""
        with self.lock:
            queue.steps.clear()
            self._queues.discard(queue)

    def seen(self, clock: Clock) -> None:
        """Note that the host has waited for work with this clock."""
        with self.lock:
            join(self.host, clock)

    def drained(self, queue: Queue) -> None:
        """Note that the host has waited for a whole queue."""
        with self.lock:
            join(self.host, {**queue.clock, queue.index: queue.number})

    def observed(self, payload: Payload, value: int) -> None:
        """Note that the host has seen a timeline at ``value``."""
        with self.lock:
            best: Clock = {}
            for reached, clock in payload.history:
                if reached > value:
                    break
                best = clock
            join(self.host, best)

    def check_steps(self, queue: Queue, steps: Sequence[tuple[Payload, int, bool]]) -> None:
        """Raise :class:`Misuse` for waits and signals that must not be enqueued; changes nothing."""
        if self.quiet:
            return
        with self.lock:
            clock = self._clock(queue)
            for payload, value, signal in steps:
                if signal:
                    self._check_signal(queue, payload, value, clock)
                else:
                    self._check_wait(queue, payload)
                    clock = _after(clock, payload, value)
            self._check_cycle(queue, steps)

    def add(self, queue: Queue, steps: Iterable[tuple[Payload, int, bool]]) -> int:
        """Note that steps were enqueued; returns the number of the last operation."""
        with self.lock:
            for payload, value, signal in steps:
                queue.number += 1
                if payload.kind is SemaphoreKind.BINARY:
                    if signal:
                        payload.signals += 1
                        value = payload.signals  # noqa: PLW2901 - binary ones count
                    else:
                        payload.waits += 1
                        value = payload.waits  # noqa: PLW2901 - as above
                        payload.last_wait = queue.index, queue.number
                payload.used[queue.index] = queue.number
                queue.steps.append(Step(payload, value, signal, queue.number, dict(self.host)))
            self._settle()
            return queue.number

    def use(self, queue: Queue, memories: Iterable[Memory]) -> None:
        """Note work of a queue on memories."""
        with self.lock:
            queue.number += 1
            for memory in memories:
                memory.used[queue.index] = queue.number

    def signal_host(self, payload: Payload, value: int) -> None:
        """Note a signal by the host."""
        with self.lock:
            payload.signalled(value, self.host)
            self._settle()

    def check_order(
        self, queue: Queue, memory: Memory, what: str, after: tuple[Payload, int] | None = None
    ) -> None:
        """Raise :class:`Misuse` unless all other queues' work on a memory comes before what ``queue`` does next.

        ``after`` is a semaphore, and its value, that the work will have waited for.
        """
        if self.quiet:
            return
        with self.lock:
            clock = self._clock(queue)
            if after is not None:
                clock = _after(clock, *after)
            if clock is None:
                return  # a pending wait decides the order later
            names = {each.index: each.name for each in self._queues}
            for index, number in memory.used.items():
                if index != queue.index and index in names and number > clock.get(index, 0):
                    raise Misuse(
                        memory.name,
                        memory.scope.name,
                        f"{what} on {queue.name}, which has not waited for the work of {names[index]} on it",
                        "a signal after that work and a wait for it before this",
                        "take turns (link.consumer_turn, link.producer_turn), or signal and wait a semaphore",
                    )

    def check_ended(self, name: str, scope: Scope, used: Clock) -> None:
        """Raise :class:`Misuse` when the host has not waited for all work that uses something to be closed."""
        if self.quiet or scope.closed:
            return
        with self.lock:
            for queue in self._queues:
                if used.get(queue.index, 0) > self.host.get(queue.index, 0):
                    raise Misuse(
                        name,
                        scope.name,
                        f"closed while work of {queue.name} on it may be pending",
                        "that its work has ended, and that the host has waited for it",
                        "call link.synchronize() first, or leave closing it to the link",
                    )

    def blocked(self) -> list[str]:
        """Name each blocked queue and the signal that it waits for."""
        with self.lock:
            found: list[str] = []
            for queue in self._queues:
                if not queue.steps:
                    continue
                step = queue.steps[0]
                want = "" if step.payload.kind is SemaphoreKind.BINARY else f" to reach {step.value}"
                signaller = self._signaller(step, queue, ())
                who = (
                    f"which {signaller.name} is to signal later"
                    if signaller
                    else "which nobody has signalled"
                )
                found.append(
                    f"{queue.name} waits for {step.payload.name} of {step.payload.scope.name}{want}, {who}"
                )
            return found

    def _clock(self, queue: Queue) -> Clock | None:
        """Return the clock of a queue's next operation; None while a pending wait leaves it unknown."""
        if queue.steps:
            return None
        clock = dict(queue.clock)
        join(clock, self.host)
        return clock

    def _check_wait(self, queue: Queue, payload: Payload) -> None:
        if payload.kind is not SemaphoreKind.BINARY or payload.foreign or payload.waits < payload.signals:
            return
        found = (
            f"waited for twice after one signal, the second time by {queue.name}"
            if payload.signals
            else f"waited for by {queue.name}, and nobody has signalled it"
        )
        raise Misuse(
            payload.name,
            payload.scope.name,
            found,
            "one signal, enqueued before, for each wait of a binary semaphore",
            "enqueue the signal first; wait once, and let that stream do the work of both",
        )

    def _check_signal(self, queue: Queue, payload: Payload, value: int, clock: Clock | None) -> None:
        if payload.foreign:
            return
        if payload.kind is SemaphoreKind.TIMELINE:
            pending = [step.value for step in queue.steps if step.signal and step.payload is payload]
            last = max([payload.value, *pending])
            if value <= last and not payload.relayed:
                raise Misuse(
                    payload.name,
                    payload.scope.name,
                    f"signalled with {value} by {queue.name}, and it is at or on its way to {last}",
                    f"a value above {last}",
                    "signal a greater value each time, from either side",
                )
            return
        if payload.signals > payload.waits:
            raise Misuse(
                payload.name,
                payload.scope.name,
                f"signalled twice, the second time by {queue.name}, with no wait in between",
                "a wait between two signals of a binary semaphore",
                "have the other side wait for the first signal, or signal one semaphore per hand-over",
            )
        if clock is not None and payload.last_wait is not None:
            index, number = payload.last_wait
            if index != queue.index and number > clock.get(index, 0):
                raise Misuse(
                    payload.name,
                    payload.scope.name,
                    f"signalled again by {queue.name}, which may run before the wait for the last signal has",
                    "that the signalling queue has waited for something that comes after that wait",
                    "signal back from the waiting side and wait for that first",
                )

    def _check_cycle(self, queue: Queue, steps: Sequence[tuple[Payload, int, bool]]) -> None:
        """Raise :class:`Misuse` if ``steps`` on ``queue`` would close a cycle of queues that wait for each other."""
        extra = [
            Step(payload, value or _next(payload, signal=signal), signal, 0, {})
            for payload, value, signal in steps
        ]
        for start in list(self._queues):
            chain: list[tuple[Queue, Step]] = []
            at: Queue | None = start
            while at is not None:
                pending = [*at.steps, *(extra if at is queue else ())]
                front = next((step for step in pending if not step.ready()), None)
                if front is None:
                    break
                known = [each for each, _ in chain]
                if at in known:
                    self._deadlock(chain[known.index(at) :])
                chain.append((at, front))
                at = self._signaller(front, queue, extra)

    def _signaller(self, wanted: Step, queue: Queue, extra: Sequence[Step]) -> Queue | None:
        """Return the queue with the pending signal that a wait needs, or None."""
        for each in self._queues:
            for step in (*each.steps, *(extra if each is queue else ())):
                if step.signal and step.payload is wanted.payload and step.value >= wanted.value:
                    return each
        return None

    @staticmethod
    def _deadlock(chain: list[tuple[Queue, Step]]) -> None:
        told = [
            f"{queue.name} of {queue.scope.name} waits for {step.payload.name} to reach {step.value}"
            for queue, step in chain
        ]
        first = chain[0][1].payload
        raise Misuse(
            first.name,
            ", ".join(dict.fromkeys(queue.scope.name for queue, _ in chain)),
            "a deadlock: " + "; ".join(told) + ": each signal stands behind the other wait",
            "an order in which one of these queues signals before it waits",
            "enqueue that signal before the wait, or put one of the two on a queue of its own",
        )

    def _settle(self) -> None:
        """Run every step that is ready."""
        moving = True
        while moving:
            moving = False
            for queue in list(self._queues):
                while queue.steps and queue.steps[0].ready():
                    step = queue.steps.popleft()
                    moving = True
                    join(queue.clock, step.host)
                    if step.signal:
                        queue.clock[queue.index] = step.number
                        step.payload.signalled(step.value, queue.clock)
                    else:
                        join(queue.clock, step.payload.clock_at(step.value))
                        queue.clock[queue.index] = step.number


def _next(payload: Payload, *, signal: bool) -> int:
    """Return the number of the next signal or wait of a binary semaphore."""
    return (payload.signals if signal else payload.waits) + 1


def _after(clock: Clock | None, payload: Payload, value: int) -> Clock | None:
    """Return the clock after a wait; None while the signal is missing."""
    if clock is None or payload.foreign:
        return clock
    wanted = value or (_next(payload, signal=False) if payload.kind is SemaphoreKind.BINARY else 0)
    if payload.value < wanted:
        return None
    clock = dict(clock)
    join(clock, payload.clock_at(wanted))
    return clock


MODEL = Model()
"""The one model: queues of different links can wait for each other."""
