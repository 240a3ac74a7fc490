"""The order of enqueued work, as vector clocks, without asking a driver.

Each queue counts its operations. Its clock holds, for every queue, the number of operations that come before its
next one. A wait joins the clock of its signal. A wait of the host joins the host's clock. Operations that these
clocks do not order are unordered.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from itertools import dropwhile
from typing import TYPE_CHECKING

from interop.links.checking._state import Clock, Memory, Named, Payload, Queue, Scope, Step, join
from interop.protocols import SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Model:
    """All queues of the process. For any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.host: Clock = {}
        self._queues: weakref.WeakSet[Queue] = weakref.WeakSet()

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

    def drained(self, queue: Queue) -> None:
        """Note that the host has waited for a whole queue."""
        with self.lock:
            join(self.host, {**queue.clock, queue.index: queue.number})

    def observed(self, payload: Payload, value: int) -> None:
        """Note that the host has seen a timeline at ``value``."""
        with self.lock:
            seen = (clock for reached, clock in reversed(payload.history) if reached <= value)
            join(self.host, next(seen, {}))

    def check_steps(self, queue: Queue, steps: Sequence[Step]) -> None:
        """Raise :class:`Misuse` for waits and signals that must not be enqueued; changes nothing."""
        with self.lock:
            clock = self._clock(queue)
            for step in steps:
                if step.signal:
                    _check_signal(queue, step, clock)
                else:
                    _check_wait(queue, step.payload)
                    clock = _after(clock, step)
            self._check_cycle(queue, steps)

    def add(self, queue: Queue, steps: Iterable[Step]) -> None:
        """Note that steps were enqueued."""
        with self.lock:
            for step in steps:
                queue.number += 1
                payload = step.payload
                if step.signal:
                    payload.signals += 1
                else:
                    payload.waits += 1
                    payload.last_wait = queue.index, queue.number
                payload.used[queue.index] = queue.number
                queue.steps.append(replace(step, number=queue.number, host=dict(self.host)))
            self._settle()

    def use(self, queue: Queue | None, memories: Iterable[Memory]) -> None:
        """Note work of a queue on memories. The work of an unknown queue is not followed."""
        if queue is None:
            return
        with self.lock:
            queue.number += 1
            for memory in memories:
                memory.used[queue.index] = queue.number

    def signal_host(self, payload: Payload, value: int) -> None:
        """Note a signal by the host."""
        with self.lock:
            payload.signalled(value, self.host)
            self._settle()

    def check_order(self, queue: Queue, memory: Memory, what: str, waits: Iterable[Step] = ()) -> None:
        """Raise :class:`Misuse` unless all other queues' work on a memory comes before what ``queue`` does next.

        ``waits`` are those that the work will have waited for.
        """
        with self.lock:
            clock = self._clock(queue)
            for wait in waits:
                clock = _after(clock, wait)
            if clock is None:
                return  # a pending wait decides the order later
            for other in self._unfinished(memory.used, clock):
                if other is not queue:
                    memory.refuse(
                        f"{what} on {queue.name}, which has not waited for the work of {other.name} on it",
                        "a signal after that work and a wait for it before this",
                        "take turns (link.consumer_turn, link.producer_turn), or signal and wait a semaphore",
                    )

    def check_ended(self, thing: Memory | Payload) -> None:
        """Raise :class:`Misuse` when the host has not waited for all work that uses something to be closed."""
        with self.lock:
            for queue in () if thing.scope.closed else self._unfinished(thing.used, self.host):
                thing.refuse(
                    f"closed while work of {queue.name} on it may be pending",
                    "that its work has ended, and that the host has waited for it",
                    "call link.synchronize() first, or leave closing it to the link",
                )

    def _unfinished(self, used: Clock, clock: Clock) -> list[Queue]:
        """Return the queues whose last use of something is not before ``clock``."""
        return [each for each in self._queues if used.get(each.index, 0) > clock.get(each.index, 0)]

    def blocked(self) -> list[str]:
        """Name each blocked queue and the signal that it waits for."""
        with self.lock:
            found: list[str] = []
            pending = {queue: queue.steps for queue in self._queues if queue.steps}
            for queue, (step, *_) in pending.items():
                payload = step.payload
                want = "" if payload.kind is SemaphoreKind.BINARY else f" to reach {step.value}"
                signaller = _signaller(step, pending)
                who = f"{signaller.name} is to signal later" if signaller else "nobody has signalled"
                found.append(
                    f"{queue.name} waits for {payload.name} of {payload.scope.name}{want}, which {who}"
                )
            return found

    def _clock(self, queue: Queue) -> Clock | None:
        """Return the clock of a queue's next operation; None while a pending wait leaves it unknown."""
        if queue.steps:
            return None
        clock = dict(queue.clock)
        join(clock, self.host)
        return clock

    def _check_cycle(self, queue: Queue, steps: Sequence[Step]) -> None:
        """Raise :class:`Misuse` if ``steps`` on ``queue`` would close a cycle of queues that wait for each other."""
        pending = {each: [*each.steps, *(steps if each is queue else ())] for each in self._queues}
        fronts = {
            each: next((step for step in todo if not step.ready()), None) for each, todo in pending.items()
        }
        for start in pending:
            chain: dict[Queue, Step] = {}
            at: Queue | None = start
            while at is not None and (front := fronts[at]) is not None:
                if at in chain:
                    _refuse_deadlock(at, chain)
                    return
                chain[at] = front
                at = _signaller(front, pending)

    def _settle(self) -> None:
        """Run every step that is ready."""
        while ready := [queue for queue in self._queues if queue.steps and queue.steps[0].ready()]:
            for queue in ready:
                step = queue.steps.popleft()
                join(queue.clock, step.host)
                if not step.signal:
                    join(queue.clock, step.payload.clock_at(step.value))
                queue.clock[queue.index] = step.number
                if step.signal:
                    step.payload.signalled(step.value, queue.clock)


