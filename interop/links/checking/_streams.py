"""Checks of streams and semaphores."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.links.checking._model import MODEL, check_grows
from interop.links.checking._records import payloads, points, queues
from interop.links.checking._state import Payload, Queue, Scope
from interop.links.checking._watch import watch
from interop.links.sync import RelayThread
from interop.protocols import PreparedCall, SemaphoreKind, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.links.checking._watch import Call
    from interop.protocols import Stream


@contextmanager
def explained() -> Generator[None]:
    """Add a note to a :class:`WaitTimeout` for each blocked queue."""
    try:
        yield
    except WaitTimeout as error:
        for line in MODEL.blocked():
            error.add_note(line)
        raise


def drain(whole: object, original: Call, timeout: float) -> None:
    """Wait for a whole queue."""
    with explained():
        original(timeout)
    MODEL.drained(queues[whole])


class _StreamChecks:
    """A stream of a consumer."""

    synchronize = drain


def watch_stream(stream: Stream, scope: Scope, name: str) -> Queue:
    """Watch a stream of a consumer. Idempotent."""
    found = queues.get(stream)
    if found is None:
        found = queues.put(stream, MODEL.queue(name, scope))
        watch(stream, _StreamChecks)
    return found


def _close(semaphore: object, original: Call) -> None:
    """Close a semaphore of either side, unless work may use it. Drivers keep the state behind sync files."""
    if not payloads[semaphore].one_shot:
        MODEL.check_ended(payloads[semaphore])
    original()


def _export(semaphore: object, original: Call) -> Any:
    handle, descriptor = original()
    found = payloads.put(handle, payloads[semaphore])
    if found.one_shot:
        points.put(handle, found.signals)
    return handle, descriptor


def _observe(semaphore: object, value: int) -> None:
    # A relay thread observes values that the program has not waited for.
    if not isinstance(threading.current_thread(), RelayThread):
        MODEL.observed(payloads[semaphore], value)


def _enqueue(
    semaphore: object, original: Call, stream: object, value: int | None = None, *, signal: bool
) -> None:
    payload, queue = payloads[semaphore], queues.get(stream)
    step = payload.step(points.get(semaphore) or value or 0, signal=signal)
    if queue is not None:
        MODEL.check_steps(queue, [step])
    original(stream, value)
    if queue is not None:
        MODEL.add(queue, [step])
    elif payload.one_shot:
        payload.signals += signal


def _prepare(semaphore: object, original: Call, stream: object, *, signal: bool) -> PreparedCall:
    prepared: PreparedCall = original(stream)
    told: int | None = None

    def tell(value: int) -> None:
        nonlocal told
        told = value
        if prepared.value is not None:
            prepared.value(value)

    def enqueue(make: Callable[[], None]) -> None:
        _enqueue(semaphore, lambda *_: make(), stream, told, signal=signal)

    return checked_call(prepared, enqueue)._replace(value=tell if prepared.value is not None else None)


def checked_call(prepared: PreparedCall, around: Callable[[Callable[[], None]], object]) -> PreparedCall:
    """Return a prepared call with checks: ``around`` gets a function that makes the call or raises its error."""
    make = prepared._replace(begin=None).run  # the caller of the list has prepared the thread

    def call() -> int:
        around(make)
        return 0

    return prepared._replace(call=call)


class _SemaphoreChecks:
    """A semaphore of a producer."""

    export_semaphore = _export
    close = _close

    def wait_host(self, original: Call, value: int, timeout: float) -> bool:
        reached: bool = original(value, timeout)
        if reached:
            _observe(self, value)
        return reached

    def counter(self, original: Call) -> int:
        value: int = original()
        _observe(self, value)
        return value

    def signal_host(self, original: Call, value: int) -> None:
        found = payloads[self]
        check_grows(found, value, "the host")
        original(value)
        if not found.relayed:  # the stream's own step stands for a relay's signal
            MODEL.signal_host(found, value)

    def import_semaphore(self, original: Call, handle: object, descriptor: object) -> None:
        found, point = payloads.get(handle), points.get(handle)
        original(handle, descriptor)
        if found is None:
            mine = payloads[self]
            found = Payload(mine.name, mine.scope, mine.kind, foreign=True, one_shot=True)
        payloads.put(self, found)
        points.put(self, point or 0)


class ExternalChecks:
    """A semaphore of a consumer."""

    wait = partial(_enqueue, signal=False)
    signal = partial(_enqueue, signal=True)
    prepare_wait = partial(_prepare, signal=False)
    prepare_signal = partial(_prepare, signal=True)
    export_semaphore = _export
    close = _close


def watch_semaphore(
    semaphore: Any, scope: Scope, checks: type = _SemaphoreChecks, *, one_shot: bool = False
) -> Payload:
    """Watch a semaphore of either side; ``one_shot`` tells that each signal travels in a sync file of its own."""
    name = scope.label(f"{semaphore.kind.value} semaphore")
    counted = SemaphoreKind.TIMELINE if one_shot else semaphore.kind
    payload = payloads.put(semaphore, Payload(name, scope, counted, one_shot=one_shot))
    watch(semaphore, checks)
    return payload


def import_semaphore(scope: Scope, original: Call, handle: object, descriptor: Any) -> Any:
    """Import a semaphore into a consumer, and watch it."""
    found, point = payloads.get(handle), points.get(handle)
    semaphore = original(handle, descriptor)
    if found is None:
        found = Payload(scope.label("foreign semaphore"), scope, descriptor.kind, foreign=True)
    payloads.put(semaphore, found)
    if point is not None:
        points.put(semaphore, point)
    return watch(semaphore, ExternalChecks)
