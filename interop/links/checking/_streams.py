"""Checks of streams and semaphores."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from interop.links.checking._model import MODEL
from interop.links.checking._records import Steps, payloads, points, queues
from interop.links.checking._state import Payload, Queue, Scope
from interop.links.checking._watch import watch
from interop.links.sync import RelayThread
from interop.protocols import Misuse, SemaphoreKind, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.protocols import (
        ConsumerSemaphore,
        ImportingSemaphore,
        PreparedCall,
        ProducerSemaphore,
        Stream,
    )

    Call = Callable[..., Any]
    Arounds = dict[str, Callable[..., Any]]


def watch_stream(stream: Stream, scope: Scope, name: str) -> Queue:
    """Watch a stream of a consumer. Idempotent."""
    found = queues.get(stream)
    if found is None:
        found = queues.put(stream, MODEL.queue(name, scope))
        watch(stream, "stream", {"synchronize": _synchronize})
    return found


def _synchronize(stream: object, original: Call, timeout: float) -> None:
    queue = queues.get(stream)
    with explained():
        original(timeout)
    if queue is not None:
        MODEL.drained(queue)


@contextlib.contextmanager
def explained() -> Generator[None]:
    """Add a note to a :class:`WaitTimeout` for each blocked queue."""
    try:
        yield
    except WaitTimeout as error:
        for line in MODEL.blocked():
            error.add_note(line)
        raise


def watch_semaphore(semaphore: ProducerSemaphore, scope: Scope, *, one_shot: bool = False) -> None:
    """Watch a semaphore of a producer; ``one_shot`` tells that each signal is exported as a sync file."""
    kind = semaphore.kind
    _put_payload(semaphore, scope, kind, one_shot=one_shot)
    around: Arounds = {
        "export_semaphore": _export,
        "wait_host": _wait_host,
        "counter": _counter,
        "signal_host": _signal_host,
        "close": close_semaphore,
    }
    watch(semaphore, "semaphore", around)


def _put_payload(semaphore: object, scope: Scope, kind: SemaphoreKind, *, one_shot: bool) -> None:
    name = scope.label(f"{kind.value} semaphore")
    counted = SemaphoreKind.TIMELINE if one_shot else kind
    payloads.put(semaphore, Payload(name, scope, counted, one_shot=one_shot))


def watch_signals(semaphore: ConsumerSemaphore, scope: Scope) -> None:
    """Watch a semaphore of a consumer that exports each signal as a sync file."""
    _put_payload(semaphore, scope, semaphore.kind, one_shot=True)
    watch(semaphore, "signals", {"signal": signal, "export_semaphore": _export, "close": close_semaphore})


def watch_inlet(semaphore: ImportingSemaphore, scope: Scope) -> None:
    """Watch a semaphore of a producer that imports sync files."""
    _put_payload(semaphore, scope, semaphore.kind, one_shot=True)
    points.put(semaphore, 0)
    watch(semaphore, "inlet", {"import_semaphore": _take_in, "close": close_semaphore})


def _take_in(semaphore: object, original: Call, handle: object, descriptor: object) -> None:
    found, point = payloads.get(handle), points.get(handle)
    original(handle, descriptor)
    mine = payloads.get(semaphore)
    if found is None and mine is not None:
        found = Payload(mine.name, mine.scope, mine.kind, foreign=True, one_shot=True)
    if found is not None:
        payloads.put(semaphore, found)
        points.put(semaphore, point or 0)


def _export(semaphore: object, original: Call) -> Any:
    handle, descriptor = original()
    found = payloads.get(semaphore)
    if found is not None:
        payloads.put(handle, found)
        if found.one_shot:
            points.put(handle, found.given)
    return handle, descriptor


def _wait_host(semaphore: object, original: Call, value: int, timeout: float) -> bool:
    reached: bool = original(value, timeout)
    if reached:
        _observe(semaphore, value)
    return reached


def _counter(semaphore: object, original: Call) -> int:
    value: int = original()
    _observe(semaphore, value)
    return value


def _observe(semaphore: object, value: int) -> None:
    found = payloads.get(semaphore)
    # A relay thread observes values that the program has not waited for.
    if found is not None and not isinstance(threading.current_thread(), RelayThread):
        MODEL.observed(found, value)


def _signal_host(semaphore: object, original: Call, value: int) -> None:
    found = payloads.get(semaphore)
    if found is not None and not found.relayed and not MODEL.quiet and value <= found.value:
        raise Misuse(
            found.name,
            found.scope.name,
            f"signalled with {value} by the host, and it is at or on its way to {found.value}",
            f"a value above {found.value}",
            "signal a greater value each time, from either side",
        )
    original(value)
    if found is not None and not found.relayed:  # the stream's own step stands for a relay's signal
        MODEL.signal_host(found, value)


def close_semaphore(semaphore: object, original: Call) -> None:
    """Close a semaphore of either side, unless work may use it. Drivers keep the state behind sync files."""
    found = payloads.get(semaphore)
    if found is not None and not found.one_shot:
        MODEL.check_ended(found.name, found.scope, found.used)
    original()


def _enqueue(stream: object, original: Call, semaphore: object, value: int | None, *, signal: bool) -> None:
    payload, queue = payloads.get(semaphore), queues.get(stream)
    steps: Steps = []
    if payload is not None and queue is not None:
        counted = payload.given + 1 if signal and payload.one_shot else points.get(semaphore)
        steps.append((payload, counted or value or 0, signal))
    if queue is not None:
        MODEL.check_steps(queue, steps)
    original(stream, value)
    if payload is not None and signal:
        payload.given += payload.one_shot
    if queue is not None:
        MODEL.add(queue, steps)


def wait(semaphore: object, original: Call, stream: object, value: int | None = None) -> None:
    """Enqueue a wait for an imported semaphore."""
    _enqueue(stream, original, semaphore, value, signal=False)


def signal(semaphore: object, original: Call, stream: object, value: int | None = None) -> None:
    """Enqueue a signal of an imported semaphore."""
    _enqueue(stream, original, semaphore, value, signal=True)


def prepare_wait(semaphore: object, original: Call, stream: object) -> PreparedCall:
    """Prepare a wait for an imported semaphore that is checked each time it is enqueued."""
    return _prepare(semaphore, original(stream), stream, signal=False)


def prepare_signal(semaphore: object, original: Call, stream: object) -> PreparedCall:
    """Prepare a signal of an imported semaphore that is checked each time it is enqueued."""
    return _prepare(semaphore, original(stream), stream, signal=True)


def _prepare(semaphore: object, prepared: PreparedCall, stream: object, *, signal: bool) -> PreparedCall:
    told: list[int] = []
    set_value = prepared.value

    def tell(value: int) -> None:
        assert set_value is not None  # otherwise nobody calls this
        told[:] = [value]
        set_value(value)

    def enqueue() -> None:
        make = checked_call(prepared)
        _enqueue(stream, lambda *_: make(), semaphore, told[0] if told else None, signal=signal)

    return prepared._replace(call=returning_zero(enqueue), value=None if set_value is None else tell)


def checked_call(prepared: PreparedCall) -> Callable[[], None]:
    """Return a function that makes a prepared call and raises the error of its status."""

    def make() -> None:
        status = prepared.call()
        if status:
            prepared.fail(status)

    return make


def returning_zero(function: Callable[[], object]) -> Callable[[], int]:
    """Return a function that makes a call which raises its errors, and returns the status of success."""

    def call() -> int:
        function()
        return 0

    return call