def check_grows(payload: Payload, value: int, who: str, pending: Iterable[Step] = ()) -> None:
    """Raise :class:`Misuse` if a signal, after the ``pending`` ones, does not raise the value of a timeline."""
    last = max([payload.value, *(each.value for each in pending if each.signal and each.payload is payload)])
    if value <= last and not payload.relayed:
        payload.refuse(
            f"signalled with {value} by {who}, and it is at or on its way to {last}",
            f"a value above {last}",
            "signal a greater value each time, from either side",
        )


def _check_wait(queue: Queue, payload: Payload) -> None:
    if payload.kind is SemaphoreKind.BINARY and not payload.foreign and payload.waits >= payload.signals:
        payload.refuse(
            f"waited for twice after one signal, the second time by {queue.name}"
            if payload.signals
            else f"waited for by {queue.name}, and nobody has signalled it",
            "one signal, enqueued before, for each wait of a binary semaphore",
            "enqueue the signal first; wait once, and let that stream do the work of both",
        )


def _check_signal(queue: Queue, step: Step, clock: Clock | None) -> None:
    payload = step.payload
    index, number = payload.last_wait
    if payload.foreign:
        return
    if payload.kind is SemaphoreKind.TIMELINE:
        check_grows(payload, step.value, queue.name, queue.steps)
    elif payload.signals > payload.waits:
        payload.refuse(
            f"signalled twice, the second time by {queue.name}, with no wait in between",
            "a wait between two signals of a binary semaphore",
            "have the other side wait for the first signal, or signal one semaphore per hand-over",
        )
    elif clock is not None and index != queue.index and number > clock.get(index, 0):
        payload.refuse(
            f"signalled again by {queue.name}, which may run before the wait for the last signal has",
            "that the signalling queue has waited for something that comes after that wait",
            "signal back from the waiting side and wait for that first",
        )


def _signaller(wanted: Step, pending: Mapping[Queue, Iterable[Step]]) -> Queue | None:
    """Return the queue with the pending signal that a wait needs, or None."""
    for queue, steps in pending.items():
        for step in steps:
            if step.signal and step.payload is wanted.payload and step.value >= wanted.value:
                return queue
    return None


def _refuse_deadlock(start: Queue, chain: Mapping[Queue, Step]) -> None:
    waits = dict(dropwhile(lambda item: item[0] is not start, chain.items()))
    told = [
        f"{queue.name} of {queue.scope.name} waits for {step.payload.name} to reach {step.value}"
        for queue, step in waits.items()
    ]
    links = ", ".join(dict.fromkeys(queue.scope.name for queue in waits))
    Named(waits[start].payload.name, Scope(links)).refuse(
        "a deadlock: " + "; ".join(told) + ": each signal stands behind the other wait",
        "an order in which one of these queues signals before it waits",
        "enqueue that signal before the wait, or put one of the two on a queue of its own",
    )


def _after(clock: Clock | None, wait: Step) -> Clock | None:
    """Return the clock after a wait; None while the signal is missing."""
    if clock is None or wait.payload.foreign:
        return clock
    if not wait.ready():
        return None
    clock = dict(clock)
    join(clock, wait.payload.clock_at(wait.value))
    return clock


MODEL = Model()
"""The one model: queues of different links can wait for each other."""
