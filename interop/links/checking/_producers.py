"""Checks of producers: allocation, recording and submission."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from interop.links.checking import _streams as streams
from interop.links.checking._model import MODEL
from interop.links.checking._records import (
    Steps,
    Submitting,
    close_side,
    memories,
    of_turn,
    payloads,
    points,
    queues,
    scope_of,
    submissions,
    watch_scope,
)
from interop.links.checking._state import ENTERING, Memory, Payload, Queue, Scope, closed
from interop.links.checking._watch import watch
from interop.protocols import ONE_SHOT, InteropError, Misuse, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Commands, Producer, Submission

    Call = Callable[..., Any]
    Arounds = dict[str, Callable[..., Any]]


def watch_producer(producer: Producer, scope: Scope) -> Queue:
    """Watch a producer and the objects that it creates. Idempotent."""
    watch_scope(producer, scope)
    found = queues.get(producer)
    if found is None:
        found = queues.put(producer, MODEL.queue(f"the queue of {producer.device.backend}", scope))
        streams.watch_semaphore(producer.progress, scope)
        progress = payloads.get(producer.progress)
        assert progress is not None  # just put there
        progress.name = f"the progress of {producer.device.backend}"
        around: Arounds = {
            "create_buffer": _create_buffer,
            "create_semaphore": _create_semaphore,
            "create_importing_semaphore": _create_importing_semaphore,
            "prepare": _prepare_submission,
            "wait_idle": _wait_idle,
            "close": _close,
        }
        watch(producer, "producer", around)
    return found


def _close(producer: object, original: Call) -> None:
    MODEL.hush(1)
    try:
        original()
    finally:
        MODEL.hush(-1)
        close_side(producer)
        queue = queues.get(producer)
        if queue is not None:
            MODEL.forget(queue)


def _create_buffer(producer: object, original: Call, size: int, **options: object) -> Any:
    scope = scope_of(producer)
    buffer = original(size, **options)
    memories.put(buffer, Memory(scope.label("memory"), scope))
    return watch(buffer, "buffer", {"export_memory": _export_memory, "part": _part})


def _export_memory(buffer: object, original: Call) -> Any:
    handle, descriptor = original()
    found = memories.get(buffer)
    if found is not None:
        memories.put(handle, found)
    return handle, descriptor


def _part(buffer: object, original: Call, *args: object, **kwargs: object) -> Any:
    part = original(*args, **kwargs)
    found = memories.get(buffer)
    if found is not None:
        memories.put(part, found)
    return part


def _create_semaphore(producer: object, original: Call, kind: SemaphoreKind, **options: object) -> Any:
    semaphore = original(kind, **options)
    streams.watch_semaphore(semaphore, scope_of(producer), one_shot=options.get("export") is ONE_SHOT)
    return semaphore


def _create_importing_semaphore(producer: object, original: Call, handle_type: object) -> Any:
    semaphore = original(handle_type)
    streams.watch_inlet(semaphore, scope_of(producer))
    return semaphore


def _wait_idle(producer: object, original: Call, timeout: float) -> None:
    with streams.explained():
        original(timeout)
    queue = queues.get(producer)
    if queue is not None:
        MODEL.drained(queue)


def _prepare_submission(producer: Producer, original: Call, **options: Any) -> Submission:
    submission: Submission = original(**options)
    queue = queues.get(producer)
    if queue is None:
        return submission
    shared = [memories.get(each) for name in ("acquire", "release") for each in options.get(name, ())]
    made = Submitting(
        queue,
        list(dict.fromkeys(own for each in shared if each is not None for own in of_turn(each))),
        payloads.get(options.get("wait")),
        payloads.get(options.get("signal")),
        options.get("wait") if points.get(options.get("wait")) is not None else None,
    )
    submissions.put(submission, made)
    queues.put(submission, queue)
    payloads.put(submission, _progress(producer))
    return watch(submission, "submission", {"begin": _begin, "submit": _submit})


def _progress(producer: Producer) -> Payload:
    found = payloads.get(producer.progress)
    assert found is not None  # watched with the producer
    return found


def _begin(submission: object, original: Call, **options: object) -> Commands:
    commands: Commands = original(**options)
    found = submissions.get(submission)
    if found is None:
        return commands
    found.touched = []
    submissions.put(commands, found)
    recorded: Arounds = dict.fromkeys(("fill", "copy", "draw", "dispatch"), _record)
    return watch(commands, "commands", recorded)


def _record(commands: object, original: Call, *args: object, **kwargs: object) -> Any:
    submission = submissions.get(commands)
    flat = [
        inner
        for each in (*args, *kwargs.values())
        for inner in (each if isinstance(each, (list, tuple)) else (each,))
    ]
    used = [memories.get(getattr(each, "producer_buffer", each)) for each in flat]
    for memory in used:
        if memory is not None and submission is not None:
            _check_recorded(memory)
            submission.touched.extend(memory.family())
    return original(*args, **kwargs)


def _check_recorded(memory: Memory) -> None:
    """Raise :class:`Misuse` when the producer may not use a memory in what it records."""
    if MODEL.quiet:
        return
    if memory.scope.closed:
        raise closed(memory.name, memory.scope, "recorded")
    bound = [each for each in memory.family() if each.buffer is not None]
    wrong = [each for each in bound if each.turn == "consumer"]
    if not wrong and not any(each.turn in {"producer", ENTERING} for each in bound):
        wrong = bound
    if wrong:
        now = f"in the {wrong[0].turn}'s turn" if wrong[0].turn else "outside a turn of its own"
        raise Misuse(
            wrong[0].name,
            wrong[0].scope.name,
            f"recorded by the producer {now}",
            "use inside `with link.producer_turn(buffer) as commands`, with that buffer named",
            "name every buffer that the commands use: link.producer_turn(first, second)",
        )


def _submit(submission: object, original: Call, wait_value: int = 0, signal_value: int = 0) -> int:
    found, progress = submissions.get(submission), payloads.get(submission)
    if found is None or progress is None:
        point: int = original(wait_value, signal_value)
        return point
    if found.inlet is not None:
        found.wait, wait_value = payloads.get(found.inlet), points.get(found.inlet) or 0
    if found.signal is not None and found.signal.one_shot:
        signal_value = found.signal.given + 1
    queue, steps = found.queue, _steps(found, wait_value, signal_value)
    used = list(dict.fromkeys([*found.memories, *found.touched]))
    MODEL.check_steps(queue, steps)
    after = (found.wait, wait_value) if found.wait is not None else None
    for memory in used:
        if memory.imported and memory.acquired and not MODEL.quiet:
            raise Misuse(
                memory.name,
                memory.scope.name,
                "used by the producer while the consumer has it acquired",
                "memory.release(stream) and a signal of the consumer before",
                "release it first, or leave both to link.producer_turn",
            )
        MODEL.check_order(queue, memory, "used by a submission", after)
    point = original(wait_value, signal_value)
    if found.signal is not None:
        found.signal.given += found.signal.one_shot
    waits = [step for step in steps if not step[2]]
    MODEL.add(queue, waits)
    MODEL.use(queue, used)
    MODEL.add(queue, [*(step for step in steps if step[2]), (progress, point, True)])
    return point


def _steps(found: Submitting, wait_value: int, signal_value: int) -> Steps:
    steps: Steps = []
    if found.wait is not None:
        steps.append((found.wait, _value(found.wait, wait_value), False))
    if found.signal is not None:
        steps.append((found.signal, _value(found.signal, signal_value), True))
    return steps


def _value(payload: Payload, value: int) -> int:
    return 0 if payload.kind is SemaphoreKind.BINARY else value


def look(producer: Producer) -> None:
    """Read a producer's progress, without waiting. A lost device is ignored."""
    with contextlib.suppress(InteropError):
        producer.progress.counter()
