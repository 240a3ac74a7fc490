"""The rules of streams and semaphores, put around the methods of the objects themselves."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from interop.checking.model import MODEL
from interop.checking.records import Steps, payloads, queues
from interop.checking.state import Payload, Queue, Scope
from interop.checking.watch import watch
from interop.errors import Misuse, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.backend import ProducerSemaphore
    from interop.semaphore import Stream

    Call = Callable[..., Any]
    Arounds = dict[str, Callable[..., Any]]


def watch_stream(stream: Stream, scope: Scope, name: str) -> Queue:
    """Watch a stream of a consumer; one that is watched stays as it is."""
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
    """Add to a :class:`WaitTimeout` what each queue waits for."""
    try:
        yield
    except WaitTimeout as error:
        for line in MODEL.blocked():
            error.add_note(line)
        raise


def watch_semaphore(semaphore: ProducerSemaphore, scope: Scope) -> None:
    """Watch a semaphore of a producer."""
    kind = semaphore.kind
    payloads.put(semaphore, Payload(scope.label(f"{kind.value} semaphore"), scope, kind))
    around: Arounds = {
        "export_semaphore": _export,
        "wait_host": _wait_host,
        "counter": _counter,
        "signal_host": _signal_host,
        "close": close_semaphore,
    }
    watch(semaphore, "semaphore", around)


def _export(semaphore: object, original: Call) -> Any:
    handle, descriptor = original()
    found = payloads.get(semaphore)
    if found is not None:
        payloads.put(handle, found)
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
    # A thread that relays for a bridge knows more than the program, whose order is what is checked.
    if found is not None and not threading.current_thread().name.startswith("interop-"):
        MODEL.observed(found, value)


def _signal_host(semaphore: object, original: Call, value: int) -> None:
    found = payloads.get(semaphore)
    if found is not None and not found.relayed and not MODEL.quiet and value <= found.value:
        raise Misuse(
            found.name,
            found.scope.name,
            f"signalled with {value} by the host, and it is at or on its way to {found.value}",
            f"a value above {found.value}",
            "count up with every signal, whichever side gives it",
        )
    original(value)
    if found is not None and not found.relayed:  # a relay's is the stream's, and was noted then
        MODEL.signal_host(found, value)


def close_semaphore(semaphore: object, original: Call) -> None:
    """Close a semaphore on either side, unless work may still use it."""
    found = payloads.get(semaphore)
    if found is not None:
        MODEL.check_ended(found.name, found.scope, found.used)
    original()


def _enqueue(stream: object, original: Call, semaphore: object, value: int | None, *, signal: bool) -> None:
    payload, queue = payloads.get(semaphore), queues.get(stream)
    steps: Steps = [(payload, value or 0, signal)] if payload is not None and queue is not None else []
    if queue is not None:
        MODEL.check_steps(queue, steps)
    original(stream, value)
    if queue is not None:
        MODEL.add(queue, steps)


def wait(semaphore: object, original: Call, stream: object, value: int | None = None) -> None:
    """Enqueue a wait for an imported semaphore."""
    _enqueue(stream, original, semaphore, value, signal=False)


def signal(semaphore: object, original: Call, stream: object, value: int | None = None) -> None:
    """Enqueue a signal of an imported semaphore."""
    _enqueue(stream, original, semaphore, value, signal=True)
